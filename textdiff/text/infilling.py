"""Infilling measured: one random span of a held-out sentence is blanked, filled, and judged.

A causal judge charges a filled text as it reads: the left part, then the fill given it (span), then the right
part given both (after). A fill that suits the left context alone is cheap in the span and dear after it, so
their sum is what counts. Three rows frame a model's: the original fill, tokens drawn from training counts,
and the judge's own continuation of the left part, which does not see the right one.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from textdiff.metrics.overlap import bleu, rouge_l
from textdiff.text.blanks import MARK
from textdiff.text.continuation import LeftToRight, count_tokens
from textdiff.text.data import sentences
from textdiff.text.evaluation import Charges
from textdiff.text.own_noise import candidate_seeds
from textdiff.text.plans import LONGEST_FREE_BLANK
from textdiff.text.vocabulary import Vocabulary

WORD = re.compile(r"\w+(?:['’-]\w+)*")
LONGEST_SPAN = 5  # words
Figures = dict[str, Any]
Filler = Callable[["Item", int], str]


@dataclass(frozen=True)
class Item:
    """A sentence with one blank: prefix, the fill that stood there (tokens of it), suffix."""

    prefix: str
    fill: str
    suffix: str
    tokens: int

    @property
    def text(self) -> str:
        """The sentence as it was."""
        return self.prefix + self.fill + self.suffix

    @property
    def fixed(self) -> str:
        """With a blank of as many tokens as the original fill has."""
        return f"{self.prefix}[MASK:{self.tokens}]{self.suffix}"

    @property
    def free(self) -> str:
        """With a blank whose length the model chooses."""
        return f"{self.prefix}[MASK]{self.suffix}"


def infill_items(
    texts: Sequence[str], vocabulary: Vocabulary, *, n: int, window: int, seed: int = 0
) -> list[Item]:
    """Draws n different sentences and blanks one span of 1 to 5 words in each, never all of its words.

    The span's length is uniform over those possible, then its place. Punctuation at its ends stays outside.
    Sentences of one word, with a blank's mark in them, or with no room for a longer fill in the window are
    passed over.

    Args:
        texts: held-out texts of one or more sentences.
        vocabulary: of the model, to count tokens.
        n: items.
        window: most tokens the model takes.
        seed: of sentences and spans.

    Raises:
        ValueError: if n is below 1, or there are fewer fitting sentences.
    """
    if n < 1:
        raise ValueError(f"The number of infill items is {n}: it must be at least 1.")
    pool = list(dict.fromkeys(part.strip() for text in texts for part in sentences(text)))
    rng = np.random.default_rng(seed)
    items: list[Item] = []
    for i in rng.permutation(len(pool)):
        spans = [match.span() for match in WORD.finditer(pool[i])]
        room = len(vocabulary.encode(pool[i])) + LONGEST_FREE_BLANK <= window
        if len(spans) > 1 and room and not MARK.search(pool[i]):
            items.append(_item(pool[i], spans, vocabulary, rng))
        if len(items) == n:
            return items
    raise ValueError(
        f"{n} infill items were asked for, but only {len(items)} sentences fit: "
        "ask for fewer, or give more text."
    )


def _item(text: str, spans: list[tuple[int, int]], vocabulary: Vocabulary, rng: np.random.Generator) -> Item:
    size = int(rng.integers(1, min(LONGEST_SPAN, len(spans) - 1), endpoint=True))
    at = int(rng.integers(0, len(spans) - size, endpoint=True))
    start, end = spans[at][0], spans[at + size - 1][1]
    prefix, fill = text[:start], text[start:end]
    return Item(prefix, fill, text[end:], count_tokens(vocabulary, prefix, fill))


def infill_metrics(
    items: Sequence[Item], filled: Sequence[str], judge: Charges, *, batch_size: int = 32
) -> Figures:
    """Figures of whole filled texts, one for each item.

    Returns:
        context_exact: share of texts that begin and end with the given parts, to the byte. text_nats: of the
        whole text under the judge; span_nats: of the fill given the left part; after_nats: of the right part
        given both; span_and_after_nats, their sum, with half the width of its 95 % interval: each the mean
        over texts. The judge's tokens are cut at the blank's edges; the end of a text is not charged.
        fill_tokens: the judge's, mean. text_bleu, fill_bleu (0-100), text_rouge_l, fill_rouge_l, exact_match
        (0-1), against the original.

    Raises:
        ValueError: if the numbers of items and texts differ, there are none, or a text is longer than the
        judge reads.
    """
    if not items or len(items) != len(filled):
        raise ValueError(
            f"There are {len(items)} infill items and {len(filled)} filled texts: give as many, at least one."
        )
    exact = [_is_exact(item, text) for item, text in zip(items, filled, strict=True)]
    fills = [_fill(item, text) if ok else text for item, text, ok in zip(items, filled, exact, strict=True)]
    originals, wholes = [item.fill for item in items], [item.text for item in items]
    lefts = [item.prefix.removesuffix(" ") for item in items]
    upto = [item.prefix + fill for item, fill in zip(items, fills, strict=True)]
    left, filled_left, whole = (
        np.array(judge.nll(part, batch_size=batch_size)).T for part in (lefts, upto, list(filled))
    )
    both = whole[0] - left[0]
    half = 1.96 * float(both.std(ddof=1)) / len(both) ** 0.5 if len(both) > 1 else None
    text_bleu, signature = bleu(list(filled), wholes)
    return {
        "n": len(items), "context_exact": sum(exact) / len(exact), "exact_match": _share(fills, originals),
        "text_nats": float(whole[0].mean()), "span_nats": float((filled_left - left)[0].mean()),
        "after_nats": float((whole - filled_left)[0].mean()), "span_and_after_nats": float(both.mean()),
        "span_and_after_half_interval": half, "fill_tokens": float((filled_left - left)[1].mean()),
        "text_bleu": text_bleu, "fill_bleu": bleu(fills, originals).score,
        "text_rouge_l": rouge_l(list(filled), wholes), "fill_rouge_l": rouge_l(fills, originals),
        "bleu_signature": signature,
    }  # fmt: skip


def _is_exact(item: Item, text: str) -> bool:
    room = len(text) >= len(item.prefix) + len(item.suffix)
    return room and text.startswith(item.prefix) and text.endswith(item.suffix)


def _fill(item: Item, text: str) -> str:
    return text[len(item.prefix) : len(text) - len(item.suffix)]


def _share(fills: Sequence[str], originals: Sequence[str]) -> float:
    return sum(fill.strip() == original for fill, original in zip(fills, originals, strict=True)) / len(fills)


def unigram_fills(
    items: Sequence[Item], vocabulary: Vocabulary, counts: Counter[int], *, seed: int = 0
) -> list[str]:
    """Fills of as many tokens as the original's, each drawn from training counts; the first begins a word
    where one must.

    Raises:
        ValueError: if there are no counts.
    """
    weights = torch.zeros(len(vocabulary.banned), dtype=torch.float64)
    for token, count in counts.items():
        weights[token] = count
    weights[vocabulary.banned | vocabulary.fragment] = 0
    first = weights * vocabulary.spaced if not vocabulary.words else weights
    if not first.sum() > 0:
        raise ValueError(
            "The training text has no words to draw fills from: give the text the model was trained on."
        )
    generator = torch.Generator().manual_seed(seed)
    fills = []
    for item in items:
        rows = torch.stack([first if item.prefix.endswith(" ") else weights, *[weights] * (item.tokens - 1)])
        ids = torch.multinomial(rows, 1, generator=generator)[:, 0].tolist()
        text = vocabulary.decode(ids)
        fills.append(text.lstrip(" ") if not item.prefix or item.prefix[-1].isspace() else text)
    return fills


class Infiller(Protocol):
    """What infilling wants of a diffusion model."""

    def infill(self, text: str, *, num_samples: int, **options: Any) -> Sequence[Any]:
        """Filled texts, best first."""
        ...


def diffusion_fillers(
    model: Infiller, *, num_samples: int = 1, tick: Callable[[], Any] = lambda: None, **options: Any
) -> dict[str, Filler]:
    """A diffusion model's fillers for `compare_fillers`: told the length of the fill, and choosing it.

    Args:
        model: fills a text.
        num_samples: candidates drawn for each item, of which the model's first choice counts.
        tick: called after each item.
        **options: of `DiffusionLM.infill`, the seed apart: each item has its own.
    """

    def fill(text: str, seed: int) -> str:
        best = model.infill(text, num_samples=num_samples, seed=seed, **options)[0].text
        tick()
        return best

    name = "diffusion" if num_samples == 1 else f"diffusion, best of {num_samples}"
    return {
        f"{name}, length given": lambda item, seed: fill(item.fixed, seed),
        f"{name}, length free": lambda item, seed: fill(item.free, seed),
    }


def compare_fillers(
    items: Sequence[Item],
    fillers: Mapping[str, Filler],
    judge: Any,
    vocabulary: Vocabulary,
    counts: Counter[int],
    *,
    written: Mapping[str, Sequence[str]] | None = None,
    temperature: float = 1.0,
    seed: int = 0,
    batch_size: int = 32,
) -> tuple[list[Figures], list[dict[str, str]]]:
    """The rows of the table: the original, each filler, and the two trivial ones.

    Args:
        items: what to fill.
        fillers: by name, from an item and a seed to its whole filled text.
        judge: a `Judge`: charges all rows and writes the left-to-right one.
        vocabulary: of the counts.
        counts: of tokens in training text.
        written: filled texts of others, by name.
        temperature: of the left-to-right row, which should be the fillers' own.
        seed: of all rows.
        batch_size: texts the judge reads at once.

    Returns:
        Rows of `infill_metrics` with "filler" in front, and for each item its text with a blank and every
        row's fill.
    """
    lines = {"original": [item.text for item in items]}
    seeds = candidate_seeds(seed, len(items))
    for name, filler in fillers.items():
        lines[name] = [filler(item, own) for item, own in zip(items, seeds, strict=True)]
    drawn = unigram_fills(items, vocabulary, counts, seed=seed)
    continued = LeftToRight(judge).fills(
        [i.prefix for i in items], [i.fill for i in items], seed=seed, temperature=temperature
    )
    for name, fills in (("unigram", drawn), ("left to right (judge)", continued)):
        lines[name] = [item.prefix + fill + item.suffix for item, fill in zip(items, fills, strict=True)]
    lines |= {name: list(texts) for name, texts in (written or {}).items()}
    rows = [
        {"filler": name, **infill_metrics(items, texts, judge, batch_size=batch_size)}
        for name, texts in lines.items()
    ]
    shown = [
        {"blank": item.free, **{name: texts[i] for name, texts in lines.items()}}
        for i, item in enumerate(items)
    ]
    return rows, shown
