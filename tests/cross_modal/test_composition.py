"""Captions by rule and the way back; what is held out of training."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from textdiff.cross_modal.composition import (
    HELD_OUT,
    PLACES,
    Composition,
    held_out_composition,
    read_composition,
    trained_composition,
)

TURNS = list(product((False, True), repeat=3))


@pytest.mark.parametrize(
    ("rows", "turned", "caption"),
    [
        (((7, 3),), (False,) * 3, "a seven left of a three"),
        (((7, 3),), (True, False, True), "a three right of a seven"),
        (((2,), (9,)), (False,) * 3, "a two above a nine"),
        (((2,), (8,)), (False, False, True), "an eight below a two"),
        (((7, 3), (2,)), (False,) * 3, "a seven left of a three above a two"),
        (((1, 2), (3, 4)), (True, False, True), "a three left of a four below a two right of a one"),
    ],
)
def test_captions_are_said_and_read(rows: tuple, turned: tuple, caption: str) -> None:
    assert Composition(rows).caption(turned) == caption
    assert read_composition(caption) == Composition(rows)


def test_every_caption_leads_back_to_its_composition() -> None:
    rng = np.random.default_rng(0)
    for i in range(400):
        composition = (held_out_composition if i % 2 else trained_composition)(rng)
        for turned in TURNS:
            assert read_composition(composition.caption(turned)) == composition


def test_rows_stand_in_the_middle_of_what_they_share() -> None:
    assert Composition(((7, 3),)).cells() == [(7, (1, 0)), (3, (1, 2))]
    assert Composition(((2,), (9,))).cells() == [(2, (0, 1)), (9, (2, 1))]
    assert Composition(((1, 2), (3,))).cells() == [(1, (0, 0)), (2, (0, 2)), (3, (2, 1))]


def test_pairs_are_held_out_of_training_evenly_and_of_nothing_else() -> None:
    assert len(HELD_OUT) == 2 * len(PLACES) == 16
    for digit in range(10):
        assert 1 <= sum((digit, place) in HELD_OUT for place in PLACES) <= 2
    for place in PLACES:
        assert sum((digit, place) in HELD_OUT for digit in range(10)) == 2
    rng, trained = np.random.default_rng(0), set()
    for _ in range(3000):
        trained |= set(trained_composition(rng).cells())
        assert sum(cell in HELD_OUT for cell in held_out_composition(rng).cells()) == 1
    assert trained == set(product(range(10), PLACES)) - HELD_OUT


@pytest.mark.parametrize(
    "caption",
    [
        "a seven", "", "a seven left of", "a seven above a two above a one", "seven left of three",
        "a cat above a two", "a one left of a two left of a three", "a seven left a three",
    ],
)  # fmt: skip
def test_other_captions_are_refused(caption: str) -> None:
    with pytest.raises(ValueError, match="names no digits by the rule: write two to four"):
        read_composition(caption)


@pytest.mark.parametrize("rows", [(), ((1,),), ((1, 2, 3),), ((1,), (2,), (3,)), ((10, 2),), ((-1, 2),)])
def test_other_compositions_are_refused(rows: tuple) -> None:
    with pytest.raises(ValueError, match="give one or two rows"):
        Composition(rows)
