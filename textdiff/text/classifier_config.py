"""Shape and labels of a text classifier, and for which vocabulary it is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self

from textdiff.text.vocabulary import Vocabulary


class JsonConfig:
    """Of a dataclass: to a JSON-able dictionary, and back."""

    def to_dict(self) -> dict[str, Any]:
        """The entries as a JSON-able dictionary."""
        return asdict(self)  # type: ignore[call-overload]

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """What `to_dict` gave.

        Raises:
            ValueError: if an entry is missing, strange or impossible.
        """
        wrong = sorted(content.keys() ^ {one.name for one in fields(cls)})  # type: ignore[arg-type]
        if wrong:
            raise ValueError(f"Entries are missing or strange ({', '.join(wrong)}).")
        try:
            return cls(**content)
        except (TypeError, AttributeError) as error:
            raise ValueError(f"An entry is of the wrong kind ({error}).") from error


@dataclass(frozen=True)
class ClassifierConfig(JsonConfig):
    """What a `TextClassifier` tells apart, and its shape; every entry is a JSON value.

    Raises:
        ValueError: if there is nothing to classify, or a number or a list of labels cannot be.
    """

    vocabulary: str = ""  # `fingerprint` of the tokens it reads
    vocab_size: int = 4096
    embedding_dim: int = 64  # D of the word vectors
    max_position_embeddings: int = 64  # longest text, in tokens
    fields: dict[str, list[str]] = field(default_factory=dict)  # labels of the text: field -> its values
    tags: list[str] = field(default_factory=list)  # labels of a token
    spans: list[str] = field(default_factory=list)  # labels of a span, beside the empty one
    hidden_size: int = 192
    num_hidden_layers: int = 3
    num_attention_heads: int = 3
    intermediate_size: int = 768
    dropout: float = 0.1

    def __post_init__(self) -> None:
        _check_positive(self)
        if not 0 <= self.dropout < 1:
            raise ValueError(f"A classifier's dropout is {self.dropout}: give a number from 0 to below 1.")
        if self.hidden_size % (2 * self.num_attention_heads):
            raise ValueError(
                f"A classifier's hidden_size is {self.hidden_size}: give an even multiple of its "
                f"{self.num_attention_heads} attention heads."
            )
        if not (self.fields or self.tags or self.spans):
            raise ValueError(
                "There is nothing to classify: give fields of the text, tags of words, or spans."
            )
        for name, values in self.fields.items():
            _check_labels(f"field {name!r}", values, least=2)
        if self.tags:
            _check_labels("tags", self.tags, least=2)
        if self.spans:
            _check_labels("spans", self.spans, least=1)


@dataclass(frozen=True)
class BagConfig(JsonConfig):
    """What a `BagOfTokens` tells apart; every entry is a JSON value.

    Raises:
        ValueError: if there is nothing to classify, or the vocabulary's size or a list of labels cannot be.
    """

    vocabulary: str = ""  # `fingerprint` of the tokens it weighs
    vocab_size: int = 4096
    fields: dict[str, list[str]] = field(default_factory=dict)  # labels of the text: field -> its values

    def __post_init__(self) -> None:
        _check_positive(self)
        if not self.fields:
            raise ValueError("There is nothing to classify: give fields of the text.")
        for name, values in self.fields.items():
            _check_labels(f"field {name!r}", values, least=2)


def _check_positive(config: ClassifierConfig | BagConfig) -> None:
    """Refuse sizes below one."""
    for one in fields(config):
        value = getattr(config, one.name)
        if one.type == "int" and (type(value) is not int or value < 1):
            raise ValueError(f"A classifier's {one.name} is {value!r}: give a whole number above zero.")


def _check_labels(kind: str, labels: list[str], *, least: int) -> None:
    """Refuse a list of labels that cannot be told apart."""
    if not all(isinstance(label, str) and label for label in labels) or len(set(labels)) < len(labels):
        raise ValueError(f"The labels for {kind} must be different words, none empty: they are {labels}.")
    if len(labels) < least:
        raise ValueError(f"The labels for {kind} are {labels}: give at least {least}.")


def fingerprint(vocabulary: Vocabulary) -> str:
    """SHA-256 of which token has which id: the same for all models that share a vocabulary."""
    tokens = sorted(vocabulary.tokenizer.get_vocab().items(), key=lambda item: item[1])
    return hashlib.sha256(json.dumps(tokens).encode("utf-8")).hexdigest()


def place_of(name: str, names: Sequence[str], kind: str, *, other: str = "") -> int:
    """Where a name stands among those that a classifier knows; `other`: what else may be said, for the error.

    Raises:
        ValueError: if it does not.
    """
    if name not in names:
        known = f"choose {', '.join(names)}{other}" if names else "it has not learned any"
        raise ValueError(f"This classifier knows no {kind} {name!r}: {known}.")
    return list(names).index(name)
