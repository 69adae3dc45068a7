"""Lengths of blanks by Bayes' rule: against the model's own likelihoods, and as before where it gives none."""

import math
from collections import Counter

import numpy as np
import pytest
import torch

from textdiff.text.blank_lengths import blank_lengths
from textdiff.text.blanks import parse
from textdiff.text.language_model import DiffusionLM
from textdiff.text.plans import Planner
from textdiff.text.ranking import whole_text_scores
from textdiff.text.scoring import given_nats, length_nats, order_nats

TEXT = "The [MASK:1-4] ran [MASK:2-3] mat,"


def planner(lm: DiffusionLM, text: str = TEXT) -> Planner:
    """Of a text for a model."""
    return Planner(parse(text), lm.vocabulary, lm.window, lm.length_counts)


def test_lengths_have_the_chances_of_bayes_rule(ordered_lm: DiffusionLM) -> None:
    made = planner(ordered_lm)
    layouts = made.layouts(256, seed=0)
    assert len(layouts) == 8 and sum(layouts.values()) == pytest.approx(1)
    for temperature in (1.0, 0.5):
        plans = [made.plan(one) for one in layouts]
        nats = given_nats(ordered_lm.denoiser, plans).double()
        whole = [math.exp(-length_nats(made.length_counts, len(plan.ids), made.window)) for plan in plans]
        joint = torch.tensor(list(layouts.values())) * torch.tensor(whole, dtype=torch.float64) * (-nats).exp()
        expected = joint ** (1 / temperature)
        drawn = blank_lengths(ordered_lm.denoiser, made, 2000, seed=1, temperature=temperature)
        counts = Counter(map(tuple, drawn))
        found = torch.tensor([counts[one] / 2000 for one in layouts], dtype=torch.float64)
        torch.testing.assert_close(found, expected / expected.sum(), atol=0.01, rtol=0)
    assert nats.std() > 0.05 and len(set(whole)) > 1  # or the test could not tell them from the first factor


def test_given_tokens_cost_what_they_cost_before_all_blanks(ordered_lm: DiffusionLM) -> None:
    """A text is its given tokens and then its blanks: the two costs add up to those of one order."""
    made = planner(ordered_lm)
    plan = made.plan((2, 2))
    filled = plan.filled([[7, 8], [9, 9]])
    fill = order_nats(ordered_lm.denoiser, [filled], torch.zeros(1, len(plan.ids)), order="left").sum()
    given = given_nats(ordered_lm.denoiser, [filled, plan])
    assert given[0].item() == pytest.approx(given[1].item())  # what stands in the blanks is not read
    (score,) = whole_text_scores(ordered_lm.denoiser, [filled], [float(fill)])
    assert score == pytest.approx(-(float(fill) + given[0].item()) / len(plan.ids) ** 0.5)
    ids, mask = torch.tensor([filled.ids]), torch.ones(1, len(plan.ids), dtype=torch.long)
    first = np.argsort(np.argsort([not given for given in plan.known], kind="stable"))
    rank = torch.from_numpy(first)[None] + 1
    logits = ordered_lm.denoiser.predict(ordered_lm.denoiser.lessons(ids, mask, mask == 0, rank))
    whole = torch.nn.functional.cross_entropy(logits[0], ids[0], reduction="sum")
    assert whole.item() == pytest.approx(float(fill) + given[0].item(), rel=1e-4)


def test_a_candidate_is_the_same_however_many_there_are(ordered_lm: DiffusionLM) -> None:
    made = planner(ordered_lm)
    many = blank_lengths(ordered_lm.denoiser, made, 20, seed=3)
    assert blank_lengths(ordered_lm.denoiser, made, 4, seed=3) == many[:4]
    assert blank_lengths(ordered_lm.denoiser, planner(ordered_lm, "A [MASK:2] mat."), 3, seed=0) == [[2]] * 3


def test_where_nothing_is_given_lengths_are_those_of_training(ordered_lm: DiffusionLM) -> None:
    for text in ("[MASK]", " [MASK]  "):
        drawn = blank_lengths(ordered_lm.denoiser, planner(ordered_lm, text), 400, seed=0, temperature=0.2)
        counts = Counter(n for (n,) in drawn)
        assert set(counts) == {4, 5, 6, 7} and max(counts.values()) - min(counts.values()) <= 4


def test_many_blanks_are_looked_at_as_candidates_would_draw_them(ordered_lm: DiffusionLM) -> None:
    made = planner(ordered_lm, "A [MASK] cat [MASK] sat [MASK].")
    layouts = made.layouts(40, seed=0)
    assert len(layouts) <= 40 and math.isclose(sum(layouts.values()), 1)
    assert all(sum(lengths) <= made.room for lengths in layouts)
    assert len(blank_lengths(ordered_lm.denoiser, made, 5, seed=0)) == 5


def test_other_models_draw_lengths_as_before(word_lm: DiffusionLM) -> None:
    made = planner(word_lm)
    assert blank_lengths(word_lm.denoiser, made, 6, seed=2) == [made.lengths(2, k) for k in range(6)]
