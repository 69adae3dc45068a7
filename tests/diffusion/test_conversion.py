"""Conformance with diffusers: the same tables, and the same walk step by step."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor

from textdiff.diffusion import curves, samplers
from textdiff.diffusion.samplers import sample
from textdiff.diffusion.scheduler import Scheduler

diffusers = pytest.importorskip("diffusers", reason="diffusers is the oracle of these tests")
DDPM, DDIM = diffusers.DDPMScheduler, diffusers.DDIMScheduler
DPM = diffusers.DPMSolverMultistepScheduler
CLASSES = [DDPM, DDIM, DPM]
SCHEDULERS = {
    "sqrt": Scheduler.sqrt(),
    "cosine": Scheduler.cosine(),
    "linear": Scheduler.linear(),
    "betas": Scheduler.from_betas(curves.scaled_linear_betas(600, 8.5e-4, 0.012)),
    "adaptive": Scheduler.adaptive([6.0, 2.5, 0.5, -0.5, -3.0]),
}
names = pytest.mark.parametrize("name", SCHEDULERS)
classes = pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
SHAPE = (3, 8, 16)


def step_times(scheduler: Scheduler, steps: Tensor) -> Tensor:
    """The times of diffusers' integer steps."""
    count = scheduler.config.num_train_timesteps
    clean_end = scheduler.config.set_alpha_to_one
    return (steps.double() + 1) / count if clean_end else steps.double() / (count - 1)


@names
@classes
def test_the_tables_agree(name: str, cls: type) -> None:
    scheduler = SCHEDULERS[name]
    theirs = scheduler.to_diffusers(cls)
    assert isinstance(theirs, cls)
    times = step_times(scheduler, torch.arange(theirs.config.num_train_timesteps))
    alpha, sigma = scheduler.alpha_sigma(times)
    torch.testing.assert_close(theirs.alphas_cumprod.double().sqrt(), alpha, rtol=2e-4, atol=1e-5)
    torch.testing.assert_close((1 - theirs.alphas_cumprod.double()).sqrt(), sigma, rtol=2e-4, atol=1e-5)


@names
@pytest.mark.parametrize(
    "cls", [DDPM, DDIM], ids=lambda cls: cls.__name__
)  # DPM adds noise along a grid only
def test_noising_agrees(name: str, cls: type) -> None:
    scheduler = SCHEDULERS[name]
    theirs = scheduler.to_diffusers(cls)
    x0, eps = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(0)).unbind()
    steps = torch.tensor([0, 77, 511])
    ours = scheduler.add_noise(x0, eps, step_times(scheduler, steps))
    torch.testing.assert_close(theirs.add_noise(x0, eps, steps), ours, rtol=0, atol=1e-4)


@names
@classes
def test_there_and_back(name: str, cls: type) -> None:
    scheduler = SCHEDULERS[name]
    again = Scheduler.from_diffusers(scheduler.to_diffusers(cls))
    steps = torch.arange(scheduler.config.num_train_timesteps)
    there = scheduler.logsnr(step_times(scheduler, steps))
    torch.testing.assert_close(again.logsnr(step_times(again, steps)), there, rtol=0, atol=1e-8)
    if cls is not DDPM:  # DDPM always ends clean
        assert again.config.set_alpha_to_one == scheduler.config.set_alpha_to_one
        torch.testing.assert_close(again.times(7), scheduler.times(7))


@classes
@pytest.mark.parametrize("options", [{"beta_schedule": "scaled_linear"}, {"trained_betas": [0.1, 0.2, 0.4]}])
def test_their_files_load_without_them(cls: type, options: dict, tmp_path: Path) -> None:
    unclipped = {} if cls is DPM else {"clip_sample": False}
    theirs = cls(**options, **unclipped, prediction_type="v_prediction")
    theirs.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "scheduler_config.json").read_text())["_class_name"] == cls.__name__
    ours = Scheduler.from_pretrained(tmp_path)
    steps = torch.arange(len(theirs.betas))
    alpha, _ = ours.alpha_sigma(step_times(ours, steps))
    torch.testing.assert_close(alpha, theirs.alphas_cumprod.double().sqrt(), rtol=1e-4, atol=1e-6)
    assert ours.to_diffusers(cls).config.prediction_type == "v_prediction"


def test_a_schedule_we_have_no_name_for_comes_as_betas() -> None:
    theirs = DDPM(beta_schedule="sigmoid", clip_sample=False)
    ours = Scheduler.from_diffusers(theirs)
    assert ours.config.trained_betas == theirs.betas.tolist()


def test_a_pipeline_of_theirs_could_read_our_config() -> None:
    assert DDIM.from_config(SCHEDULERS["linear"].config).alphas_cumprod.equal(DDIM().alphas_cumprod)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Scheduler.from_diffusers(DDPM()), "sets clip_sample.*clamp x0_hat inside the denoiser"),
        (lambda: Scheduler.from_diffusers(DPM(thresholding=True)), "sets thresholding"),
        (lambda: Scheduler.from_diffusers(DPM(rescale_betas_zero_snr=True)), "sets rescale_betas_zero_snr"),
        (lambda: Scheduler.from_diffusers(DPM(use_flow_sigmas=True)), "sets use_flow_sigmas"),
        (lambda: Scheduler.from_diffusers(diffusers.EulerDiscreteScheduler()), "cannot read a EulerDiscrete"),
        (
            lambda: Scheduler.linear().to_diffusers(diffusers.EulerDiscreteScheduler),
            "cannot build a EulerDiscrete",
        ),
        (lambda: Scheduler.linear().to_diffusers("DDIM"), "cannot build a 'DDIM'"),
    ],
)
def test_what_one_side_cannot_express_is_named(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


WALKS = {
    "ddpm": (DDPM, samplers.ddpm_step, {}),
    "ddim": (DDIM, samplers.ddim_step, {}),
    "ddim, eta=1": (DDIM, partial(samplers.ddim_step, eta=1.0), {"eta": 1.0}),
    "ddim, eta=0.5": (DDIM, partial(samplers.ddim_step, eta=0.5), {"eta": 0.5}),
    "dpmpp_2m": (DPM, samplers.dpmpp_2m_step, {}),
}


def assert_same_walk(data, theirs, options: dict, grid: Tensor, step) -> None:
    """Every state of our walk equals theirs to 1e-4; equal generators give equal noise."""
    scheduler = data.scheduler
    ours, other = torch.Generator().manual_seed(1), torch.Generator().manual_seed(1)
    x = y = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))
    states = sample(data.denoise, x, grid, scheduler, step=step, generator=ours)
    count = 0
    for step_index, state in zip(theirs.timesteps, states, strict=False):
        t = step_times(scheduler, step_index.expand(len(y)))
        y = theirs.step(data.denoise(y, t).float(), step_index, y, generator=other, **options).prev_sample
        assert (state.x - y).abs().max() < 1e-4
        count += 1
    assert count == len(theirs.timesteps) == len(grid) - 1


@pytest.mark.parametrize("curve", ["linear", "cosine"])
@pytest.mark.parametrize("count", [10, 20, 50])
@pytest.mark.parametrize("walk", WALKS)
def test_step_by_step_agreement(gaussian, curve: str, count: int, walk: str) -> None:
    cls, step, options = WALKS[walk]
    scheduler = SCHEDULERS[curve]
    theirs = scheduler.to_diffusers(cls)
    # In float32 their DDIM loses digits of 1 - abar - std^2: up to 1.04e-4 on the cosine curve.
    theirs.alphas_cumprod = scheduler.alpha_sigma(step_times(scheduler, torch.arange(1000)))[0] ** 2
    theirs.set_timesteps(count)
    grid = scheduler.times(count)
    torch.testing.assert_close(
        step_times(scheduler, theirs.timesteps), grid[:-1]
    )  # "time" is their "trailing"
    assert_same_walk(gaussian(SHAPE, scheduler), theirs, options, grid, step)


@pytest.mark.parametrize("count", [10, 50])
def test_2m_agrees_where_the_curve_ends_noisy(gaussian, count: int) -> None:
    scheduler = SCHEDULERS["sqrt"]
    theirs = scheduler.to_diffusers(DPM)
    theirs.set_timesteps(count)
    grid = torch.cat([step_times(scheduler, theirs.timesteps), torch.zeros(1)])
    assert_same_walk(gaussian(SHAPE, scheduler), theirs, {}, grid, samplers.dpmpp_2m_step)
    torch.testing.assert_close(
        grid, scheduler.times(count), rtol=0, atol=0.51 / 1999
    )  # they round to whole steps


def test_respacing_looks_up_the_true_next_time(gaussian) -> None:
    """On uneven grids their DDIM misses the next time (huggingface/diffusers#12633); their DDPM does not."""
    scheduler = Scheduler.linear(num_train_timesteps=300)
    data = gaussian(SHAPE, scheduler)
    theirs = scheduler.to_diffusers(DDPM)
    theirs.set_timesteps(timesteps=[299, 250, 249, 130, 7, 0])
    grid = torch.cat([step_times(scheduler, theirs.timesteps), torch.zeros(1)])
    assert_same_walk(data, theirs, {}, grid, samplers.ddpm_step)
