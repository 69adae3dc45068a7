"""The scheduler: conversions and their inverses, grids, shapes, and a config that nothing can damage."""

from __future__ import annotations

import copy
import json
import math
import pickle
from pathlib import Path

import pytest
import torch
from torch import Tensor

from textdiff.diffusion.scheduler import Scheduler

KNOTS = [6.0, 2.5, 0.5, -0.5, -3.0]
SCHEDULERS = {
    "sqrt": Scheduler.sqrt(),
    "cosine": Scheduler.cosine(),
    "linear": Scheduler.linear(),
    "betas": Scheduler.from_betas([0.01 * (i + 1) for i in range(30)]),
    "adaptive": Scheduler.adaptive(KNOTS),
}
everywhere = pytest.mark.parametrize("name", SCHEDULERS)
shapes = pytest.mark.parametrize("shape", [(3, 5, 4), (3, 2, 5, 4)], ids=["BLD", "BCHW"])


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def curve_of(scheduler: Scheduler) -> Tensor:
    return scheduler.logsnr(torch.linspace(0.01, 1, 57, dtype=torch.float64, device="cpu"))


@everywhere
def test_signal_and_noise_add_up_to_one(name: str) -> None:
    scheduler = SCHEDULERS[name]
    t = torch.linspace(0, 1, 99, dtype=torch.float64)
    alpha, sigma = scheduler.alpha_sigma(t)
    torch.testing.assert_close(alpha**2 + sigma**2, torch.ones_like(t), rtol=0, atol=1e-14)
    torch.testing.assert_close((alpha[1:] / sigma[1:]).log() * 2, scheduler.logsnr(t[1:]), rtol=0, atol=1e-9)


@everywhere
@shapes
@pytest.mark.parametrize("per_position", [False, True])
def test_conversions_are_inverse_pairs(name: str, shape: tuple[int, ...], per_position: bool) -> None:
    scheduler = SCHEDULERS[name]
    x0, eps = normal(*shape), normal(*shape, seed=1)
    t = torch.tensor([0.05, 0.5, 0.9], dtype=torch.float64)
    if per_position:
        t = t[:, None] * torch.linspace(0.5, 1, shape[1], dtype=torch.float64)
    x_t = scheduler.add_noise(x0, eps, t)
    v = scheduler.v_from_x0(x_t, x0, t)
    alpha, sigma = (a.reshape(a.shape + (1,) * (len(shape) - t.ndim)) for a in scheduler.alpha_sigma(t))
    for got, wanted in [
        (x_t, alpha * x0 + sigma * eps),
        (v, alpha * eps - sigma * x0),
        (scheduler.x0_from_v(x_t, v, t), x0),
        (scheduler.eps_from_x0(x_t, x0, t), eps),
        (scheduler.x0_from_eps(x_t, eps, t), x0),
    ]:
        torch.testing.assert_close(got, wanted, rtol=0, atol=1e-10)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_states_keep_their_dtype(dtype: torch.dtype) -> None:
    x0, eps, t = normal(2, 3, 4).to(dtype), normal(2, 3, 4, seed=1).to(dtype), torch.tensor([0.2, 0.9])
    x_t = SCHEDULERS["sqrt"].add_noise(x0, eps, t)
    assert x_t.dtype == dtype
    exact = SCHEDULERS["sqrt"].add_noise(x0.double(), eps.double(), t)
    if dtype == torch.bfloat16:
        assert x_t.equal(exact.to(dtype))  # rounded once, at the end
    assert (x_t.double() - exact).abs().max() <= torch.finfo(dtype).eps * 4


@shapes
@pytest.mark.parametrize("wrong", [(), (1,), (2,), (3, 4), (3, 5, 4, 4, 1)])
def test_a_time_of_the_wrong_shape_is_refused(shape: tuple[int, ...], wrong: tuple[int, ...]) -> None:
    x = normal(*shape)
    with pytest.raises(ValueError, match=r"t has shape \[.*give t the shape \[3\]"):
        SCHEDULERS["cosine"].add_noise(x, x, torch.full(wrong, 0.5))


def test_one_time_per_pixel() -> None:
    x = normal(2, 3, 4, 4)
    t = torch.linspace(0.1, 1, 32).reshape(2, 1, 4, 4)
    assert SCHEDULERS["linear"].add_noise(x, x, t).shape == x.shape


@everywhere
@pytest.mark.parametrize("steps", [1, 2, 7, 50])
@pytest.mark.parametrize("spacing", ["time", "logsnr"])
def test_grids_go_down_from_one_to_zero(name: str, steps: int, spacing: str) -> None:
    grid = SCHEDULERS[name].times(steps, spacing)
    assert grid.shape == (steps + 1,)
    assert grid.dtype == torch.float64
    assert grid[0] == 1
    assert grid[-1] == 0
    assert (grid.diff() < 0).all()


@everywhere
def test_spacing_is_even_where_it_says(name: str) -> None:
    scheduler = SCHEDULERS[name]
    even = scheduler.times(10).diff()
    torch.testing.assert_close(even, even[:1].expand(10))
    logsnr = scheduler.logsnr(scheduler.times(10, "logsnr"))
    strides = logsnr[logsnr.isfinite()].diff()
    assert len(strides) == (9 if logsnr[-1] == math.inf else 10)
    torch.testing.assert_close(strides, strides[:1].expand(len(strides)))


def test_information_is_time_on_an_adaptive_curve_and_unknown_elsewhere() -> None:
    adaptive = SCHEDULERS["adaptive"]
    assert adaptive.times(9, "information").equal(adaptive.times(9))
    with pytest.raises(ValueError, match="sqrt curve does not know where the information is"):
        SCHEDULERS["sqrt"].times(9, "information")


@pytest.mark.parametrize(
    ("steps", "spacing", "message"),
    [
        (0, "time", "is 0: it must be at least 1"),
        (-3, "time", "is -3"),
        (5, "karras", "choose time, logsnr, inf"),
    ],
)
def test_bad_grids_are_named(steps: int, spacing: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SCHEDULERS["cosine"].times(steps, spacing)


@everywhere
def test_json_round_trip(name: str, tmp_path: Path) -> None:
    scheduler = SCHEDULERS[name]
    scheduler.save_pretrained(tmp_path / "new" / "folder")
    saved = json.loads((tmp_path / "new" / "folder" / "scheduler_config.json").read_text())
    again = Scheduler.from_pretrained(tmp_path / "new" / "folder")
    assert saved == scheduler.to_dict() == again.config == Scheduler.from_config(scheduler.to_dict()).config
    assert curve_of(again).equal(curve_of(scheduler))
    assert [file.name for file in (tmp_path / "new" / "folder").iterdir()] == ["scheduler_config.json"]


@everywhere
def test_no_cast_and_no_meta_device_reaches_the_numbers(name: str) -> None:
    wanted = curve_of(SCHEDULERS[name])
    config = SCHEDULERS[name].to_dict()
    with torch.device("meta"):
        scheduler = Scheduler.from_config(config)
        holder = torch.nn.Linear(2, 2)
        holder.scheduler = scheduler
        grid = scheduler.times(4, "logsnr")
    torch.set_default_dtype(torch.bfloat16)
    try:
        low = Scheduler.from_config(config)
        assert curve_of(low).equal(wanted)
    finally:
        torch.set_default_dtype(torch.float32)
    holder.to_empty(device="cpu").to(torch.bfloat16)
    assert curve_of(holder.scheduler).equal(wanted)
    assert grid.equal(SCHEDULERS[name].times(4, "logsnr"))
    assert not holder.scheduler.__dict__.keys() & holder.state_dict().keys()


def test_the_config_reads_as_attributes_and_cannot_be_written() -> None:
    config = SCHEDULERS["adaptive"].config
    assert isinstance(config, dict)
    assert config.logsnr_knots == config["logsnr_knots"] == KNOTS
    assert config.clip_sample is False
    for change in (lambda: config.update(clip_sample=True), lambda: config.__setitem__("clip_sample", True)):
        with pytest.raises(TypeError, match="read-only"):
            change()
    with pytest.raises(TypeError, match="read-only"):
        config.clip_sample = True
    with pytest.raises(AttributeError, match="no 'nonsense'"):
        _ = config.nonsense


@pytest.mark.parametrize(
    "again", [copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))], ids=["deepcopy", "pickle"]
)
def test_copies_are_whole(again) -> None:
    for scheduler in SCHEDULERS.values():
        assert curve_of(again(scheduler)).equal(curve_of(scheduler))
        assert again(scheduler).config == scheduler.config


def test_gradients_reach_the_times() -> None:
    t = torch.tensor([0.1, 0.6], dtype=torch.float64, requires_grad=True)
    SCHEDULERS["adaptive"].logsnr(t).sum().backward()
    assert t.grad.tolist() == pytest.approx([(2.5 - 6.0) * 4, (-0.5 - 0.5) * 4])


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"textdiff_curve": "nonsense"}, "unknown curve 'nonsense'.*choose sqrt"),
        ({"textdiff_curve": "adaptive"}, "has no logsnr_knots"),
        ({"textdiff_curve": "betas"}, "has no trained_betas"),
        ({"textdiff_curve": "sqrt", "num_train_timesteps": 1}, "num_train_timesteps is 1"),
        ({"beta_schedule": "laplace"}, "unknown beta_schedule 'laplace'"),
        ({}, "unknown beta_schedule None"),
    ],
)
def test_bad_configs_are_named(config: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Scheduler.from_config(config)


@pytest.mark.parametrize("content", ['{"textdiff_curve": "sq', "[1]", "\x00"])
def test_a_damaged_file_is_named(content: str, tmp_path: Path) -> None:
    (tmp_path / "scheduler_config.json").write_text(content)
    with pytest.raises(ValueError, match=r"scheduler_config.json .*save the scheduler again"):
        Scheduler.from_pretrained(tmp_path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"scheduler_config.json does not exist"):
        Scheduler.from_pretrained(tmp_path)


def test_a_failed_save_leaves_the_old_file_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    SCHEDULERS["sqrt"].save_pretrained(tmp_path)

    def full_disk(self: Path, text: str, **options: str) -> None:
        with self.open("w") as file:
            file.write(text[:20])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full_disk)
    with pytest.raises(OSError, match="No space left"):
        SCHEDULERS["cosine"].save_pretrained(tmp_path)
    assert Scheduler.from_pretrained(tmp_path).config == SCHEDULERS["sqrt"].config
    assert [file.name for file in tmp_path.iterdir()] == ["scheduler_config.json"]
