"""Canvases: what stands where, of which index, and never what is held out."""

from __future__ import annotations

import numpy as np
import pytest

from textdiff.cross_modal.caption_words import CaptionWords
from textdiff.cross_modal.composed_digits import ComposedDigits, every_caption, shrunk, window
from textdiff.cross_modal.composition import HELD_OUT, read_composition
from textdiff.image.data import Pictures


def test_the_caption_says_what_stands_in_every_cell(digits) -> None:
    canvases = ComposedDigits(digits, total=200, seed=0)
    for i in range(200):
        canvas, left = canvases.canvas(i), np.ones((32, 32), dtype=bool)
        for digit, place in read_composition(canvas.caption).cells():
            assert (canvas.pixels[(0, *window(place, 16))] == 20 * digit + 40).all()
            left[window(place, 16)] = False
        assert not canvas.pixels[0][left].any()


def test_held_out_pairs_are_never_on_a_training_canvas(digits) -> None:
    for held_out in (False, True):
        canvases = ComposedDigits(digits, total=400, seed=1, held_out=held_out)
        for i in range(400):
            cells = read_composition(canvases.canvas(i).caption).cells()
            assert sum(cell in HELD_OUT for cell in cells) == int(held_out)


def test_a_row_is_a_function_of_seed_and_index(digits) -> None:
    words = CaptionWords.of(every_caption())
    one, same, other = (ComposedDigits(digits, total=9, seed=seed, words=words) for seed in (3, 3, 4))
    backwards = [same[i] for i in reversed(range(9))][::-1]
    for i in range(9):
        assert all(one[i][name].equal(backwards[i][name]) for name in ("pixel_values", "input_ids"))
        assert int(one[i]["sample_index"]) == i
    assert any(not one[i]["input_ids"].equal(other[i]["input_ids"]) for i in range(9))
    assert min(float(one[i]["pixel_values"].min()) for i in range(9)) == -1.0


def test_shrinking_keeps_brightness_and_leaves_the_margin_out(digits) -> None:
    for cell in (14, 16, 28):
        small = shrunk(digits.pixels, cell)
        assert small.shape == (60, cell, cell)
        assert (small == (20 * (np.arange(60) % 10) + 40)[:, None, None]).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [({"size": 30}, "a multiple of 4"), ({"size": 8}, "at least 16"), ({}, "need words")],
)
def test_bad_input_is_a_sentence(digits, change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ComposedDigits(digits, total=1, seed=0, **change)[0]


def test_other_pictures_are_refused(digits) -> None:
    for wrong in (
        Pictures(digits.pixels),
        Pictures(digits.pixels, digits.labels // 2),
        Pictures(digits.pixels[..., :20], digits.labels),
    ):
        with pytest.raises(ValueError, match="Compositions want"):
            ComposedDigits(wrong, total=1, seed=0)
