"""Options within limits, grids that end clean, and noise of each picture's own."""

from __future__ import annotations

import pytest
import torch

from textdiff.diffusion.scheduler import Scheduler
from textdiff.image.curve import image_curve
from textdiff.image.sampling import Sampling, grid_of, own_generators


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_inference_steps": 0}, "num_inference_steps is 0"),
        ({"sampler": "euler"}, "Unknown sampler 'euler': choose ddim, ddpm, dpmpp_2m, churn"),
        ({"guidance_scale": -1.0, "labels": 1}, "guidance_scale is -1.0"),
        ({"guidance_scale": float("nan"), "labels": 1}, "guidance_scale is nan"),
        ({"guidance_scale": 2.0}, "guidance_scale is 2.0 without labels"),
        ({"seed": -1}, "The seed is -1"),
    ],
)
def test_options_out_of_range(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Sampling(**options)


@pytest.mark.parametrize(
    ("labels", "classes", "message"),
    [
        (1, 0, "trained without classes"),
        ([1, 2], 5, "2 labels for 3 pictures"),
        (5, 5, "numbers from 0 to 4"),
        ([0, -1, 2], 5, "numbers from 0 to 4"),
        (1.5, 5, "a whole number"),
        (torch.zeros(3, 1, dtype=torch.long), 5, "a whole number"),
    ],
)
def test_impossible_labels(labels, classes: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Sampling(labels=labels).labels_of(3, classes)


def test_one_label_is_for_all() -> None:
    assert Sampling(labels=2).labels_of(3, 5).tolist() == [2, 2, 2]
    assert Sampling(labels=torch.tensor([0, 4, 1])).labels_of(3, 5).tolist() == [0, 4, 1]
    assert Sampling().labels_of(3, 0) is None


def test_the_last_estimate_is_made_where_the_curve_ends() -> None:
    assert grid_of(image_curve(), 4).tolist() == [1.0, 0.75, 0.5, 0.25, 0.0, 0.0]
    assert grid_of(Scheduler.linear(), 4).tolist() == [1.0, 0.75, 0.5, 0.25, 0.0]


def test_the_curve_is_the_cosine_between_its_ends() -> None:
    curve, t = image_curve(), torch.linspace(0.0, 1.0, 101, dtype=torch.float64)
    logsnr = curve.logsnr(t)
    assert float(logsnr[0]) == pytest.approx(10.0) and float(logsnr[-1]) == pytest.approx(-10.0)
    angle = torch.atan(torch.exp(-logsnr / 2.0))  # even steps of the angle, up to the table's straight lines
    steps = angle.diff()
    assert float((steps / steps.mean() - 1.0).abs().max()) < 0.2
    assert float(curve.logsnr(t[50:51])) == pytest.approx(0.0, abs=1e-6)


def test_a_picture_has_the_same_noise_in_any_company() -> None:
    def noise(seed: int, rows: list[int]) -> list[float]:
        return [
            float(torch.randn(1, generator=own)) for own in own_generators(seed, rows, torch.device("cpu"))
        ]

    assert noise(0, [0, 1, 2])[1:] == noise(0, [1, 2])
    assert len({*noise(0, [0, 1]), *noise(1, [0, 1])}) == 4


def test_a_seed_comes_from_the_generator_or_is_fresh() -> None:
    drawn = [Sampling(generator=torch.Generator().manual_seed(7)).pick_seed() for _ in range(2)]
    assert drawn[0] == drawn[1]
    assert Sampling(seed=3, generator=torch.Generator()).pick_seed() == 3
    assert Sampling().pick_seed() != Sampling().pick_seed()
