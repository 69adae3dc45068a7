"""Noise levels and noise: evenly spread, owned by the sample index, weighed so that the bound is unbiased."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributions import Normal, kl_divergence

from textdiff.diffusion.losses import (
    AdaptiveLevels,
    diffusion_density,
    logsnr_and_slope,
    low_discrepancy_uniform,
    prior_term,
    sample_normal,
)
from textdiff.diffusion.scheduler import Scheduler

BINS = 40
moments = st.lists(
    st.sampled_from([0.0, 5e-324, 1e-300, 1e-20, 1e-3, 1.0, 1e6, 1e40, 1e300]) | st.floats(0, 1e12),
    min_size=BINS + 1,
    max_size=BINS + 1,
)


@pytest.mark.parametrize("start", [0, 12_345, 10**7])
@pytest.mark.parametrize("count", [2, 7, 64, 1000])
def test_consecutive_indices_cover_the_interval(start: int, count: int) -> None:
    u = low_discrepancy_uniform(torch.arange(start, start + count), seed=3)
    assert u.dtype == torch.float64
    assert ((u >= 0) & (u < 1)).all()
    around = torch.cat([u.sort().values, u.min()[None] + 1])
    assert around.diff().max() < 2.62 / count  # three-gap theorem for the golden ratio: at most (1 + phi) / n
    assert around.diff().min() > 0.38 / count


def test_a_uniform_number_belongs_to_its_index_and_seed() -> None:
    index = torch.tensor([5, 900, 17, 3])
    together = low_discrepancy_uniform(index, seed=1)
    assert together.equal(torch.cat([low_discrepancy_uniform(i[None], seed=1) for i in index]))
    assert not together.isclose(low_discrepancy_uniform(index, seed=2)).any()


def test_noise_belongs_to_its_index_and_seed() -> None:
    index = torch.tensor([8, 2, 2**40, 5])
    whole = sample_normal((3, 4), index, seed=7)
    assert whole.shape == (4, 3, 4)
    assert whole.dtype == torch.float32
    split = torch.cat([sample_normal((3, 4), part, seed=7) for part in (index[:1], index[1:])])
    assert whole.equal(split)
    assert sample_normal((3, 4), index.flip(0), seed=7).equal(whole.flip(0))


def test_noise_is_standard_normal_and_independent_over_indices_and_seeds() -> None:
    one, other = (sample_normal((4, 50), torch.arange(1000), seed=seed) for seed in (0, 1))
    count = one.numel()
    for power, moment, spread in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):  # variance of x^power
        assert abs(one.double().pow(power).mean() - moment) < 5 * math.sqrt(spread / count)
    for a, b in ((one, other), (one[1:], one[:-1]), (one[500:], one[:500]), (one[:, 1:], one[:, :-1])):
        assert abs((a * b).mean()) < 5 / math.sqrt(a.numel())
        assert abs((a.abs() * b.abs()).mean() - 2 / math.pi) < 5 / math.sqrt(a.numel())


@pytest.mark.parametrize("logsnr", [-12.0, -6.0, 0.0, 4.0])
def test_prior_term_is_the_divergence_of_two_normals(logsnr: float) -> None:
    x0 = torch.randn(3, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    level = torch.tensor(logsnr, dtype=torch.float64)
    end = Normal(level.sigmoid().sqrt() * x0, (-level).sigmoid().sqrt().expand_as(x0))
    truth = kl_divergence(end, Normal(torch.zeros_like(x0), torch.ones_like(x0))).sum(-1)
    torch.testing.assert_close(prior_term(x0, level.expand(3)), truth, atol=1e-12, rtol=1e-9)


def test_diffusion_density_by_hand() -> None:
    x0, x0_hat = torch.tensor([[1.0, 2.0], [0.0, 0.0]]), torch.tensor([[0.0, 4.0], [3.0, 4.0]])
    density = diffusion_density(x0, x0_hat, torch.tensor([math.log(4.0), math.log(0.5)]))
    torch.testing.assert_close(density, torch.tensor([0.5 * 4 * 5, 0.5 * 0.5 * 25]))


def test_slope_of_a_piecewise_straight_curve() -> None:
    scheduler = Scheduler.adaptive([4.0, 3.0, -1.0, -6.0])
    t = torch.tensor([0.1, 0.3, 0.5, 0.6, 0.9])
    logsnr, slope = logsnr_and_slope(scheduler, t)
    assert logsnr.dtype == slope.dtype == torch.float64
    assert not logsnr.requires_grad
    torch.testing.assert_close(
        logsnr, torch.tensor([3.7, 3.1, 1.0, -0.2, -4.5], dtype=torch.float64), atol=1e-6, rtol=0
    )
    torch.testing.assert_close(slope, torch.tensor([3.0, 3.0, 12.0, 12.0, 15.0], dtype=torch.float64))


def test_slope_of_the_cosine_curve() -> None:
    t = torch.linspace(0.05, 0.95, 19, dtype=torch.float64)
    logsnr, slope = logsnr_and_slope(Scheduler.cosine(20_000), t)
    angle = (
        (t + 0.008) / 1.008 * math.pi / 2
    )  # alpha^2 = cos^2(angle) / cos^2(angle at 0): arXiv 2102.09672, eq. 17
    alpha2 = (angle.cos() / math.cos(0.008 / 1.008 * math.pi / 2)) ** 2
    truth = math.pi / 1.008 * angle.tan() / (1 - alpha2)
    torch.testing.assert_close(logsnr, (alpha2 / (1 - alpha2)).log(), atol=2e-3, rtol=0)
    torch.testing.assert_close(slope, truth, rtol=2e-3, atol=0)


def test_the_slope_works_without_grad_mode() -> None:
    with torch.inference_mode():
        _, slope = logsnr_and_slope(Scheduler.adaptive([2.0, -3.0]), torch.tensor([0.5]))
    assert slope.item() == pytest.approx(5.0)


def integrand(logsnr: torch.Tensor) -> torch.Tensor:
    """A known loss over log-SNR: a bump like a text's information, with the integral 2 sqrt(pi)."""
    return 2.0 * torch.exp(-((logsnr - 1.0) ** 2))


def draw(levels: AdaptiveLevels, u: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Times, levels and slopes under the learned curve."""
    return u, *logsnr_and_slope(Scheduler.adaptive(levels.knots()), u)


def trained(noise: float = 0.5, steps: int = 600) -> AdaptiveLevels:
    """Levels that have seen a noisy version of the integrand, multiplied by 1 +- noise; no reconstruction."""
    levels, source = AdaptiveLevels(-6.0, 5.0, decay=0.98), torch.Generator().manual_seed(0)
    for step in range(steps):
        index = torch.arange(step * 128, step * 128 + 128)
        _, logsnr, _ = draw(levels, low_discrepancy_uniform(index, 0))
        sign = torch.randn(128, generator=source).sign()
        loss = integrand(logsnr) * (1 + noise * sign)
        levels.update(levels.statistics(logsnr, loss, torch.zeros(128, dtype=torch.bool)))
    return levels


def test_levels_are_drawn_in_proportion_to_the_root_mean_square_of_the_loss() -> None:
    levels = trained()
    _, logsnr, _ = draw(
        levels, torch.rand(200_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    )
    grid = torch.linspace(-6, 5, 2201, dtype=torch.float64)
    density = integrand(grid) / integrand(grid).sum() * (1 - levels.floor) + levels.floor / len(grid)
    truth = density.cumsum(0)
    for x in (-4.0, -1.0, 0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.5):
        expected = truth[(grid <= x).sum() - 1].item()
        assert (logsnr <= x).double().mean().item() == pytest.approx(expected, abs=0.02)


def test_importance_sampling_is_unbiased_and_of_less_variance() -> None:
    u = torch.rand(100_000, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    estimates = {}
    for name, levels in (("uniform", AdaptiveLevels(-6.0, 5.0)), ("adaptive", trained(steps=200))):
        _, logsnr, slope = draw(levels, u)
        estimates[name] = integrand(logsnr) * slope
        error = estimates[name].std() / math.sqrt(len(u))
        assert abs(estimates[name].mean() - 2 * math.sqrt(math.pi)) < 4 * error + 1e-3
    assert estimates["adaptive"].std() < 0.25 * estimates["uniform"].std()


def test_the_reconstruction_gets_its_share() -> None:
    levels = AdaptiveLevels(-6.0, 5.0, bins=BINS)
    kinds = torch.arange(400) % 4 == 0
    logsnr = torch.where(kinds, 5.0, -6 + 11 * low_discrepancy_uniform(torch.arange(400), 0))
    for _ in range(800):  # root mean squares: reconstruction 3, diffusion 1 over a length of 11 nats
        levels.update(levels.statistics(logsnr, torch.where(kinds, 3.0, 1.0), kinds))
    assert levels.reconstruction_share == pytest.approx(3 / 14, rel=0.01)


@pytest.mark.parametrize(("reconstruction", "share"), [(0.0, 0.05), (1e-9, 0.05), (1e9, 0.5)])
def test_the_reconstruction_share_has_bounds(reconstruction: float, share: float) -> None:
    levels = AdaptiveLevels(-6.0, 5.0, bins=BINS, floor=0.05)
    levels.load_state_dict({"squares": [1.0] * BINS + [reconstruction**2], "counts": [1.0] * (BINS + 1)})
    assert levels.reconstruction_share == share


def test_statistics_of_two_processes_add_up() -> None:
    levels = AdaptiveLevels(-6.0, 5.0, bins=BINS)
    source = torch.Generator().manual_seed(0)
    logsnr = torch.rand(64, generator=source, dtype=torch.float64) * 11 - 6
    loss, kind = torch.rand(64, generator=source), torch.rand(64, generator=source) < 0.2
    halves = [
        levels.statistics(logsnr[part], loss[part], kind[part]) for part in (slice(0, 20), slice(20, 64))
    ]
    whole = levels.statistics(logsnr, loss, kind)
    torch.testing.assert_close(whole, halves[0] + halves[1])
    assert whole[1].sum() == 64
    assert whole[1, -1] == kind.sum()
    edges = torch.tensor([-6.0, 5.0])
    assert levels.statistics(edges, torch.ones(2), torch.tensor([False, False]))[
        1, [0, BINS - 1]
    ].tolist() == [1, 1]


def test_moments_are_exponential_averages() -> None:
    levels = AdaptiveLevels(-1.0, 1.0, bins=2, decay=0.5)
    logsnr, kinds = torch.tensor([-0.5, 0.5, 0.5, 1.0]), torch.tensor([False, False, False, True])
    for _ in range(2):
        levels.update(levels.statistics(logsnr, torch.tensor([1.0, 2.0, 4.0, 3.0]), kinds))
    assert levels.counts.tolist() == [1.75, 3.25, 1.75]
    assert levels.squares.tolist() == [1.75, 30.25, 13.75]


@given(squares=moments, floor=st.sampled_from([0.01, 0.05, 0.5]))
def test_knots_always_make_a_curve(squares: list[float], floor: float) -> None:
    levels = AdaptiveLevels(-6.0, 5.0, bins=BINS, floor=floor)
    levels.load_state_dict({"squares": squares, "counts": [1.0] * (BINS + 1)})
    knots = levels.knots()
    assert (knots[0], knots[-1], len(knots)) == (5.0, -6.0, BINS + 1)
    assert (np.diff(knots) < 0).all()
    assert floor <= levels.reconstruction_share <= 0.5
    Scheduler.adaptive(knots)


def test_levels_outlast_bins_that_are_never_visited() -> None:
    levels = AdaptiveLevels(-6.0, 5.0, bins=4, decay=0.5)
    one = levels.statistics(torch.tensor([0.0]), torch.tensor([2.0]), torch.tensor([False]))
    for _ in range(2000):  # 0.5^2000 is below the smallest float64
        levels.update(one)
    assert np.isfinite(levels.knots()).all()
    assert np.isfinite(levels.reconstruction_share)


def test_moments_survive_json() -> None:
    levels, other = trained(steps=5), AdaptiveLevels(-6.0, 5.0)
    other.load_state_dict(json.loads(json.dumps(levels.state_dict())))
    assert other.knots() == levels.knots()
    assert other.reconstruction_share == levels.reconstruction_share
