"""Compositions of two to four digits, their captions by rule, and the way back from a caption.

One or two rows of one or two digits; rows and columns stand in the middle of what they share. "left of" binds
closer than "above": "a seven left of a three above a two" is a row of two above a row of one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SHAPES = ((2,), (1, 1), (1, 2), (2, 1), (2, 2))  # digits in each row, from the top
EXAMPLE = "a seven left of a three above a two"

Place = tuple[int, int]  # halves of a digit's height and width from the top and the left

# The places of digits, and the (digit, place) pairs that no training canvas has: two digits of every place.
PLACES: tuple[Place, ...] = ((1, 0), (1, 2), (0, 1), (2, 1), (0, 0), (0, 2), (2, 0), (2, 2))
HELD_OUT = frozenset(
    (digit, place) for i, place in enumerate(PLACES) for digit in range(10) if digit % 5 == 2 * i % 5
)


@dataclass(frozen=True)
class Composition:
    """Digits in rows, from the top and from the left.

    Raises:
        ValueError: if they are not one or two rows of one or two digits, two digits at least.
    """

    rows: tuple[tuple[int, ...], ...]

    def __post_init__(self) -> None:
        digits = [digit for row in self.rows for digit in row]
        if tuple(len(row) for row in self.rows) not in SHAPES or not set(digits) <= set(range(10)):
            raise ValueError(
                f"The digits are {list(map(list, self.rows))}: give one or two rows of one or two digits, "
                "two at least."
            )

    def cells(self) -> list[tuple[int, Place]]:
        """Every digit with its place."""
        tops = (1,) if len(self.rows) == 1 else (0, 2)
        lefts = {1: (1,), 2: (0, 2)}
        return [
            (digit, (top, left))
            for top, row in zip(tops, self.rows, strict=True)
            for left, digit in zip(lefts[len(row)], row, strict=True)
        ]

    def caption(self, turned: Sequence[bool] = (False, False, False)) -> str:
        """In words.

        Args:
            turned: whether the first row, the second row and the two rows are told from their other end
                ("right of", "right of", "below").
        """
        told = [
            _joined([_noun(digit) for digit in row], "left of", "right of", turned[i])
            for i, row in enumerate(self.rows)
        ]
        return _joined(told, "above", "below", turned[2])


def read_composition(caption: str) -> Composition:
    """The composition that a caption tells of.

    Raises:
        ValueError: if it is no caption by the rule.
    """
    words = caption.lower().split()
    rows = [
        tuple(_digit(part, caption) for part in _parted(row, ("left", "of"), ("right", "of"), caption))
        for row in _parted(words, ("above",), ("below",), caption)
    ]
    try:
        return Composition(tuple(rows))
    except ValueError as error:
        raise _not_by_the_rule(caption) from error


def trained_composition(rng: np.random.Generator) -> Composition:
    """One without any held-out pair."""
    return _filled(rng, SHAPES[rng.integers(len(SHAPES))], None)


def held_out_composition(rng: np.random.Generator) -> Composition:
    """One with just one held-out pair, in any of its cells."""
    shape = SHAPES[rng.integers(len(SHAPES))]
    return _filled(rng, shape, int(rng.integers(sum(shape))))


def _filled(rng: np.random.Generator, shape: tuple[int, ...], held_out: int | None) -> Composition:
    """A composition of a shape, with a held-out pair in one cell or in none."""
    empty = Composition(tuple((0,) * count for count in shape))
    digits = []
    for i, (_, place) in enumerate(empty.cells()):
        fitting = [digit for digit in range(10) if ((digit, place) in HELD_OUT) == (i == held_out)]
        digits.append(fitting[rng.integers(len(fitting))])
    own = iter(digits)
    return Composition(tuple(tuple(next(own) for _ in range(count)) for count in shape))


def _noun(digit: int) -> str:
    return f"{'an' if NUMBERS[digit] == 'eight' else 'a'} {NUMBERS[digit]}"


def _joined(parts: list[str], forwards: str, backwards: str, turned: bool) -> str:
    """One part, or two with the word between them that their order wants."""
    if len(parts) == 1:
        return parts[0]
    return f"{parts[1]} {backwards} {parts[0]}" if turned else f"{parts[0]} {forwards} {parts[1]}"


def _parted(
    words: list[str], forwards: tuple[str, ...], backwards: tuple[str, ...], caption: str
) -> list[list[str]]:
    """The undoing of `_joined`: parts in their order on the canvas."""
    found = [
        (at, relation)
        for relation in (forwards, backwards)
        for at in range(len(words))
        if tuple(words[at : at + len(relation)]) == relation
    ]
    if len(found) > 1:
        raise _not_by_the_rule(caption)
    if not found:
        return [words]
    at, relation = found[0]
    parts = [words[:at], words[at + len(relation) :]]
    return parts if relation == forwards else parts[::-1]


def _digit(words: list[str], caption: str) -> int:
    """The digit of "a seven"."""
    if len(words) != 2 or words[0] not in ("a", "an") or words[1] not in NUMBERS:
        raise _not_by_the_rule(caption)
    return NUMBERS.index(words[1])


def _not_by_the_rule(caption: str) -> ValueError:
    return ValueError(f'"{caption}" names no digits by the rule: write two to four, such as "{EXAMPLE}".')
