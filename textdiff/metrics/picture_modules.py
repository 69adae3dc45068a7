"""What our `evaluate` modules over pictures, or over rows of their features, share."""

from __future__ import annotations

from typing import Any

import datasets
import evaluate

from textdiff.metrics.modules import TextScores


class RowScores(TextScores):
    """Mixin of an `evaluate` module over rows of another kind than texts, each with a reference."""

    kind: Any

    def _info(self) -> evaluate.EvaluationModuleInfo:
        features = datasets.Features({"predictions": self.kind, "references": self.kind})
        return evaluate.MetricInfo(
            description=self.description, citation="", inputs_description="", features=features
        )


class PictureScores(RowScores):
    """Over PIL images or uint8 arrays."""

    kind = datasets.Image()


class FeatureScores(RowScores):
    """Over rows of features; `evaluate` wants as many references as predictions."""

    kind = datasets.Sequence(datasets.Value("float64"))
