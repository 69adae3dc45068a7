"""Left to right: a causal language model samples on from a beginning, or from both sides of a blank.

Every token is drawn by inverse transform, the first whose cumulative probability passes a uniform number that
belongs to its text and place alone, so a text does not depend on those drawn beside it. Rows of one length
run together, with the model's cache: no padding and no masks.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from textdiff.metrics.judge import Judge
from textdiff.text.causal_rows import Sentinels
from textdiff.text.plans import LONGEST_FREE_BLANK
from textdiff.text.vocabulary import Vocabulary, draw

ROWS_AT_ONCE = 64


class Writer:
    """A judge made to write: what `LeftToRight` and `MiddleFiller` share.

    Raises:
        ValueError: if its tokenizer is not one of the `tokenizers` library, or it has no start token.
    """

    def __init__(self, judge: Judge) -> None:
        backend = getattr(judge.tokenizer, "backend_tokenizer", None)
        if backend is None or judge.start_id is None:
            raise ValueError(
                f"The judge {judge.name} cannot write: it wants a fast tokenizer with a start token."
            )
        self.judge, self.start = judge, judge.start_id
        self.size = judge.model.get_input_embeddings().num_embeddings
        self.vocabulary = Vocabulary(Tokenizer.from_str(backend.to_str()), self.size)

    def _fills(
        self, rows: list[list[int]], prefixes: Sequence[str], originals: Sequence[str] | None,
        *, seed: int, temperature: float, batch_size: int,
    ) -> list[str]:  # fmt: skip
        """Fills drawn behind rows of token ids, as text that stands behind the prefixes."""
        end, barred = None, self.vocabulary.banned | self.vocabulary.fragment
        first = [self._first(prefix) for prefix in prefixes]
        if originals is None:
            lengths, (end, barred) = [LONGEST_FREE_BLANK] * len(rows), self._ending(barred)
        else:
            pairs = zip(prefixes, originals, strict=True)
            lengths = [count_tokens(self.vocabulary, prefix, original) for prefix, original in pairs]
        drawn = self._sample(
            rows, lengths, first, barred, end=end, seed=seed, temperature=temperature, batch_size=batch_size
        )
        return [self._joined(prefix, ids) for prefix, ids in zip(prefixes, drawn, strict=True)]

    def _ending(self, barred: Tensor) -> tuple[int | None, Tensor]:
        """The end token, and barred tokens [V] without it."""
        end, barred = self.judge.tokenizer.eos_token_id, barred.clone()
        if end is not None:
            barred[end] = False
        return end, barred

    def _before(self, prefix: str) -> list[int]:
        """Token ids of a prefix, without the space that the first token behind it carries."""
        return self.vocabulary.encode(prefix.removesuffix(" "))

    def _first(self, prefix: str) -> Tensor:
        """Which tokens may not come first after a beginning, bool [V]."""
        words, banned = self.vocabulary, self.vocabulary.banned | self.vocabulary.fragment
        if words.words or not words.spaced.any():
            return banned
        if prefix.endswith(" "):
            return banned | ~words.spaced
        return banned | words.white if not prefix or prefix[-1].isspace() else banned

    def _joined(self, prefix: str, ids: Sequence[int]) -> str:
        fill = self.vocabulary.decode(ids)
        return fill.lstrip(" ") if not prefix or prefix[-1].isspace() else fill

    def _sample(
        self, rows: list[list], lengths: list[int], first: list[Tensor], barred: Tensor,
        *, end: int | None, seed: int, temperature: float, batch_size: int,
    ) -> list[list[int]]:  # fmt: skip
        """Token ids that follow each row, `lengths` of them, cut before the end token."""
        if not 0 <= temperature < torch.inf:
            raise ValueError(
                f"temperature is {temperature}: give 1 for the model's own odds, 0 for its likeliest tokens."
            )
        self._check_room(rows, lengths)
        uniform = torch.zeros(len(rows), max(lengths), dtype=torch.float64)
        for i, length in enumerate(lengths):
            uniform[i, :length] = torch.from_numpy(np.random.default_rng([seed, i]).random(length))
        out: list[list[int]] = [[] for _ in rows]
        order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
        for _, same in groupby(order, key=lambda i: len(rows[i])):
            group = list(same)
            for at in range(0, len(group), batch_size):
                part = group[at : at + batch_size]
                steps = max(lengths[i] for i in part)
                starts = torch.tensor([rows[i] for i in part])
                firsts = torch.stack([first[i] for i in part])
                drawn = self._continue(
                    starts, steps, firsts, barred, uniform[part], end=end, temperature=temperature
                )
                for i, ids in zip(part, drawn, strict=True):
                    ids = ids[: lengths[i]]
                    out[i] = ids[: ids.index(end)] if end in ids else ids
        return out

    def _check_room(self, rows: list[list], lengths: list[int]) -> None:
        """Refuse what has no room among the model's positions; the last token drawn takes none."""
        limit = getattr(self.judge.model.config, "max_position_embeddings", None)
        for i, (row, length) in enumerate(zip(rows, lengths, strict=True)):
            if limit and len(row) + length - 1 > limit:
                raise ValueError(
                    f"Text {i} would have {len(row) + length - 1} tokens, and the model {self.judge.name} "
                    f"reads {limit} at most: shorten it."
                )

    @torch.inference_mode()
    def _continue(
        self, ids: Tensor, steps: int, first: Tensor, barred: Tensor, uniform: Tensor,
        *, end: int | None, temperature: float,
    ) -> list[list[int]]:  # fmt: skip
        """`steps` tokens for each of ids [B, L], fewer once all have ended; first [B, V] bars first ones."""
        model, cache, drawn = self.judge.model, None, []
        ended = torch.zeros(len(ids), dtype=torch.bool)
        for step in range(steps):
            output = model(input_ids=ids.to(model.device), past_key_values=cache, use_cache=True)
            cache = output.past_key_values
            logits = output.logits[:, -1].double().cpu().masked_fill(barred if step else first, -torch.inf)
            ids = draw(logits, uniform[:, step], temperature=temperature)[:, None]
            drawn.append(ids)
            ended |= ids[:, 0] == (-1 if end is None else end)
            if ended.all():
                break
        return torch.cat(drawn, dim=1).tolist()


class LeftToRight(Writer):
    """A judge that goes on from beginnings."""

    def fills(
        self, prefixes: Sequence[str], originals: Sequence[str] | None,
        *, seed: int, temperature: float = 1.0, batch_size: int = ROWS_AT_ONCE,
    ) -> list[str]:  # fmt: skip
        """Go on from each beginning; neither the model nor the length of a fill sees what follows it.

        Where a beginning ends with a space, the first token begins a word, as in the diffusion model's
        blanks; tokens that are parts of a character are passed over.

        Args:
            prefixes: beginnings; may be empty.
            originals: what stood there, of which only the number of tokens counts; None: the model ends
                each fill, by its end token or at LONGEST_FREE_BLANK tokens.
            seed: of the draws.
            temperature: divides the logits; 0 takes the likeliest token.
            batch_size: texts at once.

        Raises:
            ValueError: if a text has no room in the model, or the temperature is below 0.
        """
        rows = [[self.start, *self._before(prefix)] for prefix in prefixes]
        return self._fills(
            rows, prefixes, originals, seed=seed, temperature=temperature, batch_size=batch_size
        )

    def texts(self, count: int, *, longest: int, seed: int, batch_size: int = ROWS_AT_ONCE) -> list[str]:
        """Whole texts from nothing, each to its end token or to `longest` tokens."""
        end, barred = self._ending(self.vocabulary.banned)
        first = [self.vocabulary.banned] * count  # the end token cannot be the whole text
        rows = [[self.start]] * count
        drawn = self._sample(
            rows, [longest] * count, first, barred, end=end, seed=seed, temperature=1.0, batch_size=batch_size
        )
        return [self.vocabulary.decode(ids).strip(" ") for ids in drawn]


class MiddleFiller(Writer):
    """A judge that was trained on `FillInTheMiddleRows` and is given both sides of a blank.

    Raises:
        ValueError: if its config names no sentinels.
    """

    def __init__(self, judge: Judge) -> None:
        super().__init__(judge)
        named = getattr(judge.model.config, "fill_in_the_middle", None)
        if named is None:
            raise ValueError(
                f"The model {judge.name} cannot fill a middle, its config names no sentinels: "
                "train one with benchmarks/autoregressive.py --fill-in-the-middle."
            )
        self.sentinels = Sentinels(**named)

    def fills(
        self, prefixes: Sequence[str], suffixes: Sequence[str], originals: Sequence[str] | None,
        *, seed: int, temperature: float = 1.0, batch_size: int = ROWS_AT_ONCE,
    ) -> list[str]:  # fmt: skip
        """Fill the blank between each prefix and suffix; all else as in `LeftToRight.fills`.

        Args:
            prefixes: what stands before the blanks; may be empty.
            suffixes: what stands behind them; may be empty.
            originals: what stood there, of which only the number of tokens counts; None: the model ends
                each fill, by its end token or at LONGEST_FREE_BLANK tokens.
            seed: of the draws.
            temperature: divides the logits; 0 takes the likeliest token.
            batch_size: texts at once.

        Raises:
            ValueError: if a text has no room in the model, or the temperature is below 0.
        """
        sides = zip(prefixes, suffixes, strict=True)
        rows = [self.sentinels.prompt(self._before(p), self.vocabulary.encode(s)) for p, s in sides]
        return self._fills(
            rows, prefixes, originals, seed=seed, temperature=temperature, batch_size=batch_size
        )


def count_tokens(vocabulary: Vocabulary, prefix: str, text: str) -> int:
    """Tokens of a text that stands behind a prefix, whose last space its first token carries."""
    spaced = prefix.endswith(" ") and not vocabulary.words
    return len(vocabulary.encode(f" {text}" if spaced else text))
