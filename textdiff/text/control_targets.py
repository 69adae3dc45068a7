"""What is wished for when control is measured: targets read off real sentences, by seed.

As Diffusion-LM's targets (arXiv 2205.14217, section 6.2), with its traps left out. Sentences come from the
validation part, and those that also stand in the training text are dropped (the paper's 200 tag and span
targets all do). Sentences end with their last word: no line break has a tag of its own. A value is a target
only where words can show it: its sentence has it word by word, it is no yes or no, and it belongs to one
field alone ("high" is a price and a rating). Words are what white space divides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from typing import Any, Protocol

import numpy as np

from textdiff.text.checks import stands
from textdiff.text.control_options import KINDS, check_kind, has_tree, wants_spans, wants_tags
from textdiff.text.labelled import LabelledText
from textdiff.text.oracle_labels import Progress, fill_in, in_silence
from textdiff.text.oracles import ParseOracle, TagOracle
from textdiff.text.trees import Span
from textdiff.text.wishes import UNSPOKEN

PAPER_LENGTHS = range(10, 41)
SHORTEST = 4  # words of a sentence that a target is read off
SENTENCES_AT_ONCE = 256


class Makes(Protocol):
    """Whoever turns targets into wishes, as `textdiff.text.wishes.Wishes` does."""

    def semantic(self, field: str, value: str) -> Any: ...

    def pos(self, tags: Sequence[str]) -> Any: ...

    def tree(self, spans: Sequence[Span], tags: Sequence[str]) -> Any: ...

    def span(self, i: int, j: int, label: str) -> Any: ...

    def length(self, n: int) -> Any: ...


@dataclass(frozen=True)
class Target:
    """One target of a kind, and the sentence that it was read off."""

    kind: str
    sentence: str = ""
    content: tuple[str, str] | None = None  # field, value
    tags: tuple[str, ...] | None = None  # one a word; of a tree, those of its leaves
    tree: tuple[Span, ...] | None = None  # all labelled spans
    span: Span | None = None
    length: int | None = None  # words

    def wishes(self, make: Makes) -> dict[str, Any]:
        """The wishes by the kind of each: one, and two for a composition."""
        found: dict[str, Any] = {}
        if self.content is not None:
            found["semantic"] = make.semantic(*self.content)
        if self.tree is not None:
            found["tree"] = make.tree(self.tree, self.tags or ())
        elif self.tags is not None:
            found["pos"] = make.pos(self.tags)
        if self.span is not None:
            found["span"] = make.span(*self.span)
        if self.length is not None:
            found["length"] = make.length(self.length)
        return found

    def to_dict(self) -> dict[str, Any]:
        """For JSON: what it has."""
        return {name: value for name, value in asdict(self).items() if value not in (None, "")}


def draw_targets(
    kind: str, texts: Sequence[LabelledText], n: int, *, seed: int = 0, longest: int = 64,
    tagger: TagOracle | None = None, parser: ParseOracle | None = None, training: Iterable[str] = (),
    usable: Callable[[Target], bool] = lambda _: True,
) -> list[Target]:  # fmt: skip
    """Targets in random order, each off a sentence of its own; lengths go through 10 to 40 again and again.

    Semantic targets go through all pairs of field and value before one comes again, with another sentence.

    Args:
        kind: one of `KINDS`.
        texts: of the validation part, with their fields; lengths do without.
        n: how many.
        seed: of the choice.
        longest: words of a sentence, and the greatest length.
        tagger: for kinds with tags, unless the texts have them; where one is given, trees have tags too.
        parser: for kinds with trees and spans, unless the texts have them.
        training: sentences that targets must not be read off; white space does not count.
        usable: asked before a target is taken that was read off a sentence; False = another is.

    Raises:
        ValueError: if the kind is unknown, its oracle is missing, there are fewer than n sentences for it, or
            no text may be as long as the least length.
    """
    check_kind(kind)
    rng = np.random.default_rng([seed, 4, KINDS.index(kind)])
    if kind == "length":
        lengths = [length for length in PAPER_LENGTHS if length <= longest]
        if not lengths:
            raise ValueError(f"Lengths begin at {PAPER_LENGTHS[0]}, and texts have {longest} words at most.")
        rounds = [rng.permutation(lengths) for _ in range(-(-n // len(lengths)))]
        return [Target(kind, length=int(length)) for length in np.concatenate(rounds)[:n]]
    seen = {squeezed(text) for text in training}
    fitting = {
        squeezed(text.text): text for text in texts if SHORTEST <= len(text.text.split()) <= longest
    }  # one of equal sentences
    pool = [text for key, text in fitting.items() if key not in seen]
    order = [pool[i] for i in rng.permutation(len(pool))]
    if kind == "semantic":
        found = _round_robin(list(_choices(order, kind, None, None, shared_values(texts))), n, rng, usable)
    else:
        made = _choices(order, kind, tagger, parser, shared_values(texts))
        taken = (next((own[i] for i in rng.permutation(len(own)) if usable(own[i])), None) for own in made)
        found = list(islice((target for target in taken if target is not None), n))
    if len(found) < n:
        raise ValueError(
            f"There are {len(found)} sentences for {n} targets of kind {kind!r}: ask for fewer, or give a "
            "file with more sentences."
        )
    return found


def _choices(
    texts: Sequence[LabelledText], kind: str, tagger: TagOracle | None, parser: ParseOracle | None,
    shared: frozenset[str],
) -> Iterator[list[Target]]:  # fmt: skip
    """All targets of every text in turn; the oracles read some at once, and no more than are asked for."""
    for at in range(0, len(texts), SENTENCES_AT_ONCE):
        part = annotated(texts[at : at + SENTENCES_AT_ONCE], kind, tagger=tagger, parser=parser)
        yield from (targets_of(kind, text, shared) for text in part)


def _round_robin(
    choices: Sequence[list[Target]], n: int, rng: np.random.Generator, usable: Callable[[Target], bool]
) -> list[Target]:
    """n targets, no sentence twice: of every pair of field and value one, then of every pair one more."""
    by_pair: dict[tuple[str, str], list[Target]] = {}
    for own in choices:
        for target in own:
            by_pair.setdefault(target.content or ("", ""), []).append(target)
    found: list[Target] = []
    used: set[str] = set()
    while len(found) < n and by_pair:
        pairs = sorted(by_pair)
        for pair in (pairs[i] for i in rng.permutation(len(pairs))):
            left = by_pair[pair]
            while left and (left[-1].sentence in used or not usable(left[-1])):
                left.pop()
            if left and len(found) < n:
                found.append(left.pop())
                used.add(found[-1].sentence)
            if not left:
                del by_pair[pair]
    return found


def targets_of(kind: str, text: LabelledText, shared: frozenset[str] = frozenset()) -> list[Target]:
    """All targets of a kind that can be read off a text, in order; compositions have one for every field.

    Args:
        kind: one of `KINDS`.
        text: with the labels, tags and spans that the kind wants.
        shared: values that are no targets, see `shared_values`.
    """
    contents = [
        pair for pair in sorted(text.labels.items()) if pair[1] not in shared and shown(pair[1], text.text)
    ]
    words = len(text.text.split())
    spans = tuple(sorted(text.spans or ()))
    tree = has_tree(kind)
    whole = Target(
        kind, text.text,
        tags=text.tags if wants_tags(kind) or tree else None, tree=spans if tree else None,
        length=words if kind == "length" else None,
    )  # fmt: skip
    if tree and not spans:
        return []
    if kind.startswith("semantic"):
        return [replace(whole, content=pair) for pair in contents]
    if kind == "span":
        inner = [(i, j, label) for i, j, label in spans if 1 < j - i < words]
        return [replace(whole, span=span) for span in inner]
    return [whole]


def shown(value: str, text: str) -> bool:
    """Whether words can show a value, and this text's do."""
    return value not in UNSPOKEN and stands(value, text)


def shared_values(texts: Iterable[LabelledText]) -> frozenset[str]:
    """Values that belong to more than one field, so that a text that has one does not tell of which."""
    owners: dict[str, set[str]] = {}
    for text in texts:
        for name, value in text.labels.items():
            owners.setdefault(value, set()).add(name)
    return frozenset(value for value, names in owners.items() if len(names) > 1)


def annotated(
    texts: Sequence[LabelledText], kind: str, *, tagger: TagOracle | None = None,
    parser: ParseOracle | None = None, progress: Progress = in_silence,
) -> list[LabelledText]:  # fmt: skip
    """The texts with the tags or spans that a kind wants, from the oracles where a text has none.

    Args:
        texts: words divided by white space.
        kind: one of `KINDS`.
        tagger: of kinds with tags; trees get them where there is one.
        parser: of kinds with trees and spans.
        progress: as in `oracle_labels.fill_in`.

    Raises:
        ValueError: if the oracle of the kind is missing.
    """
    leaves = has_tree(kind) and tagger is not None
    tags = (wants_tags(kind) or leaves) and any(text.tags is None for text in texts)
    spans = wants_spans(kind) and any(text.spans is None for text in texts)
    for wanted, oracle, name in ((tags, tagger, "tagger"), (spans, parser, "parser")):
        if wanted and oracle is None:
            raise ValueError(f"Targets of kind {kind!r} want a {name}: name one, such as runs/{name}.")
    return fill_in(texts, tagger=tagger if tags else None, parser=parser if spans else None, progress=progress)


def squeezed(text: str) -> str:
    """A text without its white space: how sentences are compared."""
    return "".join(text.split())
