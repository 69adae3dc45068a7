#!/usr/bin/env python3
"""Train a diffusion language model on your own text, or rebuild a published one with --preset.

    python scripts/train.py --preset tiny --train-files stories.txt --output-dir runs/stories
    python scripts/train.py --start-from english --train-files stories.txt --output-dir runs/stories
    python scripts/train.py --preset tiny --pairs --train-files pairs.tsv --output-dir runs/pairs
    python scripts/train.py --preset english --data-dir ../shared/data --output-dir runs/english
    torchrun --nproc_per_node 2 scripts/train.py ...          (data parallel)

Stopped at any moment and started again with the same command, it goes on from the last checkpoint.
"""

from __future__ import annotations

import argparse

from textdiff.cli import run
from textdiff.text.presets import PRESETS
from textdiff.training.settings import add_run_options


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Command line of the script."""
    rows = "\n".join(f"  {name:<14}{preset.about}" for name, preset in PRESETS.items())
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=f"presets:\n{rows}", formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--output-dir", required=True, help="folder for checkpoints, curves and the final model")
    add("--preset", default="tiny", help="row of the table below (default: tiny)")
    add("--train-files", nargs="+", metavar="FILE", help=".txt or .txt.gz, UTF-8; replaces the preset's sources")
    add("--validation-files", nargs="+", metavar="FILE", help="default: one text in a hundred of the training files")
    add("--dataset", help="a `datasets` name or local dataset folder with a text column, instead of files")
    add("--text-column", default="text", help="column of --dataset (default: text)")
    add(
        "--pairs", action="store_true", default=argparse.SUPPRESS,
        help="learn to make targets from sources: files are .tsv or .tsv.gz, a source, a tab and its target a line",
    )  # left out of the settings where it is not given, so that older runs go on
    add(
        "--pair-columns", nargs=2, metavar=("SOURCE", "TARGET"), default=argparse.SUPPRESS,
        help="columns of the pairs: numbers from 1 (default: 1 2), or names of columns of --dataset; implies --pairs",
    )
    add("--data-dir", default="../shared/data", help="folder of the preset's sources")
    add(
        "--start-from", metavar="MODEL", default=argparse.SUPPRESS,
        help="fine-tune this model: bundled name, folder or hub id; its shape and tokenizer are kept",
    )
    add("--recipe", choices=["bound", "diffusion_lm"], help="ours, or Diffusion-LM's own (default: the preset's)")
    add("--max-steps", type=int, help="optimiser steps")
    add("--batch-size", type=int, help="rows a step, over all processes")
    add("--gradient-accumulation-steps", type=int, default=1, help="parts that a process cuts its rows into")
    add("--learning-rate", type=float, help="peak; the word vectors have their own, 1e-2")
    add("--compile", action="store_true", help="torch.compile the model (pays on a GPU)")
    add_run_options(parser)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Run one training from start, or from its last checkpoint, to the end."""
    args = parse_args(argv)
    from textdiff.text.run import train

    train(args)


if __name__ == "__main__":
    run(main)
