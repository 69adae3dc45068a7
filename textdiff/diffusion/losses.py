"""Where on the noise axis to train, with which noise, and what an error there weighs.

The bound is -ELBO = reconstruction + diffusion + prior (VDM, arXiv 2107.00630, eqs. 11-14), and its diffusion part is
1/2 * integral of snr * |x0 - x0_hat|^2 d(logsnr): independent of the curve, so the curve may follow the information.
Every draw depends only on (seed, sample index), never on batch, rank or accumulation: two processes see what one sees.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from textdiff.diffusion.scheduler import Scheduler

TINY = float(np.finfo(np.float64).tiny)
GOLDEN_RATIO = (math.sqrt(5.0) - 1.0) / 2.0


def low_discrepancy_uniform(index: Tensor, seed: int) -> Tensor:
    """A number in [0, 1) for every sample index [B], float64: consecutive indices cover the interval evenly.

    The golden-ratio sequence: any run of n consecutive indices has gaps of order 1/n, so a batch is stratified
    (VDM, arXiv 2107.00630, appendix I) however it is split over processes.
    """
    start = np.random.Generator(np.random.Philox(key=seed)).random()
    return torch.from_numpy((start + index.cpu().numpy().astype(np.float64) * GOLDEN_RATIO) % 1.0).to(index.device)


def sample_uniform(index: Tensor, seed: int) -> Tensor:
    """A number in [0, 1) for every sample index [B], float64, independent between indices."""
    draws = [np.random.Generator(np.random.Philox(key=[seed, int(i)])).random() for i in index.tolist()]
    return torch.tensor(draws, dtype=torch.float64, device=index.device)


def sample_normal(shape: tuple[int, ...], index: Tensor, seed: int) -> Tensor:
    """Standard normal noise [B, *shape] in float32, a stream of its own for every sample index [B]."""
    rows = [
        np.random.Generator(np.random.Philox(key=[seed, int(i)])).standard_normal(shape, dtype=np.float32)
        for i in index.tolist()
    ]
    return torch.from_numpy(np.stack(rows)).to(index.device)


def logsnr_and_slope(scheduler: Scheduler, t: Tensor) -> tuple[Tensor, Tensor]:
    """logsnr(t) and -d logsnr / dt, float64, both shaped like t: the weight of a uniform time in the bound."""
    with torch.inference_mode(False), torch.enable_grad():
        t = t.detach().to(torch.float64, copy=True).requires_grad_()
        logsnr = scheduler.logsnr(t)
        (slope,) = torch.autograd.grad(logsnr.sum(), t)
    return logsnr.detach(), -slope


def diffusion_density(x0: Tensor, x0_hat: Tensor, logsnr: Tensor) -> Tensor:
    """Nats of the bound per unit of log-SNR, 1/2 snr |x0 - x0_hat|^2, summed over the last axis (VDM, eq. 15).

    Args:
        x0: clean data, [..., D].
        x0_hat: its estimate, [..., D].
        logsnr: broadcastable to [...].
    """
    return 0.5 * torch.exp(logsnr).to(x0.dtype) * (x0 - x0_hat).pow(2).sum(-1)


def prior_term(x0: Tensor, logsnr_at_1: Tensor) -> Tensor:
    """KL(q(x_1 | x0) || N(0, I)) in nats, summed over the last axis: [..., D] -> [...] (VDM, eq. 12)."""
    alpha2, sigma2 = torch.sigmoid(logsnr_at_1), torch.sigmoid(-logsnr_at_1)
    dim = x0.shape[-1]
    return 0.5 * (dim * (sigma2 - 1.0 - sigma2.log()) + alpha2 * x0.double().pow(2).sum(-1))


class AdaptiveLevels:
    """Importance sampling of noise levels: a histogram over log-SNR and one atom, the reconstruction at t = 0.

    The variance of the estimated bound is least when levels are drawn in proportion to the root mean square of the
    loss there, l = diffusion_density (equivalent to Plaid's learned curve, arXiv 2305.18619, section 4.2). Moments are
    exponential averages over training steps; a floor of uniform levels keeps every level alive.
    """

    def __init__(
        self, logsnr_min: float, logsnr_max: float, *, bins: int = 100, decay: float = 0.99, floor: float = 0.05
    ) -> None:
        self.edges = np.linspace(logsnr_min, logsnr_max, bins + 1)
        self.decay, self.floor = decay, floor
        self.squares, self.counts = np.ones(bins + 1), np.full(bins + 1, 1.0)  # the last entry is the atom

    def sizes(self) -> np.ndarray:
        """Unnormalised chance of every bin, [bins], and of the reconstruction atom, [1]: shape [bins + 1], positive."""
        root = np.sqrt(self.squares / np.maximum(self.counts, TINY))
        smooth = np.convolve(np.pad(root[:-1], 1, mode="edge"), [0.25, 0.5, 0.25], mode="valid")
        return np.maximum(np.append(smooth * np.diff(self.edges), root[-1]), TINY)

    @property
    def reconstruction_share(self) -> float:
        """Share of samples that go to t = 0 and pay the reconstruction term; between floor and one half."""
        sizes = self.sizes()
        return float(np.clip(sizes[-1] / sizes.sum(), self.floor, 0.5))

    def knots(self, *, uniform: float | None = None) -> list[float]:
        """log-SNR at uniform t = 0 ... 1 of the curve under which uniform t draws levels in proportion to `sizes`.

        Args:
            uniform: share of levels drawn evenly over log-SNR instead; `floor` by default.
        """
        sizes, uniform = self.sizes()[:-1], self.floor if uniform is None else uniform
        density = (1 - uniform) * sizes / sizes.sum() + uniform / len(sizes)
        mass_above = np.append(np.cumsum(density[::-1])[::-1], 0.0)  # chance of a level above each edge: t
        t = np.linspace(0.0, 1.0, len(self.edges))
        knots = np.interp(t, mass_above[::-1] / mass_above[0], self.edges[::-1])
        return [float(k) for k in knots]

    def statistics(self, logsnr: Tensor, loss: Tensor, reconstruction: Tensor) -> Tensor:
        """This batch's sums of squares and counts by bin, float64 [2, bins + 1]: add up, then `update`.

        Args:
            logsnr: [B].
            loss: [B], diffusion density, or reconstruction in nats where `reconstruction`.
            reconstruction: bool [B].
        """
        edges = torch.from_numpy(self.edges[1:-1]).to(logsnr.device)
        bins = torch.bucketize(logsnr.double(), edges)
        bins = torch.where(reconstruction, len(self.edges) - 1, bins)
        out = torch.zeros(2, len(self.edges), dtype=torch.float64, device=logsnr.device)
        out[0].index_add_(0, bins, loss.detach().double().pow(2))
        out[1].index_add_(0, bins, torch.ones_like(bins, dtype=torch.float64))
        return out

    def update(self, statistics: Tensor) -> None:
        """Fold one step's statistics [2, bins + 1] into the running moments."""
        squares, counts = statistics.cpu().numpy()
        self.squares = self.decay * self.squares + squares
        self.counts = self.decay * self.counts + counts

    def state_dict(self) -> dict[str, Any]:
        """Moments as JSON values."""
        return {"squares": self.squares.tolist(), "counts": self.counts.tolist()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what `state_dict` gave."""
        self.squares, self.counts = np.asarray(state["squares"]), np.asarray(state["counts"])
