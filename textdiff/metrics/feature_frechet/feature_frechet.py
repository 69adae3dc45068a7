"""The Fréchet distance of two sets of features for `evaluate`."""

import evaluate

from textdiff.metrics.features import frechet_distance
from textdiff.metrics.picture_modules import FeatureScores


class TextdiffFeatureFrechet(FeatureScores, evaluate.Metric):
    """`compute(predictions, references)` -> feature_frechet."""

    description = "Fréchet distance between Gaussians fitted to two sets of features; not the FID of Inception."

    def scores(self, predictions: list[list[float]], references: list[list[float]]) -> dict[str, float]:
        """The distance."""
        return {"feature_frechet": frechet_distance(predictions, references)}
