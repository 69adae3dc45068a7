"""Peak signal-to-noise ratio for `evaluate`."""

from typing import Any

import evaluate

from textdiff.metrics.picture_modules import PictureScores
from textdiff.metrics.pictures import psnr


class TextdiffPsnr(PictureScores, evaluate.Metric):
    """`compute(predictions, references)` -> psnr, in decibels."""

    description = "Peak signal-to-noise ratio in decibels by scikit-image, the mean over pictures."

    def scores(self, predictions: list[Any], references: list[Any]) -> dict[str, float]:
        """The mean over pictures."""
        return {"psnr": psnr(predictions, references)}
