"""The steps against closed forms: order of convergence, exact marginals, and the loop's bookkeeping."""

from __future__ import annotations

import math
from functools import partial
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from textdiff.diffusion import samplers
from textdiff.diffusion.samplers import SAMPLERS, sample
from textdiff.diffusion.scheduler import Scheduler

WIDE = Scheduler.adaptive([8.0, -8.0])  # logsnr even in t
SCHEDULERS = {
    "wide": WIDE,
    "sqrt": Scheduler.sqrt(),
    "cosine": Scheduler.cosine(),
    "linear": Scheduler.linear(),
}
STEPS = {
    **SAMPLERS,
    "ddim, eta=0.5": partial(samplers.ddim_step, eta=0.5),
    "churn=0.3": partial(samplers.churn_step, churn=0.3),
}
shapes = pytest.mark.parametrize("shape", [(2, 8, 16), (2, 2, 8, 8)], ids=["BLD", "BCHW"])
curves = pytest.mark.parametrize("curve", SCHEDULERS)
steps = pytest.mark.parametrize("step", STEPS.values(), ids=STEPS.keys())


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def at(time: float, batch: int = 2) -> Tensor:
    return torch.full((batch,), time, dtype=torch.float64)


def last(states) -> samplers.State:
    *_, state = states
    return state


def slopes(errors: list[float]) -> list[float]:
    """How often the error halves when the number of strides doubles."""
    return [math.log2(a / b) for a, b in pairwise(errors)]


@shapes
@pytest.mark.parametrize("curve", ["wide", "sqrt", "cosine"])
@pytest.mark.parametrize(("step", "order", "tolerance"), [("ddim", 1.0, 0.15), ("dpmpp_2m", 2.0, 0.2)])
def test_order_of_convergence(gaussian, shape, curve, step, order, tolerance) -> None:
    scheduler = SCHEDULERS[curve]
    data, x, errors = gaussian(shape, scheduler), normal(*shape), []
    for count in (80, 160, 320):
        if curve == "cosine":  # even in t, away from the curve's singular ends
            grid = 0.95 - 0.9 * torch.arange(count + 1, dtype=torch.float64) / count
        else:
            grid = scheduler.time(torch.linspace(-8.0, 4.0, count + 1, dtype=torch.float64))
        final = last(sample(data.denoise, x, grid, scheduler, step=SAMPLERS[step]))
        exact = data.flow(x, at(float(grid[0])), at(float(grid[-1])))
        errors.append(float((final.x - exact).square().mean().sqrt()))
    assert slopes(errors) == pytest.approx([order] * 2, abs=tolerance)


def local_errors(data, scheduler: Scheduler, shape: tuple[int, ...], claimed_ratio: float) -> list[float]:
    """One 2M step with exact history at h_prev = 3h; the step is told that h_prev = claimed_ratio * h."""
    x_now = data.flow(normal(*shape), at(1.0), at(0.5))
    middle, errors = float(scheduler.logsnr(at(0.5))[0]), []
    for stride in (0.4, 0.2, 0.1, 0.05):
        s, before, claimed = (
            scheduler.time(torch.full((2,), middle + change, dtype=torch.float64))
            for change in (stride, -3 * stride, -claimed_ratio * stride)
        )
        x0_prev = data.denoise(data.flow(x_now, at(0.5), before), before)
        x0_hat = data.denoise(x_now, at(0.5))
        noise = torch.zeros_like(x_now)
        x_s = samplers.dpmpp_2m_step(scheduler, x_now, x0_hat, x0_prev, at(0.5), s, claimed, noise)
        errors.append(float((x_s - data.flow(x_now, at(0.5), s)).square().mean().sqrt()))
    return errors


@shapes
def test_local_order_of_2m_sees_the_ratio_of_strides(gaussian, shape) -> None:
    scheduler = Scheduler.adaptive([6.0, -6.0])
    data = gaussian(shape, scheduler)
    assert min(slopes(local_errors(data, scheduler, shape, claimed_ratio=3))[1:]) > 2.8
    for mutant in (1 / 3, 1.0):  # the ratio upside down, the ratio ignored
        assert max(slopes(local_errors(data, scheduler, shape, claimed_ratio=mutant))[1:]) < 2.5


def linear_form(step, scheduler: Scheduler, t: Tensor, s: Tensor) -> tuple[float, float, float]:
    """The factors of x_t, x0_hat and noise in a first-order step."""
    one, zero = torch.ones(1, 1, dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64)
    inputs = [(one, zero, zero), (zero, one, zero), (zero, zero, one)]
    return tuple(float(step(scheduler, x, x0_hat, None, t, s, None, noise)) for x, x0_hat, noise in inputs)


@pytest.mark.parametrize("name", ["ddpm", "ddim, eta=0.5", "churn", "churn=0.3"])
@pytest.mark.parametrize("std", [0.3, 1.5])
def test_weak_order_by_the_variance_recursion(name: str, std: float) -> None:
    def final_variance(count: int) -> float:
        grid = WIDE.times(count)
        alpha, sigma = WIDE.alpha_sigma(grid)
        gain = alpha * std**2 / (alpha**2 * std**2 + sigma**2)
        variance = float(alpha[0] ** 2 * std**2 + sigma[0] ** 2)
        for i in range(count):
            a, b, c = linear_form(STEPS[name], WIDE, grid[i : i + 1], grid[i + 1 : i + 2])
            variance = (a + b * float(gain[i])) ** 2 * variance + c**2
        return variance

    alpha, sigma = WIDE.alpha_sigma(torch.zeros(1))
    exact = float(alpha**2 * std**2 + sigma**2)
    assert slopes([abs(final_variance(count) - exact) for count in (200, 400, 800)]) == pytest.approx(
        [1, 1], abs=0.07
    )


@curves
@steps
@pytest.mark.parametrize(("t", "s"), [(1.0, 0.7), (0.7, 0.69), (0.3, 0.001), (0.3, 0.0)])
def test_a_step_with_the_true_x0_keeps_the_marginal(curve: str, step, t: float, s: float) -> None:
    scheduler = SCHEDULERS[curve]
    a, b, c = linear_form(step, scheduler, at(t, 1), at(s, 1))
    (alpha_t, alpha_s), (sigma_t, sigma_s) = (
        pair.tolist() for pair in scheduler.alpha_sigma(torch.tensor([t, s], dtype=torch.float64))
    )
    assert a * alpha_t + b == pytest.approx(alpha_s, abs=1e-12)
    assert a**2 * sigma_t**2 + c**2 == pytest.approx(sigma_s**2, abs=1e-12)


@curves
def test_renoising_keeps_the_marginal(curve: str) -> None:
    scheduler = SCHEDULERS[curve]
    one, zero = torch.ones(1, 1, dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64)
    for t, s in [(0.0, 0.2), (0.2, 0.9), (0.5, 0.5)]:
        (alpha_t, sigma_t), (alpha_s, sigma_s) = (
            scheduler.alpha_sigma(at(t, 1)),
            scheduler.alpha_sigma(at(s, 1)),
        )
        a = samplers.renoise(scheduler, one, at(t, 1), at(s, 1), zero)
        c = samplers.renoise(scheduler, zero, at(t, 1), at(s, 1), one)
        assert float(a * alpha_t - alpha_s) == pytest.approx(0, abs=1e-12)
        assert float(a**2 * sigma_t**2 + c**2 - sigma_s**2) == pytest.approx(0, abs=1e-12)


@curves
def test_the_ancestral_step_is_ddim_with_eta_one_and_churn_one(curve: str) -> None:
    x, x0_hat, noise = (normal(2, 3, 4, seed=seed) for seed in range(3))
    arguments = (SCHEDULERS[curve], x, x0_hat, None, at(0.6), at(0.4), None, noise)
    ddpm, ddim = samplers.ddpm_step(*arguments), samplers.ddim_step(*arguments)
    torch.testing.assert_close(samplers.ddim_step(*arguments, eta=1.0), ddpm, rtol=0, atol=1e-9)
    torch.testing.assert_close(samplers.churn_step(*arguments, churn=1.0), ddpm, rtol=0, atol=1e-9)
    torch.testing.assert_close(samplers.churn_step(*arguments, churn=0.0), ddim, rtol=0, atol=1e-9)
    assert (ddpm - ddim).abs().max() > 0.1


@curves
def test_churn_adds_no_noise_at_the_end(curve: str) -> None:
    x, x0_hat, noise = (normal(2, 3, 4, seed=seed) for seed in range(3))
    arguments = (SCHEDULERS[curve], x, x0_hat, None, at(0.6), at(0.0), None, noise)
    churned, ddim = samplers.churn_step(*arguments), samplers.ddim_step(*arguments)
    torch.testing.assert_close(churned, ddim, rtol=0, atol=1e-12)


@steps
def test_positions_may_have_times_of_their_own(step) -> None:
    x, x0_hat, noise = (normal(2, 3, 4, seed=seed) for seed in range(3))
    t, s = torch.tensor([[0.6, 0.9, 0.2]] * 2), torch.tensor([[0.4, 0.5, 0.0]] * 2)
    together = step(WIDE, x, x0_hat, None, t, s, None, noise)
    for i in range(3):
        alone = step(WIDE, x[:, i], x0_hat[:, i], None, t[:, i], s[:, i], None, noise[:, i])
        torch.testing.assert_close(together[:, i], alone, rtol=0, atol=1e-12)


@steps
def test_the_walk_ends_on_x0_hat_where_the_curve_ends_clean(gaussian, step) -> None:
    scheduler, x = Scheduler.linear(), normal(2, 3, 4, dtype=torch.float32)
    data = gaussian((2, 3, 4), scheduler)
    final = last(sample(data.denoise, x, scheduler.times(10), scheduler, step=step))
    assert final.x.equal(final.x0_hat)
    assert final.x.isfinite().all()


@steps
def test_the_walk_ends_at_sigma_of_zero_where_it_does_not(step) -> None:
    scheduler, x = Scheduler.sqrt(), normal(1, 100, 200)
    final = last(
        sample(lambda x, t, x0_prev: torch.ones_like(x), x, scheduler.times(10), scheduler, step=step)
    )
    alpha, sigma = (float(a) for a in scheduler.alpha_sigma(at(0.0, 1)))
    assert sigma == pytest.approx(0.121, abs=1e-3)
    assert float(final.x.mean()) == pytest.approx(alpha, abs=4e-3)
    assert float(final.x.std()) == pytest.approx(sigma, rel=0.03)


@curves
@steps
def test_a_repeated_time_is_a_call_without_a_move(gaussian, curve: str, step) -> None:
    scheduler = SCHEDULERS[curve]
    data, x = gaussian((2, 3, 4), scheduler), normal(2, 3, 4)
    doubled = scheduler.times(6)[[0, 1, 2, 2, 3, 4, 5, 6, 6]]
    *_, before, final = sample(data.denoise, x, doubled, scheduler, step=step)
    assert final.x.equal(before.x)
    assert final.x0_hat.equal(data.denoise(before.x, at(0.0)))
    assert final.nfe == 8
    assert final.x.isfinite().all()


def test_2m_without_usable_history_is_ddim() -> None:
    x, x0_hat, x0_prev, noise = (normal(2, 3, 4, seed=seed) for seed in range(4))
    ddim = samplers.ddim_step(WIDE, x, x0_hat, None, at(0.5), at(0.3), None, noise)
    for history, t_prev in [(None, None), (x0_prev, None), (x0_prev, at(0.5))]:
        first_order = samplers.dpmpp_2m_step(WIDE, x, x0_hat, history, at(0.5), at(0.3), t_prev, noise)
        torch.testing.assert_close(first_order, ddim, rtol=0, atol=1e-12)
    second_order = samplers.dpmpp_2m_step(WIDE, x, x0_hat, x0_prev, at(0.5), at(0.3), at(0.6), noise)
    assert (second_order - ddim).abs().max() > 0.1


def test_history_is_forgotten_after_a_correction_and_after_renoising(gaussian) -> None:
    data, x = gaussian((2, 3, 4), WIDE), normal(2, 3, 4)
    seen, told = [], []

    def spy(scheduler, x_t, x0_hat, x0_prev, t, s, t_prev, noise) -> Tensor:
        seen.append(x0_prev is not None)
        return samplers.dpmpp_2m_step(scheduler, x_t, x0_hat, x0_prev, t, s, t_prev, noise)

    def denoise(x_t: Tensor, t: Tensor, x0_prev: Tensor | None) -> Tensor:
        told.append(x0_prev is not None)
        return data.denoise(x_t, t)

    last(sample(denoise, x, WIDE.times(4)[[0, 1, 2, 1, 2, 3, 4]], WIDE, step=spy))
    assert seen == [False, True, False, True, True]
    assert told == [False, True, True, True, True]
    corrected = last(sample(denoise, x, WIDE.times(4), WIDE, step=spy, correct=lambda x_s, x0_hat, s: x_s))
    assert seen[5:] == [False] * 4
    ddim = last(sample(denoise, x, WIDE.times(4), WIDE))
    torch.testing.assert_close(corrected.x, ddim.x, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("strides", "jump", "repeats", "calls"),
    [(250, 10, 10, 2410), (100, 10, 10, 910), (50, 10, 5, 210), (20, 5, 3, 50), (20, 5, 1, 20)],
)
def test_repaint_makes_as_many_calls_as_the_original(strides, jump, repeats, calls) -> None:
    made = []

    def denoise(x_t: Tensor, t: Tensor, x0_prev: Tensor | None) -> Tensor:
        made.append(float(t[0]))
        return torch.zeros_like(x_t)

    grid = samplers.repaint_times(WIDE.times(strides), jump, repeats)
    states = list(sample(denoise, normal(1, 2), grid, WIDE))
    assert states[-1].nfe == len(made) == calls
    assert [state.t for state in states] == grid[1:].tolist()
    assert [state.step for state in states] == list(range(1, len(grid)))


@shapes
@steps
def test_a_sample_does_not_depend_on_its_batch(gaussian, shape, step) -> None:
    data, x = gaussian(shape, WIDE), normal(*shape)
    grid = samplers.repaint_times(WIDE.times(8), 2, 2)

    def walk(rows: slice) -> Tensor:
        own = [torch.Generator().manual_seed(i) for i in range(len(x))][rows]
        return last(sample(data.denoise, x[rows], grid, WIDE, step=step, generator=own)).x

    assert walk(slice(0, 2)).equal(torch.cat([walk(slice(0, 1)), walk(slice(1, 2))]))


@steps
def test_the_shape_of_a_state_means_nothing(gaussian, step) -> None:
    data, x = gaussian((2, 128), WIDE), normal(2, 128)

    def walk(shape: tuple[int, ...]) -> Tensor:
        def denoise(x_t: Tensor, t: Tensor, x0_prev: Tensor | None) -> Tensor:
            return data.denoise(x_t.reshape(2, 128), t).reshape(shape)

        own = torch.Generator().manual_seed(0)
        return last(sample(denoise, x.reshape(shape), WIDE.times(9), WIDE, step=step, generator=own)).x

    assert walk((2, 8, 16)).flatten().equal(walk((2, 2, 8, 8)).flatten())


@steps
def test_noise_comes_from_the_generator_only(gaussian, step) -> None:
    data, x = gaussian((2, 3, 4), WIDE), normal(2, 3, 4)
    before = torch.get_rng_state()
    walks = [
        last(
            sample(
                data.denoise, x, WIDE.times(5), WIDE, step=step, generator=torch.Generator().manual_seed(seed)
            )
        ).x
        for seed in (0, 0, 1)
    ]
    assert torch.get_rng_state().equal(before)
    assert walks[0].equal(walks[1])
    deterministic = step in (samplers.ddim_step, samplers.dpmpp_2m_step)
    assert walks[0].equal(walks[2]) == deterministic


def test_half_precision_is_widened_and_gradients_are_off() -> None:
    weight = torch.ones(1, dtype=torch.bfloat16, requires_grad=True)
    x = normal(2, 3, 4).to(torch.bfloat16)
    final = last(sample(lambda x, t, x0_prev: weight * x.to(torch.bfloat16), x, WIDE.times(3), WIDE))
    assert final.x.dtype == final.x0_hat.dtype == torch.float32
    assert not final.x.requires_grad
    assert torch.is_grad_enabled()


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ([1.0], "at least 2 numbers"),
        ([[1.0, 0.0]], "at least 2 numbers"),
        ([999.0, 0.0], r"in \[0, 1\]"),
        ([1.0, float("nan")], r"in \[0, 1\]"),
        ([0.3, 0.9, 0.0], "goes up from its first time"),
    ],
)
def test_bad_grids_are_named(grid: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        next(sample(lambda x, t, x0_prev: x, normal(2, 3), torch.tensor(grid), WIDE))


def test_generators_must_match_the_batch() -> None:
    with pytest.raises(ValueError, match="got 1 generators for a batch of 2"):
        next(
            sample(lambda x, t, x0_prev: x, normal(2, 3), WIDE.times(2), WIDE, generator=[torch.Generator()])
        )
