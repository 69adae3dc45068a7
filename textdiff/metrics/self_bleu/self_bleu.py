"""Self-BLEU for `evaluate`."""

import evaluate

from textdiff.metrics.diversity import self_bleu
from textdiff.metrics.modules import TextScores


class TextdiffSelfBleu(TextScores, evaluate.Measurement):
    """`compute(predictions)` -> self_bleu (0-100)."""

    description = "Mean BLEU of each text against all others, 0-100; of at most max_texts, drawn under seed."

    def scores(self, predictions: list[str], max_texts: int = 1000, seed: int = 0) -> dict[str, float]:
        """The mean over the texts, or over a sample of them."""
        return {"self_bleu": self_bleu(predictions, max_texts=max_texts, seed=seed)}
