"""A constituency parser: a score for every label of every span, and the tree that they make best.

A minimal span-based parser (Stern, Andreas & Klein, arXiv 1705.03919): a span is the difference between what
the encoder says at its two ends, "no constituent" scores zero, and trees of more than two branches are binary
ones in which some spans are no constituents. Labels are learned span by span; the best tree is then the most
probable set of labels that is a tree (Teng & Zhang, "Two local models for neural constituent parsing", 2018).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from textdiff.text.trees import Span
from textdiff.text.word_model import WordModel
from textdiff.text.words import EncoderShape, stack

BATCH_CELLS = 20_000
NOWHERE = -100  # target of what is no span


class Parser(WordModel):
    """Words -> labelled spans.

    Args:
        shape: sizes of the encoder.
        words: those with an embedding of their own.
        labels: of constituents, chains of them joined by "::".
    """

    KIND: ClassVar[str] = "textdiff-parser"

    def __init__(self, shape: EncoderShape, words: Sequence[str], labels: Sequence[str]) -> None:
        super().__init__(shape, words, labels)
        self.span_in = nn.Linear(
            shape.hidden, 2 * shape.hidden, bias=False
        )  # a bias would fall out of differences
        self.span_norm = nn.LayerNorm(2 * shape.hidden)
        self.span_out = nn.Linear(2 * shape.hidden, len(self.labels))

    def label_scores(
        self, features: Tensor, segments: Tensor, spans: tuple[Tensor, Tensor, Tensor]
    ) -> Tensor:
        """Scores of labels over that of no constituent.

        Args:
            features: [B, L, F].
            segments: [B, L].
            spans: row, start and end of N spans, [N] each; ends are fences between words, from 0 to L - 2.

        Returns:
            [N, labels].
        """
        h = self.encoder(features, segments)
        half = h.shape[-1] // 2
        fences = self.span_in(torch.cat([h[:, :-1, :half], h[:, 1:, half:]], dim=-1))  # [B, L - 1, M]
        row, start, end = spans
        return self.span_out(F.relu(self.span_norm(fences[row, end] - fences[row, start])))

    def forward(self, features: Tensor, segments: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """The loss: -log of the probabilities of all spans' labels, in nats per word.

        Args:
            features: [B, L, F].
            segments: [B, L].
            targets: [B, L - 1, L - 1] by start and end: 0 = no constituent, k = label k - 1, `NOWHERE` = no
                span.
        """
        row, start, end = torch.nonzero(targets != NOWHERE, as_tuple=True)
        scores = F.pad(self.label_scores(features, segments, (row, start, end)).float(), (1, 0))
        words = (segments[:, 2:] > 0).sum()
        return {"loss": F.cross_entropy(scores, targets[row, start, end], reduction="sum") / words}

    def target(self, spans: frozenset[Span]) -> list[tuple[int, int, int]]:
        """Spans with numbers for labels; those with a label that the parser does not know are left out."""
        numbers = {label: k for k, label in enumerate(self.labels, 1)}
        return [(i, j, numbers[label]) for i, j, label in sorted(spans) if label in numbers]

    def collate(self, rows: Sequence[tuple[np.ndarray, list[tuple[int, int, int]]]]) -> dict[str, Tensor]:
        """Features [n + 2, F] and spans of sentences -> the arguments of `forward`."""
        features, segments = stack([row for row, _ in rows])
        fences = features.shape[1] - 1
        targets = np.full((len(rows), fences, fences), NOWHERE, dtype=np.int64)
        for k, (row, spans) in enumerate(rows):
            targets[k][all_spans(len(row) - 2)] = 0
            for i, j, label in spans:
                targets[k, i, j] = label
        return {"features": features, "segments": segments, "targets": torch.from_numpy(targets)}

    @torch.no_grad()
    def parse(self, sentences: Sequence[Sequence[str]]) -> list[frozenset[Span]]:
        """The constituents of the best tree of every sentence; of an empty one, none.

        Args:
            sentences: lists of words, punctuation marks being words of their own.

        Raises:
            ValueError: if one is not a list of words, or is too long.
        """
        found: list[frozenset[Span]] = [frozenset() for _ in sentences]
        for batch, features, segments in self.batches(sentences, cells=BATCH_CELLS, power=2):
            lengths = [len(sentences[k]) for k in batch]
            parts = [
                np.stack([np.full_like(i, k), i, j]) for k, n in enumerate(lengths) for i, j in [all_spans(n)]
            ]
            row, start, end = torch.from_numpy(np.concatenate(parts, axis=1)).to(self.device)
            best, label = self.label_scores(features, segments, (row, start, end)).float().max(-1)
            charts = np.zeros((2, len(batch), max(lengths) + 1, max(lengths) + 1))
            place = (row.cpu().numpy(), start.cpu().numpy(), end.cpu().numpy())
            charts[0][place], charts[1][place] = best.cpu().numpy(), label.cpu().numpy()
            for k, n, scores, labels in zip(batch, lengths, charts[0], charts[1]):
                spans = best_tree(np.maximum(scores, 0.0)[: n + 1, : n + 1])
                found[k] = frozenset(
                    (i, j, self.labels[int(labels[i, j])]) for i, j in spans if scores[i, j] > 0
                )
        return found


def all_spans(length: int) -> tuple[np.ndarray, np.ndarray]:
    """Starts and ends of all spans of `length` words."""
    start, end = np.triu_indices(length + 1, k=1)
    return start, end


def best_tree(scores: np.ndarray) -> list[tuple[int, int]]:
    """The spans of the binary tree whose scores have the greatest sum (CKY), single words among them.

    Args:
        scores: [n + 1, n + 1] for n words, that of the words i to j - 1 at [i, j].
    """
    n = len(scores) - 1
    total = scores.astype(np.float64)  # of the best tree over i..j
    split = np.zeros(scores.shape, dtype=np.int64)
    for width in range(2, n + 1):  # all spans of one width at once
        start = np.arange(n - width + 1)
        middle = start[:, None] + np.arange(1, width)
        halves = total[start[:, None], middle] + total[middle, (start + width)[:, None]]
        choice = halves.argmax(1)
        total[start, start + width] += halves[start, choice]
        split[start, start + width] = middle[start, choice]
    spans, waiting = [], [(0, n)] if n else []
    while waiting:
        i, j = waiting.pop()
        spans.append((i, j))
        if j - i > 1:
            waiting += [(int(split[i, j]), j), (i, int(split[i, j]))]
    return spans
