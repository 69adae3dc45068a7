#!/usr/bin/env python3
"""The rival for pairs: a Marian-shaped encoder-decoder (transformers) of a preset's size, tokenizer and data.

    python benchmarks/encoder_decoder.py --preset de-en --output-dir runs/de-en-marian

It has as many parameters as the preset's diffusion model, half of its blocks on either side, and sees the
same pairs at the same steps, in the same order. No source is left out. The decoder starts with <s> and ends
with </s>.

Stopped at any moment and started again with the same command, it goes on from the last checkpoint.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from autoregressive import diffusion_parameters
from rival_runs import rival_parser, train_rival
from torch import Tensor

from textdiff.cli import run
from textdiff.text.causal_rows import END, IGNORED, START
from textdiff.text.pairs import PairRows

if TYPE_CHECKING:
    from transformers import MarianConfig, MarianMTModel

    from textdiff.text.presets import Preset
    from textdiff.text.run import PresetData

PAD = 0
SOURCES_AT_ONCE = 32


class PairBatches(PairRows):
    """The pairs of one packed row of the diffusion model, apart: lists, which `collate` makes a batch of."""

    def __getitem__(self, index: int) -> dict[str, Any]:
        """The pairs of row `index`: lists of sources and of targets, arrays of token ids."""
        pairs = [(self.pieces[i], self.sources[i]) for i in self._row(index)]
        return {
            "sources": [piece[:start] for piece, start in pairs],
            "targets": [piece[start + 1 :] for piece, start in pairs],
        }  # fmt: skip

    @staticmethod
    def collate(rows: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
        """input_ids and attention_mask [N, S], labels [N, T + 1] of all pairs of rows, padded right."""
        sources = [source for row in rows for source in row["sources"]]
        targets = [np.append(target, END) for row in rows for target in row["targets"]]
        ids, mask = padded(sources, PAD)
        return {"input_ids": ids, "attention_mask": mask, "labels": padded(targets, IGNORED)[0]}


def padded(lists: Sequence[Any], filler: int) -> tuple[Tensor, Tensor]:
    """Lists of ids as one tensor, padded on the right, and where they are real; integers [N, L] each."""
    rows = [torch.as_tensor(np.asarray(ids), dtype=torch.long) for ids in lists]
    ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=filler)
    sizes = torch.tensor([len(row) for row in rows])
    return ids, (torch.arange(ids.shape[1]) < sizes[:, None]).long()


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Command line of the script."""
    return rival_parser(__doc__, save_steps=500, logging_steps=50).parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Train the rival, or go on from its last checkpoint."""
    train_rival(parse_args(argv), rival, pairs=True)


def rival_config(preset: Preset, vocab_size: int) -> MarianConfig:
    """A Marian with the width, heads and window of the preset's model, and its number of parameters.

    Encoder and decoder have half of its blocks each; their MLPs make up for the difference, in units of 8.
    """
    from transformers import MarianConfig

    from textdiff.text.model import DiffusionLMConfig

    shape = DiffusionLMConfig(**preset.model)
    half = max(1, shape.num_hidden_layers // 2)

    def config(inner: int) -> MarianConfig:
        return MarianConfig(
            vocab_size=vocab_size, d_model=shape.hidden_size, encoder_ffn_dim=inner, decoder_ffn_dim=inner,
            encoder_layers=half, decoder_layers=half, encoder_attention_heads=shape.num_attention_heads,
            decoder_attention_heads=shape.num_attention_heads,
            max_position_embeddings=shape.max_position_embeddings,
            dropout=0.0, attention_dropout=0.0, activation_dropout=0.0, activation_function="gelu",
            scale_embedding=True, share_encoder_decoder_embeddings=True, use_cache=False,
            pad_token_id=PAD, bos_token_id=START, eos_token_id=END, decoder_start_token_id=START,
            forced_eos_token_id=END,
        )  # fmt: skip

    least, more = (parameters(config(inner)) for inner in (8, 16))
    units = round((diffusion_parameters(preset, vocab_size) - least) / (more - least))
    return config(8 * (1 + max(0, units)))


def parameters(config: MarianConfig) -> int:
    """Trained parameters of a Marian; its positions are fixed sinusoids."""
    from transformers import MarianMTModel

    with torch.device("meta"):
        return MarianMTModel(config).num_parameters(only_trainable=True)


def rival(
    args: argparse.Namespace, preset: Preset, data: PresetData
) -> tuple[MarianMTModel, PairBatches, PairBatches]:
    """A fresh model, its rows to train on and those to validate with."""
    from transformers import MarianMTModel

    from textdiff.text.run import VALIDATION_ROWS

    model = MarianMTModel(rival_config(preset, data.tokenizer.get_vocab_size()))
    options: dict[str, Any] = {"between": START, "source_dropout": 0.0}
    total = preset.max_steps * preset.batch_size
    train = PairBatches(data.train, preset.row_length, total=total, seed=args.seed, **options)
    validation = PairBatches(data.validation, preset.row_length, total=None, seed=args.seed + 1, **options)
    validation.total = min(validation.total, VALIDATION_ROWS)
    return model, train, validation


def translate(model: MarianMTModel, sources: Sequence[Sequence[int]], **how: Any) -> list[list[list[int]]]:
    """What a trained rival makes of sources: for each, its `num_return_sequences` (1) targets, in token ids.

    Args:
        model: a trained one.
        sources: token ids.
        **how: of `generate`, such as num_beams=4, or do_sample=True.
    """
    count, found = how.get("num_return_sequences", 1), {}
    order = sorted(range(len(sources)), key=lambda i: len(sources[i]))
    for at in range(0, len(order), SOURCES_AT_ONCE):
        chosen = order[at : at + SOURCES_AT_ONCE]
        ids, mask = padded([sources[i] for i in chosen], PAD)
        with torch.inference_mode():
            drawn = model.generate(
                input_ids=ids, attention_mask=mask, use_cache=True,
                max_length=model.config.max_position_embeddings,
                **{"num_beams": 1, "do_sample": False, **how},
            ).tolist()  # fmt: skip
        for row, i in enumerate(chosen):
            found[i] = [_target(one) for one in drawn[row * count : (row + 1) * count]]
    return [found[i] for i in range(len(sources))]


def _target(ids: list[int]) -> list[int]:
    """Generated ids up to their end, without special tokens."""
    ended = ids[1 : ids.index(END, 1)] if END in ids[1:] else ids[1:]
    return [token for token in ended if token not in (PAD, START)]


if __name__ == "__main__":
    run(main)
