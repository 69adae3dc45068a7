"""Density and coverage of a set of features for `evaluate`."""

import evaluate

from textdiff.metrics.features import density_coverage
from textdiff.metrics.picture_modules import FeatureScores


class TextdiffDensityCoverage(FeatureScores, evaluate.Metric):
    """`compute(predictions, references, neighbours=5)` -> density, coverage."""

    description = "Density and coverage (arXiv 2002.09797) of a set of features."

    def scores(
        self, predictions: list[list[float]], references: list[list[float]], neighbours: int = 5
    ) -> dict[str, float]:
        """Both figures."""
        density, coverage = density_coverage(predictions, references, neighbours)
        return {"density": density, "coverage": coverage}
