"""Energies on text: what a wish costs, in nats, where a text is not yet decided.

An energy takes p [B, L, V], every position's distribution over tokens (zeros on padding), and t, and gives [B]; low is
good. One that stands for a condition y is -log p(y | text), so energies of several conditions add up:
`topic + 2 * Contains(...)`. Write your own as a function of (p, t); `TextEnergy` is there for the arithmetic.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from textdiff.diffusion.guidance import Energy

CERTAIN = 1e-6  # chances this close to 0 or 1 cost no more


class TextEnergy(ABC):
    """An energy that can be added to others and multiplied by a number."""

    @abstractmethod
    def __call__(self, p: Tensor, t: Tensor) -> Tensor:
        """The energy of every text, [B] in nats.

        Args:
            p: distributions over tokens, [B, L, V]; zeros on padding, one token where it is given.
            t: times in [0, 1] of the noise they were estimated under, [B, L].
        """

    def __add__(self, other: Energy) -> TextEnergy:
        return Weighted([(1.0, self), (1.0, other)])

    def __mul__(self, weight: float) -> TextEnergy:
        return Weighted([(weight, self)])

    __rmul__ = __mul__


class Weighted(TextEnergy):
    """A weighted sum of energies."""

    def __init__(self, terms: Sequence[tuple[float, Energy]]) -> None:
        self.terms = list(terms)

    def __call__(self, p: Tensor, t: Tensor) -> Tensor:
        """As in `TextEnergy`."""
        return torch.stack([weight * energy(p, t) for weight, energy in self.terms]).sum(0)


class Contains(TextEnergy):
    """-log of the chance that one of several token sequences occurs, tokens and places taken as independent.

    Args:
        spellings: token ids of each.
        place: where it starts, in tokens from 0; None = anywhere.
        joining: bool [V], tokens that may not follow, since they would go on with the word; none if left out.

    Raises:
        ValueError: if there is no spelling, or an empty one.
    """

    def __init__(
        self, spellings: Sequence[Sequence[int]], *, place: int | None = None, joining: Tensor | None = None
    ) -> None:
        if not spellings or not all(spellings):
            raise ValueError("A keyword has no tokens: give words of at least one character.")
        self.spellings, self.place, self.joining = [list(ids) for ids in spellings], place, joining

    def __call__(self, p: Tensor, t: Tensor) -> Tensor:
        """As in `TextEnergy`."""
        chances = occurrence(p, self.spellings, self.joining)
        if self.place is not None:
            chances = chances[:, self.place : self.place + 1]
        absent = torch.log1p(-chances.clamp(max=1 - CERTAIN)).sum(1)
        return -torch.log((-torch.expm1(absent)).clamp(min=CERTAIN))


class Lacks(TextEnergy):
    """-log of the chance that none of several token sequences occurs; arguments as for `Contains`."""

    def __init__(self, spellings: Sequence[Sequence[int]], *, joining: Tensor | None = None) -> None:
        self.unwanted = Contains(spellings, joining=joining)

    def __call__(self, p: Tensor, t: Tensor) -> Tensor:
        """As in `TextEnergy`."""
        chances = occurrence(p, self.unwanted.spellings, self.unwanted.joining)
        return -torch.log1p(-chances.clamp(max=1 - CERTAIN)).sum(1)


def occurrence(p: Tensor, spellings: Sequence[Sequence[int]], joining: Tensor | None = None) -> Tensor:
    """Chance that one of the sequences starts at each position and that no joining token follows it, [B, L].

    Args:
        p: [B, L, V].
        spellings: token ids.
        joining: bool [V], or None.
    """
    ends_well = torch.ones_like(p[..., 0]) if joining is None else 1 - p @ joining.to(p)
    total = torch.zeros_like(p[..., 0])
    for ids in spellings:
        each = [shifted(p[..., token], k, outside=0.0) for k, token in enumerate(ids)]
        total = total + torch.stack([*each, shifted(ends_well, len(ids), outside=1.0)]).prod(0)
    return total


def shifted(values: Tensor, k: int, *, outside: float) -> Tensor:
    """values [B, L], those k places further on, and `outside` behind the end."""
    k = min(k, values.shape[1])
    return torch.nn.functional.pad(values[:, k:], (0, k), value=outside)
