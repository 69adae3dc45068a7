"""A classifier that adds up scores of tokens, wherever they stand: a bag of words.

It learns from some thousand labelled texts what a network of word vectors does not, and its score of a text that
is not yet decided is the mean over what the text may become: no noise needs to be shown to it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor, nn

from textdiff.text.classifier import TextClassifier, mask_of
from textdiff.text.classifier_config import BagConfig, fingerprint
from textdiff.text.classifier_files import load_parts, parts_of, save_parts
from textdiff.text.vocabulary import Vocabulary

FILES = "bag"  # their name in a folder


class BagOfTokens(nn.Module):
    """Distributions over tokens p [B, L, V] -> labels of a text, by the sum of its tokens' scores.

    Args:
        config: its labels.
    """

    longest = None  # it reads texts of any length

    def __init__(self, config: BagConfig) -> None:
        super().__init__()
        self.config = config
        values = sum(len(values) for values in config.fields.values())
        self.scores = nn.Linear(config.vocab_size, values)
        nn.init.zeros_(self.scores.weight)
        nn.init.zeros_(self.scores.bias)

    @classmethod
    def for_vocabulary(cls, vocabulary: Vocabulary, fields: Mapping[str, Sequence[str]]) -> BagOfTokens:
        """One that says nothing yet.

        Args:
            vocabulary: of a language model.
            fields: labels of the text, field -> values.

        Raises:
            ValueError: as for `BagConfig`.
        """
        labels = {name: list(values) for name, values in fields.items()}
        return cls(BagConfig(fingerprint(vocabulary), len(vocabulary.banned), labels))

    def read(self, p: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """Every position's scores [B, L, all values] and attention mask [B, L].

        Args:
            p: distributions over tokens, [B, L, V]; zeros on padding.
            t: not read; a doubtful token has its mean score.

        Raises:
            ValueError: if it is another vocabulary's.
        """
        attention_mask = mask_of(p, self.config.vocab_size)
        return nn.functional.linear(p.to(self.scores.weight.dtype), self.scores.weight), attention_mask

    def read_tokens(self, ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Every position's scores [B, L, all values] of texts without noise: token ids and mask, [B, L] each."""
        return nn.functional.embedding(ids, self.scores.weight.T)

    def field_logits(self, scores: Tensor, attention_mask: Tensor) -> list[Tensor]:
        """Logits of every field's values, [B, values] each."""
        return self.by_field((scores * attention_mask[..., None]).sum(1) + self.scores.bias)

    def by_field(self, logits: Tensor) -> list[Tensor]:
        """Those of all values [B, all values], a tensor [B, values] for every field."""
        return list(logits.split([len(values) for values in self.config.fields.values()], dim=1))

    def save_pretrained(self, folder: str | os.PathLike) -> None:
        """Write what `from_pretrained` reads; the folder is made where it is missing."""
        save_parts(folder, FILES, self.config, self)

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike, vocabulary: Vocabulary) -> BagOfTokens:
        """Load one for a model with this vocabulary; float32, frozen.

        Raises:
            FileNotFoundError: if there is none in the folder.
            ValueError: if it is damaged, or was made for another vocabulary.
        """
        return load_parts(cls, folder, FILES, BagConfig, vocabulary)


FieldClassifier = TextClassifier | BagOfTokens


def load_classifier(folder: str | os.PathLike, vocabulary: Vocabulary) -> FieldClassifier:
    """The classifier of either kind that lies in a folder; raises as their `from_pretrained`."""
    kind = BagOfTokens if parts_of(Path(folder), FILES)[0].is_file() else TextClassifier
    return kind.from_pretrained(folder, vocabulary)
