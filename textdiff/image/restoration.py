"""Denoisers told a measurement y = A x0 + noise: posterior sampling without training, by any sampler.

Both wrappers take a denoiser and give one (`textdiff.diffusion.guidance`): `measured` by pseudo-inverse guidance and
`anchored` by putting what is known into x0_hat. Every sample has norms and steps of its own, so a batch gives what its
pictures give one by one.
"""

from __future__ import annotations

import torch
from torch import Tensor

from textdiff.diffusion.samplers import Denoiser, levels_at
from textdiff.diffusion.scheduler import Scheduler
from textdiff.image.operators import Operator, solve, transpose


def measured(
    denoiser: Denoiser,
    operator: Operator,
    measurement: Tensor,
    scheduler: Scheduler,
    *,
    noise: float = 0.0,
    data_std: float = 1.0,
) -> Denoiser:
    """Pseudo-inverse guidance (PiGDM, Song et al., ICLR 2023, eqs. 7-8).

    p(x0 | x_t) is taken for N(x0_hat, r^2) with r^2 = s^2 sigma^2 / (alpha^2 s^2 + sigma^2), which is exact for white
    data of standard deviation s. Then d log p(y | x_t) / d x_t = (d x0_hat / d x_t)^T A^T (r^2 A A^T + noise^2)^-1
    (y - A x0_hat), and x0_hat moves by sigma^2 / alpha times that (Tweedie's formula).

    Args:
        denoiser: differentiable in x_t.
        operator: A.
        measurement: y [B, ...].
        scheduler: the noise curve.
        noise: standard deviation of the measurement's noise.
        data_std: s.
    """

    def guided(x_t: Tensor, t: Tensor, x0_prev: Tensor | None) -> Tensor:
        now = levels_at(scheduler, t, x_t)
        alpha2, sigma2 = now.alpha**2 * data_std**2, now.sigma**2
        variance = data_std**2 * sigma2 / (alpha2 + sigma2)
        with torch.inference_mode(False), torch.enable_grad():
            x = x_t.detach().clone().requires_grad_()
            x0_hat = denoiser(x, t, x0_prev)
            with torch.no_grad():
                residual = measurement - operator(x0_hat)
                weights = solve(operator, x0_hat, residual, variance.flatten(), noise)
                pull = transpose(operator, x0_hat)(weights)
            (gradient,) = torch.autograd.grad((x0_hat * pull).sum(), x)
        shift = (sigma2 / now.alpha).to(x_t.dtype) * gradient
        return x0_hat.detach() + _no_further(operator(shift), residual, x_t.ndim) * shift

    return guided


def _no_further(moved: Tensor, residual: Tensor, axes: int) -> Tensor:
    """The share in [0, 1] of a shift after which the measurement is met best, for every sample: [B, 1, ...].

    Where the denoiser's derivative is exact this is 1. That of a network is not, and sigma^2 / alpha is large at t = 1.

    Args:
        moved: A times the shift, [B, ...].
        residual: y - A x0_hat, [B, ...].
        axes: of the result.
    """
    along = (moved * residual).flatten(1).sum(1)
    length = moved.flatten(1).pow(2).sum(1).clamp(min=1e-30)
    return (along / length).clamp(0.0, 1.0).view(-1, *(1,) * (axes - 1))


def anchored(denoiser: Denoiser, operator: Operator, measurement: Tensor) -> Denoiser:
    """x0_hat with its visible part replaced: x0_hat + A^+ (y - A x0_hat) (DDNM, arXiv 2212.00490, eq. 13).

    With the operator `missing` this puts the known pixels into every estimate; A^+ = A^T (A A^T)^-1.

    Args:
        denoiser: any.
        operator: A.
        measurement: y [B, ...], without noise.
    """

    def told(x_t: Tensor, t: Tensor, x0_prev: Tensor | None) -> Tensor:
        with torch.inference_mode(False):
            x0_hat = denoiser(x_t, t, x0_prev).clone()
            residual = measurement - operator(x0_hat)
            weights = solve(operator, x0_hat, residual, torch.ones(len(x_t), device=x_t.device), 0.0)
            return x0_hat + transpose(operator, x0_hat)(weights)

    return told
