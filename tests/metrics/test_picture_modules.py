"""The `evaluate` modules over pictures and features give what the plain functions give, without network."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from textdiff.metrics import PICTURE_NAMES
from textdiff.metrics.features import density_coverage, frechet_distance, kernel_distance
from textdiff.metrics.pictures import psnr, ssim


@pytest.mark.parametrize(("name", "score"), [("psnr", psnr), ("ssim", ssim)])
@pytest.mark.parametrize("shape", [(8, 9), (8, 9, 3)])
def test_pictures(load, name: str, score, shape: tuple[int, ...]) -> None:
    a, b = (np.random.default_rng(seed).integers(0, 256, (2, *shape)).astype(np.uint8) for seed in (0, 1))
    wanted = score(list(a), list(b))
    assert load(name).compute(predictions=list(a), references=list(b)) == {name: pytest.approx(wanted)}
    images = [[Image.fromarray(one) for one in part] for part in (a, b)]
    assert load(name).compute(predictions=images[0], references=images[1]) == {name: pytest.approx(wanted)}


def test_features(load) -> None:
    a, b = (np.random.default_rng(seed).normal(size=(40, 3)) for seed in (0, 1))
    asked = {"predictions": a, "references": b}
    density, coverage = density_coverage(a, b, 3)
    assert load("feature_frechet").compute(**asked) == {
        "feature_frechet": pytest.approx(frechet_distance(a, b))
    }
    assert load("feature_kernel").compute(**asked) == {"feature_kernel": pytest.approx(kernel_distance(a, b))}
    assert load("density_coverage", neighbours=3).compute(**asked) == pytest.approx(
        {"density": density, "coverage": coverage}
    )


@pytest.mark.parametrize("name", PICTURE_NAMES)
def test_nothing_is_refused_in_one_sentence(load, name: str) -> None:
    with pytest.raises(ValueError, match="got no predictions: give at least one"):
        load(name).compute(predictions=[], references=[])
