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
from typing import TYPE_CHECKING

from rival_runs import rival_parser, train_rival

from textdiff.cli import run

if TYPE_CHECKING:
    from transformers import GPT2Config, GPT2LMHeadModel

    from textdiff.text.causal_rows import CausalRows
    from textdiff.text.presets import Preset
    from textdiff.text.run import PresetData


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Command line of the script."""
    parser = rival_parser(__doc__, save_steps=500, logging_steps=50)
    parser.add_argument(
        "--fill-in-the-middle", action="store_true", help="train to fill blanks, given both sides"
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Train the rival, or go on from its last checkpoint."""
    train_rival(parse_args(argv), rival)


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


def rival(
    args: argparse.Namespace, preset: Preset, data: PresetData
) -> tuple[GPT2LMHeadModel, CausalRows, CausalRows]:
    """A fresh model, its rows to train on and those to validate with."""
    import torch
    from transformers import GPT2LMHeadModel

    config = rival_config(
        preset, data.tokenizer.get_vocab_size(), fill_in_the_middle=args.fill_in_the_middle
    )
    kernel = "sdpa" if torch.cuda.is_available() else "eager"
    model = GPT2LMHeadModel._from_config(config, attn_implementation=kernel)
    return model, *rival_rows(preset, data, config, seed=args.seed)


if __name__ == "__main__":
    run(main)
