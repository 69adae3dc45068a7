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
STEPS_OF_A_DRAWN_WAY = 1  # of an element that steps towards a value drawn for it
ORDERS = ("stretches", "spread", "left", "blocks", "random")
BLOCK = 4  # elements of a block


def own_times(t: Tensor, start: Tensor, wait: Tensor) -> Tensor:
    """Every element's own time at clock time t: 1 until it leaves the noise, 0 from when it is clean.

    Args:
        t: the clock, in [0, 1], broadcastable to `start`; 1 is noise.
        start: each element's place in the order, in [0, 1]; 0 leaves the noise first.
        wait: how long the last one waits, in units of one element's own way, at least 0; 0 = all move together.
    """
    return ((1 + wait) * t - wait * (1 - start)).clamp(0.0, 1.0)


def strides_of(turn: Tensor, count: Tensor, steps: int) -> Tensor:
    """In which of `steps` strides, from 0, each element leaves the noise if it does so in one whole stride.

    As many elements leave in each, but for one more in the later ones, when more is known; no two in the same where
    there are strides enough.

    Args:
        turn: from `turns_of`.
        count: elements of the group, broadcastable to `turn`.
        steps: strides.
    """
    most = (count / steps).ceil()  # in a stride; one less in the first `few` ones
    few = most * steps - count
    late = few + (turn - few * (most - 1)) // most.clamp(min=1)
    crowded = torch.where(late < few, turn // (most - 1).clamp(min=1), late)
    return torch.where(count > steps, crowded, (turn * steps / count.clamp(min=1)).floor())


def stride_times(t: Tensor, stride: Tensor, steps: int) -> Tensor:
    """Own times on an even grid of the clock of elements that leave in one whole stride: 1 or 0, float64.

    Args:
        t: the clock, i / steps, broadcastable to `stride`.
        stride: from `strides_of`.
        steps: strides.
    """
    return (stride >= (steps * (1 - t)).round()).double()


def wait_of(
    stagger: float | Tensor, count: Tensor, *, steps: int | None = None, steps_of_a_way: int = STEPS_OF_A_WAY
) -> Tensor:
    """The wait (`own_times`) of `count` elements that leave the noise at even distances.

    Args:
        stagger: distance between two of them, in units of one element's own way; a number, or one shaped like `count`.
        count: number of elements, any shape.
        steps: points of the clock that will be looked at; None = as many as one likes.
        steps_of_a_way: how many of them an element's own way takes at least: few steps keep elements closer together.
    """
    wanted = stagger * (count - 1).clamp(min=0)
    return wanted if steps is None else wanted.clamp(max=max(0.0, steps / steps_of_a_way - 1))


def turns_of(order: Tensor, group: Tensor, free: Tensor) -> tuple[Tensor, Tensor]:
    """How many free elements of its group leave the noise before each, and how many the group has; float64 [B, L] both.

    Args:
        order: numbers without ties, [B, L]; the least leaves the noise first. Continuous noise is a random order.
        group: integers [B, L].
        free: bool [B, L]; the others have turn 0.
    """
    rivals = _rivals(group, free)
    before = (rivals & (order[:, None, :] < order[:, :, None])).sum(-1)
    return torch.where(free, before, 0).double(), rivals.sum(-1).double()


def starts_of(order: Tensor, group: Tensor, free: Tensor) -> tuple[Tensor, Tensor]:
    """Turns as places evenly spread over [0, 1], and the numbers of elements; as `turns_of`."""
    turn, count = turns_of(order, group, free)
    return turn / (count - 1).clamp(min=1), count


def order_of(name: str, noise: Tensor, group: Tensor, free: Tensor, *, steps: int = 0) -> Tensor:
    """Numbers for `turns_of`, [B, L].

    Args:
        name: of `ORDERS`. One at a time: "left" is from left to right, "random" the order of the noise; "blocks" goes
            through blocks of `BLOCK` free elements from left to right, and through each at random (BD3-LM, arXiv
            2503.09573). For fewer steps than elements: "stretches" is from left to right at several places at once, as
            few as the steps allow: a stretch has an element for each step, and the last, shorter one sets out late so
            that all end together; "spread" takes every element as far as can be from those of its group before it
            (the farthest-first traversal, Gonzalez 1985, doi 10.1016/0304-3975(85)90224-5). Both keep those that leave
            together far apart, so that they know little of each other.
        noise: continuous, [B, L]; it also says where "spread" begins, and which of two as far comes first.
        group: integers [B, L].
        free: bool [B, L]; places of the others are not read.
        steps: where there is one for each element, "stretches" is one, from left to right, and "spread" is random; 0 =
            there is for "stretches", there is not for "spread".
    """
    if name == "random":
        return noise.double()
    rivals = _rivals(group, free)
    place, count = torch.arange(noise.shape[1], device=noise.device), rivals.sum(-1)
    before = (rivals & (place[None, :] < place[:, None])).sum(-1)
    if name == "left":
        return before.double()
    if name == "blocks":
        return before // BLOCK + noise.argsort(1).argsort(1).double() / noise.shape[1]
    if name == "stretches":
        size = steps or noise.shape[1]
        stretch, last = before // size, (count - 1).clamp(min=0) // size
        late = torch.where(stretch == last, size * (last + 1) - count, 0)
        return (before % size + late).double() * noise.shape[1] + stretch
    crowded = count > steps
    if not crowded.any():
        return noise.double()
    return torch.where(crowded, _farthest_first(noise, group, free), noise.double())


def ranks_of(order: Tensor, group: Tensor, free: Tensor) -> Tensor:
    """The turn at which each element of a group is clean, from 1, int64 [B, L]; 0 where there is no group.

    Args:
        order: from `order_of`.
        group: integers [B, L], 0 = none.
        free: bool [B, L]; the others are clean from the beginning, and come first, from left to right.
    """
    place = torch.arange(order.shape[1], device=order.device, dtype=order.dtype)
    turn = torch.where(free, order, place - order.shape[1] + order.min())
    before = _rivals(group, group > 0) & (turn[:, None, :] < turn[:, :, None])
    return torch.where(group > 0, before.sum(-1) + 1, 0)


def _rivals(group: Tensor, free: Tensor) -> Tensor:
    """Whether place j is free and of the group of place i, bool [B, L, L]."""
    return (group[:, :, None] == group[:, None, :]) & free[:, None, :]


def _farthest_first(noise: Tensor, group: Tensor, free: Tensor) -> Tensor:
    """The turn at which each free place is taken, [B, L]; infinite elsewhere."""
    length = noise.shape[1]
    place, tie = torch.arange(length, device=noise.device), noise.argsort(1).argsort(1) / (2 * length)
    gap = torch.full_like(tie, length, dtype=torch.float64)  # to the nearest of the group that has been taken
    order = torch.full_like(gap, torch.inf)
    for turn in range(int(free.sum(1).max())):
        taken = (gap + tie).masked_fill(~free, -1).argmax(1, keepdim=True)
        order.scatter_reduce_(1, taken, torch.full_like(gap[:, :1], turn), "amin")  # some rows are through
        near = torch.minimum(gap, (place - taken).abs())
        gap = torch.where(group == group.gather(1, taken), near, gap)
    return order
