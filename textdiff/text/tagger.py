"""A part-of-speech tagger: every word gets one of the 17 universal tags (universaldependencies.org/u/pos)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from textdiff.text.penn_tags import UNIVERSAL_TAGS
from textdiff.text.word_model import WordModel
from textdiff.text.words import EncoderShape, stack

BATCH_WORDS = 4096


class Tagger(WordModel):
    """Words -> universal tags.

    Args:
        shape: sizes of the encoder.
        words: those with an embedding of their own.
        labels: the tags.
    """

    KIND: ClassVar[str] = "textdiff-tagger"

    def __init__(
        self, shape: EncoderShape, words: Sequence[str], labels: Sequence[str] = UNIVERSAL_TAGS
    ) -> None:
        super().__init__(shape, words, labels)
        self.head = nn.Linear(shape.hidden, len(self.labels))

    def logits(self, features: Tensor, segments: Tensor) -> Tensor:
        """Scores of every tag for every word: features [B, L, F], segments [B, L] -> [B, L - 2, tags]."""
        return self.head(self.encoder(features, segments)[:, 1:-1])

    def forward(self, features: Tensor, segments: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """The loss in nats per word: -log of the probability that its tag is one of those that it may have.

        Args:
            features: [B, L, F].
            segments: [B, L].
            targets: bool [B, L - 2, tags], the tags that a word may have (learning from partial annotation:
                Tsuboi et al. 2008); all of them where there is no word.
        """
        log_probs = self.logits(features, segments).float().log_softmax(-1)
        losses = -log_probs.masked_fill(~targets, float("-inf")).logsumexp(-1)
        there = segments[:, 2:] > 0  # the end mark comes after the words: as many positions as words
        return {"loss": losses[there].sum() / there.sum()}

    def target(self, tags: Sequence[frozenset[str]]) -> np.ndarray:
        """Tags that n words may have, as bool [n, tags]."""
        return np.array([[label in admissible for label in self.labels] for admissible in tags], dtype=bool)

    def collate(self, rows: Sequence[tuple[np.ndarray, np.ndarray]]) -> dict[str, Tensor]:
        """Features [n + 2, F] and targets [n, tags] of sentences -> the arguments of `forward`."""
        features, segments = stack([row for row, _ in rows])
        targets = torch.ones(len(rows), features.shape[1] - 2, len(self.labels), dtype=torch.bool)
        for k, (_, target) in enumerate(rows):
            targets[k, : len(target)] = torch.from_numpy(target)
        return {"features": features, "segments": segments, "targets": targets}

    @torch.no_grad()
    def tag(self, sentences: Sequence[Sequence[str]]) -> list[list[str]]:
        """The best tag of every word.

        Args:
            sentences: lists of words, punctuation marks being words of their own.

        Raises:
            ValueError: if one is not a list of words, or is too long.
        """
        found: list[list[str]] = [[] for _ in sentences]
        for batch, features, segments in self.batches(sentences, cells=BATCH_WORDS, power=1):
            best = self.logits(features, segments).argmax(-1).tolist()
            for k, row in zip(batch, best):
                found[k] = [self.labels[tag] for tag in row[: len(sentences[k])]]
        return found
