"""Which fills read best: by the likelihood bound of the fill given its context, or by minimum Bayes risk.

Candidates of different lengths compete. The sum of log-likelihoods would favour short fills and its mean long ones, so
fills are ranked by the whole text, each given token taken at an ordinary price, or at what it costs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor

from textdiff.diffusion.losses import sample_normal
from textdiff.diffusion.scheduler import Scheduler
from textdiff.text.denoiser import TextDenoiser
from textdiff.text.ordered_denoiser import OrderedDenoiser
from textdiff.text.plans import Plan
from textdiff.text.scoring import given_nats, order_nats, position_nats, prior_nats

RANKS = ("bound", "mbr")
LEVELS = 8
ORDINARY_NATS = 2.5  # price of a given token


def fill_nats(denoiser: TextDenoiser, scheduler: Scheduler, plans: Sequence[Plan], *, seed: int) -> Tensor:
    """The bound of -log p(fill | context) of every filled plan, [B] in nats, all under the same noise.

    One call of the denoiser for each of `LEVELS` noise levels and one for the reconstruction; of a model that reads
    tokens in order one call in all, from left to right.
    """
    shape = (max(len(plan.ids) for plan in plans), denoiser.config.embedding_dim + 1)
    total = prior_nats(denoiser, scheduler, plans)
    if isinstance(denoiser, OrderedDenoiser):
        return total + order_nats(denoiser, plans, torch.zeros(len(plans), shape[0]), order="left").sum(1)
    for level in range(LEVELS + 1):
        t = torch.full((len(plans),), (level - 0.5) / LEVELS if level else 0.0, dtype=torch.float64)
        noise = sample_normal(shape, torch.full((len(plans),), level), seed)
        nats = position_nats(denoiser, scheduler, plans, t, noise, two_passes=False, steps=LEVELS).sum(1)
        total = total + nats / (LEVELS if level else 1)
    return total


def whole_text_scores(denoiser: TextDenoiser, plans: Sequence[Plan], nats: Sequence[float]) -> list[float]:
    """What `rank="bound"` sorts by, higher is better: log-likelihoods of whole texts of L tokens, divided by L.

    Where the price of given tokens is known, by the root of L: the sum favours short fills, the mean long ones that are
    easy to guess (docs/log.md has the figures; length normalisation as in arXiv 1609.08144, section 7).

    Args:
        denoiser: of the model; one that reads tokens in order says what the given ones cost.
        plans: filled.
        nats: of the fills (`fill_nats`).
    """
    if isinstance(denoiser, OrderedDenoiser):
        given, power = given_nats(denoiser, plans).tolist(), 0.5
    else:
        given, power = [ORDINARY_NATS * plan.known.count(True) for plan in plans], 1.0
    return [-(own + rest) / len(plan.ids) ** power for own, rest, plan in zip(nats, given, plans, strict=True)]


def agreement(fills: Sequence[Sequence[str]]) -> list[float]:
    """For each candidate, its mean likeness to the others, 0 to 1: what `rank="mbr"` sorts by.

    Likeness is the F1 score of character trigrams, blank by blank; the expected risk 1 - likeness under the model's own
    samples is what minimum Bayes risk decoding makes small (Diffusion-LM, arXiv 2205.14217, section 5.3).
    """
    grams = [[_trigrams(fill) for fill in candidate] for candidate in fills]
    return [
        sum(_likeness(one, other) for j, other in enumerate(grams) if j != i) / max(1, len(grams) - 1)
        for i, one in enumerate(grams)
    ]


def _trigrams(fill: str) -> Counter[str]:
    padded = f"  {fill.strip()}  "
    return Counter(padded[i : i + 3] for i in range(len(padded) - 2))


def _likeness(one: Sequence[Counter[str]], other: Sequence[Counter[str]]) -> float:
    scores = [2 * (a & b).total() / max(1, a.total() + b.total()) for a, b in zip(one, other, strict=True)]
    return sum(scores) / len(scores)
