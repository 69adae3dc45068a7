"""Three ways to condition, against posteriors in closed form (a first-order process of Gaussian pixels)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import pytest
import torch
from torch import Tensor

from textdiff.diffusion.samplers import SAMPLERS, levels_at, sample
from textdiff.image.curve import image_curve
from textdiff.image.drawing import Plan, measuring, replacing
from textdiff.image.operators import downsample, gaussian_blur, missing
from textdiff.image.restoration import anchored, measured
from textdiff.image.sampling import Sampling

CURVE = image_curve()
PIXELS, HOLE, DRAWN = 64, slice(20, 44), 600


@dataclass
class Chain:
    """Pixels with correlation 0.9 between neighbours, the middle ones lost: its denoiser and posterior are exact."""

    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        place = torch.arange(PIXELS, dtype=torch.float64)
        self.prior = 0.9 ** (place[:, None] - place).abs()
        self.roots, self.vectors = torch.linalg.eigh(self.prior)
        self.known = torch.ones(PIXELS, dtype=torch.bool)
        self.known[HOLE] = False
        source = torch.Generator().manual_seed(5)
        self.truth = torch.linalg.cholesky(self.prior) @ torch.randn(
            PIXELS, generator=source, dtype=torch.float64
        )
        gain = torch.linalg.solve(self.prior[self.known][:, self.known], self.prior[self.known]).T
        self.mean = gain @ self.truth[self.known]
        self.variance = (self.prior - gain @ self.prior[self.known]).diag()

    def denoise(self, x_t: Tensor, t: Tensor, x0_prev: Tensor | None = None) -> Tensor:
        """E[x0 | x_t] for one common time."""
        now = levels_at(CURVE, t[:1], torch.zeros(1, 1))
        shrunk = now.alpha * self.roots / (now.alpha**2 * self.roots + now.sigma**2)
        return (x_t.flatten(1) @ ((self.vectors * shrunk) @ self.vectors.T).to(x_t.dtype)).view_as(x_t)

    def given(self, rows: int) -> tuple[Tensor, Tensor]:
        """Truth and mask, as batches."""
        truth = self.truth.float().view(1, *self.shape).expand(rows, *self.shape)
        return truth, self.known.view(1, *self.shape).expand(rows, *self.shape)


@cache
def errors(way: str, shape: tuple[int, ...] = (1, 8, 8)) -> tuple[float, float]:
    """Root mean square error of the mean over the hole, and the ratio of variances."""
    chain, rows = Chain(shape), slice(0, DRAWN)
    truth, known = chain.given(DRAWN)
    steps = Sampling(num_inference_steps=50)
    settings = {"noise": 0.0, "data_std": 1.0}
    plan: Plan = {
        "replacement": lambda: replacing(CURVE, steps, truth, known),
        "repaint": lambda: replacing(CURVE, steps, truth, known, resample=10),
        "guidance": lambda: measuring(CURVE, steps, lambda rows: missing(known), truth * known, **settings),
        "anchor": lambda: measuring(
            CURVE, steps, lambda rows: missing(known), truth * known, conditioning="anchor", **settings
        ),
    }[way]()
    own = torch.Generator().manual_seed(1)
    x = torch.randn(DRAWN, *shape, generator=own)
    denoiser = chain.denoise if plan.wrap is None else plan.wrap(chain.denoise, rows)
    correct = None if plan.correct is None else plan.correct(rows, own)
    *_, last = sample(denoiser, x, plan.times, CURVE, step=SAMPLERS["ddpm"], correct=correct, generator=own)
    drawn = last.x0_hat.flatten(1).double()[:, ~chain.known]
    bias = (drawn.mean(0) - chain.mean[~chain.known]).square().mean().sqrt()
    return float(bias), float(drawn.var(0).mean() / chain.variance[~chain.known].mean())


@pytest.mark.parametrize(("way", "factor"), [("repaint", 2.0), ("guidance", 1.8)])
def test_the_mean_of_the_posterior_is_nearer_than_by_replacement(way: str, factor: float) -> None:
    assert errors("replacement")[0] > factor * errors(way)[0]
    assert errors(way)[1] == pytest.approx(1.0, abs=0.25)


def test_an_anchor_is_no_better_than_replacement() -> None:
    assert errors("anchor")[0] == pytest.approx(errors("replacement")[0], rel=0.3)


@pytest.mark.parametrize("way", ["replacement", "guidance"])
def test_the_shape_of_a_state_means_nothing(way: str) -> None:
    assert errors(way, (4, 16)) == pytest.approx(errors(way), rel=1e-3)


WHITE_STD = 0.5


def white(x_t: Tensor, t: Tensor, x0_prev: Tensor | None = None) -> Tensor:
    """The denoiser of white pixels N(0, WHITE_STD^2)."""
    now = levels_at(CURVE, t, x_t)
    return (now.alpha * WHITE_STD**2 / (now.alpha**2 * WHITE_STD**2 + now.sigma**2)).to(x_t.dtype) * x_t


@pytest.mark.parametrize(
    "operator", [missing(torch.arange(64).view(1, 1, 8, 8) % 3 > 0), downsample(2), gaussian_blur(1.0)]
)
@pytest.mark.parametrize("time", [0.2, 0.6])
def test_guidance_is_exact_for_white_pixels(operator, time: float) -> None:
    """E[x0 | x_t, y] = x0_hat + r^2 A^T (r^2 A A^T + noise^2)^-1 (y - A x0_hat), by dense algebra."""
    source = torch.Generator().manual_seed(0)
    x_t = torch.randn(2, 1, 8, 8, generator=source, dtype=torch.float64)
    t = torch.full((2,), time, dtype=torch.float64)
    y, noise = operator(torch.randn(2, 1, 8, 8, generator=source, dtype=torch.float64)), 0.3
    found = measured(white, operator, y, CURVE, noise=noise, data_std=WHITE_STD)(x_t, t, None)
    columns = operator(torch.eye(64, dtype=torch.float64).view(64, 1, 8, 8)).flatten(1)  # A^T
    now = levels_at(CURVE, t[:1], torch.zeros(1, 1))
    r2 = WHITE_STD**2 * now.sigma**2 / (now.alpha**2 * WHITE_STD**2 + now.sigma**2)
    system = r2 * columns.T @ columns + noise**2 * torch.eye(columns.shape[1])
    x0_hat = white(x_t, t).flatten(1)
    pull = torch.linalg.solve(system, (y.flatten(1) - x0_hat @ columns).T)
    torch.testing.assert_close(found.flatten(1), x0_hat + (r2 * columns @ pull).T, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("operator", [downsample(2), gaussian_blur(1.0)])
def test_a_wrong_derivative_does_not_lead_away_from_the_measurement(grey, operator) -> None:
    """At t = 1 sigma^2 / alpha is 148 and a random network's derivative is anything."""
    from textdiff.image.adapters import as_denoiser

    source = torch.Generator().manual_seed(0)
    x_t = torch.randn(8, 1, 8, 8, generator=source)
    y = operator(torch.rand(8, 1, 8, 8, generator=source) * 2 - 1)
    denoiser = as_denoiser(grey.network, CURVE)
    for time in (1.0, 0.8, 0.3):
        t = torch.full((8,), time, dtype=torch.float64)
        before, after = (
            (y - operator(one(x_t, t, None))).flatten(1).norm(dim=1)
            for one in (denoiser, measured(denoiser, operator, y, CURVE, data_std=0.4))
        )
        assert (after <= before * (1 + 1e-4)).all()
        assert after.mean() < 0.999 * before.mean()


def test_no_measurement_changes_nothing() -> None:
    x_t, t = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([0.3, 0.7])
    nothing = measured(white, lambda x: 0 * x, torch.zeros(2, 1, 8, 8), CURVE)(x_t, t, None)
    torch.testing.assert_close(nothing, white(x_t, t))


def test_an_anchor_agrees_with_what_was_measured() -> None:
    x_t, t = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([0.3, 0.7])
    for operator in (missing(torch.arange(64).view(1, 1, 8, 8) > 30), downsample(2)):
        y = operator(torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(1)))
        found = anchored(white, operator, y)(x_t, t, None)
        torch.testing.assert_close(operator(found), y, rtol=0, atol=1e-4)


@pytest.mark.parametrize("operator", [downsample(2), gaussian_blur(1.0)])
def test_a_picture_is_guided_alike_alone_and_in_a_batch(grey, operator) -> None:
    from textdiff.image.adapters import as_denoiser

    source = torch.Generator().manual_seed(0)
    x_t, y = torch.randn(6, 1, 8, 8, generator=source), operator(torch.randn(6, 1, 8, 8, generator=source))
    x_t[3:] *= 20.0  # wild neighbours
    t = torch.linspace(0.2, 0.9, 6, dtype=torch.float64)
    denoiser = as_denoiser(grey.network, CURVE)
    together = measured(denoiser, operator, y, CURVE, noise=0.1)(x_t, t, None)
    for i in range(3):
        alone = measured(denoiser, operator, y[i : i + 1], CURVE, noise=0.1)(
            x_t[i : i + 1], t[i : i + 1], None
        )
        torch.testing.assert_close(together[i], alone[0], rtol=1e-4, atol=1e-4)
