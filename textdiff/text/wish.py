"""A wish: how it steers, how it is checked, how many tokens it needs; and whether several agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any

from textdiff.diffusion.guidance import Energy
from textdiff.text.checks import Check, stands
from textdiff.text.energies import TextEnergy, Weighted
from textdiff.text.trees import check_spans

# What a wish of each kind counts in the sum of energies, as found good on E2E at guidance scale 3 (docs/log.md): a
# tree is thousands of spans, most of them unlabelled anyway. "spelling": that a semantic value is written out, where a
# "label" has a classifier alone; "leaves": the tags of a tree.
WEIGHTS = {
    "semantic": 1.0, "spelling": 1.0, "pos": 1.0, "tree": 3.0, "leaves": 1.0, "span": 10.0,
    "keywords": 1.0, "without": 1.0, "sentiment": 6.0, "label": 6.0,
}  # fmt: skip
OF_FIELDS = ("semantic", "sentiment", "label")


@dataclass(frozen=True)
class Wish:
    """What a text shall be like. `2 * wish` counts twice in the sum of energies."""

    name: str  # "semantic food=Japanese", "length 12": how reports call it
    kind: str  # semantic, pos, tree, span, length, keywords, without, sentiment or label
    energy: Energy | None  # with its weight; None: the number of tokens alone meets it
    tokens: tuple[int, int] | None  # least and most tokens of the whole text; None = any
    success: Check  # 0 to 1 for each text, with the tolerance of Diffusion-LM's protocol
    strict: Check  # 0 to 1 for each text, without
    judged_by: str  # who says whether it is met
    asked: tuple[Any, ...]  # tags, spans, words, the number of tokens, or field and value
    written: Mapping[int, int] = field(default_factory=dict)  # token ids that it puts at places of the text

    def __mul__(self, weight: float) -> Wish:
        return self if self.energy is None else replace(self, energy=Weighted([(weight, self.energy)]))

    __rmul__ = __mul__


def energy_of(wishes: Sequence[Wish], *more: Energy | None) -> TextEnergy | None:
    """The sum of the energies of some wishes, and of more of your own; None if there is none."""
    energies = [energy for energy in (*(wish.energy for wish in wishes), *more) if energy is not None]
    return Weighted([(1.0, energy) for energy in energies]) if energies else None


def agree(
    wishes: Sequence[Wish], window: int, length: int | tuple[int, int] | None = None
) -> tuple[int, int] | None:
    """The least and the most tokens of a text that meets all wishes; None if any number will do.

    Tags are those of a whole text, but of its beginning where its length is asked for apart.

    Args:
        wishes: of one model.
        window: most tokens it takes.
        length: tokens of the text, or the least and the most, asked for beside the wishes.

    Raises:
        ValueError: if two wishes contradict each other, or one does not fit the window.
    """
    for one, other in combinations(wishes, 2):
        if reason := _conflict(one, other):
            raise ValueError(f"{one.name!r} and {other.name!r} contradict each other: {reason}.")
    _check_constituents(wishes)
    demands = [(repr(wish.name), *wish.tokens) for wish in wishes if wish.tokens and wish.kind != "pos"]
    if length is not None:
        low, high = (length, length) if isinstance(length, int) else length
        if not 1 <= low <= high <= window:
            raise ValueError(
                f"length is {length}: it must be 1 to {window} tokens, or a rising range of that."
            )
        demands.append((f"the length {length}", low, high))
    apart = length is not None or any(wish.kind == "length" for wish in wishes)
    for wish in wishes:
        if wish.kind == "pos" and wish.tokens:
            demands.append((repr(wish.name), wish.tokens[0], window if apart else wish.tokens[1]))
    if not demands:
        return None
    longest, least, _ = max(demands, key=lambda demand: demand[1])
    shortest, _, most = min(demands, key=lambda demand: demand[2])
    if least > window:
        raise ValueError(
            f"{longest} wants {least} tokens, but the model's window has {window}: wish for less."
        )
    if least > most:
        raise ValueError(
            f"{longest} and {shortest} contradict each other: a text of at least {least} tokens has not "
            f"{most}."
        )
    return least, min(most, window)


def _conflict(one: Wish, other: Wish) -> str | None:
    """Why no text can meet both, or None if one may, as far as can be seen from their words."""
    if one.kind == other.kind == "length" and one.asked != other.asked:
        return "a text has one length"
    if one.kind == other.kind == "pos" and one.asked != other.asked:
        return "a text has one sequence of tags"
    if one.kind == other.kind == "tree" and set(one.asked) != set(other.asked):
        return "a text has one tree"
    if one.kind in OF_FIELDS and other.kind in OF_FIELDS:
        (name, value), (same, another) = one.asked, other.asked
        return f"{name!r} has one value" if name == same and value != another else None
    if clash := [place for place, token in one.written.items() if other.written.get(place, token) != token]:
        return f"they put different words at place {min(clash)}"
    if {one.kind, other.kind} == {"keywords", "without"}:
        wanted, unwanted = (one, other) if one.kind == "keywords" else (other, one)
        both = [word for word in unwanted.asked if any(stands(word, phrase) for phrase in wanted.asked)]
        return f"{both[0]!r} cannot both stand there and not" if both else None
    return None


def _check_constituents(wishes: Sequence[Wish]) -> None:
    """Refuse spans that are no part of one tree."""
    spans = {span for wish in wishes if wish.kind == "span" for span in wish.asked}
    trees = [wish for wish in wishes if wish.kind == "tree"]
    for tree in trees[:1]:
        if strangers := sorted(spans - set(tree.asked)):
            raise ValueError(
                f"The span {strangers[0]} and {tree.name!r} contradict each other: it is not in the tree."
            )
    if spans:
        try:
            check_spans(spans, max(end for _, end, _ in spans))
        except ValueError as error:
            raise ValueError(f"The spans contradict each other: {error}") from error
