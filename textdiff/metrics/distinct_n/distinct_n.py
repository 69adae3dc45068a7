"""distinct-1 to distinct-4 for `evaluate`."""

import evaluate

from textdiff.metrics.diversity import distinct_n
from textdiff.metrics.modules import TextScores


class TextdiffDistinctN(TextScores, evaluate.Measurement):
    """`compute(predictions)` -> distinct_1 ... distinct_4 (0-1)."""

    description = "Different n-grams over all n-grams of the whole set, in words, n = 1 to 4."

    def scores(self, predictions: list[str]) -> dict[str, float]:
        """One share for each n."""
        return {f"distinct_{n}": distinct_n(predictions, n) for n in range(1, 5)}
