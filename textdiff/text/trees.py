"""Constituency trees as sets of labelled spans; their bracketed form; the F1 of their brackets.

A span (i, j, label) covers the words i to j - 1. A chain of constituents over the same words is one span
whose label joins theirs from the top, "S::VP"; the root above the sentence and the words' tags are no spans.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

Span = tuple[int, int, str]

CHAIN = "::"
ROOTS = ("", "ROOT", "TOP", "S1")
TRACE = "-NONE-"
UNKNOWN_TAG = "XX"
# What the Penn treebank writes for what stands in a text, and back.
ESCAPES = {
    "-LRB-": "(",
    "-RRB-": ")",
    "-LCB-": "{",
    "-RCB-": "}",
    "-LSB-": "[",
    "-RSB-": "]",
    "``": '"',
    "''": '"',
}
BRACKETS = {"(": "-LRB-", ")": "-RRB-"}


@dataclass(frozen=True)
class Tree:
    """A sentence's words, a tag for each, and its constituents.

    Raises:
        ValueError: if there are no words, a tag is missing, or the spans are no tree over the words.
    """

    words: tuple[str, ...]
    tags: tuple[str, ...]
    spans: frozenset[Span]

    def __post_init__(self) -> None:
        if not self.words or len(self.words) != len(self.tags):
            raise ValueError(
                f"A tree of {len(self.words)} words has {len(self.tags)} tags: give one tag for each "
                "of its words, and at least one word."
            )
        check_spans(self.spans, len(self.words))


def side_by_side(trees: Sequence[Tree]) -> Tree:
    """Trees as one over their words one after another, which no constituent holds together."""
    words: list[str] = []
    tags: list[str] = []
    spans: list[Span] = []
    for tree in trees:
        spans += [(len(words) + i, len(words) + j, label) for i, j, label in tree.spans]
        words += tree.words
        tags += tree.tags
    return Tree(tuple(words), tuple(tags), frozenset(spans))


def check_spans(spans: Iterable[Span], length: int) -> None:
    """Look whether spans are a tree over `length` words.

    Raises:
        ValueError: if one lies outside the sentence, two cross, or two cover the same words.
    """
    opened: list[tuple[int, int]] = []  # those around the present one
    before: tuple[int, int] | None = None
    for start, end, label in sorted(spans, key=lambda span: (span[0], -span[1], span[2])):
        here = (start, end)
        if not 0 <= start < end <= length or not label:
            raise ValueError(
                f"The span ({start}, {end}, {label!r}) does not fit a sentence of {length} words."
            )
        if here == before:
            raise ValueError(f"Two spans cover the words {start} to {end}: join their labels with {CHAIN!r}.")
        while opened and opened[-1][1] <= start:
            opened.pop()
        if opened and end > opened[-1][1]:
            raise ValueError(f"The spans {opened[-1]} and {here} cross: give a tree.")
        opened.append(here)
        before = here


def read_trees(text: str) -> list[Tree]:
    """Trees from their bracketed forms, in Penn style, one after another.

    Traces go, and constituents with nothing else in them; functional suffixes go (NP-SBJ-1 is NP); so does
    the root.

    Raises:
        ValueError: if brackets do not match, or something stands between them that cannot.
    """
    trees, builder = [], _Builder()
    parts = re.findall(r"[()]|[^\s()]+", text)
    for place, part in enumerate(parts):
        if part == "(":
            after = parts[place + 1] if place + 1 < len(parts) else ")"
            builder.open("" if after in "()" else after)
        elif part == ")":
            tree = builder.close()
            trees += [tree] if tree else []
        elif parts[place - 1] != "(" or place == 0:  # not a label
            builder.word(part)
    if builder.stack:
        raise ValueError(f"{len(builder.stack)} brackets of {text[-60:]!r} are not closed: give whole trees.")
    return trees


class _Builder:
    """Words and constituents of the tree that is being read; inner constituents close before outer ones."""

    def __init__(self) -> None:
        self.stack: list[tuple[str, int]] = []  # label, first word
        self.leaf: str | None = None  # the word in the open bracket
        self._reset()

    def _reset(self) -> None:
        self.leaves: list[tuple[str, str]] = []
        self.labels: dict[tuple[int, int], str] = {}

    def open(self, label: str) -> None:
        if self.leaf is not None:
            raise ValueError(f"The word {self.leaf!r} shares its bracket: write (TAG {self.leaf}).")
        self.stack.append((label, len(self.leaves)))

    def word(self, word: str) -> None:
        if not self.stack or self.leaf is not None or len(self.leaves) != self.stack[-1][1]:
            raise ValueError(f"The word {word!r} stands outside of a bracket of its own: write (TAG {word}).")
        self.leaf = word

    def close(self) -> Tree | None:
        """The tree, if this bracket was its last and it has words."""
        if not self.stack:
            raise ValueError("A bracket closes that was never opened: give whole trees.")
        label, start = self.stack.pop()
        if self.leaf is not None:
            if label != TRACE:
                self.leaves.append((ESCAPES.get(self.leaf, re.sub(r"\\([/*])", r"\1", self.leaf)), label))
            self.leaf = None
        elif len(self.leaves) > start and (self.stack or label not in ROOTS) and label:
            span = (start, len(self.leaves))
            inner = self.labels.get(span)
            self.labels[span] = plain_label(label) + (f"{CHAIN}{inner}" if inner else "")
        if self.stack:
            return None
        words, tags = zip(*self.leaves) if self.leaves else ((), ())
        spans = frozenset((i, j, label) for (i, j), label in self.labels.items())
        self._reset()
        return Tree(words, tags, spans) if words else None


def plain_label(label: str) -> str:
    """A label without functional suffixes, indices and second choices: NP-SBJ=2 is NP, PRT|ADVP is PRT."""
    return re.split(r"[-=|]", label)[0] or label


def bracketed(tree: Tree) -> str:
    """A tree in one line, the root named TOP: "(TOP (S (NP (DT A) (NN dog)) (VP (VBD ran))))"."""
    opens, closes = Counter[int](), Counter[int]()
    labels: dict[int, list[str]] = {}
    for start, end, label in sorted(tree.spans, key=lambda span: -span[1]):
        chain = label.split(CHAIN)
        labels.setdefault(start, []).extend(chain)
        opens[start] += len(chain)
        closes[end] += len(chain)
    parts = []
    for k, (word, tag) in enumerate(zip(tree.words, tree.tags)):
        before = "".join(f"({label} " for label in labels.get(k, []))
        parts.append(f"{before}({tag} {BRACKETS.get(word, word)}){')' * closes[k + 1]}")
    return f"(TOP {' '.join(parts)})"


def brackets(spans: Iterable[Span]) -> Counter[Span]:
    """The constituents of a tree as EVALB counts them, chains taken apart."""
    return Counter((i, j, label) for i, j, chain in spans for label in chain.split(CHAIN))


def labelled_f1(gold: Iterable[Span], guess: Iterable[Span]) -> float:
    """F1 of the labelled brackets of one tree, from 0 to 1; punctuation counts as any word.

    As EVALB has it where tags are not told: the harmonic mean of the shares of right brackets among those
    guessed and those wanted, on multisets (Black et al. 1991). Two trees without a bracket are equal: 1.
    """
    return corpus_labelled_f1([list(gold)], [list(guess)])


def corpus_labelled_f1(golds: Sequence[Iterable[Span]], guesses: Sequence[Iterable[Span]]) -> float:
    """F1 of the labelled brackets of many trees counted together.

    Raises:
        ValueError: if there are not as many guesses as gold trees.
    """
    if len(golds) != len(guesses):
        raise ValueError(f"There are {len(guesses)} guesses for {len(golds)} trees: give one for each.")
    right = wanted = guessed = 0
    for gold, guess in zip(golds, guesses):
        these, those = brackets(gold), brackets(guess)
        right += (these & those).total()
        wanted += these.total()
        guessed += those.total()
    return 2 * right / (wanted + guessed) if wanted + guessed else 1.0
