"""Corpus chrF for `evaluate`: the figure and signature of sacrebleu."""

import evaluate

from textdiff.metrics.modules import TextScores
from textdiff.metrics.overlap import chrf


class TextdiffChrf(TextScores, evaluate.Metric):
    """`compute(predictions, references)` -> chrf (0-100), chrf_signature."""

    description = "Corpus chrF, 0-100, by sacrebleu; one or several references for each text."

    def scores(self, predictions: list[str], references: list, word_order: int = 0) -> dict[str, float | str]:
        """The corpus score and how it was computed."""
        score, signature = chrf(predictions, references, word_order=word_order)
        return {"chrf": score, "chrf_signature": signature}
