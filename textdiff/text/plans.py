"""From a text with blanks to positions: token ids, which of them are given, and where each blank lies.

One plan is one candidate: its blanks have lengths. Given text beyond the model's window is left out of the plan (it
still comes back), at a sentence's edge where there is one.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from textdiff.text.blanks import Blank, Template
from textdiff.text.data import sentences
from textdiff.text.vocabulary import SPACED, UNSPACED, Vocabulary

LONGEST_FREE_BLANK = 8  # tokens, where the model chooses
FREE_BLANK_RATIO = 0.8  # chance of n + 1 tokens to that of n
PRIMES = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37)


@dataclass(frozen=True)
class Plan:
    """One candidate: ids [L] (0 in blanks), known [L], and for every blank its positions and first-token rule.

    The first `source` tokens are what the rest is made from, where there is such a thing.
    """

    ids: tuple[int, ...]
    known: tuple[bool, ...]
    spans: tuple[slice, ...]
    rules: tuple[str | None, ...]
    source: int = 0

    def filled(self, readings: Sequence[Sequence[int]]) -> Plan:
        """The plan with ids in its blanks; what is known stays marked."""
        ids = list(self.ids)
        for span, reading in zip(self.spans, readings, strict=True):
            ids[span] = reading
        return replace(self, ids=tuple(ids))


def batch(plans: Sequence[Plan], device: torch.device | str = "cpu") -> tuple[Tensor, Tensor, Tensor]:
    """ids, attention_mask and known of plans, padded on the right: integers, integers and bool, [B, L] each."""
    length = max(len(plan.ids) for plan in plans)
    ids, mask, known = (torch.zeros(len(plans), length, dtype=torch.long) for _ in range(3))
    for row, plan in enumerate(plans):
        ids[row, : len(plan.ids)] = torch.tensor(plan.ids)
        known[row, : len(plan.ids)] = torch.tensor(plan.known, dtype=torch.long)
        mask[row, : len(plan.ids)] = 1
    return ids.to(device), mask.to(device), known.bool().to(device)


def barred_tokens(plans: Sequence[Plan], vocabulary: Vocabulary, device: torch.device | str = "cpu") -> Tensor:
    """Tokens that may not stand in the blanks of plans, bool [B, L, V]; nothing is barred elsewhere."""
    length = max(len(plan.ids) for plan in plans)
    barred = torch.zeros(len(plans), length, len(vocabulary.banned), dtype=torch.bool)
    for row, plan in enumerate(plans):
        for span, rule in zip(plan.spans, plan.rules, strict=True):
            barred[row, span] = vocabulary.barred(span.stop - span.start, rule=rule)
    return barred.to(device)


def blank_plan(length: int) -> Plan:
    """A text of which nothing is known but its length."""
    return Plan((0,) * length, (False,) * length, (slice(0, length),), (UNSPACED,))


class Planner:
    """Makes the candidates' plans for one text.

    Args:
        template: the text.
        vocabulary: of the model.
        window: most tokens the model takes.
        length_counts: how many training texts have 0, 1, 2, ... tokens; used where the whole text is a blank.

    Raises:
        ValueError: if the blanks and what stands between them do not fit into the window.
    """

    def __init__(self, template: Template, vocabulary: Vocabulary, window: int, length_counts: Sequence[int]) -> None:
        self.template, self.vocabulary, self.window = template, vocabulary, window
        self.length_counts = length_counts
        self.inner = [self._encode(i) for i in range(len(template.literals))]
        self.lowest = sum(blank.low for blank in template.blanks)
        between = sum(len(ids) for ids in self.inner[1:-1])
        if self.lowest + between > window:
            raise ValueError(
                f"The blanks and the text between them take {self.lowest + between} tokens, but the model's window has "
                f"{window}: ask for shorter blanks, or fill them in separate calls."
            )
        self.room = window - between

    def _encode(self, literal: int) -> list[int]:
        """Ids of a literal, without the space that the next blank's first token carries."""
        text = self.template.literals[literal]
        if not self.vocabulary.words and literal < len(self.template.blanks):
            text = text.removesuffix(" ")
        return self.vocabulary.encode(text)

    @property
    def gives(self) -> bool:
        """Whether there is anything but blanks and white space."""
        return bool("".join(self.template.literals).strip())

    def lengths(self, seed: int, candidate: int) -> list[int]:
        """Blank lengths of one candidate: candidates spread evenly over the likely ones, whatever their number."""
        starts = np.random.default_rng([seed, 1]).random(len(self.template.blanks))
        drawn = []
        for i, blank in enumerate(self.template.blanks):
            u = (starts[i] + candidate * math.sqrt(PRIMES[i % len(PRIMES)])) % 1.0
            sizes, chances = self._length_chances(blank)
            drawn.append(int(sizes[min(np.searchsorted(np.cumsum(chances), u), len(sizes) - 1)]))
        while sum(drawn) > self.room:  # shorten what may be shorter, the longest first
            spare = [size - blank.low for size, blank in zip(drawn, self.template.blanks, strict=True)]
            drawn[int(np.argmax(spare))] -= 1
        return drawn

    def layouts(self, most: int, *, seed: int) -> dict[tuple[int, ...], float]:
        """Lengths that the blanks may have together, and their chances before anything is read; if there are more than
        `most` such, those that candidates would draw."""
        each = [self._length_chances(blank) for blank in self.template.blanks]
        if math.prod(len(sizes) for sizes, _ in each) > most:
            counts = Counter(tuple(self.lengths(seed, k)) for k in range(most))
            return {lengths: count / most for lengths, count in counts.items()}
        pairs = [list(zip(sizes.tolist(), chances.tolist(), strict=True)) for sizes, chances in each]
        found = {tuple(n for n, _ in one): math.prod(p for _, p in one) for one in itertools.product(*pairs)}
        return {lengths: chance for lengths, chance in found.items() if sum(lengths) <= self.room}

    def _length_chances(self, blank: Blank) -> tuple[np.ndarray, np.ndarray]:
        """Possible lengths of a blank and their chances."""
        if blank.high is None and not self.gives and len(self.template.blanks) == 1:
            return length_chances(self.length_counts, 1, self.room)
        high = max(LONGEST_FREE_BLANK, blank.low) if blank.high is None else blank.high
        sizes = np.arange(blank.low, min(high, self.room) + 1)
        chances = np.ones(len(sizes)) if blank.high is not None else FREE_BLANK_RATIO ** (sizes - blank.low)
        return sizes, chances / chances.sum()

    def plan(self, lengths: Sequence[int]) -> Plan:
        """The plan in which the blanks have these lengths."""
        left, right = self._outer(self.room - sum(lengths))
        parts = [left, *self.inner[1:-1], right]
        ids, known, spans = list(left), [True] * len(left), []
        for part, length in zip(parts[1:], lengths, strict=True):
            spans.append(slice(len(ids), len(ids) + length))
            ids += [0] * length + list(part)
            known += [False] * length + [True] * len(part)
        rules = tuple(self._rule(i) for i in range(len(lengths)))
        return Plan(tuple(ids), tuple(known), tuple(spans), rules)

    def _outer(self, room: int) -> tuple[list[int], list[int]]:
        """Ids of the text before the first and after the last blank, `room` tokens at most, shared evenly."""
        left, right = self.inner[0], self.inner[-1]
        if len(left) + len(right) <= room:
            return left, right
        for_left = max(room // 2, room - len(right))
        if len(left) > for_left:
            parts = sentences(self.template.literals[0])
            parts[-1] = parts[-1] if self.vocabulary.words else parts[-1].removesuffix(" ")
            left = self._fit(parts, for_left, from_end=True)
        if len(right) > room - len(left):
            right = self._fit(sentences(self.template.literals[-1]), room - len(left), from_end=False)
        return left, right

    def _fit(self, parts: list[str], room: int, *, from_end: bool) -> list[int]:
        """Ids of as many whole sentences beside a blank as fit, or as much of the nearest one."""
        ids: list[int] = []
        for count in range(1, len(parts) + 1):
            text = "".join(parts[-count:] if from_end else parts[:count])
            more = self.vocabulary.encode(text.lstrip() if from_end else text.rstrip())
            if len(more) > room:
                return ids or (more[len(more) - room :] if from_end else more[:room])
            ids = more
        return ids

    def _rule(self, blank: int) -> str | None:
        """Whether the first token of a blank starts with a space."""
        before, after = self.template.literals[blank], self.template.literals[blank + 1]
        if before.endswith(" "):
            return SPACED
        inside_word = before[-1:].isalnum() and after[:1].isalnum()
        if inside_word or before[-1:].isspace() or (not before and blank == 0) or before[-1:] in tuple("([{“‘$#"):
            return UNSPACED
        return None


def length_counts_of(config: Mapping[str, Any]) -> list[int]:
    """How many training texts have 0, 1, 2, ... tokens; empty = any length.

    Raises:
        ValueError: if a model's config says what cannot be.
    """
    counts = config.get("length_counts") or []
    if not isinstance(counts, list) or not all(type(count) is int and count >= 0 for count in counts):
        raise ValueError("The config's length_counts are no list of counts: copy config.json again.")
    return counts


def length_chances(length_counts: Sequence[int], low: int, high: int) -> tuple[np.ndarray, np.ndarray]:
    """Text lengths low to high and their chances in the training data; even where it has none of them."""
    sizes = np.arange(low, high + 1)
    counts = np.zeros(high + 1)
    known = np.asarray(length_counts[: high + 1], dtype=np.float64)
    counts[: len(known)] = known
    chances = counts[low:] if counts[low:].sum() > 0 else np.ones(len(sizes))
    return sizes, chances / chances.sum()
