"""Targets from sources, with a model that was trained on pairs: translation, paraphrase, simplification.

A candidate is one plan, `source <s> target`, whose target is a blank of one length; lengths come from the
training pairs. Of a source's candidates the best is the one most like the others (minimum Bayes risk), or the
likeliest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from textdiff.diffusion.limits import check_count, check_guidance
from textdiff.diffusion.scheduler import Scheduler
from textdiff.text import ranking
from textdiff.text.denoiser import TextDenoiser
from textdiff.text.own_noise import candidate_seeds
from textdiff.text.plans import Plan
from textdiff.text.sampling import Options, Readings, Sampling, walk
from textdiff.text.sampling_options import REWRITE_TEMPERATURE
from textdiff.text.target_lengths import TargetLengths
from textdiff.text.tokenizer import separator
from textdiff.text.vocabulary import UNSPACED, Vocabulary

CANDIDATES_AT_ONCE = 32
GOLDEN = 0.5 * (5**0.5 - 1)  # multiples of it spread evenly over the circle, whatever their number


class RewriteOptions(Options, total=False):
    """How to rewrite: keyword arguments of `DiffusionLM.rewrite`, with the defaults of `Rewriting`; temperature is 0.3.

    Attributes:
        num_samples: Candidates of every text.
        rank: "mbr" (minimum Bayes risk: most like the other candidates) or "bound" (likelihood).
        source_guidance: Classifier-free guidance by the source: 1 = off; above 1 follows it closer, with
            less variety, at two calls of the denoiser a step.
        length: Tokens of a target, or the least and the most; by default as in the training pairs.
        length_candidates: Take so many of the likeliest lengths in turn; by default lengths are drawn.
    """

    num_samples: int
    rank: str
    source_guidance: float
    length: int | tuple[int, int] | None
    length_candidates: int | None


@dataclass(frozen=True)
class Rewriting:
    """Checked `RewriteOptions`, those of sampling apart.

    Raises:
        ValueError: if a value is out of range or the rank unknown.
    """

    num_samples: int = 8
    rank: str = "mbr"
    source_guidance: float = 1.0
    length: int | tuple[int, int] | None = None
    length_candidates: int | None = None

    def __post_init__(self) -> None:
        check_count(self.num_samples)
        if self.rank not in ranking.RANKS:
            raise ValueError(f"Unknown rank {self.rank!r}: choose {' or '.join(ranking.RANKS)}.")
        check_guidance("source_guidance", self.source_guidance, off=1)
        low, high = self.length_range or (1, 1)
        if not 1 <= low <= high:
            raise ValueError(
                f"length is {self.length}: it must be at least 1 token, or a rising range of that."
            )
        if self.length_candidates is not None and self.length_candidates < 1:
            raise ValueError(f"length_candidates is {self.length_candidates}: it must be at least 1.")
        if self.length_candidates is not None and isinstance(self.length, int):
            raise ValueError("length and length_candidates contradict each other: give one, or a range of lengths.")

    @property
    def length_range(self) -> tuple[int, int] | None:
        """The least and the most tokens of a target, where they are given."""
        return (self.length, self.length) if isinstance(self.length, int) else self.length


def checked_options(options: RewriteOptions) -> tuple[Rewriting, Sampling]:
    """The options of rewriting and those of sampling.

    Raises:
        ValueError: if one is out of range.
        TypeError: for an unknown one.
    """
    own = set(Rewriting.__dataclass_fields__)
    given: dict[str, Any] = dict(options)
    rewriting = Rewriting(**{name: value for name, value in given.items() if name in own})
    others = {name: value for name, value in given.items() if name not in own}
    return rewriting, Sampling(**{"temperature": REWRITE_TEMPERATURE, **others})


@dataclass(frozen=True)
class Rewrite:
    """A target and what it was ranked by."""

    text: str
    score: float  # "mbr": mean likeness to the others, 0 to 1; "bound": mean log-likelihood of a token, nats


class Rewriter:
    """Makes targets from sources.

    Args:
        denoiser: of the model.
        scheduler: its noise curve.
        vocabulary: its tokens.
        target_lengths: as in its config.

    Raises:
        ValueError: if the model was not trained on pairs.
    """

    def __init__(
        self,
        denoiser: TextDenoiser,
        scheduler: Scheduler,
        vocabulary: Vocabulary,
        target_lengths: Sequence[Sequence[int]] | None,
    ) -> None:
        if not target_lengths:
            raise ValueError(
                "This model was not trained on pairs and cannot rewrite: give one that scripts/train.py made "
                "with --pairs or a preset of pairs, such as de-en."
            )
        self.denoiser, self.scheduler, self.vocabulary = denoiser, scheduler, vocabulary
        self.lengths, self.between = TargetLengths(target_lengths), separator(vocabulary.tokenizer)
        self.window = denoiser.config.max_position_embeddings

    def candidates(self, texts: str | Sequence[str], options: RewriteOptions) -> list[list[Rewrite]]:
        """Distinct candidates of every text, best first; what comes of a text does not depend on the others.

        Raises:
            ValueError: if there is no text, one is empty or too long, or an option is out of range.
        """
        rewriting, sampling = checked_options(options)
        seed = sampling.pick_seed()
        found = []
        for plans, readings in self._drawn(texts, rewriting, sampling, seed):
            written = [self._text(reading) for reading in readings]
            scores = keys = ranking.agreement([(text,) for text in written])
            if rewriting.rank == "bound":
                scores, keys = self._likelihoods(plans, readings, seed)
            best: dict[str, Rewrite] = {}
            for i in sorted(range(len(plans)), key=lambda i: -keys[i]):
                best.setdefault(written[i], Rewrite(written[i], scores[i]))
            found.append(list(best.values()))
        return found

    def samples(self, texts: str | Sequence[str], options: RewriteOptions) -> list[list[str]]:
        """All candidates of every text as they were drawn, `num_samples` each, unranked.

        Raises:
            ValueError: as `candidates`.
        """
        rewriting, sampling = checked_options(options)
        drawn = self._drawn(texts, rewriting, sampling, sampling.pick_seed())
        return [[self._text(reading) for reading in readings] for _, readings in drawn]

    def fits(self, text: str) -> bool:
        """Whether a text and what it will likely become have room in the window."""
        size = len(self.vocabulary.encode(text.strip()))
        return (
            0 < size < self.window
            and size + 1 + self.lengths.likeliest(size, 1, self.window, 1)[0] <= self.window
        )

    def _drawn(
        self, texts: str | Sequence[str], rewriting: Rewriting, sampling: Sampling, seed: int
    ) -> list[tuple[list[Plan], Readings]]:
        """Plans and readings of every text."""
        groups = self._all_plans(texts, rewriting, sampling, seed)
        plans = [plan for group in groups for plan in group]
        seeds = candidate_seeds(seed, rewriting.num_samples) * len(groups)
        readings: Readings = [[] for _ in plans]
        order = sorted(range(len(plans)), key=lambda i: len(plans[i].ids))  # little padding
        for at in range(0, len(order), CANDIDATES_AT_ONCE):
            chosen = order[at : at + CANDIDATES_AT_ONCE]
            (last,) = walk(
                self.denoiser, self.scheduler, self.vocabulary, [plans[i] for i in chosen],
                [seeds[i] for i in chosen], sampling, last_only=True, source_guidance=rewriting.source_guidance,
            )  # fmt: skip
            for i, reading in zip(chosen, last, strict=True):
                readings[i] = reading
        n = rewriting.num_samples
        return [(group, readings[i * n : (i + 1) * n]) for i, group in enumerate(groups)]

    def check(self, texts: str | Sequence[str], options: RewriteOptions) -> None:
        """Refuse what `candidates` would, at no cost."""
        rewriting, sampling = checked_options(options)
        self._all_plans(texts, rewriting, sampling, 0)

    def _all_plans(
        self, texts: str | Sequence[str], rewriting: Rewriting, sampling: Sampling, seed: int
    ) -> list[list[Plan]]:
        """Plans of every text's candidates."""
        texts = [texts] if isinstance(texts, str) else list(texts)
        if not texts:
            raise ValueError("There is no text to rewrite: give at least one.")
        sampling.sampler_for(self.denoiser)
        return [self._plans(text, number, rewriting, seed) for number, text in enumerate(texts, start=1)]

    def _plans(self, text: str, number: int, rewriting: Rewriting, seed: int) -> list[Plan]:
        """A plan for each of a text's candidates."""
        source = self.vocabulary.encode(text.strip())
        if not source:
            raise ValueError(f"Text {number} is empty: leave it out.")
        if rewriting.length_range is None and not self.fits(text):
            raise ValueError(
                f"Text {number} takes {len(source)} tokens, but source and target together have "
                f"{self.window - 1}: cut it into sentences."
            )
        return [self._plan(source, size) for size in self._sizes(source, number, rewriting, seed)]

    def _sizes(self, source: list[int], number: int, rewriting: Rewriting, seed: int) -> list[int]:
        """The target's length in each of a text's candidates."""
        room, count = self.window - 1 - len(source), rewriting.num_samples
        low, high = rewriting.length_range or (1, room)
        if high > room:
            raise ValueError(
                f"Text {number} takes {len(source)} tokens, which leaves {max(0, room)} of the window for its "
                f"target, but length is {rewriting.length}: ask for less, or cut the text into sentences."
            )
        if rewriting.length_candidates is not None:
            likeliest = self.lengths.likeliest(len(source), low, high, rewriting.length_candidates)
            return [likeliest[k % len(likeliest)] for k in range(count)]
        start = np.random.default_rng([seed, 3]).random()
        return self.lengths.spread(len(source), low, high, [(start + k * GOLDEN) % 1 for k in range(count)])

    def _plan(self, source: list[int], size: int) -> Plan:
        start = len(source) + 1
        ids = (*source, self.between, *[0] * size)
        known = (True,) * start + (False,) * size
        return Plan(ids, known, (slice(start, start + size),), (UNSPACED,), source=len(source))

    def _likelihoods(
        self, plans: list[Plan], readings: Readings, seed: int
    ) -> tuple[list[float], list[float]]:
        """Mean log-likelihoods of the targets' tokens, and the keys that "bound" sorts by."""
        filled = [plan.filled(reading) for plan, reading in zip(plans, readings, strict=True)]
        nats = ranking.fill_nats(self.denoiser, self.scheduler, filled, seed=seed).tolist()
        sizes = [plan.known.count(False) for plan in plans]
        keys = ranking.whole_text_scores(self.denoiser, plans, nats)
        return [-n / k for n, k in zip(nats, sizes, strict=True)], keys

    def _text(self, reading: Sequence[Sequence[int]]) -> str:
        return self.vocabulary.decode(reading[0]).strip(" ")
