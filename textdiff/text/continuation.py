"""Left to right: a causal language model samples on from given beginnings at temperature 1.

Every token is drawn by inverse transform, the first whose cumulative probability passes a uniform number that
belongs to its text and place alone, so a text does not depend on those drawn beside it. Beginnings of one
length run together, with the model's cache: no padding and no masks.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from textdiff.metrics.judge import Judge
from textdiff.text.vocabulary import Vocabulary

ROWS_AT_ONCE = 64


class LeftToRight:
    """A judge made to write.

    Raises:
        ValueError: if its tokenizer is not one of the `tokenizers` library, or it has no start token.
    """

    def __init__(self, judge: Judge) -> None:
        backend = getattr(judge.tokenizer, "backend_tokenizer", None)
        if backend is None or judge.start_id is None:
            raise ValueError(
                f"The judge {judge.name} cannot write: it wants a fast tokenizer with a start token."
            )
        self.judge, self.size = judge, judge.model.get_input_embeddings().num_embeddings
        self.vocabulary = Vocabulary(Tokenizer.from_str(backend.to_str()), self.size)

    def fills(
        self, prefixes: Sequence[str], originals: Sequence[str], *, seed: int, batch_size: int = ROWS_AT_ONCE
    ) -> list[str]:
        """Go on from each beginning by as many tokens as an original has; neither sees what follows it.

        Where a beginning ends with a space, the first token begins a word, as in the diffusion model's
        blanks; tokens that are parts of a character are passed over.

        Args:
            prefixes: beginnings; may be empty.
            originals: what stood there, of which only the number of tokens counts.
            seed: of the draws.
            batch_size: texts at once.
        """
        rows, lengths, first = [], [], []
        for prefix, original in zip(prefixes, originals, strict=True):
            rows.append([self.judge.start_id, *self.vocabulary.encode(prefix.removesuffix(" "))])
            lengths.append(count_tokens(self.vocabulary, prefix, original))
            first.append(self._first(prefix))
        barred = self.vocabulary.banned | self.vocabulary.fragment
        drawn = self._sample(rows, lengths, first, barred, end=None, seed=seed, batch_size=batch_size)
        return [self._joined(prefix, ids) for prefix, ids in zip(prefixes, drawn, strict=True)]

    def texts(self, count: int, *, longest: int, seed: int, batch_size: int = ROWS_AT_ONCE) -> list[str]:
        """Whole texts from nothing, each to its end token or to `longest` tokens."""
        end = self.judge.tokenizer.eos_token_id
        barred = self.vocabulary.banned.clone()
        if end is not None:
            barred[end] = False
        first = [self.vocabulary.banned] * count  # the end token cannot be the whole text
        rows = [[self.judge.start_id]] * count
        drawn = self._sample(
            rows, [longest] * count, first, barred, end=end, seed=seed, batch_size=batch_size
        )
        return [self.vocabulary.decode(ids).strip(" ") for ids in drawn]

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
        *, end: int | None, seed: int, batch_size: int,
    ) -> list[list[int]]:  # fmt: skip
        """Token ids that follow each row, `lengths` of them, cut before the end token."""
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
                drawn = self._continue(
                    starts, steps, torch.stack([first[i] for i in part]), barred, uniform[part], end
                )
                for i, ids in zip(part, drawn, strict=True):
                    ids = ids[: lengths[i]]
                    out[i] = ids[: ids.index(end)] if end in ids else ids
        return out

    @torch.inference_mode()
    def _continue(
        self, ids: Tensor, steps: int, first: Tensor, barred: Tensor, uniform: Tensor, end: int | None
    ) -> list[list[int]]:
        """`steps` tokens for each of ids [B, L], fewer once all have ended; first [B, V] bars first ones."""
        model, cache, drawn = self.judge.model, None, []
        ended = torch.zeros(len(ids), dtype=torch.bool)
        for step in range(steps):
            output = model(input_ids=ids.to(model.device), past_key_values=cache, use_cache=True)
            cache = output.past_key_values
            logits = output.logits[:, -1].double().cpu().masked_fill(barred if step else first, -torch.inf)
            ids = draw(logits, uniform[:, step])[:, None]
            drawn.append(ids)
            ended |= ids[:, 0] == (-1 if end is None else end)
            if ended.all():
                break
        return torch.cat(drawn, dim=1).tolist()


def draw(logits: Tensor, uniform: Tensor) -> Tensor:
    """The first ids whose cumulative probability passes uniform [B]; logits [B, V] -> ids [B]."""
    cumulative = logits.softmax(-1).cumsum(-1)
    points = (uniform[:, None] * cumulative[:, -1:]).contiguous()
    return torch.searchsorted(cumulative, points, right=True)[:, 0].clamp(max=logits.shape[-1] - 1)


def count_tokens(vocabulary: Vocabulary, prefix: str, text: str) -> int:
    """Tokens of a text that stands behind a prefix, whose last space its first token carries."""
    spaced = prefix.endswith(" ") and not vocabulary.words
    return len(vocabulary.encode(f" {text}" if spaced else text))
