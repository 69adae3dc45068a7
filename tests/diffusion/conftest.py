"""Gaussian data, whose best denoiser and whose whole noising and denoising paths are known in closed form."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from textdiff.diffusion.samplers import levels_at
from textdiff.diffusion.scheduler import Scheduler


@dataclass
class Gaussian:
    """Independent N(mean, std^2) for every element; `mean` and `std` are float64, without the batch axis."""

    mean: Tensor
    std: Tensor
    scheduler: Scheduler

    def variance(self, t: Tensor, x: Tensor) -> Tensor:
        """Of x_t."""
        now = levels_at(self.scheduler, t, x)
        return now.alpha**2 * self.std**2 + now.sigma**2

    def denoise(self, x_t: Tensor, t: Tensor, x0_prev: Tensor | None = None) -> Tensor:
        """E[x0 | x_t]."""
        alpha = levels_at(self.scheduler, t, x_t).alpha
        gain = alpha * self.std**2 / self.variance(t, x_t)
        return self.mean + gain * (x_t - alpha * self.mean)

    def flow(self, x_t: Tensor, t: Tensor, s: Tensor) -> Tensor:
        """Where the probability-flow ODE takes x_t: it keeps every element's standard score."""
        now, then = (levels_at(self.scheduler, time, x_t).alpha for time in (t, s))
        score = (x_t - now * self.mean) / self.variance(t, x_t).sqrt()
        return then * self.mean + self.variance(s, x_t).sqrt() * score


@pytest.fixture
def gaussian():
    """Makes a Gaussian for a state shape [B, ...] and a scheduler."""

    def make(shape: tuple[int, ...], scheduler: Scheduler) -> Gaussian:
        source = torch.Generator().manual_seed(3)
        mean = torch.randn(shape[1:], generator=source, dtype=torch.float64)
        std = torch.rand(shape[1:], generator=source, dtype=torch.float64) * 0.9 + 0.1
        return Gaussian(mean, std, scheduler)

    return make
