"""The kernel distance of two sets of features for `evaluate`."""

import evaluate

from textdiff.metrics.features import kernel_distance
from textdiff.metrics.picture_modules import FeatureScores


class TextdiffFeatureKernel(FeatureScores, evaluate.Metric):
    """`compute(predictions, references)` -> feature_kernel (squared, unbiased: about 0 where both sets are alike)."""

    description = "Squared maximum mean discrepancy of two sets of features under a cubic kernel."

    def scores(self, predictions: list[list[float]], references: list[list[float]]) -> dict[str, float]:
        """The distance."""
        return {"feature_kernel": kernel_distance(predictions, references)}
