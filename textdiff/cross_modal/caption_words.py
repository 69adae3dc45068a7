"""Words of captions as token ids; a word that is not known is refused, with those named that are near it."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Sequence

import torch
from tokenizers import Tokenizer
from torch import Tensor

from textdiff.text.tokenizer import SPECIAL_TOKENS, UNKNOWN, load_tokenizer, save_tokenizer, train_word_level

NEAR = 3  # known words named for an unknown one


class CaptionWords:
    """A tokenizer of captions, all of one length.

    Args:
        tokenizer: word-level, with the ids of `textdiff.text.tokenizer`; 0 is padding.
        length: N, tokens of the longest caption.
    """

    def __init__(self, tokenizer: Tokenizer, length: int) -> None:
        self.tokenizer, self.length = tokenizer, length
        hidden = {*SPECIAL_TOKENS, UNKNOWN}
        self.known = sorted(word for word in tokenizer.get_vocab() if word not in hidden)

    @classmethod
    def of(cls, captions: Iterable[str]) -> CaptionWords:
        """The words of a corpus, each of them."""
        told = [" ".join(words_of(caption)) for caption in captions]
        return cls(train_word_level(told, min_count=1), max(len(text.split()) for text in told))

    @classmethod
    def load(cls, folder: str | os.PathLike, length: int) -> CaptionWords:
        """Read tokenizer.json; see `load_tokenizer`."""
        return cls(load_tokenizer(folder), length)

    def save(self, folder: str | os.PathLike) -> None:
        """Write tokenizer.json."""
        save_tokenizer(self.tokenizer, folder)

    @property
    def size(self) -> int:
        """Words and special tokens."""
        return self.tokenizer.get_vocab_size()

    def encode(self, captions: Sequence[str]) -> Tensor:
        """Token ids [B, N], padded with 0.

        Raises:
            ValueError: if a caption is empty, too long, or has words that the model never learned.
        """
        ids = torch.zeros(len(captions), self.length, dtype=torch.long)
        for row, caption in enumerate(captions):
            words = self._checked(caption)
            own = [self.tokenizer.token_to_id(word) for word in words]
            ids[row, : len(own)] = torch.tensor(own)
        return ids

    def _checked(self, caption: str) -> list[str]:
        """The words of a caption that the model can read."""
        words = words_of(caption)
        if not words:
            raise ValueError("A caption is empty: say what to draw.")
        if len(words) > self.length:
            raise ValueError(
                f'The caption "{caption}" has {len(words)} words: this model reads {self.length} at most.'
            )
        known = set(self.known)
        strangers = [word for word in dict.fromkeys(words) if word not in known]
        if strangers:
            near = "; ".join(f'"{word}" (near it: {", ".join(self.near(word))})' for word in strangers)
            raise ValueError(f'The caption "{caption}" has words that this model never learned: {near}.')
        return words

    def near(self, word: str) -> list[str]:
        """The known words that are spelt most like one."""
        return difflib.get_close_matches(word, self.known, NEAR, cutoff=0.0)


def words_of(caption: str) -> list[str]:
    """Lower-case words without the punctuation around them."""
    words = [word.strip(".,;:!?\"'()") for word in caption.lower().split()]
    return [word for word in words if word]
