"""What a tokenizer's tokens look like as text, as masks over the vocabulary: the rules of reading tokens out.

Special tokens are never read out. In byte-level vocabularies a word's token carries the space before it, so a space
that the user typed decides which tokens may come first in a blank.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from tokenizers import Tokenizer, decoders
from torch import Tensor

SPACED, UNSPACED = "spaced", "unspaced"  # a space that was typed must, or must not, stand before a position


class Vocabulary:
    """A tokenizer and masks over the model's V token ids, bool [V] each.

    Args:
        tokenizer: byte-level, or word-level on white space.
        size: V, the model's; ids that the tokenizer lacks are never read out.
    """

    def __init__(self, tokenizer: Tokenizer, size: int) -> None:
        tokenizer.no_padding()
        tokenizer.no_truncation()
        tokenizer.encode_special_tokens = True  # "<s>" in a user's text is five characters
        self.tokenizer = tokenizer
        self.words = not isinstance(tokenizer.decoder, decoders.ByteLevel)
        used = tokenizer.get_vocab_size()
        texts = tokenizer.decode_batch([[i] for i in range(used)], skip_special_tokens=False) + [""] * (size - used)
        special = {i for i, token in tokenizer.get_added_tokens_decoder().items() if token.special}
        special |= {i for token in ("<pad>", "<s>", "</s>", "<unk>") if (i := tokenizer.token_to_id(token)) is not None}
        self.banned = torch.tensor([i in special or i >= used for i in range(size)])
        self.fragment = torch.tensor(["\ufffd" in text for text in texts])
        self.spaced = torch.tensor([text.startswith(" ") and not text[1:2].isspace() for text in texts])
        self.white = torch.tensor([text[:1].isspace() for text in texts])
        self.space = torch.tensor([text == " " for text in texts])
        self.joining = torch.tensor([text[:1].isalnum() and not self.words for text in texts])  # go on with a word

    def encode(self, text: str) -> list[int]:
        """Token ids of a text, no special ones added.

        Raises:
            ValueError: if it is no text, or not valid Unicode.
        """
        try:
            return self.tokenizer.encode(text, add_special_tokens=False).ids
        except TypeError as error:
            raise ValueError(f"{text!r:.40} is no text in valid Unicode: give a string, as UTF-8.") from error

    def decode(self, ids: Sequence[int]) -> str:
        """Text of token ids."""
        return self.tokenizer.decode(list(ids), skip_special_tokens=False)

    def barred(self, length: int, *, rule: str | None = None) -> Tensor:
        """Tokens that may not stand in a run of so many, bool [length, V].

        Args:
            length: of the run, in tokens.
            rule: SPACED: the first token starts with a space; UNSPACED: it does not; None: either.
        """
        barred = self.banned.repeat(length, 1)
        if rule is not None and not self.words and length:
            barred[0] |= ~self.spaced if rule == SPACED else self.white
            if rule == SPACED and length == 1:
                barred[0] |= self.space
        return barred

    def read(self, logits: Tensor, *, rule: str | None = None) -> list[int]:
        """The likeliest ids of a run of tokens that decode to valid text; logits: [n, V], rule: as in `barred`."""
        barred = self.barred(len(logits), rule=rule)
        ids = logits.masked_fill(barred, -torch.inf).argmax(-1).tolist()
        if not self.words and "\ufffd" in self.decode(ids):
            ids = logits.masked_fill(barred | self.fragment, -torch.inf).argmax(-1).tolist()
        return ids


def draw(logits: Tensor, uniform: Tensor, *, temperature: float = 1.0) -> Tensor:
    """The first ids whose cumulative probability passes uniform [B], at temperature 0 the likeliest ids.

    logits [B, V] -> ids [B].
    """
    if temperature == 0:
        return logits.argmax(-1)
    cumulative = (logits / temperature).softmax(-1).cumsum(-1)
    points = (uniform[:, None] * cumulative[:, -1:]).contiguous()
    return torch.searchsorted(cumulative, points, right=True)[:, 0].clamp(max=logits.shape[-1] - 1)


def nucleus(logits: Tensor, top_p: float) -> Tensor:
    """Logits [N, V] of the likeliest tokens, as few as have the chance top_p together; -inf elsewhere. 1 = all."""
    if top_p == 1:
        return logits
    from transformers import TopPLogitsWarper

    return TopPLogitsWarper(top_p)(None, logits)
