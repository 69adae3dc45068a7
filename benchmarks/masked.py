#!/usr/bin/env python3
"""The discrete rival: masked diffusion (MDLM) of a preset's size, tokenizer, data and steps.

    python benchmarks/masked.py --preset e2e-cpu --output-dir runs/e2e-masked

It is our trunk with a mask token in place of noisy word vectors, trained on our rows, by our optimiser. No
token is given in training, and it fills blanks all the same: a given token is one that is not masked.

Stopped at any moment and started again with the same command, it goes on from the last checkpoint.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from autoregressive import EMA_DECAY, check_same_run, record_run, rivalled_preset

from textdiff.cli import run

if TYPE_CHECKING:
    from masked_model import MaskedModel

    from textdiff.text.presets import Preset
    from textdiff.text.run import PresetData
    from textdiff.text.training import DiffusionTrainer


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Command line of the script."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--preset", required=True, help="row of the table that scripts/train.py --help shows")
    add("--output-dir", required=True, help="folder for checkpoints, curves and the final model")
    add("--data-dir", default="../shared/data", help="folder of the preset's sources")
    add("--max-steps", type=int, help="optimiser steps (default: the preset's)")
    add("--learning-rate", type=float, help="peak (default: the preset's)")
    add("--save-steps", type=int, default=250, help="steps between checkpoints (default: 250)")
    add("--seed", type=int, default=0, help="of pieces, weights, data order and masks (default: 0)")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Train the rival, or go on from its last checkpoint."""
    args = parse_args(argv)
    preset = rivalled_preset(args)
    if args.learning_rate is not None:
        preset = replace(preset, learning_rate=args.learning_rate)
    from textdiff.text.run import finish_run, preset_data
    from textdiff.text.training import latest_checkpoint

    folder = Path(args.output_dir)
    checkpoint = latest_checkpoint(folder)
    check_same_run(args, folder, resuming=checkpoint is not None)
    data = preset_data(preset, folder, data_dir=args.data_dir, seed=args.seed)
    trainer = rival_trainer(args, preset, data)
    if trainer.is_world_process_zero():
        record_run(args, folder, data.tokenizer)
    finish_run(trainer, preset, folder, checkpoint)


def fresh_model(preset: Preset, data: PresetData, seed: int) -> MaskedModel:
    """A model of the preset's shape that knows its vocabulary size and the lengths of the training pieces."""
    import numpy as np
    from masked_model import MaskedConfig, MaskedModel

    from textdiff.text.denoiser import DenoiserConfig

    shape = DenoiserConfig(**preset.model, vocab_size=data.tokenizer.get_vocab_size())
    counts = np.bincount([len(piece) for piece in data.train]).tolist()
    return MaskedModel(MaskedConfig.like(shape, noise_seed=seed, length_counts=counts))


def rival_trainer(args: argparse.Namespace, preset: Preset, data: PresetData) -> DiffusionTrainer:
    """A fresh model with its rows and the Trainer's settings."""
    from transformers import set_seed

    from textdiff.text.data import PackedRows
    from textdiff.text.run import VALIDATION_ROWS, training_arguments
    from textdiff.text.training import DiffusionTrainer, EMACallback

    set_seed(args.seed)
    model = fresh_model(preset, data, args.seed)
    totals = (preset.max_steps * preset.batch_size, VALIDATION_ROWS)
    train, validation = (
        PackedRows(pieces, preset.row_length, total=total, seed=args.seed + number, conditional=False)
        for number, (pieces, total) in enumerate(zip((data.train, data.validation), totals, strict=True))
    )
    settings = argparse.Namespace(
        output_dir=args.output_dir, save_steps=args.save_steps, eval_steps=args.save_steps, logging_steps=25,
        seed=args.seed, gradient_accumulation_steps=1, bf16=True, use_cpu=False, compile=False,
    )  # fmt: skip
    return DiffusionTrainer(
        model=model, args=training_arguments(settings, preset),
        train_dataset=train, eval_dataset=validation, ema=EMACallback(model, EMA_DECAY),
    )  # fmt: skip


if __name__ == "__main__":
    run(main)
