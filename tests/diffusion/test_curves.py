"""The noise curves against Diffusion-LM's published numbers, closed forms and their own inverses."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from textdiff.diffusion import curves

TABLES = {
    "sqrt": curves.sqrt_betas(2000),
    "cosine": curves.cosine_betas(1000),
    "linear": curves.linear_betas(1000, 1e-4, 0.02),
    "scaled_linear": curves.scaled_linear_betas(1000, 8.5e-4, 0.012),
}


def test_sqrt_betas_are_those_of_diffusion_lm() -> None:
    betas = curves.sqrt_betas(2000)
    np.testing.assert_allclose(betas[:3], [0.01464131, 0.00888909, 0.00706818], atol=5e-9)
    np.testing.assert_allclose(betas[-3:], [0.35722328, 0.55561113, 0.999], atol=5e-9)


def test_sqrt_noise_is_that_of_diffusion_lm() -> None:
    curve = curves.Curve(curves.logsnr_from_betas(curves.sqrt_betas(2000)))
    steps = torch.tensor([0, 1, 999, 1999], dtype=torch.float64)
    sigma = (-curve.logsnr(steps / 1999)).sigmoid().sqrt()
    np.testing.assert_allclose(sigma, [0.12100128, 0.15297140, 0.83917798, 0.99999990], atol=5e-9)


def test_sqrt_at_200_steps_is_every_tenth_of_2000() -> None:
    few, many = (curves.logsnr_from_betas(curves.sqrt_betas(steps)) for steps in (200, 2000))
    np.testing.assert_allclose(few[:-1], many[9:-1:10], rtol=1e-9)  # the last beta of either is capped
    assert 1 / math.sqrt(1 + math.exp(few[0])) == pytest.approx(0.24906752, abs=5e-9)


def test_linear_tends_to_the_vp_sde() -> None:
    errors = []
    for steps in (1000, 2000, 4000):
        knots = curves.logsnr_from_betas(curves.linear_betas(steps, 0.1 / steps, 20 / steps))
        t = (np.arange(steps) + 1) / steps
        log_abar = -(0.1 * t + 0.5 * 19.9 * t**2)  # Song et al., arXiv 2011.13456, eq. 33
        errors.append(np.abs(knots - (log_abar - np.log(-np.expm1(log_abar))))[steps // 10 :].max())
    assert errors[0] < 0.15
    assert [errors[0] / errors[1], errors[1] / errors[2]] == pytest.approx([2, 2], abs=0.1)


@pytest.mark.parametrize("name", TABLES)
def test_betas_and_logsnr_are_inverses(name: str) -> None:
    betas = TABLES[name]
    np.testing.assert_allclose(curves.betas_from_logsnr(curves.logsnr_from_betas(betas)), betas, rtol=1e-9)


@pytest.mark.parametrize("name", TABLES)
def test_logsnr_is_log_of_the_cumulative_product(name: str) -> None:
    abar = np.cumprod(1 - TABLES[name])
    np.testing.assert_allclose(curves.logsnr_from_betas(TABLES[name]), np.log(abar / (1 - abar)), rtol=1e-8)


@pytest.mark.parametrize("clean_end", [False, True])
@pytest.mark.parametrize("name", TABLES)
def test_discrete_steps_are_exact(name: str, clean_end: bool) -> None:
    knots = curves.logsnr_from_betas(TABLES[name])
    count = len(knots)
    step = torch.arange(count, dtype=torch.float64)
    t = (step + 1) / count if clean_end else step / (count - 1)
    np.testing.assert_allclose(curves.Curve(knots, clean_end).logsnr(t), knots, atol=1e-9)


@pytest.mark.parametrize("clean_end", [False, True])
@pytest.mark.parametrize("name", TABLES)
def test_time_inverts_logsnr(name: str, clean_end: bool) -> None:
    curve = curves.Curve(curves.logsnr_from_betas(TABLES[name]), clean_end)
    t = torch.linspace(0, 1, 4567, dtype=torch.float64)
    logsnr = curve.logsnr(t)
    assert (logsnr.diff() < 0).all()
    assert (curve.time(logsnr) - t).abs().max() < 1e-12


def test_between_steps_logsnr_is_a_straight_line() -> None:
    curve = curves.Curve(np.array([4.0, 2.0, -6.0]))
    t = torch.tensor([[0.0, 0.25], [0.75, 1.0]], dtype=torch.float64)
    assert curve.logsnr(t).tolist() == [[4.0, 3.0], [-2.0, -6.0]]
    assert curve.time(torch.tensor([9.0, -9.0])).tolist() == [0.0, 1.0]


def test_a_clean_end_is_clean_and_continuous() -> None:
    curve = curves.Curve(np.array([4.0, 2.0, -6.0]), clean_end=True)
    below = torch.tensor([0.0, 1 / 6, 1 / 3 - 1e-12, 1 / 3], dtype=torch.float64)
    assert curve.logsnr(below).tolist() == pytest.approx([math.inf, 4 + 2 * math.log(2), 4, 4])
    assert curve.time(torch.tensor([math.inf])).item() == 0


def test_single_precision_times_still_give_float64() -> None:
    curve = curves.Curve(np.array([4.0, -6.0]))
    t = torch.tensor([0.1], dtype=torch.float32)
    assert curve.logsnr(t).dtype == torch.float64
    assert curve.logsnr(t).item() == 4 - 10 * t.double().item()


@pytest.mark.parametrize(
    ("knots", "message"),
    [
        ([3.0], "2 or more"),
        ([[3.0, 1.0]], "2 or more"),
        ([3.0, float("nan")], "finite"),
        ([float("inf"), 0.0], "finite"),
        ([3.0, 1.0, 1.0], "knot 1 is 1 and knot 2 is 1"),
        ([-3.0, 1.0], "knot 0 is -3 and knot 1 is 1"),
    ],
)
def test_bad_knots_are_named(knots: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        curves.Curve(np.array(knots))


@pytest.mark.parametrize("betas", [[0.1], [0.1, 0.0], [0.1, 1.0], [0.1, float("nan")]])
def test_bad_betas_are_refused(betas: list[float]) -> None:
    with pytest.raises(ValueError, match="strictly between 0 and 1"):
        curves.logsnr_from_betas(betas)


def test_a_curve_cannot_be_changed() -> None:
    knots = np.array([4.0, -6.0])
    curve = curves.Curve(knots)
    knots[0] = 0.0
    assert curve.logsnr(torch.tensor([0.0])).item() == 4
    with pytest.raises(ValueError, match="read-only"):
        curve.knots[0] = 1.0
