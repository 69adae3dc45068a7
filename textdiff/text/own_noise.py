"""Random numbers of which every candidate has its own, so that what comes out does not depend on its company."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor


class OwnNoise:
    """Random numbers of which every candidate has a stream of its own, whatever the padding beside it.

    Args:
        lengths: tokens of every candidate.
        seeds: one for each.
        device: of what is drawn.
    """

    def __init__(self, lengths: Sequence[int], seeds: Sequence[int], device: torch.device) -> None:
        self.lengths, self.device = lengths, device
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def normal(self, dim: int) -> Tensor:
        """Standard normal, [B, L, dim]; zero on padding."""
        return self._drawn(lambda length, own: torch.randn(length, dim, generator=own))

    def uniform(self) -> Tensor:
        """In [0, 1), float64 [B, L]; zero on padding."""
        return self._drawn(lambda length, own: torch.rand(length, generator=own, dtype=torch.float64))

    def _drawn(self, row: Callable[[int, torch.Generator], Tensor]) -> Tensor:
        rows = [row(length, own) for length, own in zip(self.lengths, self.generators, strict=True)]
        return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True).to(self.device)


def candidate_seeds(seed: int, count: int) -> list[int]:
    """A number for each candidate's noise, which does not depend on how many there are."""
    return [int(np.random.SeedSequence([seed, k]).generate_state(1, np.uint64)[0] >> 1) for k in range(count)]
