"""Guidance against closed forms: with exact parts, the guided denoiser is the exact conditional one."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from textdiff.diffusion.guidance import classifier_free, energy_guided, score_temperature
from textdiff.diffusion.samplers import SAMPLERS, sample
from textdiff.diffusion.scheduler import Scheduler

SCHEDULER = Scheduler.adaptive([5.0, -5.0])
TIMES = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
PRIOR, NOISE = 1.3, 0.6  # x0 ~ N(0, PRIOR^2), observed as y = x0 + N(0, NOISE^2)
shapes = pytest.mark.parametrize("shape", [(3, 5, 4), (3, 2, 4, 4)], ids=["BLD", "BCHW"])


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def factors(t: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    alpha, sigma = SCHEDULER.alpha_sigma(t)
    return alpha.reshape(-1, *[1] * (like.ndim - 1)), sigma.reshape(-1, *[1] * (like.ndim - 1))


def prior_denoiser(x_t: Tensor, t: Tensor, x0_prev: Tensor | None = None) -> Tensor:
    alpha, sigma = factors(t, x_t)
    return alpha * PRIOR**2 / (alpha**2 * PRIOR**2 + sigma**2) * x_t


class Observation:
    """y = x0 + noise, for every element."""

    def __init__(self, y: Tensor) -> None:
        self.y = y

    def denoiser(self, x_t: Tensor, t: Tensor, x0_prev: Tensor | None = None) -> Tensor:
        """E[x0 | x_t, y]."""
        alpha, sigma = factors(t, x_t)
        precision = PRIOR**-2 + alpha**2 / sigma**2 + NOISE**-2
        return (alpha / sigma**2 * x_t + self.y / NOISE**2) / precision

    def energy(self, x_t: Tensor, t: Tensor) -> Tensor:
        """-log p(y | x_t) and a constant."""
        alpha, sigma = factors(t, x_t)
        variance = PRIOR**2 * sigma**2 / (alpha**2 * PRIOR**2 + sigma**2) + NOISE**2
        return ((self.y - prior_denoiser(x_t, t)) ** 2 / (2 * variance)).flatten(1).sum(1)


@shapes
def test_an_exact_energy_gives_the_conditional_denoiser(shape: tuple[int, ...]) -> None:
    x_t, observation = normal(*shape), Observation(normal(*shape, seed=1))
    guided = energy_guided(prior_denoiser, observation.energy, SCHEDULER)
    torch.testing.assert_close(guided(x_t, TIMES, None), observation.denoiser(x_t, TIMES), rtol=0, atol=1e-10)
    off = energy_guided(prior_denoiser, observation.energy, SCHEDULER, scale=0.0)
    assert off(x_t, TIMES, None).equal(prior_denoiser(x_t, TIMES))


@shapes
@pytest.mark.parametrize("step", SAMPLERS)
def test_an_exact_energy_gives_the_conditional_walk(shape: tuple[int, ...], step: str) -> None:
    x, observation = normal(*shape), Observation(normal(*shape, seed=1))
    denoisers = energy_guided(prior_denoiser, observation.energy, SCHEDULER), observation.denoiser
    walks = [
        sample(
            denoiser,
            x,
            SCHEDULER.times(12),
            SCHEDULER,
            step=SAMPLERS[step],
            generator=torch.Generator().manual_seed(0),
        )
        for denoiser in denoisers
    ]
    for guided, conditional in zip(*walks, strict=True):
        torch.testing.assert_close(guided.x, conditional.x, rtol=0, atol=1e-9)


def test_energies_add() -> None:
    x_t, one, two = (
        normal(3, 5, 4),
        Observation(normal(3, 5, 4, seed=1)),
        Observation(normal(3, 5, 4, seed=2)),
    )
    together = energy_guided(prior_denoiser, lambda x, t: one.energy(x, t) + two.energy(x, t), SCHEDULER, 0.7)
    apart = energy_guided(
        energy_guided(prior_denoiser, one.energy, SCHEDULER, 0.7), two.energy, SCHEDULER, 0.7
    )
    torch.testing.assert_close(together(x_t, TIMES, None), apart(x_t, TIMES, None), rtol=0, atol=1e-12)


def test_energy_guidance_of_a_sample_does_not_depend_on_its_batch() -> None:
    x_t, y = normal(3, 5, 4), normal(3, 5, 4, seed=1)
    together = energy_guided(prior_denoiser, Observation(y).energy, SCHEDULER)(x_t, TIMES, None)
    for i in range(3):
        alone = energy_guided(prior_denoiser, Observation(y[i : i + 1]).energy, SCHEDULER)
        torch.testing.assert_close(alone(x_t[i : i + 1], TIMES[i : i + 1], None), together[i : i + 1])


def test_an_energy_must_be_one_number_per_sample() -> None:
    guided = energy_guided(prior_denoiser, lambda x, t: x.square().mean(), SCHEDULER)
    with pytest.raises(ValueError, match=r"the energy has shape \[\]: give one number per sample, \[3\]"):
        guided(normal(3, 5, 4), TIMES, None)


@shapes
@pytest.mark.parametrize("scale", [0.0, 0.5, 1.0, 3.0])
def test_classifier_free_mixes_x0_as_it_mixes_eps(shape: tuple[int, ...], scale: float) -> None:
    x_t, observation = normal(*shape), Observation(normal(*shape, seed=1))
    x0_hat = classifier_free(observation.denoiser, prior_denoiser, scale)(x_t, TIMES, None)
    cond, uncond = (
        SCHEDULER.eps_from_x0(x_t, denoiser(x_t, TIMES), TIMES)
        for denoiser in (observation.denoiser, prior_denoiser)
    )
    mixed = SCHEDULER.x0_from_eps(x_t, uncond + scale * (cond - uncond), TIMES)
    torch.testing.assert_close(x0_hat, mixed, rtol=0, atol=1e-10)


def test_classifier_free_is_energy_guidance_by_the_implicit_classifier() -> None:
    x_t, observation = normal(3, 5, 4), Observation(normal(3, 5, 4, seed=1))
    free = classifier_free(observation.denoiser, prior_denoiser, 2.5)(x_t, TIMES, None)
    energy = energy_guided(prior_denoiser, observation.energy, SCHEDULER, 2.5)(x_t, TIMES, None)
    torch.testing.assert_close(free, energy, rtol=0, atol=1e-9)


def test_classifier_free_at_one_costs_one_call_and_passes_the_history_on() -> None:
    seen = []

    def denoiser(name: str):
        def call(x_t: Tensor, t: Tensor, x0_prev: Tensor | None) -> Tensor:
            seen.append((name, x0_prev))
            return x_t

        return call

    history = normal(3, 5, 4)
    classifier_free(denoiser("cond"), denoiser("uncond"), 1.0)(normal(3, 5, 4), TIMES, history)
    assert seen == [("cond", history)]
    classifier_free(denoiser("cond"), denoiser("uncond"), 2.0)(normal(3, 5, 4), TIMES, history)
    assert sorted(name for name, _ in seen[1:]) == ["cond", "uncond"]
    assert all(given is history for _, given in seen)


@shapes
@pytest.mark.parametrize("tau", [0.8, 1.0, 1.3])
def test_score_temperature_divides_the_score(shape: tuple[int, ...], tau: float) -> None:
    x_t = normal(*shape)
    alpha, sigma = factors(TIMES, x_t)
    tempered = score_temperature(prior_denoiser, SCHEDULER, tau)(x_t, TIMES, None)
    exact_score = -x_t / (alpha**2 * PRIOR**2 + sigma**2)
    torch.testing.assert_close((alpha * tempered - x_t) / sigma**2, exact_score / tau, rtol=0, atol=1e-9)


@pytest.mark.parametrize("tau", [0.0, -1.0])
def test_a_temperature_is_positive(tau: float) -> None:
    with pytest.raises(ValueError, match="must be above 0"):
        score_temperature(prior_denoiser, SCHEDULER, tau)
