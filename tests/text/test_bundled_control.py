"""Control of the bundled models: every kind of wish, against the same model without it, and what it costs.

Success is judged by the text itself or, for tags and trees, by the classifier that steered: here it matters that
steering works; benchmarks/control.py has oracles of their own.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from textdiff.text.language_model import DiffusionLM
from textdiff.text.steered import drawn, fluency
from textdiff.text.wishes import Wish, Wishes

SAMPLES, STEPS = 12, 24
TAGS = "DET NOUN AUX DET ADJ NOUN ADP DET NOUN NOUN PUNCT".split()
TREE = [(0, 2, "NP"), (0, 8, "S"), (2, 8, "VP"), (3, 8, "NP"), (5, 8, "PP"), (6, 8, "NP")]

SALAD = 5.0  # nats per token under the model's own bound, from where on a text is words by chance (over 6); plain: 1

# What is wished for, and the success it must reach.
KINDS: dict[str, tuple[Callable[[Wishes], list[Wish]], float]] = {
    "semantic": (lambda wishes: [wishes.semantic("food", "Japanese")], 0.8),
    "pos": (lambda wishes: [wishes.pos(TAGS)], 0.8),
    "tree": (lambda wishes: [wishes.tree(TREE)], 0.6),
    "span": (lambda wishes: [wishes.span(0, 3, "PP"), wishes.length(14)], 0.6),
    "length": (lambda wishes: [wishes.length(9)], 1.0),
    "keywords": (lambda wishes: [wishes.keywords(["cheap", "riverside"])], 0.8),
    "keyword at a place": (lambda wishes: [wishes.keywords(["Japanese"], place=2)], 0.8),
    "without": (lambda wishes: [wishes.without(["is", "the", "restaurant"])], 0.8),
    "label": (lambda wishes: [wishes.label("family friendly", "no")], 0.6),
    "several": (lambda wishes: [wishes.semantic("area", "riverside"), wishes.keywords(["pub"])], 0.8),
}


@pytest.fixture(scope="module")
def e2e() -> Wishes:
    return Wishes.for_model(DiffusionLM.from_pretrained("e2e"))


@pytest.mark.parametrize("kind", KINDS)
def test_steering_grants_what_chance_does_not(e2e: Wishes, kind: str) -> None:
    make, least = KINDS[kind]
    wishes = make(e2e)
    lengths = {} if any(wish.tokens for wish in wishes) else {"length": 14}

    def granted(scale: float) -> tuple[float, float]:
        texts = drawn(
            e2e.lm, wishes, num_samples=SAMPLES, seed=0, num_inference_steps=STEPS, guidance_scale=scale, **lengths
        )
        met = [min(values) for values in zip(*(wish.success(texts) for wish in wishes))]
        nats = [one for one in fluency(e2e.lm, texts) if one is not None]
        return sum(met) / len(met), sum(nats) / len(nats)

    (steered, cost), (chance, plain) = granted(3.0), granted(0.0)
    assert steered >= least
    assert kind == "length" or steered >= chance + 0.3
    assert plain < 2.0 and cost < SALAD


GLAD = set("happy smiled laughed fun love loved friends best good great beautiful together".split())
SAD = set("sad cried bad dead hurt scared angry never no not don't didn't couldn't too".split())


def test_a_mood_is_read_in_the_words() -> None:
    """Of the bundled English model, by words that no classifier has chosen: steered to both sides, and not at all."""
    lm = DiffusionLM.from_pretrained()
    wishes = Wishes.for_model(lm)

    def mood(*wish: Wish) -> tuple[float, float]:
        """Glad less sad words a text, and what the texts cost, in nats per token."""
        texts = drawn(
            lm, wish, prompt="Tom and Mia", num_samples=48, seed=0, num_inference_steps=16, temperature=0.5,
            length=16, guidance_scale=3.0,
        )  # fmt: skip
        words = [re.findall(r"[a-z']+", text.lower()) for text in texts]
        nats = [one for one in fluency(lm, texts) if one is not None]
        return sum((w in GLAD) - (w in SAD) for row in words for w in row) / len(texts), sum(nats) / len(nats)

    (glad, price), (sad, dear) = (mood(wishes.sentiment(value)) for value in ("positive", "negative"))
    plain, cost = mood()
    assert glad > plain + 0.5 > sad + 1.0
    assert max(price, dear) < cost + 1.0


def test_blanks_are_filled_under_control(e2e: Wishes) -> None:
    wish = e2e.semantic("food", "Italian")
    fills = e2e.lm.infill(
        "The Vaults is a [MASK:6] place in the city centre .", control=wish.energy, num_samples=4, seed=0,
        guidance_scale=3.0,
    )  # fmt: skip
    assert all(fill.text.startswith("The Vaults is a ") and fill.text.endswith(" .") for fill in fills)
    assert sum(wish.success([fill.text for fill in fills])) >= 0.75 * len(fills)
