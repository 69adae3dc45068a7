"""The same pieces for an autoregressive rival: `<s> tokens </s>`, packed, attention within a piece, to the left only.

Both models then pay for the same events: every token of the piece, and its length (here as the end token).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from textdiff.text.data import PackedRows

START, END = 1, 2
IGNORED = -100  # label that the loss passes over


class CausalRows(PackedRows):
    """Packed rows with labels, position ids and a block-diagonal causal mask, as transformers' causal models take them.

    Args:
        pieces: token ids without special tokens.
        row_length: L, with the special tokens.
        total: rows of the run, None = one pass.
        seed: of the order.
    """

    def __init__(self, pieces: Sequence[np.ndarray], row_length: int, *, total: int | None, seed: int = 0) -> None:
        wrapped = [np.concatenate([[START], piece, [END]]) for piece in pieces]
        super().__init__(wrapped, row_length, total=total, seed=seed, conditional=False)
        self.content_tokens_per_row = sum(len(piece) for piece in pieces) / len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """Row `index`: input_ids, labels and position_ids [L], attention_mask [1, L, L] (0 = look, -inf-like = not)."""
        row = super().__getitem__(index)
        ids, segments = row["input_ids"], row["attention_mask"]
        labels = torch.where((segments == 0) | (ids == START), IGNORED, ids)
        place = torch.arange(len(ids))
        starts = torch.where(ids == START, place, 0).cummax(0).values
        allowed = (segments[:, None] == segments[None, :]).tril()
        mask = torch.zeros(allowed.shape).masked_fill(~allowed, torch.finfo(torch.float32).min)
        positions = (place - starts) * (segments > 0)
        return {"input_ids": ids, "labels": labels, "position_ids": positions, "attention_mask": mask[None]}
