"""Corrections: state in, state out, after every move of the sampler.

`keep_known` is infilling and inpainting alike: given elements stay given, whatever their axes mean. `langevin` moves
the state towards low energy. `in_turn` makes one correction of several.
"""

from __future__ import annotations

import torch
from torch import Tensor

from textdiff.diffusion.guidance import Energy
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


def langevin(
    energy: Energy, scheduler: Scheduler, *, steps: int = 3, learning_rate: float = 0.1, fluency: float = 0.01
) -> Correction:
    """Gradient steps on the state down energy(x, s) + fluency |x - x_s|^2 / sigma^2 (Diffusion-LM, arXiv
    2205.14217, section 5.1).

    The second term keeps x near x_s, where the sampler's move ended. The steps are Adagrad's, begun anew after
    every move, and no noise is added, as in that paper's code; where the state is free of noise there are none.

    Args:
        energy: (x [B, ...], s [B]) -> [B], differentiable in x. Each sample has its own gradient.
        scheduler: The noise curve.
        steps: Gradient steps after every move.
        learning_rate: Length of the first one in every coordinate that has a gradient.
        fluency: Weight of the second term; 0 = none.

    Raises:
        ValueError: If steps is below 1, or learning_rate is not above 0, or fluency is below 0.
    """
    if steps < 1 or not learning_rate > 0 or not fluency >= 0:
        raise ValueError(
            f"steps, learning_rate and fluency are {steps}, {learning_rate} and {fluency}: "
            "give at least 1, above 0 and at least 0"
        )

    def correct(x_s: Tensor, x0_hat: Tensor, s: Tensor) -> Tensor:
        noisy = expand_left(s, x_s) > 0
        variance = (-scheduler.logsnr(expand_left(s, x_s))).sigmoid().to(x_s.dtype).clamp(min=1e-9)
        with torch.inference_mode(False), torch.enable_grad():
            start = x_s.clone()
            x = start.clone().requires_grad_()
            optimiser = torch.optim.Adagrad([x], lr=learning_rate)
            for _ in range(steps):
                optimiser.zero_grad()
                distance = ((x - start) ** 2 / variance).flatten(1).sum(1)
                (energy(x, s) + fluency * distance).sum().backward()
                optimiser.step()
        return torch.where(noisy, x.detach(), x_s)

    return correct


def in_turn(*corrections: Correction) -> Correction:
    """Each correction on what the one before it made of the state."""

    def correct(x_s: Tensor, x0_hat: Tensor, s: Tensor) -> Tensor:
        for one in corrections:
            x_s = one(x_s, x0_hat, s)
        return x_s

    return correct
