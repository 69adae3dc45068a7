"""Maximum mean discrepancy between texts and others, for `evaluate`."""

import evaluate

from textdiff.metrics.distance import mmd
from textdiff.metrics.modules import TextScores


class TextdiffMmd(TextScores, evaluate.Measurement):
    """`compute(predictions, others=[...])` -> mmd (squared, unbiased: about 0 where both sets are alike)."""

    description = "Squared maximum mean discrepancy over character trigrams between two sets of texts."

    def scores(self, predictions: list[str], others: list[str] | None = None) -> dict[str, float]:
        """The discrepancy; the two sets may differ in size."""
        if others is None:
            raise ValueError("MMD needs others=: the list of texts to compare with.")
        return {"mmd": mmd(predictions, others)}
