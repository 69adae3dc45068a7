"""Blanks in a user's text: the marks, and how fills and the given text join.

`[MASK]` and `___` leave the length to the model, `[MASK:3]` asks for three tokens, `[MASK:2-6]` for two to six. The
given parts are kept as strings and never pass through a tokenizer on their way back, so they return to the byte. White
space beside a blank belongs to the given text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

MARK = re.compile(r"\[MASK(?::([^\]]*))?\]|_{3,}")
COUNTS = re.compile(r"(\d{1,9})(?:-(\d{1,9}))?")
HOW_TO = "write [MASK] or ___ for a blank, [MASK:3] for three tokens, [MASK:2-6] for two to six"


@dataclass(frozen=True)
class Blank:
    """How many tokens a blank may have: low to high, both included; high None leaves it to the model."""

    low: int = 1
    high: int | None = None


@dataclass(frozen=True)
class Template:
    """A text with blanks: literals[0] blanks[0] literals[1] ... literals[-1]; literals may be empty."""

    literals: tuple[str, ...]
    blanks: tuple[Blank, ...]

    def join(self, fills: Sequence[str]) -> str:
        """The text with its blanks filled, everything given as it was."""
        parts = [part for pair in zip(self.literals, [*fills, ""], strict=True) for part in pair]
        return "".join(parts)

    def trim(self, blank: int, fill: str, *, words: bool) -> str:
        """A decoded fill without the spaces that the user typed already, or with those a word-level vocabulary lacks.

        Args:
            blank: number of the blank.
            fill: its decoded tokens.
            words: the tokens are whole words, which always stand apart.
        """
        before, after = self.literals[blank], self.literals[blank + 1]
        first, last = blank == 0, blank == len(self.blanks) - 1
        if words:
            apart = (before and not before[-1].isspace()) or (not before and not first)
            return (" " if apart else "") + fill + (" " if after[:1].isalnum() else "")
        if before[-1:].isspace() or (first and not before):
            fill = fill.lstrip(" ")
        if after[:1].isspace() or (last and not after):
            fill = fill.rstrip(" ")
        return fill


def parse(text: str) -> Template:
    """Divide a text into given parts and blanks.

    Raises:
        ValueError: if the text is empty, has no blank, a blank with a bad count, or is not valid Unicode.
    """
    if not checked(text).strip():
        raise ValueError(f"The text is empty: {HOW_TO}.")
    marks = list(MARK.finditer(text))
    if not marks:
        raise ValueError(f"The text has no blank: {HOW_TO}.")
    edges = [0, *(edge for mark in marks for edge in mark.span()), len(text)]
    literals = tuple(text[a:b] for a, b in zip(edges[::2], edges[1::2], strict=True))
    return Template(literals, tuple(_blank(mark) for mark in marks))


def checked(text: str) -> str:
    """The text itself, if it is one and valid Unicode.

    Raises:
        ValueError: if it is not.
    """
    if not isinstance(text, str):
        raise ValueError(f"A text is wanted, and {text!r:.40} is none: give a string.")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(f"The text is not valid Unicode (character {error.start}): give it as UTF-8.") from error
    return text


def _blank(mark: re.Match[str]) -> Blank:
    """The blank that a mark asks for."""
    asked = mark[1]
    if asked is None:
        return Blank()
    counts = COUNTS.fullmatch(asked)
    low = int(counts[1]) if counts else 0
    high = int(counts[2]) if counts and counts[2] else low
    if not 1 <= low <= high:
        raise ValueError(f"{mark[0]} is not a number of tokens, at least 1, or a rising range: {HOW_TO}.")
    return Blank(low, high)
