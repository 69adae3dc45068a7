"""Wishes in words, as energies over a model's tokens: what `control=` takes.

    lm.generate(4, control=keywords(lm.vocabulary, ["river", "boat"]) + 2 * without(lm.vocabulary, ["sad"]))
"""

from __future__ import annotations

from collections.abc import Sequence

from textdiff.text.energies import Contains, Lacks, TextEnergy, Weighted
from textdiff.text.vocabulary import Vocabulary


def keywords(vocabulary: Vocabulary, words: Sequence[str], *, place: int | None = None) -> TextEnergy:
    """Every one of these words or phrases stands in the text.

    Args:
        vocabulary: of the model.
        words: as they shall be written.
        place: where in the text, in tokens from 0; only with one word. Anywhere if left out.

    Raises:
        ValueError: if there is no word, one cannot be written in this vocabulary, or there is a place for several.
    """
    if not words:
        raise ValueError("There is no keyword: give one at least.")
    if place is not None and len(words) > 1:
        raise ValueError(f"There are {len(words)} keywords for one place: give them one by one.")
    each = [Contains([spelling(vocabulary, word)], place=place, joining=vocabulary.joining) for word in words]
    return Weighted([(1.0, energy) for energy in each])


def without(vocabulary: Vocabulary, words: Sequence[str]) -> TextEnergy:
    """None of these words or phrases stands in the text; arguments and errors as in `keywords`."""
    if not words:
        raise ValueError("There is no word to do without: give one at least.")
    return Lacks([spelling(vocabulary, word) for word in words], joining=vocabulary.joining)


def spelling(vocabulary: Vocabulary, word: str) -> list[int]:
    """Token ids of a word or phrase inside a text, after a space.

    Raises:
        ValueError: if it is empty, or has a word that the vocabulary lacks.
    """
    text = word.strip()
    ids = vocabulary.encode(text if vocabulary.words else f" {text}") if text else []
    if not ids or vocabulary.banned[ids].any():
        raise ValueError(f"{word!r} cannot be written in this model's vocabulary: choose another word.")
    return ids
