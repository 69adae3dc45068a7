"""Energies of a classifier: probabilities that add up to one, exact gradients, and what is refused."""

import itertools
from collections.abc import Callable

import pytest
import torch
from torch.testing import assert_close

from textdiff.text.classified import FieldIs, SpansAre, TagsAre
from textdiff.text.classifier import TextClassifier
from textdiff.text.energies import TextEnergy
from textdiff.text.language_model import DiffusionLM

MOODS, TAGS, SPANS = ["glad", "sad", "absent"], ["DET", "NOUN"], ["NP", "VP"]
SHAPE = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}


@pytest.fixture(scope="module")
def classifier(word_lm: DiffusionLM) -> TextClassifier:
    """Random weights in every head, float64."""
    torch.manual_seed(0)
    labels = {"fields": {"size": ["big", "small"], "mood": MOODS}, "tags": TAGS, "spans": SPANS}
    made = TextClassifier.for_model(word_lm.denoiser, word_lm.vocabulary, **labels, **SHAPE)
    for parameter in made.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    return made.double().eval().requires_grad_(False)


def some_texts(rows: int, length: int, classifier: TextClassifier) -> tuple[torch.Tensor, torch.Tensor]:
    """Random distributions over tokens, and times; float64."""
    source = torch.Generator().manual_seed(length)
    p = torch.randn(rows, length, len(classifier.vectors), generator=source, dtype=torch.float64).softmax(-1)
    return p, torch.rand(rows, length, generator=source, dtype=torch.float64)


ENERGIES: dict[str, Callable[[TextClassifier], TextEnergy]] = {
    "field": lambda it: FieldIs(it, "mood", "sad"),
    "tags": lambda it: TagsAre(it, ["DET", "NOUN", "NOUN"]),
    "spans": lambda it: SpansAre(it, [(0, 2, "NP"), (2, 3, "VP")]),
    "tree": lambda it: SpansAre(it, [(0, 2, "NP"), (2, 3, "VP")], whole=True),
}


def test_the_values_of_a_field_share_one_probability(classifier: TextClassifier) -> None:
    p, t = some_texts(2, 4, classifier)
    chances = torch.stack([(-FieldIs(classifier, "mood", mood)(p, t)).exp() for mood in MOODS])
    assert_close(chances.sum(0), torch.ones(2, dtype=torch.float64))
    assert chances.shape == (3, 2) and (chances - 1 / 3).abs().min() > 1e-3


def test_all_tag_sequences_share_one_probability(classifier: TextClassifier) -> None:
    p, t = some_texts(2, 3, classifier)
    sequences = itertools.product(TAGS, repeat=3)
    total = sum((-TagsAre(classifier, tags)(p, t)).exp() for tags in sequences)
    assert_close(total, torch.ones(2, dtype=torch.float64))


def test_a_pattern_has_the_chance_of_all_that_it_allows(classifier: TextClassifier) -> None:
    p, t = some_texts(2, 3, classifier)
    nats = TagsAre(classifier, ["DET", "DET|NOUN", "_"])(p, t)  # two tags are all
    assert_close(nats, TagsAre(classifier, ["DET"])(p, t))
    assert TagsAre(classifier, ["_", "NOUN|DET"])(p, t).abs().max() < 1e-12


def test_tags_begin_at_the_first_token_and_leave_the_rest_free(classifier: TextClassifier) -> None:
    p, t = some_texts(1, 3, classifier)
    both = sum((-TagsAre(classifier, ["DET", "NOUN", last])(p, t)).exp() for last in TAGS)
    assert_close(both, (-TagsAre(classifier, ["DET", "NOUN"])(p, t)).exp())


def test_all_trees_share_one_probability(classifier: TextClassifier) -> None:
    """Labels of the three spans of two tokens; the tree without a span is what the others leave."""
    p, t = some_texts(2, 2, classifier)
    places = [(0, 1), (0, 2), (1, 2)]
    total = torch.zeros(2, dtype=torch.float64)
    for labels in itertools.product([None, *SPANS], repeat=3):
        tree = [(*place, label) for place, label in zip(places, labels) if label]
        if tree:
            total += (-SpansAre(classifier, tree, whole=True)(p, t)).exp()
    each = [
        sum((-SpansAre(classifier, [(*place, label)])(p, t)).exp() for label in SPANS) for place in places
    ]
    empty = torch.stack([1 - chance for chance in each]).prod(0)
    assert_close(total + empty, torch.ones(2, dtype=torch.float64))
    assert (empty > 1e-3).all()


def test_given_spans_add_up(classifier: TextClassifier) -> None:
    p, t = some_texts(2, 4, classifier)
    one, other = SpansAre(classifier, [(0, 2, "NP")]), SpansAre(classifier, [(1, 4, "VP")])
    assert_close(SpansAre(classifier, [(0, 2, "NP"), (1, 4, "VP")])(p, t), (one + other)(p, t))


@pytest.mark.parametrize("name", ENERGIES)
def test_gradients_are_those_of_finite_differences(classifier: TextClassifier, name: str) -> None:
    p, t = some_texts(2, 3, classifier)
    energy = ENERGIES[name](classifier)
    (slope,) = torch.autograd.grad(energy(q := p.clone().requires_grad_(), t).sum(), q)
    assert slope.abs().max() > 1e-3
    assert torch.autograd.gradcheck(lambda p: energy(p, t), p.requires_grad_(), fast_mode=True)


@pytest.mark.parametrize("name", ENERGIES)
def test_padding_and_neighbours_do_not_matter(classifier: TextClassifier, name: str) -> None:
    p, t = some_texts(3, 6, classifier)
    p[0, 4:] = 0
    energy = ENERGIES[name](classifier)
    together = energy(p, t)
    assert together.shape == (3,)
    assert_close(energy(p[:1, :4], t[:1, :4]), together[:1])
    assert_close(energy(p[1:], t[1:]), together[1:])


@pytest.mark.parametrize("name", ENERGIES)
def test_float32_distributions_are_read_too(classifier: TextClassifier, name: str) -> None:
    p, t = some_texts(1, 3, classifier)
    energy = ENERGIES[name](classifier)
    assert_close(energy(p.float(), t.float()), energy(p, t), rtol=1e-4, atol=1e-4)


REFUSED = {
    "no field 'colour': choose size, mood": lambda it: FieldIs(it, "colour", "red"),
    "no value of 'mood' 'cross': choose glad, sad, absent": lambda it: FieldIs(it, "mood", "cross"),
    "no tag 'VERB': choose DET, NOUN": lambda it: TagsAre(it, ["DET", "VERB"]),
    "There is no tag": lambda it: TagsAre(it, []),
    "no label of a span 'PP': choose NP, VP": lambda it: SpansAre(it, [(0, 1, "PP")]),
    "There is no span": lambda it: SpansAre(it, []),
    "'NP' from 2 to 2": lambda it: SpansAre(it, [(2, 2, "NP")]),
    "'NP' from -1 to 2": lambda it: SpansAre(it, [(-1, 2, "NP")]),
    "Two labels are wanted for one span": lambda it: SpansAre(it, [(0, 1, "NP"), (0, 1, "VP")]),
}


@pytest.mark.parametrize("said", REFUSED)
def test_what_the_classifier_does_not_know_is_refused(classifier: TextClassifier, said: str) -> None:
    with pytest.raises(ValueError) as caught:
        REFUSED[said](classifier)
    assert said in str(caught.value)


def test_a_head_that_is_not_there_is_named(word_lm: DiffusionLM) -> None:
    only = TextClassifier.for_model(word_lm.denoiser, word_lm.vocabulary, tags=TAGS, **SHAPE)
    with pytest.raises(ValueError, match="no field 'mood': it has not learned any"):
        FieldIs(only, "mood", "sad")
    with pytest.raises(ValueError, match="no label of a span 'NP': it has not learned any"):
        SpansAre(only, [(0, 1, "NP")])


def test_more_than_the_text_holds_is_refused(classifier: TextClassifier) -> None:
    p, t = some_texts(2, 4, classifier)
    p[1, 3:] = 0
    with pytest.raises(ValueError, match="There are 4 tags for a text of 3 tokens"):
        TagsAre(classifier, ["DET"] * 4)(p, t)
    for whole in (False, True):
        with pytest.raises(ValueError, match="ends at token 4 of a text of 3 tokens"):
            SpansAre(classifier, [(0, 1, "NP"), (2, 4, "VP")], whole=whole)(p, t)
