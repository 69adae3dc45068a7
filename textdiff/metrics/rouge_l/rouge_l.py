"""ROUGE-L F1 for `evaluate`, by rouge-score."""

import evaluate

from textdiff.metrics.modules import TextScores
from textdiff.metrics.overlap import rouge_l


class TextdiffRougeL(TextScores, evaluate.Metric):
    """`compute(predictions, references)` -> rouge_l (0-1)."""

    description = "Mean ROUGE-L F1, 0-1, by rouge-score; the best of several references."

    def scores(self, predictions: list[str], references: list) -> dict[str, float]:
        """The mean over the texts."""
        return {"rouge_l": rouge_l(predictions, references)}
