"""Corrections: state in, state out, after every move of the sampler.

`keep_known` is infilling and inpainting alike: given elements stay given, whatever their axes mean.
"""

from __future__ import annotations

import torch
from torch import Tensor

from textdiff.diffusion.samplers import Correction, Generators, draw_noise
from textdiff.diffusion.scheduler import Scheduler, expand_left


def keep_known(
    x0_known: Tensor,
    known: Tensor,
    scheduler: Scheduler,
    *,
    renoise: bool = False,
    generator: Generators = None,
) -> Correction:
    """Puts the known elements back into the state after every move; at t = 0 they are exact.

    Before the first move nothing is known to the state: start from `correct(x, x, s)` at the grid's first
    time s.

    Args:
        x0_known: Clean data [B, ...]; its values where nothing is known do not matter.
        known: bool, True = given: the leading axes of x0_known ([B, L]), or broadcastable ([B, 1, H, W]).
        scheduler: The noise curve.
        renoise: True puts back alpha x0 + sigma eps with fresh eps, the level of the rest (RePaint,
            arXiv 2201.09865, eq. 8a). False puts back x0 itself, for denoisers that know which elements are
            given (Diffusion-LM's code does the same).
        generator: Source of that noise.

    Raises:
        ValueError: If known is not bool or does not fit x0_known.
    """
    if known.dtype != torch.bool:
        raise ValueError(f"known has dtype {known.dtype}: give torch.bool, True where the value is given")
    given = expand_left(known, x0_known, "known")

    def correct(x_s: Tensor, x0_hat: Tensor, s: Tensor) -> Tensor:
        value = x0_known.to(x_s.dtype)
        if renoise:
            noised = scheduler.add_noise(value, draw_noise(x_s, generator), s)
            value = torch.where(expand_left(s, x_s) > 0, noised, value)
        return torch.where(given, value, x_s)

    return correct
