"""What a judge's nats mean for a set of texts: sums first, one division last.

Corpus perplexity is exp(total nats / total tokens), not the mean of the texts' perplexities, which a few
odd texts rule. Per byte (UTF-8) it can be compared between tokenizers; per token it cannot.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Likelihood:
    """Totals over a set of texts: nats, tokens charged, UTF-8 bytes."""

    nats: float
    tokens: int
    bytes: int

    @property
    def nats_per_token(self) -> float:
        """Total nats over total tokens."""
        return self.nats / self.tokens

    @property
    def perplexity(self) -> float:
        """exp of the nats per token: corpus perplexity."""
        return math.exp(self.nats_per_token)

    @property
    def bits_per_byte(self) -> float:
        """Total bits over total UTF-8 bytes: comparable between tokenizers."""
        return self.nats / self.bytes / math.log(2)

    @property
    def perplexity_per_byte(self) -> float:
        """exp of the nats per byte."""
        return math.exp(self.nats / self.bytes)


def likelihood(texts: Sequence[str], nll: Sequence[tuple[float, int]]) -> Likelihood:
    """Adds up a judge's (nats, tokens) of each text.

    A text of no tokens counts for nothing; every byte of the others counts.

    Raises:
        ValueError: no texts, or no tokens in any of them.
    """
    if len(texts) == 0:
        raise ValueError("Perplexity got no texts: give at least one.")
    tokens = sum(count for _, count in nll)
    if tokens == 0:
        raise ValueError("Perplexity got only texts without a token the judge can charge: give longer ones.")
    charged = [text for text, (_, count) in zip(texts, nll, strict=True) if count]
    return Likelihood(math.fsum(nats for nats, _ in nll), tokens, sum(len(text.encode()) for text in charged))
