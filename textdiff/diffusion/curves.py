"""Noise curves: logsnr as a strictly decreasing function of t in [0, 1] (0 is data, 1 is noise).

Every curve is one table of logsnr values (*knots*) at evenly spaced times, joined by straight lines, where
logsnr = log(alpha^2 / sigma^2) and alpha^2 + sigma^2 = 1 (VDM, arXiv 2107.00630, eqs. 1-4). A table made from
the T betas of a discrete model puts step i at

    t_i = i / (T - 1)   if the curve ends noisy: logsnr(0) is the table's first value, sigma(0) > 0;
    t_i = (i + 1) / T   if it ends clean: t = 0 is step "-1", logsnr(0) = +inf, and below t = 1/T sigma/alpha
                        falls in proportion to t.

So discrete steps are exact, and everything between them exists. Tables are numpy float64: they belong to no
module and no device, hence no cast, checkpoint or meta device can reach them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

MAX_BETA = 0.999


@dataclass(frozen=True, eq=False)
class Curve:
    """Piecewise linear logsnr(t) and its inverse, in float64 on the device of the argument.

    Args:
        knots: Finite, strictly decreasing logsnr values at evenly spaced times; the last one is at t = 1.
        clean_end: False: the first knot is at t = 0. True: it is at t = 1/len(knots), and logsnr(0) = +inf.
    """

    knots: np.ndarray
    clean_end: bool = False

    def __post_init__(self) -> None:
        knots = np.array(self.knots, dtype=np.float64)
        if knots.ndim != 1 or len(knots) < 2:
            raise ValueError(f"a noise curve needs a list of 2 or more knots, got shape {list(knots.shape)}")
        if not np.isfinite(knots).all():
            raise ValueError("logsnr knots must all be finite: replace infinite ends by large numbers")
        if not (np.diff(knots) < 0).all():
            i = int(np.argmax(np.diff(knots) >= 0))
            raise ValueError(
                f"logsnr knots must fall strictly from t = 0 to t = 1, but knot {i} is {knots[i]:g} "
                f"and knot {i + 1} is {knots[i + 1]:g}: sort them, drop repeated ones"
            )
        knots.setflags(write=False)
        object.__setattr__(self, "knots", knots)

    @property
    def first_time(self) -> float:
        """The time of the first knot."""
        return 1.0 / len(self.knots) if self.clean_end else 0.0

    def logsnr(self, t: Tensor) -> Tensor:
        """logsnr at times t (any shape, clamped to [0, 1]), float64."""
        t = t.double().clamp(0.0, 1.0)
        knots = torch.tensor(self.knots, device=t.device)
        intervals = len(self.knots) - 1
        position = (t - self.first_time) * (intervals / (1.0 - self.first_time))
        left = position.detach().floor().clamp(0, intervals - 1).long()
        value = torch.lerp(knots[left], knots[left + 1], position - left)
        if self.clean_end:  # sigma/alpha proportional to t below the first knot
            value = torch.where(t < self.first_time, knots[0] + 2.0 * (self.first_time / t).log(), value)
        return value

    def time(self, logsnr: Tensor) -> Tensor:
        """The t at which the curve has this logsnr (clamped to the curve's range), float64."""
        logsnr = logsnr.double()
        knots = torch.tensor(self.knots, device=logsnr.device)
        intervals = len(self.knots) - 1
        left = torch.searchsorted(-knots, -logsnr.detach().contiguous(), right=True) - 1
        left = left.clamp(0, intervals - 1)
        fraction = ((logsnr - knots[left]) / (knots[left + 1] - knots[left])).clamp(0.0, 1.0)
        t = self.first_time + (left + fraction) * ((1.0 - self.first_time) / intervals)
        if self.clean_end:
            t = torch.where(logsnr > knots[0], self.first_time * ((knots[0] - logsnr) / 2.0).exp(), t)
        return t


def logsnr_from_betas(betas: Sequence[float] | np.ndarray) -> np.ndarray:
    """The logsnr after each of T discrete steps with noise variances beta (DDPM, arXiv 2006.11239, eq. 4)."""
    betas = np.asarray(betas, dtype=np.float64)
    if betas.ndim != 1 or len(betas) < 2 or not ((betas > 0) & (betas < 1)).all():
        raise ValueError("betas must be a list of at least 2 numbers strictly between 0 and 1")
    log_abar = np.cumsum(np.log1p(-betas))
    return log_abar - np.log(-np.expm1(log_abar))


def betas_from_logsnr(knots: np.ndarray) -> np.ndarray:
    """The betas of the discrete process that visits these logsnr values: inverse of `logsnr_from_betas`."""
    log_abar = -np.logaddexp(0.0, -np.asarray(knots, dtype=np.float64))
    return -np.expm1(np.diff(log_abar, prepend=0.0))


def sqrt_betas(num_train_timesteps: int) -> np.ndarray:
    """Diffusion-LM's sqrt schedule: abar(t) = 1 - sqrt(t + 0.0001) (arXiv 2205.14217, appendix A).

    The product of 1 - beta starts from 1, not from abar(0) = 0.99, so sigma at step 0 of T = 2000 is 0.121.
    """
    t = np.arange(num_train_timesteps + 1, dtype=np.float64) / num_train_timesteps
    abar = 1.0 - np.sqrt(t + 1e-4)
    return np.minimum(1.0 - abar[1:] / abar[:-1], MAX_BETA)


def cosine_betas(num_train_timesteps: int) -> np.ndarray:
    """abar(t) = cos((t + 0.008) / 1.008 * pi / 2)^2 (Nichol & Dhariwal, arXiv 2102.09672, eq. 17)."""
    t = np.arange(num_train_timesteps + 1, dtype=np.float64) / num_train_timesteps
    abar = np.cos((t + 0.008) / 1.008 * np.pi / 2) ** 2
    return np.minimum(1.0 - abar[1:] / abar[:-1], MAX_BETA)


def linear_betas(num_train_timesteps: int, beta_start: float, beta_end: float) -> np.ndarray:
    """Evenly spaced betas: the discrete form of the linear VP SDE (DDPM, arXiv 2006.11239, section 4)."""
    return np.linspace(beta_start, beta_end, num_train_timesteps, dtype=np.float64)


def scaled_linear_betas(num_train_timesteps: int, beta_start: float, beta_end: float) -> np.ndarray:
    """Betas whose square roots are evenly spaced (latent diffusion, arXiv 2112.10752)."""
    return np.linspace(beta_start**0.5, beta_end**0.5, num_train_timesteps, dtype=np.float64) ** 2
