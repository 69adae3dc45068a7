"""Guidance: denoiser in, denoiser out.

Every wrapper changes x0_hat; the score it stands for is (alpha x0_hat - x_t) / sigma^2 (Tweedie's formula).
So a change d of the score is a change sigma^2 / alpha * d of x0_hat, and samplers never hear of guidance. As
the factor grows without bound towards t = 1, more scale is not more control.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from textdiff.diffusion.samplers import Denoiser, levels_at
from textdiff.diffusion.scheduler import Scheduler

Energy = Callable[[Tensor, Tensor], Tensor]  # (x_t [B, ...], t [B]) -> [B]; low is good; energies add


def classifier_free(cond: Denoiser, uncond: Denoiser, guidance_scale: float) -> Denoiser:
    """uncond + guidance_scale * (cond - uncond) (Ho & Salimans, arXiv 2207.12598, eq. 6, with scale 1 + w).

    Mixing x0_hat, eps or v is the same, all three being linear in each other. It costs two calls.

    Args:
        cond: The denoiser told the condition.
        uncond: The denoiser not told.
        guidance_scale: 0 is uncond, 1 is cond (and calls it alone), above 1 exaggerates the condition.
    """
    if guidance_scale == 1.0:
        return cond

    def guided(x_t: Tensor, t: Tensor, x0_prev: Tensor | None) -> Tensor:
        without = uncond(x_t, t, x0_prev)
        return without + guidance_scale * (cond(x_t, t, x0_prev) - without)

    return guided


def energy_guided(denoiser: Denoiser, energy: Energy, scheduler: Scheduler, scale: float = 1.0) -> Denoiser:
    """x0_hat - scale * sigma^2 / alpha * grad energy(x_t, t) (Dhariwal & Nichol, arXiv 2105.05233, algorithm
    2).

    With energy = -log p(y | x_t) and scale 1 this is the denoiser of p(x0 | x_t, y), for any sampler. Each
    sample has its own gradient: no norm or mean is taken over the batch.

    Args:
        denoiser: The denoiser to steer.
        energy: (x_t [B, ...], t [B]) -> [B], differentiable in x_t.
        scheduler: The noise curve the state lives on.
        scale: 0 is off.

    Raises:
        ValueError: When called, if the energy does not give one number for each sample.
    """

    def guided(x_t: Tensor, t: Tensor, x0_prev: Tensor | None) -> Tensor:
        with torch.enable_grad():
            x = x_t.detach().requires_grad_()
            energies = energy(x, t)
            if energies.shape != x.shape[:1]:
                raise ValueError(
                    f"the energy has shape {list(energies.shape)}: give one number per sample, [{len(x)}]"
                )
            (gradient,) = torch.autograd.grad(energies.sum(), x)
        now = levels_at(scheduler, t, x_t)
        shift = (now.sigma**2 / now.alpha).to(x_t.dtype) * gradient
        return denoiser(x_t, t, x0_prev) - scale * shift

    return guided


def score_temperature(denoiser: Denoiser, scheduler: Scheduler, tau: float) -> Denoiser:
    """Divides the score by tau: eps_hat / tau (Plaid, arXiv 2305.18619, "score temperature").

    tau < 1 trades diversity for likelihood, far more so in deterministic samplers than in ancestral ones.

    Args:
        denoiser: The denoiser to sharpen.
        scheduler: The noise curve the state lives on.
        tau: Above 0; 1 is off.
    """
    if tau <= 0:
        raise ValueError(f"the score temperature is {tau}: it must be above 0")

    def tempered(x_t: Tensor, t: Tensor, x0_prev: Tensor | None) -> Tensor:
        alpha = levels_at(scheduler, t, x_t).alpha.to(x_t.dtype)
        return denoiser(x_t, t, x0_prev) / tau + (1.0 - 1.0 / tau) * x_t / alpha

    return tempered
