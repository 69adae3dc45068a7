"""How long blanks are, by Bayes' rule: p(lengths | given text) is proportional to p(lengths) p(given text | lengths).

A model that reads tokens in order says how likely each given token is after those to its left, wherever blanks of some
length have moved it: "Many ... down." has room for more than "Many ... people." has. The first factor is that of the
blanks times that of the whole text, whose length is as in training. Other models do not say how likely given tokens
are, and lengths are drawn from the blanks' factor.
"""

from __future__ import annotations

import numpy as np

from textdiff.diffusion.losses import GOLDEN_RATIO
from textdiff.text.denoiser import TextDenoiser
from textdiff.text.ordered_denoiser import OrderedDenoiser
from textdiff.text.plans import Planner
from textdiff.text.scoring import given_nats, length_nats

MOST_LAYOUTS = 256


def blank_lengths(
    denoiser: TextDenoiser, planner: Planner, count: int, *, seed: int, temperature: float = 1.0
) -> list[list[int]]:
    """The lengths of all blanks of some candidates, in tokens; candidates spread evenly over the likely ones.

    Args:
        denoiser: of the model.
        planner: of the text.
        count: candidates.
        seed: candidate k is the same however many there are.
        temperature: lengths have their chances to the power 1 / temperature, where a text is given.
    """
    if not (isinstance(denoiser, OrderedDenoiser) and planner.gives):
        return [planner.lengths(seed, k) for k in range(count)]
    layouts = planner.layouts(MOST_LAYOUTS, seed=seed)
    if len(layouts) == 1:
        return [list(lengths) for lengths in layouts] * count
    plans = [planner.plan(lengths) for lengths in layouts]
    nats = given_nats(denoiser, plans).double().numpy() - np.log(list(layouts.values()))
    nats += [length_nats(planner.length_counts, len(plan.ids), planner.window) for plan in plans]
    chances = np.exp((nats.min() - nats) / temperature)
    ends = np.cumsum(chances / chances.sum())
    start = np.random.default_rng([seed, 1]).random()
    places = [np.searchsorted(ends, (start + k * GOLDEN_RATIO) % 1.0) for k in range(count)]
    likely = list(layouts)
    return [list(likely[min(int(place), len(likely) - 1)]) for place in places]
