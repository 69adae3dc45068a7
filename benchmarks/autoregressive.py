#!/usr/bin/env python3
"""The rival: a GPT-2 (transformers) of a preset's size, tokenizer and data, that sees as many tokens.

    python benchmarks/autoregressive.py --preset english --output-dir runs/english-gpt2
    python benchmarks/autoregressive.py --preset english --output-dir runs/english-fim --fill-in-the-middle

It has as many parameters as the preset's diffusion model, as many rows a step, and passes over the same
pieces as often. Every piece is `<s> tokens </s>`; rows are packed and attention stays within a piece. The
result is also the judge of generated text. With --fill-in-the-middle nine pieces in ten have a span moved
behind their end (Bavarian et al., arXiv 2207.14255), which makes a rival that sees both sides of a blank, and
no judge.

Stopped at any moment and started again with the same command, it goes on from the last checkpoint.
"""

from __future__ import annotations

import argparse
import json
import math
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from textdiff.cli import run

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import GPT2Config

    from textdiff.text.causal_rows import CausalRows
    from textdiff.text.presets import Preset
    from textdiff.text.run import PresetData
    from textdiff.text.training import DiffusionTrainer

EMA_DECAY = 0.998  # as scripts/train.py


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Command line of the script."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--preset", required=True, help="row of the table that scripts/train.py --help shows")
    add("--output-dir", required=True, help="folder for checkpoints, curves and the final model")
    add("--data-dir", default="../shared/data", help="folder of the preset's sources")
    add("--fill-in-the-middle", action="store_true", help="train to fill blanks, given both sides")
    add("--max-steps", type=int, help="steps of the diffusion model to rival (default: the preset's)")
    add("--learning-rate", type=float, default=1.5e-3, help="peak (default: 1.5e-3)")
    add("--save-steps", type=int, default=500, help="steps between checkpoints (default: 500)")
    add("--seed", type=int, default=0, help="of pieces, weights and data order (default: 0)")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Train the rival, or go on from its last checkpoint."""
    args = parse_args(argv)
    preset = rivalled_preset(args)
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


def rivalled_preset(args: argparse.Namespace) -> Preset:
    """The diffusion run to rival: the preset, its steps as the command line says.

    Raises:
        ValueError: for an unknown preset or numbers out of range.
    """
    from textdiff.text.presets import PRESETS

    if args.preset not in PRESETS:
        raise ValueError(f"Unknown preset {args.preset!r}: choose {', '.join(PRESETS)}.")
    for name in ("max_steps", "learning_rate", "save_steps"):
        given = getattr(args, name)
        if given is not None and not 0 < given < math.inf:
            raise ValueError(f"--{name.replace('_', '-')} is {given}: give a number above zero.")
    if not 0 <= args.seed < 2**32 - 1:
        raise ValueError(f"--seed is {args.seed}: give a number from 0 to {2**32 - 2}.")
    preset = PRESETS[args.preset]
    return preset if args.max_steps is None else replace(preset, max_steps=args.max_steps)


def run_settings(args: argparse.Namespace) -> dict[str, object]:
    """The settings with which alone a run may go on."""
    from textdiff.text.run import RESUMABLE

    return {name: value for name, value in vars(args).items() if name not in RESUMABLE}


def check_same_run(args: argparse.Namespace, folder: Path, *, resuming: bool) -> None:
    """Drop the tokenizer that another command left before its first checkpoint.

    Raises:
        ValueError: if the folder is a file, or holds checkpoints or a model of a run with other settings.
    """
    from textdiff.text.run import RUN_FILE
    from textdiff.text.tokenizer import TOKENIZER_FILE
    from textdiff.text.training import drop_half_written

    if folder.exists() and not folder.is_dir():
        raise ValueError(f"--output-dir {folder} is a file: name a folder.")
    record = folder / RUN_FILE
    before = json.loads(record.read_text(encoding="utf-8")) if record.is_file() else None
    if before == run_settings(args):
        drop_half_written(folder)
    elif resuming or (folder / "config.json").is_file():
        raise ValueError(
            f"{folder} holds a run with other settings: repeat its command or name a new folder."
        )
    else:
        (folder / TOKENIZER_FILE).unlink(missing_ok=True)


def record_run(args: argparse.Namespace, folder: Path, tokenizer: Tokenizer) -> None:
    """Write the run's settings and its tokenizer, which another process may have dropped as a stale one."""
    from textdiff.text.run import RUN_FILE
    from textdiff.text.tokenizer import save_tokenizer

    save_tokenizer(tokenizer, folder)
    draft = folder / f"{RUN_FILE}.part"
    draft.write_text(json.dumps(run_settings(args), indent=1) + "\n", encoding="utf-8")
    os.replace(draft, folder / RUN_FILE)


def diffusion_parameters(preset: Preset, vocab_size: int) -> int:
    """Parameters of the preset's diffusion model at V = `vocab_size` tokens."""
    import torch

    from textdiff.text.model import DiffusionLMConfig, DiffusionLMModel

    make = DiffusionLMConfig.diffusion_lm if preset.recipe == "diffusion_lm" else DiffusionLMConfig
    with torch.device("meta"):
        return DiffusionLMModel(make(**preset.model, vocab_size=vocab_size)).num_parameters()


def rival_config(preset: Preset, vocab_size: int, *, fill_in_the_middle: bool = False) -> GPT2Config:
    """A GPT-2 with the width, heads and longest text of the preset's model, and its number of parameters.

    Its blocks are as many as come nearest with the usual 4 H in their MLPs, H the width; the MLPs then make
    up for the difference, in units of 8.
    """
    from transformers import GPT2Config

    from textdiff.text.causal_rows import CausalRows, FillInTheMiddleRows, Sentinels
    from textdiff.text.model import DiffusionLMConfig

    shape = DiffusionLMConfig(**preset.model)
    H, extra = shape.hidden_size, {}
    added, size = CausalRows.added, vocab_size
    if fill_in_the_middle:
        added, size = FillInTheMiddleRows.added, vocab_size + len(Sentinels._fields)
        extra["fill_in_the_middle"] = Sentinels.after(vocab_size)._asdict()
    positions = shape.max_position_embeddings + added
    wanted = diffusion_parameters(preset, vocab_size) - (size + positions + 2) * H
    attention, unit = 4 * H * H + 9 * H, 2 * H + 1  # of a block: all but its MLP's weights; one unit of those
    layers = max(1, round(wanted / (attention + 4 * H * unit)))
    inner = max(8, 8 * round((wanted / layers - attention) / unit / 8))
    return GPT2Config(
        vocab_size=size, n_positions=positions, n_embd=H, n_layer=layers, n_inner=inner,
        n_head=shape.num_attention_heads, bos_token_id=1, eos_token_id=2, pad_token_id=0,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, **extra,
    )  # fmt: skip


def rival_rows(
    preset: Preset, data: PresetData, config: GPT2Config, *, seed: int
) -> tuple[CausalRows, CausalRows]:
    """Rows to train on, passing over the pieces as often as the diffusion run does, and to validate with."""
    from textdiff.text.causal_rows import CausalRows, FillInTheMiddleRows, Sentinels
    from textdiff.text.data import pack
    from textdiff.text.run import VALIDATION_ROWS

    length = max(preset.row_length, config.n_positions)
    named = getattr(config, "fill_in_the_middle", None)
    made = []
    for number, pieces in enumerate((data.train, data.validation)):
        options = {"total": None, "seed": seed + number}
        if named is None:
            made.append(CausalRows(pieces, length, **options))
        else:
            made.append(FillInTheMiddleRows(pieces, length, sentinels=Sentinels(**named), **options))
    train, validation = made
    plain = len(pack([len(piece) for piece in data.train], preset.row_length))
    train.total = max(1, round(preset.max_steps * len(train.rows) / plain)) * preset.batch_size
    validation.total = min(validation.total, VALIDATION_ROWS)
    return train, validation


def rival_trainer(args: argparse.Namespace, preset: Preset, data: PresetData) -> DiffusionTrainer:
    """A fresh model with its rows and the Trainer's settings."""
    import torch
    from transformers import GPT2LMHeadModel, set_seed

    from textdiff.text.run import training_arguments
    from textdiff.text.training import DiffusionTrainer, EMACallback

    set_seed(args.seed)
    config = rival_config(
        preset, data.tokenizer.get_vocab_size(), fill_in_the_middle=args.fill_in_the_middle
    )
    kernel = "sdpa" if torch.cuda.is_available() else "eager"
    model = GPT2LMHeadModel._from_config(config, attn_implementation=kernel)
    train, validation = rival_rows(preset, data, config, seed=args.seed)
    settings = argparse.Namespace(
        output_dir=args.output_dir, save_steps=args.save_steps, eval_steps=args.save_steps, logging_steps=50,
        seed=args.seed, gradient_accumulation_steps=1, bf16=True, use_cpu=False, compile=False,
    )  # fmt: skip
    steps = train.total // preset.batch_size
    arguments = training_arguments(
        settings, replace(preset, max_steps=steps, learning_rate=args.learning_rate)
    )
    arguments.label_names = ["labels"]
    ema = EMACallback(model, EMA_DECAY)
    return DiffusionTrainer(
        model=model, args=arguments, train_dataset=train, eval_dataset=validation, ema=ema
    )


if __name__ == "__main__":
    run(main)
