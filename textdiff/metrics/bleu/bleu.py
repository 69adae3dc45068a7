"""Corpus BLEU for `evaluate`: the figure and signature of sacrebleu."""

import evaluate

from textdiff.metrics.modules import TextScores
from textdiff.metrics.overlap import bleu


class TextdiffBleu(TextScores, evaluate.Metric):
    """`compute(predictions, references)` -> bleu (0-100), bleu_signature."""

    description = "Corpus BLEU, 0-100, by sacrebleu; one or several references for each text."

    def scores(
        self, predictions: list[str], references: list, lowercase: bool = False, tokenize: str = "13a"
    ) -> dict[str, float | str]:
        """The corpus score and how it was computed."""
        score, signature = bleu(predictions, references, lowercase=lowercase, tokenize=tokenize)
        return {"bleu": score, "bleu_signature": signature}
