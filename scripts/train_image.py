#!/usr/bin/env python3
"""Train a diffusion model of pictures on your own, or rebuild a published one with --preset.

    python scripts/train_image.py --preset tiny-image --train-data photos/ --output-dir runs/photos
    python scripts/train_image.py --preset digits --data-dir ../shared/data --output-dir runs/digits
    python scripts/train_image.py --preset composed-digits --data-dir ../shared/data --output-dir runs/composed-digits
    python scripts/train_image.py --preset caption-digits --data-dir ../shared/data --output-dir runs/caption-digits
    torchrun --nproc_per_node 2 scripts/train_image.py ...          (data parallel)

Stopped at any moment and started again with the same command, it goes on from the last checkpoint.
"""

from __future__ import annotations

import argparse

from textdiff.cli import run
from textdiff.cross_modal.presets import CAPTIONERS
from textdiff.cross_modal.presets import PRESETS as CAPTIONED
from textdiff.image.presets import PRESETS as PLAIN
from textdiff.training.settings import add_run_options

PRESETS = {**PLAIN, **CAPTIONED, **CAPTIONERS}


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Command line of the script."""
    rows = "\n".join(f"  {name:<17}{preset.about}" for name, preset in PRESETS.items())
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=f"presets:\n{rows}", formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--output-dir", required=True, help="folder for checkpoints, curves and the final model")
    add("--preset", default="tiny-image", help="row of the table below (default: tiny-image)")
    add(
        "--train-data",
        help=".npz file, folder of pictures or `datasets` name; replaces the preset's source; presets with captions "
        "want an .npz of their source's kind",
    )
    add("--image-size", type=int, help="height and width to train at (default: the preset's)")
    add("--image-column", default="image", help="pictures of a dataset (default: image)")
    add("--label-column", default="label", help="classes of a dataset, if it has them (default: label)")
    add("--data-dir", default="../shared/data", help="folder of the preset's source")
    add("--max-steps", type=int, help="optimiser steps")
    add("--batch-size", type=int, help="pictures a step, over all processes")
    add(
        "--gradient-accumulation-steps",
        type=int,
        default=1,
        help="parts that a process cuts its pictures into",
    )
    add("--learning-rate", type=float, help="peak")
    add("--compile", action="store_true", help="torch.compile the model (pays on a GPU)")
    add_run_options(parser, ema_decay=0.999)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Run one training from start, or from its last checkpoint, to the end."""
    args = parse_args(argv)
    from textdiff.training.settings import check_options

    check_options(args, PRESETS)
    if args.preset in CAPTIONERS:
        from textdiff.cross_modal.captioner_run import train
    elif args.preset in CAPTIONED:
        from textdiff.cross_modal.run import train
    else:
        from textdiff.image.run import train
    train(args)


if __name__ == "__main__":
    run(main)
