"""From labelled texts to training rows of a classifier: labels of words become labels of tokens.

A word's tag stands at the first of its tokens (in word-level vocabularies, its only one); the others have
none. A span of words is that of all their tokens. Row j of a run is a function of (seed, j) alone.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from tokenizers import Encoding
from torch import Tensor
from torch.utils.data import Dataset

from textdiff.text.classifier_config import ClassifierConfig
from textdiff.text.data import known_mask
from textdiff.text.labelled import LabelledText
from textdiff.text.vocabulary import Vocabulary

MISSING = -100  # a label that is not known, and does not count
GIVEN = 0.5  # share of training rows in which `known_mask` may give tokens; it does in six of ten of them


@dataclass(frozen=True)
class LabelledTokens:
    """A text in tokens, its labels as numbers: MISSING, or their place in the classifier's config."""

    ids: np.ndarray  # [n]
    fields: tuple[int, ...]  # one a field
    tags: tuple[int, ...]  # one a token
    spans: tuple[tuple[int, int, int], ...] | None  # (start, end, label) in tokens; None = not known


def encode(
    texts: Sequence[LabelledText], vocabulary: Vocabulary, config: ClassifierConfig
) -> list[LabelledTokens]:
    """Texts in tokens, cut to the classifier's longest; labels that the classifier does not know are MISSING.

    Raises:
        ValueError: if a text has no tokens.
    """
    known = {name: {value: i for i, value in enumerate(values)} for name, values in config.fields.items()}
    tags = {tag: i for i, tag in enumerate(config.tags)}
    spans = {label: 1 + i for i, label in enumerate(config.spans)}
    window = config.max_position_embeddings
    found = []
    encodings = vocabulary.tokenizer.encode_batch([text.text for text in texts], add_special_tokens=False)
    for text, encoding in zip(texts, encodings):
        ids = np.asarray(encoding.ids[:window], dtype=np.int64)
        if not len(ids):
            raise ValueError(
                f"The text {text.text!r} has no tokens in this model's vocabulary: leave it out."
            )
        first = first_tokens(text.text, encoding)
        found.append(
            LabelledTokens(
                ids,
                tuple(values.get(text.labels.get(name, ""), MISSING) for name, values in known.items()),
                _token_tags(text, first, tags, len(ids)),
                _token_spans(text, first, spans, len(ids)),
            )
        )
    return found


def first_tokens(text: str, encoding: Encoding) -> list[int]:
    """The first token of every word, and the number of tokens behind the last."""
    ends = [end for _, end in encoding.offsets]
    return [bisect_right(ends, word.start()) for word in re.finditer(r"\S+", text)] + [len(ends)]


def _token_tags(text: LabelledText, first: list[int], names: dict[str, int], length: int) -> tuple[int, ...]:
    tags = [MISSING] * length
    for at, tag in zip(first, text.tags or ()):
        if at < length:
            tags[at] = names.get(tag, MISSING)
    return tuple(tags)


def _token_spans(
    text: LabelledText, first: list[int], names: dict[str, int], length: int
) -> tuple[tuple[int, int, int], ...] | None:
    if text.spans is None:
        return None
    tokens = [(first[i], first[j], names.get(label, MISSING)) for i, j, label in text.spans]
    return tuple(span for span in tokens if span[1] <= length)


class LabelRows(Dataset):
    """`total` rows over labelled texts, epoch after epoch, each a function of (seed, index).

    Args:
        texts: in tokens.
        total: number of rows; None = one pass.
        seed: of the order and of the given tokens.
        conditional: give some tokens in part of the rows; otherwise none.
    """

    def __init__(
        self, texts: Sequence[LabelledTokens], *, total: int | None, seed: int = 0, conditional: bool = True
    ) -> None:
        self.texts, self.seed, self.conditional = list(texts), seed, conditional
        self.total = len(self.texts) if total is None else total
        self._order: tuple[int, np.ndarray] = (-1, np.empty(0))

    def __len__(self) -> int:
        return self.total

    def __getitem__(self, index: int) -> tuple[LabelledTokens, np.ndarray, int]:
        """Row `index`: a text, which of its tokens are given, bool [n], and the index."""
        epoch, place = divmod(index, len(self.texts))
        if self._order[0] != epoch:
            self._order = (epoch, np.random.default_rng([self.seed, epoch]).permutation(len(self.texts)))
        text = self.texts[self._order[1][place]]
        rng = np.random.default_rng([self.seed, index, 1])
        known = np.zeros(len(text.ids), dtype=bool)
        if self.conditional and rng.random() < GIVEN:
            known = known_mask(len(text.ids), rng)
        return text, known, index


def collate(rows: Sequence[tuple[LabelledTokens, np.ndarray, int]]) -> dict[str, Tensor]:
    """A batch, padded to its longest text.

    Returns:
        input_ids, attention_mask and known, each [B, L]; sample_index [B]; field_labels [B, fields],
        tag_labels [B, L] and span_labels [B, L + 1, L + 1] (start, end; 0 = no label); MISSING = not known.
    """
    L = max(len(text.ids) for text, _, _ in rows)
    batch = {name: torch.zeros(len(rows), L, dtype=torch.long) for name in ("input_ids", "attention_mask")}
    batch["known"] = torch.zeros(len(rows), L, dtype=torch.bool)
    batch["sample_index"] = torch.tensor([index for _, _, index in rows])
    batch["field_labels"] = torch.tensor([text.fields for text, _, _ in rows], dtype=torch.long)
    batch["tag_labels"] = torch.full((len(rows), L), MISSING)
    batch["span_labels"] = torch.full((len(rows), L + 1, L + 1), MISSING)
    for i, (text, known, _) in enumerate(rows):
        n = len(text.ids)
        batch["input_ids"][i, :n] = torch.from_numpy(text.ids)
        batch["attention_mask"][i, :n] = 1
        batch["known"][i, :n] = torch.from_numpy(known)
        batch["tag_labels"][i, :n] = torch.tensor(text.tags, dtype=torch.long)
        if text.spans is not None:
            batch["span_labels"][i, : n + 1, : n + 1] = 0
            for start, end, label in text.spans:
                batch["span_labels"][i, start, end] = label
    return batch
