"""How near a picture is to the true one: PSNR and SSIM of scikit-image, on 0 to 255 with the range said.

The usual mistake is the data range: both take 255 here, whatever the picture holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

RANGE = 255.0
SMALLEST = 7  # pixels a side that SSIM's window needs


def levels(picture: Any) -> np.ndarray:
    """A picture as float64 levels [H, W] or [H, W, C] of 0 to 255.

    Raises:
        ValueError: if it is neither PIL nor a uint8 array.
    """
    array = np.asarray(picture)
    if array.dtype != np.uint8 or array.ndim not in (2, 3):
        raise ValueError(
            f"A picture holds {array.dtype} numbers of shape {list(array.shape)}: give PIL or uint8."
        )
    return array.astype(np.float64)


def psnr(pictures: Sequence[Any], truths: Sequence[Any]) -> float:
    """Peak signal-to-noise ratio in decibels, the mean over pictures; infinite where one is equal to its truth."""
    from skimage.metrics import peak_signal_noise_ratio

    with np.errstate(divide="ignore"):
        values = [peak_signal_noise_ratio(b, a, data_range=RANGE) for a, b in _pairs(pictures, truths)]
    return float(np.mean(values))


def ssim(pictures: Sequence[Any], truths: Sequence[Any]) -> float:
    """Structural similarity (Wang et al. 2004), 1 = equal, the mean over pictures; windows of 7 x 7 pixels."""
    from skimage.metrics import structural_similarity

    pairs = _pairs(pictures, truths)
    if min(min(a.shape[:2]) for a, _ in pairs) < SMALLEST:
        raise ValueError(
            f"SSIM wants pictures of at least {SMALLEST} x {SMALLEST} pixels: enlarge them alike first."
        )
    values = [
        structural_similarity(b, a, data_range=RANGE, channel_axis=-1 if a.ndim == 3 else None) for a, b in pairs
    ]
    return float(np.mean(values))


def _pairs(pictures: Sequence[Any], truths: Sequence[Any]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Both lists as levels, checked."""
    if len(pictures) == 0 or len(pictures) != len(truths):
        raise ValueError(
            f"There are {len(pictures)} pictures and {len(truths)} truths: give as many of both, above 0."
        )
    pairs = [(levels(a), levels(b)) for a, b in zip(pictures, truths, strict=True)]
    if any(a.shape != b.shape for a, b in pairs):
        raise ValueError("A picture and its truth differ in size or channels: make them alike first.")
    return pairs
