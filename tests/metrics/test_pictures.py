"""PSNR and SSIM against their formulas, with the data range that is the usual mistake."""

from __future__ import annotations

import math

import numpy as np
import pytest
from PIL import Image

from textdiff.metrics.pictures import psnr, ssim


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def test_psnr_is_its_formula_with_255_for_white() -> None:
    dark = np.full((8, 8), 10, dtype=np.uint8)  # the range is 255 however dark the picture
    assert psnr([dark], [dark + 5]) == pytest.approx(20 * math.log10(255 / 5))
    assert psnr([dark, dark], [dark + 5, dark + 10]) == pytest.approx(20 * math.log10(255 / math.sqrt(50)))
    assert psnr([dark], [dark]) == math.inf


def test_ssim_of_flat_pictures_is_the_luminance_term() -> None:
    a, b = 100.0, 150.0
    pictures = [np.full((8, 8), int(level), dtype=np.uint8) for level in (a, b)]
    c1 = (0.01 * 255) ** 2
    assert ssim(pictures[:1], pictures[1:]) == pytest.approx((2 * a * b + c1) / (a**2 + b**2 + c1))


@pytest.mark.parametrize("shape", [(9, 8), (9, 8, 3)])
def test_equal_pictures_are_1_and_others_are_less(shape: tuple[int, ...]) -> None:
    picture, other = noise(*shape), noise(*shape, seed=1)
    assert ssim([Image.fromarray(picture)], [picture]) == pytest.approx(1.0)
    assert ssim([picture, other], [picture, picture]) < 0.8


@pytest.mark.parametrize(
    ("pictures", "truths", "message"),
    [
        ([], [], "0 pictures and 0 truths"),
        ([noise(8, 8)], [noise(8, 8)] * 2, "1 pictures and 2 truths"),
        ([noise(8, 8)], [noise(8, 9)], "differ in size"),
        ([noise(8, 8) / 255.0], [noise(8, 8)], "holds float64 numbers"),
    ],
)
def test_what_cannot_be_compared(pictures, truths, message: str) -> None:
    for score in (psnr, ssim):
        with pytest.raises(ValueError, match=message):
            score(pictures, truths)


def test_grey_and_colour_stand_side_by_side() -> None:
    grey, colour = [noise(9, 8), noise(9, 8, seed=1)], [noise(9, 8, 3), noise(9, 8, 3, seed=1)]
    wanted = [ssim(pair[:1], pair[1:]) for pair in (grey, colour)]
    assert ssim([grey[0], colour[0]], [grey[1], colour[1]]) == pytest.approx(sum(wanted) / 2)


def test_ssim_wants_room_for_its_window() -> None:
    with pytest.raises(ValueError, match="at least 7 x 7"):
        ssim([noise(6, 6)], [noise(6, 6)])
    with pytest.raises(ValueError, match="at least 7 x 7"):
        ssim([noise(8, 8), noise(8, 6)], [noise(8, 8), noise(8, 6)])
