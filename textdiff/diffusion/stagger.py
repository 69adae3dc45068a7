"""Staggered noise: one clock for all, but elements that leave the noise one after another.

Every element has a time of its own, a fixed function of the clock. As no such function depends on the data, the
bound of Gaussian diffusion holds for each (MuLAN, arXiv 2312.13236, section 3): its integral is taken along the
clock. Between the ends lie synchronous diffusion (no stagger) and one element at a time (AR-Diffusion, arXiv
2305.09515, does so from left to right). What stands clean beside what is noise is easier to learn from than
everything half known: docs/log.md.
"""

from __future__ import annotations

import torch
from torch import Tensor

STEPS_OF_A_WAY = 2


def own_times(t: Tensor, start: Tensor, spread: Tensor) -> Tensor:
    """Every element's own time at clock time t: 1 until it leaves the noise, 0 from when it is clean.

    Args:
        t: the clock, in [0, 1], broadcastable to `start`; 1 is noise.
        start: each element's place in the order, in [0, 1]; 0 leaves the noise first.
        spread: how long the last one waits, in units of one element's own way, at least 0; 0 = all move together.
    """
    return ((1 + spread) * t - spread * (1 - start)).clamp(0.0, 1.0)


def spread_of(stagger: float | Tensor, count: Tensor, *, steps: int | None = None) -> Tensor:
    """The spread (`own_times`) of `count` elements that leave the noise at even distances.

    Args:
        stagger: distance between two of them, in units of one element's own way; a number, or one shaped like `count`.
        count: number of elements, any shape.
        steps: points of the clock that will be looked at; an element's own way then takes at least
            `STEPS_OF_A_WAY` of them, so few steps keep elements closer together. None = no such bound.
    """
    wanted = stagger * (count - 1).clamp(min=0)
    return wanted if steps is None else wanted.clamp(max=max(0.0, steps / STEPS_OF_A_WAY - 1))


def random_starts(noise: Tensor, group: Tensor, free: Tensor) -> tuple[Tensor, Tensor]:
    """Places in a random order of the free elements of every group, evenly spread over [0, 1], and their numbers.

    Args:
        noise: any continuous random numbers, [B, L]; their order is the order.
        group: integers [B, L].
        free: bool [B, L]; the others get place 0.

    Returns:
        start [B, L] and count [B, L], float64: how many free elements an element's group has.
    """
    rivals = (group[:, :, None] == group[:, None, :]) & free[:, None, :]
    before = (rivals & (noise[:, None, :] < noise[:, :, None])).sum(-1).double()
    count = rivals.sum(-1).double()
    return torch.where(free, before / (count - 1).clamp(min=1), 0.0), count
