#!/usr/bin/env python3
"""The discrete rival: masked diffusion (MDLM) of a preset's size, tokenizer, data and steps.

    python benchmarks/masked.py --preset e2e-cpu --output-dir runs/e2e-masked

It is our trunk with a mask token in place of noisy word vectors, trained on our rows, by our optimiser. No
token is given in training, and it fills blanks all the same: a given token is one that is not masked.

Stopped at any moment and started again with the same command, it goes on from the last checkpoint.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from rival_runs import rival_parser, train_rival

from textdiff.cli import run

if TYPE_CHECKING:
    from masked_model import MaskedModel

    from textdiff.text.data import PackedRows
    from textdiff.text.presets import Preset
    from textdiff.text.run import PresetData


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Command line of the script."""
    return rival_parser(__doc__, save_steps=250, logging_steps=25).parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Train the rival, or go on from its last checkpoint."""
    train_rival(parse_args(argv), rival)


def fresh_model(preset: Preset, data: PresetData, seed: int) -> MaskedModel:
    """A model of the preset's shape that knows its vocabulary size and the lengths of the training pieces."""
    import numpy as np
    from masked_model import MaskedConfig, MaskedModel

    from textdiff.text.denoiser import DenoiserConfig

    shape = DenoiserConfig(**preset.model, vocab_size=data.tokenizer.get_vocab_size())
    counts = np.bincount([len(piece) for piece in data.train]).tolist()
    return MaskedModel(MaskedConfig.like(shape, noise_seed=seed, length_counts=counts))


def rival(
    args: argparse.Namespace, preset: Preset, data: PresetData
) -> tuple[MaskedModel, PackedRows, PackedRows]:
    """A fresh model, its rows to train on and those to validate with."""
    from textdiff.text.data import PackedRows
    from textdiff.text.run import VALIDATION_ROWS

    totals = (preset.max_steps * preset.batch_size, VALIDATION_ROWS)
    train, validation = (
        PackedRows(pieces, preset.row_length, total=total, seed=args.seed + number, conditional=False)
        for number, (pieces, total) in enumerate(zip((data.train, data.validation), totals, strict=True))
    )
    return fresh_model(preset, data, args.seed), train, validation


if __name__ == "__main__":
    run(main)
