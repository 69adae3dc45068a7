"""Lengths by Bayes' rule: how often which is drawn, what has no say, and what pure noise looks like."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from textdiff.text import wished_lengths as module
from textdiff.text.classifier import TextClassifier
from textdiff.text.language_model import DiffusionLM
from textdiff.text.plans import length_chances
from textdiff.text.wish import WEIGHTS, Wish
from textdiff.text.wished_lengths import at_the_start, span_nats, wished_lengths
from textdiff.text.wishes import Wishes

SOME = (4, 7)


@pytest.fixture(scope="module")
def wishes(word_lm: DiffusionLM, lookup: TextClassifier) -> Wishes:
    return Wishes.for_model(word_lm, lookup)


def asking(wish: Wish, weight: float = 1.0) -> Wish:
    """A wish that costs a tenth of a nat for every token, by the weight of its kind."""
    return replace(wish, energy=lambda p, t: weight * WEIGHTS[wish.kind] * 0.1 * (p.sum(-1) > 0).sum(1).double())


def test_lengths_follow_bayes_rule(word_lm: DiffusionLM, wishes: Wishes) -> None:
    drawn = wished_lengths(word_lm, [asking(wishes.span(0, 2, "NP"))], SOME, 4000, seed=0)
    sizes, chances = length_chances(word_lm.length_counts, *SOME)
    wanted = chances * np.exp(-0.1 * sizes)
    wanted /= wanted.sum()
    shares = np.array([drawn.count(size) for size in sizes]) / len(drawn)
    assert set(drawn) <= set(sizes)
    assert (np.abs(shares - wanted) < 5 * np.sqrt(wanted * (1 - wanted) / len(drawn))).all()


def test_spans_add_up_without_their_weight(word_lm: DiffusionLM, wishes: Wishes) -> None:
    sizes = list(range(2, 25))
    span, other = asking(wishes.span(0, 2, "NP")), asking(wishes.span(2, 5, "VP"))
    once = span_nats(word_lm, [span], sizes, seed=0)
    np.testing.assert_allclose(once, 0.1 * np.array(sizes))
    np.testing.assert_allclose(span_nats(word_lm, [span, other], sizes, seed=0), 2 * once)
    np.testing.assert_allclose(span_nats(word_lm, [2 * span], sizes, seed=0), 2 * once)


def test_lengths_are_looked_at_in_parts(
    word_lm: DiffusionLM, wishes: Wishes, monkeypatch: pytest.MonkeyPatch
) -> None:
    wish, sizes = asking(wishes.span(0, 2, "NP")), list(range(4, 14))
    whole = span_nats(word_lm, [wish], sizes, seed=0)
    monkeypatch.setattr(module, "CANDIDATES_AT_ONCE", 3)
    np.testing.assert_allclose(span_nats(word_lm, [wish], sizes, seed=0), whole)


def test_other_wishes_have_no_say(word_lm: DiffusionLM, wishes: Wishes) -> None:
    """Lengths are those of a model that wishes nothing."""
    drawn = wished_lengths(word_lm, [wishes.length(5), asking(wishes.sentiment("positive"))], SOME, 12, seed=3)
    texts = word_lm.generate(12, length=SOME, num_inference_steps=2, seed=3)
    assert drawn == [len(text.split()) for text in texts] and len(set(drawn)) > 2
    assert wished_lengths(word_lm, [wishes.span(0, 2, "NP")], (4, 4), 2, seed=3) == [4, 4]


def test_the_start_is_noise_of_every_length(word_lm: DiffusionLM) -> None:
    p, t = at_the_start(word_lm, [2, 5], seed=0)
    assert p.shape == (2, 5, word_lm.denoiser.config.vocab_size) and (t == 1).all()
    assert_close(p.sum(-1), torch.tensor([[1.0, 1.0, 0.0, 0.0, 0.0], [1.0] * 5]))
    assert (p[..., word_lm.vocabulary.banned] == 0).all()
