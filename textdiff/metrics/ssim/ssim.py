"""Structural similarity for `evaluate`."""

from typing import Any

import evaluate

from textdiff.metrics.picture_modules import PictureScores
from textdiff.metrics.pictures import ssim


class TextdiffSsim(PictureScores, evaluate.Metric):
    """`compute(predictions, references)` -> ssim, 1 = equal."""

    description = "Structural similarity by scikit-image (windows of 7 x 7), the mean over pictures."

    def scores(self, predictions: list[Any], references: list[Any]) -> dict[str, float]:
        """The mean over pictures."""
        return {"ssim": ssim(predictions, references)}
