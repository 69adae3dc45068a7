"""Words as a reader sees them: an id if they are frequent, their beginnings, endings and shapes; in context.

For models that judge texts and so must read words that they never saw. Every word is a sum of embeddings: of
the word itself, of hashed affixes, and of its shape ("Xx-x" for "Mid-air"); then comes a transformer over the
sentence, which stands between two marks of its ends.
"""

from __future__ import annotations

import math
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from textdiff.text.penn_tags import straight_quotes
from textdiff.text.transformer import Transformer

START, END = "\x02", "\x03"  # marks of a sentence's ends
UNKNOWN = 0  # id of a word that is not frequent, and of padding
PREFIXES, SUFFIXES = (1, 2, 3), (1, 2, 3, 4)
NUM_FEATURES = 1 + len(PREFIXES) + len(SUFFIXES) + 1
MAX_WORDS = 512


@dataclass(frozen=True)
class EncoderShape:
    """Sizes of a `WordEncoder`.

    Raises:
        ValueError: if one of them cannot be.
    """

    hidden: int = 128
    layers: int = 3
    heads: int = 4
    intermediate: int = 384
    buckets: int = 4096  # rows that hashed affixes and shapes share
    dropout: float = 0.1

    def __post_init__(self) -> None:
        sizes = {k: v for k, v in vars(self).items() if k != "dropout"}
        wrong = [f"{k} = {v!r}" for k, v in sizes.items() if type(v) is not int or v < 1]
        if type(self.dropout) not in (int, float) or not 0 <= self.dropout < 1:
            wrong.append(f"dropout = {self.dropout!r}")
        if wrong:
            raise ValueError(
                f"{wrong[0]} cannot be: sizes are numbers above zero, dropout is from 0 to below 1."
            )
        if self.hidden % (2 * self.heads):
            raise ValueError(f"hidden = {self.hidden} must be an even multiple of heads = {self.heads}.")


def frequent_words(sentences: Iterable[Sequence[str]], limit: int, min_count: int = 2) -> list[str]:
    """The `limit` most frequent words, in lower case and with straight quotes; equal counts by alphabet."""
    counts = Counter(_plain(word) for sentence in sentences for word in sentence)
    ranked = sorted(
        (word for word in counts if counts[word] >= min_count), key=lambda word: (-counts[word], word)
    )
    return ranked[:limit]


def _plain(word: str) -> str:
    return straight_quotes(word).lower()


class WordFeatures:
    """Words -> ids of their features: the word, its prefixes and suffixes, its shape.

    Args:
        words: those with an id of their own, in lower case.
        buckets: numbers that a hash may give.
    """

    def __init__(self, words: Sequence[str], buckets: int) -> None:
        self.words = list(words)
        self.buckets = buckets
        self.ids = {word: k for k, word in enumerate([START, END, *self.words], UNKNOWN + 1)}
        self._known: dict[str, list[int]] = {}

    def __call__(self, sentence: Sequence[str]) -> np.ndarray:
        """Features of n words between the sentence's marks: int64 [n + 2, NUM_FEATURES], word ids first."""
        return np.array([self._word(word) for word in [START, *sentence, END]], dtype=np.int64)

    def _word(self, word: str) -> list[int]:
        if word not in self._known:
            plain = _plain(word)
            parts = [f"{k}<{plain[:k]}" for k in PREFIXES] + [f"{k}>{plain[-k:]}" for k in SUFFIXES]
            hashes = [
                zlib.crc32(part.encode("utf-8", "replace")) % self.buckets for part in [*parts, shape(word)]
            ]
            self._known[word] = [self.ids.get(plain, UNKNOWN), *hashes]
        return self._known[word]


def shape(word: str) -> str:
    """How a word is written: X for capitals, x for letters, d for digits, runs once; "Mid-90s" is "Xx-dx"."""
    kinds = (
        "X" if c.isupper() else "x" if c.isalpha() else "d" if c.isdigit() else c
        for c in straight_quotes(word)
    )
    found: list[str] = []
    for kind in kinds:
        found += [kind] if found[-1:] != [kind] else []
    length = "" if len(word) > 1 else "1"  # a capital alone is an initial, or "I"
    return f"shape {''.join(found)}{length}"


def stack(rows: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
    """Feature rows [n + 2, F] -> features [B, L, F] padded with zeros, and segments [B, L], 0 = padding."""
    length = max(len(row) for row in rows)
    features = np.zeros((len(rows), length, NUM_FEATURES), dtype=np.int64)
    segments = np.zeros((len(rows), length), dtype=np.int64)
    for k, row in enumerate(rows):
        features[k, : len(row)] = row
        segments[k, : len(row)] = 1
    return torch.from_numpy(features), torch.from_numpy(segments)


def check_sentences(sentences: Sequence[Sequence[str]]) -> None:
    """Look whether these are lists of words.

    Raises:
        ValueError: if one is a string, holds something else than words, or is longer than `MAX_WORDS`.
    """
    for sentence in sentences:
        if isinstance(sentence, str) or any(not isinstance(word, str) or not word for word in sentence):
            raise ValueError(
                f"A sentence must be a list of words, and {str(sentence)[:60]!r} is not: split it first."
            )
        if len(sentence) > MAX_WORDS:
            raise ValueError(
                f"A sentence of {len(sentence)} words is too long to be judged, the limit is {MAX_WORDS}: "
                "cut the text into sentences first."
            )


class WordEncoder(nn.Module):
    """Features -> a vector for every position of the sentence, its two marks included.

    Args:
        shape: sizes.
        num_words: words with an id of their own, those of `WordFeatures`.
    """

    def __init__(self, shape: EncoderShape, num_words: int) -> None:
        super().__init__()
        marks = 3  # unknown, start, end
        self.words = nn.Embedding(num_words + marks, shape.hidden)
        self.parts = nn.Embedding(shape.buckets, shape.hidden)
        for table in (self.words, self.parts):
            nn.init.normal_(table.weight, std=1 / math.sqrt(NUM_FEATURES))
        self.dropout = nn.Dropout(shape.dropout)
        self.transformer = Transformer(
            shape.hidden, shape.layers, shape.heads, shape.intermediate, shape.dropout
        )

    def forward(self, features: Tensor, segments: Tensor) -> Tensor:
        """features: [B, L, F], segments: [B, L] -> [B, L, hidden]."""
        h = self.words(features[..., 0]) + self.parts(features[..., 1:]).sum(-2)
        positions = torch.arange(features.shape[1], device=features.device).expand(segments.shape)
        return self.transformer(self.dropout(h), segments, positions)
