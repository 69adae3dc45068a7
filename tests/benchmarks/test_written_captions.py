"""Captions read back by their rule: what counts as right, and what chance is."""

from __future__ import annotations

import pytest

from textdiff.cross_modal.composition import HELD_OUT, Composition

SEEN = [Composition(((1, 2),)), Composition(((3,), (4,)))]


@pytest.fixture
def written(imported):
    return imported("written_captions")


def test_every_figure_by_hand(written) -> None:
    place = (1, 0)
    odd = next(digit for digit, there in sorted(HELD_OUT) if there == place)
    usual = next(d for d in range(10) if not {(d, place), (d, (1, 2))} & HELD_OUT)
    wanted = {False: [Composition(((usual, usual),))] * 4, True: [Composition(((odd, usual),))] * 2}
    true = wanted[False][0].caption()
    other = (usual + 1) % 10
    captions = {
        False: [
            wanted[False][0].caption((True, False, False)),  # told from its other end
            Composition(((usual, other),)).caption(),  # one digit wrong
            Composition(((usual,), (usual,))).caption(),  # all places wrong
            "left of a a three",
        ],
        True: [wanted[True][0].caption(), true],
    }
    row = written.reading_row("ours", {h: written.places(captions[h]) for h in captions}, wanted)
    right_seen = [True, True, True, False, False, False, False, False, True, True]
    assert row == {
        "method": "ours", "captions_right_seen": 0.25, "captions_right_held_out": 0.5,
        "digits_right_seen": pytest.approx(sum(right_seen) / 10), "digits_right_held_out": 0.5,
        "arrangements_right": pytest.approx(4 / 6), "by_the_rule": pytest.approx(5 / 6),
    }  # fmt: skip


def test_chance_is_the_share_of_like_pairs(written) -> None:
    assert written.same_share([SEEN[0], SEEN[1], SEEN[0], SEEN[0]]) == pytest.approx(6 / 12)
    assert written.same_share(SEEN) == 0.0 and written.same_share(SEEN[:1]) is None
