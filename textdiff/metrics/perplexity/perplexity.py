"""Perplexity of texts under a judge, for `evaluate`."""

import evaluate

from textdiff.metrics.judge import Judge
from textdiff.metrics.likelihood import likelihood
from textdiff.metrics.modules import TextScores


class TextdiffPerplexity(TextScores, evaluate.Measurement):
    """`compute(predictions, judge=...)` -> perplexity and what it is made of; the judge is loaded once."""

    description = "exp(total nats / total tokens) under a causal language model: folder, hub id or Judge."

    def scores(
        self, predictions: list[str], judge: Judge | str | None = None, batch_size: int = 16
    ) -> dict[str, float | str]:
        """Corpus perplexity per token and per byte, with the totals and the judge's name."""
        if judge is None:
            raise ValueError("Perplexity needs judge=: a language model's folder or hub id, or a Judge.")
        if not isinstance(judge, Judge):
            judge = self._loaded(judge)
        sums = likelihood(predictions, judge.nll(predictions, batch_size))
        return {"perplexity": sums.perplexity, "nats_per_token": sums.nats_per_token,
                "perplexity_per_byte": sums.perplexity_per_byte, "bits_per_byte": sums.bits_per_byte,
                "nats": sums.nats, "tokens": sums.tokens, "bytes": sums.bytes, "judge": judge.name}

    def _loaded(self, name: str) -> Judge:
        if getattr(self, "_name", None) != name:
            self._judge, self._name = Judge.from_pretrained(name), name
        return self._judge
