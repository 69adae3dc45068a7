"""Unigram entropy for `evaluate`."""

import evaluate

from textdiff.metrics.diversity import sequence_entropy, unigram_entropy
from textdiff.metrics.modules import TextScores


class TextdiffUnigramEntropy(TextScores, evaluate.Measurement):
    """`compute(predictions)` -> unigram_entropy, sequence_entropy (nats)."""

    description = "Entropy in nats of the word frequencies: of the whole set, and of each text on average."

    def scores(self, predictions: list[str]) -> dict[str, float]:
        """Both entropies."""
        return {"unigram_entropy": unigram_entropy(predictions),
                "sequence_entropy": sequence_entropy(predictions)}
