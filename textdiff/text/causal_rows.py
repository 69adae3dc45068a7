"""Pieces for an autoregressive rival: packed, attention within a piece, to the left only.

A piece is `<s> tokens </s>`, so both models pay for the same events: every token, and its length (here
as the end token). For a rival that fills blanks most pieces are `<s> PRE prefix SUF suffix MID middle </s>`
instead (Bavarian et al., arXiv 2207.14255: prefix, suffix, middle).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from textdiff.text.data import PackedRows, pack

START, END = 1, 2
IGNORED = -100  # label that the loss passes over
FILL_IN_THE_MIDDLE_RATE = 0.9  # of the pieces, Bavarian et al., section 3
MIDDLE_STOP = 0.25  # chance that a middle ends after a token: that of `known_mask`'s spans


class CausalRows(PackedRows):
    """Packed rows with labels, position ids and a block-diagonal causal mask, as causal models take them.

    Args:
        pieces: token ids without special tokens.
        row_length: L, with the special tokens.
        total: rows of the run, None = one pass.
        seed: of the order.

    Raises:
        ValueError: if a piece has no room in a row.
    """

    added = 2  # most special tokens a piece is given

    def __init__(
        self, pieces: Sequence[np.ndarray], row_length: int, *, total: int | None, seed: int = 0
    ) -> None:
        super().__init__(pieces, row_length, total=total, seed=seed, conditional=False)
        longest = max(len(piece) for piece in self.pieces) + self.added
        if longest > row_length:
            raise ValueError(
                f"A row has {row_length} positions, but the longest piece takes {longest} with its special "
                "tokens: make rows longer."
            )
        self.rows = pack([len(piece) + self.added for piece in self.pieces], row_length)
        self.total = len(self.rows) if total is None else total
        self.tokens_per_row = sum(len(piece) for piece in self.pieces) / len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """Row `index`: input_ids, labels and position_ids [L], attention_mask [1, L, L] (0 = look)."""
        rng = np.random.default_rng([self.seed, index])
        ids, segments, positions = torch.zeros(3, self.row_length, dtype=torch.long)
        at = 0
        for number, piece in enumerate((self.pieces[i] for i in self._row(index)), start=1):
            sequence = self._sequence(piece.tolist(), rng)
            span = slice(at, at + len(sequence))
            ids[span], segments[span] = torch.tensor(sequence), number
            positions[span] = torch.arange(len(sequence))
            at = span.stop
        allowed = (segments[:, None] == segments[None, :]).tril()
        mask = torch.zeros(allowed.shape).masked_fill(~allowed, torch.finfo(torch.float32).min)
        labels = torch.where(positions > 0, ids, IGNORED)  # not the starts, and not the padding
        return {"input_ids": ids, "labels": labels, "position_ids": positions, "attention_mask": mask[None]}

    def _sequence(self, piece: list[int], rng: np.random.Generator) -> list[int]:
        """A piece with its special tokens."""
        return [START, *piece, END]


class Sentinels(NamedTuple):
    """The three token ids that stand before the parts of a piece, beyond its tokenizer's."""

    prefix: int
    suffix: int
    middle: int

    @classmethod
    def after(cls, vocab_size: int) -> Sentinels:
        """The first ids that a tokenizer of `vocab_size` tokens leaves free."""
        return cls(vocab_size, vocab_size + 1, vocab_size + 2)

    def prompt(self, prefix: Sequence[int], suffix: Sequence[int]) -> list[int]:
        """What stands before the middle: `<s> PRE prefix SUF suffix MID`."""
        return [START, self.prefix, *prefix, self.suffix, *suffix, self.middle]


class FillInTheMiddleRows(CausalRows):
    """Rows of pieces of which nine in ten have their middle moved behind their end.

    Which, and where, is drawn from (seed, row), so that every pass over the pieces moves others.

    Args:
        pieces: token ids without special tokens.
        row_length: L, with the special tokens.
        sentinels: of the model.
        total: rows of the run, None = one pass.
        seed: of the order and of the middles.
    """

    added = 5

    def __init__(
        self,
        pieces: Sequence[np.ndarray],
        row_length: int,
        *,
        sentinels: Sentinels,
        total: int | None,
        seed: int = 0,
    ) -> None:
        super().__init__(pieces, row_length, total=total, seed=seed)
        self.sentinels = sentinels

    def _sequence(self, piece: list[int], rng: np.random.Generator) -> list[int]:
        if rng.random() >= FILL_IN_THE_MIDDLE_RATE:
            return super()._sequence(piece, rng)
        middle = draw_middle(len(piece), rng)
        prompt = self.sentinels.prompt(piece[: middle.start], piece[middle.stop :])
        return [*prompt, *piece[middle], END]


def draw_middle(length: int, rng: np.random.Generator) -> slice:
    """A span of a piece of `length` tokens: four tokens in the mean, from one to all, each place as likely.

    `known_mask` leaves spans of two and more blank, and single tokens by other means; here one draw has both.
    """
    size = min(length, int(rng.geometric(MIDDLE_STOP)))
    start = int(rng.integers(0, length - size, endpoint=True))
    return slice(start, start + size)
