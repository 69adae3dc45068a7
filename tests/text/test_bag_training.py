"""What a bag of tokens learns: the optimum of its loss, what the words say, and nothing where they say nothing."""

import math

import pytest
import torch
from torch.testing import assert_close

from textdiff.text import bag_training
from textdiff.text.bag import BagOfTokens
from textdiff.text.bag_training import Counted, fit_bag
from textdiff.text.labelled import LabelledText
from textdiff.text.language_model import DiffusionLM

GLAD = [LabelledText(f"The {animal} was happy.", {"mood": "glad"}) for animal in ("dog", "cat", "big dog")] * 4
SAD = [LabelledText(f"The {animal} saw home.", {"mood": "sad"}) for animal in ("dog", "cat", "big dog")] * 4
FIELDS = {"mood": ["glad", "sad"]}


def fitted(lm: DiffusionLM, texts: list, held_out: list, fields: dict = FIELDS) -> tuple[BagOfTokens, dict]:
    bag = BagOfTokens.for_vocabulary(lm.vocabulary, fields)
    return bag, fit_bag(bag, texts, held_out, lm.vocabulary)


def test_it_learns_which_words_say_it(word_lm: DiffusionLM) -> None:
    bag, figures = fitted(word_lm, GLAD + SAD, GLAD[:3] + SAD[:3])
    assert figures["accuracy_mood"] == 1 and figures["loss"] < 0.1
    glad = bag.scores.weight[0] - bag.scores.weight[1]
    token = word_lm.tokenizer.token_to_id
    assert glad[token("happy.")] > 1 and glad[token("home.")] < -1
    assert abs(glad[token("dog")]) < 0.01 * glad[token("happy.")]


def test_the_gradient_is_zero_where_it_stops(word_lm: DiffusionLM, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bag_training, "PENALTIES", (0.01,))
    bag, _ = fitted(word_lm, GLAD + SAD[:5], SAD)
    bag.requires_grad_(True)
    loss = Counted(GLAD + SAD[:5], word_lm.vocabulary, bag).loss(bag) + 0.01 * bag.scores.weight.pow(2).sum()
    loss.backward()
    assert_close(bag.scores.weight.grad, torch.zeros_like(bag.scores.weight), rtol=0, atol=1e-4)


def test_without_a_sign_it_knows_the_shares(word_lm: DiffusionLM) -> None:
    """Labels that the words do not tell: the best there is are the shares, 3 to 1, by the bias alone."""
    texts = [LabelledText("The dog ran", {"mood": mood}) for mood in ("glad", "glad", "glad", "sad")] * 5
    _, figures = fitted(word_lm, texts, texts)
    assert_close(figures["loss"], -0.75 * math.log(0.75) - 0.25 * math.log(0.25), rtol=0, atol=1e-4)


def test_noise_is_not_learned(word_lm: DiffusionLM) -> None:
    """Held-out texts that contradict the others leave the strongest penalty."""
    other = {"glad": "sad", "sad": "glad"}
    turned = [LabelledText(text.text, {"mood": other[text.labels["mood"]]}) for text in GLAD + SAD]
    _, figures = fitted(word_lm, GLAD + SAD, turned)
    assert figures["penalty"] == max(bag_training.PENALTIES)


def test_missing_labels_do_not_count(word_lm: DiffusionLM) -> None:
    unlabelled = [LabelledText("The cat saw the red dog", {"who": "cat"})] * 6 + [LabelledText("A dog", {"who": "dog"})]
    fields = FIELDS | {"who": ["cat", "dog"]}
    both, figures = fitted(word_lm, GLAD + SAD + unlabelled, GLAD[:2] + SAD[:2], fields)
    assert "accuracy_who" not in figures and figures["accuracy_mood"] == 1
    alone = Counted(GLAD + SAD, word_lm.vocabulary, both)
    mixed = Counted(GLAD + SAD + [LabelledText("A dog", {})], word_lm.vocabulary, both)
    assert_close(alone.loss(both), mixed.loss(both))


def test_texts_without_a_label_teach_nothing_and_are_refused(word_lm: DiffusionLM) -> None:
    strange = [LabelledText("The dog ran", {"colour": "red"})]
    for texts, held_out, which in ((strange, GLAD, "training"), (GLAD, strange, "held-out")):
        with pytest.raises(ValueError, match=f"No {which} text has one of the labels"):
            fitted(word_lm, texts, held_out)


def test_the_same_texts_give_the_same_scores(word_lm: DiffusionLM) -> None:
    (one, said), (two, again) = (fitted(word_lm, GLAD + SAD, SAD) for _ in range(2))
    assert torch.equal(one.scores.weight, two.scores.weight) and said == again
