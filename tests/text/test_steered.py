"""Steering by wishes, from a model that knows nothing and a classifier that knows the truth."""

from collections.abc import Callable

import pytest
import torch

from textdiff.text.classifier import TextClassifier
from textdiff.text.language_model import DiffusionLM
from textdiff.text.steered import MET, Candidate, failed, fluency, judged, steer
from textdiff.text.wishes import Wish, Wishes

FAST = {"num_inference_steps": 12, "seed": 0, "guidance_scale": 10.0}


@pytest.fixture(scope="module")
def wishes(word_lm: DiffusionLM, lookup: TextClassifier) -> Wishes:
    """Judged by the truth."""
    return Wishes.for_model(word_lm, lookup)


WISHED: dict[str, Callable[[Wishes], list[Wish]]] = {
    "semantic": lambda it: [it.semantic("animal", "dog")],
    "pos": lambda it: [it.pos(["DET", "ADJ", "NOUN", "VERB", "ADP"])],
    "tree": lambda it: [it.tree([(0, 2, "NP"), (2, 5, "VP"), (3, 5, "NP")])],
    "span": lambda it: [it.span(1, 4, "NP")],
    "keywords": lambda it: [it.keywords(["red", "sun."])],
    "keyword at a place": lambda it: [it.keywords(["We"], place=2)],
    "without": lambda it: [it.without("The the A it on and was sat saw".split())],
    "sentiment": lambda it: [it.sentiment("positive")],
    "label": lambda it: [it.label("friendly", "no")],
    "several": lambda it: [it.semantic("animal", "cat"), it.span(0, 2, "NP"), it.keywords(["on"])],
}


@pytest.mark.parametrize("name", WISHED)
def test_wishes_come_true(word_lm: DiffusionLM, wishes: Wishes, name: str) -> None:
    wanted = WISHED[name](wishes)
    rates = []
    for scale in (0.0, 10.0):
        found = steer(word_lm, wanted, num_samples=8, length=5, **{**FAST, "guidance_scale": scale})
        rates.append([sum(one.controls[wish.name] for one in found) / len(found) for wish in wanted])
    for before, after in zip(*rates):
        assert after >= 0.7 and 1 - after < (1 - before) / 2


@pytest.mark.parametrize("lm", ["bpe_lm", "word_lm"])
@pytest.mark.parametrize("prompt", ["", "We saw", "We saw ", "Café ☃ saw"])
def test_a_prompt_comes_back_and_counts(lm: str, prompt: str, request: pytest.FixtureRequest) -> None:
    model = request.getfixturevalue(lm)
    size = 6 + len(model.vocabulary.encode(prompt))
    found = steer(model, Wishes.for_model(model).length(size), prompt=prompt, num_samples=3, **FAST)
    assert 1 <= len(found) <= 3
    for one in found:
        assert one.text.startswith(prompt) and one.controls.keys() == {f"length {size}"}
        if model.vocabulary.words:
            assert len(one.text.split()) == size and one.controls[f"length {size}"] == 1


def test_a_prompt_leaves_room_as_completing_does(word_lm: DiffusionLM, wishes: Wishes) -> None:
    found = steer(word_lm, wishes.keywords(["dog"]), prompt="We saw the", num_samples=12, **FAST)
    sizes = [len(one.text.split()) for one in found]
    assert min(sizes) >= 4 and max(sizes) <= 3 + word_lm.window // 2 and len(set(sizes)) > 3


def test_the_best_come_first_and_equal_ones_once(word_lm: DiffusionLM, wishes: Wishes) -> None:
    wanted = [wishes.keywords(["dog"]), wishes.length(3)]
    texts = ["The cat sat", "The dog sat", "The dog sat", "dog dog dog dog dog dog", "A dog ran"]
    found = judged(word_lm, wanted, texts)
    assert len(found) == 4
    totals = [sum(one.controls.values()) for one in found]
    assert totals == [2, 2, 1, 1]
    assert {one.text for one in found[:2]} == {"The dog sat", "A dog ran"}
    assert found[0].fluency < found[1].fluency and found[2].fluency < found[3].fluency


def test_fluency_is_the_bound_or_a_judges(word_lm: DiffusionLM) -> None:
    texts = ["The dog ran home.", "", "it was"]
    first, none, third = fluency(word_lm, texts, seed=3)
    nats = word_lm.score(["The dog ran home.", "it was"], levels=16, seed=3).nats
    assert none is None and [first, third] == pytest.approx([nats[0] / 4, nats[1] / 2])

    class Flat:
        name = "flat"

        def nll(self, texts, batch_size=16):
            return [(3.0 * len(text.split()), len(text.split())) for text in texts]

    assert fluency(word_lm, texts, judge=Flat()) == [3.0, None, 3.0]

    class Short(Flat):
        def nll(self, texts, batch_size=16):
            if any(len(text.split()) > 3 for text in texts):
                raise ValueError("too long")
            return super().nll(texts, batch_size)

    assert fluency(word_lm, texts, judge=Short()) == [None, None, 3.0]
    with pytest.raises(ValueError, match="too long"):
        fluency(word_lm, texts[:1], judge=Short())
    assert fluency(word_lm, [""]) == [None]


def test_a_wish_that_no_text_meets_is_named_with_its_best_try(word_lm: DiffusionLM, wishes: Wishes) -> None:
    wanted = [wishes.without(["saw"]), wishes.keywords(["dog"])]
    found = steer(word_lm, wanted, prompt="We saw", num_samples=3, **FAST)
    assert len(found) >= 1
    assert failed(found) == {"without saw": found[0]}
    rows = [Candidate("a", {"x": 0.1, "y": MET}, 1.0), Candidate("b", {"x": 0.4, "y": 0.0}, 1.0)]
    assert failed(rows) == {"x": rows[1]}
    assert failed([]) == {}


def test_an_energy_of_your_own_joins_in(word_lm: DiffusionLM, wishes: Wishes) -> None:
    token = word_lm.tokenizer.token_to_id("red")

    def red_first(p: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return -p[:, 0, token].clamp(min=1e-6).log()

    found = steer(word_lm, wishes.keywords(["dog"]), length=5, num_samples=4, control=red_first, **FAST)
    assert sum(one.text.startswith("red ") and "dog" in one.text.split() for one in found) >= 3
    plain = steer(word_lm, wishes.keywords(["dog"]), length=5, num_samples=4, **FAST)
    assert not any(one.text.startswith("red ") for one in plain)


def test_the_same_seed_gives_the_same_candidates(word_lm: DiffusionLM, wishes: Wishes) -> None:
    one, same, other = (
        steer(word_lm, wishes.span(0, 2, "NP"), num_samples=2, **{**FAST, "seed": seed}) for seed in (1, 1, 2)
    )
    assert one == same != other


@pytest.mark.parametrize(
    ("make", "options", "said"),
    [
        (lambda it: [], {}, "There is no wish"),
        (lambda it: it.length(2), {"prompt": "We saw"}, "The prompt has 2 tokens, and the whole text may"),
        (lambda it: it.span(0, 2, "NP"), {"prompt": "it " * 30}, "The prompt has 30 tokens"),
        (lambda it: it.length(9), {"length": (2, 8)}, "'length 9' and the length (2, 8) contradict"),
        (lambda it: it.length(9), {"num_samples": 0}, "num_samples is 0"),
        (lambda it: it.length(9), {"guidance_scale": -1.0}, "guidance_scale is -1.0"),
        (lambda it: it.length(9), {"prompt": "\ud800"}, "not valid Unicode"),
    ],
)
def test_bad_input_is_refused(
    word_lm: DiffusionLM, wishes: Wishes, make: Callable, options: dict, said: str
) -> None:
    with pytest.raises(ValueError) as caught:
        steer(word_lm, make(wishes), **{**FAST, **options})
    assert said in str(caught.value)
