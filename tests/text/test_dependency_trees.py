"""Dependency trees asked by hand: what is below a word, what it does, what says something."""

import pytest

from textdiff.text.dependency_trees import DependencyTree
from textdiff.text.treebanks import Dependencies

# "If Ann wants to eat and to drink , the pub which she likes is cheap"
ROWS = [
    ("If", "SCONJ", 3, "mark"), ("Ann", "PROPN", 3, "nsubj"), ("wants", "VERB", 16, "advcl"),
    ("to", "PART", 5, "mark"), ("eat", "VERB", 3, "xcomp"), ("and", "CCONJ", 8, "cc"),
    ("to", "PART", 8, "mark"), ("drink", "VERB", 5, "conj"), (",", "PUNCT", 3, "punct"),
    ("the", "DET", 11, "det"),
    ("pub", "NOUN", 16, "nsubj"), ("which", "PRON", 14, "obj"), ("she", "PRON", 14, "nsubj"),
    ("likes", "VERB", 11, "acl:relcl"), ("is", "AUX", 16, "cop"), ("cheap", "ADJ", 0, "root"),
]  # fmt: skip


@pytest.fixture
def tree() -> DependencyTree:
    words, tags, heads, relations = map(list, zip(*ROWS))
    above = [head - 1 for head in heads]
    return DependencyTree(Dependencies(words, tags, above, relations, ["_"] * len(words)))


def test_what_is_below_a_word(tree: DependencyTree) -> None:
    assert tree.children[15] == [2, 10, 14]
    assert tree.projection(10) == {9, 10, 11, 12, 13}
    assert tree.projection(15) == set(range(16))
    assert tree.own(4) == [3, 7]
    assert tree.own(7) == [6]  # without "and", which stands before it


def test_what_a_word_does(tree: DependencyTree) -> None:
    assert (tree.relation(13), tree.role(13), tree.role(7)) == ("acl", "acl:relcl", "xcomp")
    assert [word for word in range(16) if tree.is_clause(word)] == [2, 4, 7, 13, 15]
    assert [tree.verbals(head) for head in (2, 4, 15)] == [[], [3], [14]]
    assert [tree.marks(head) for head in (2, 4, 15)] == [[0], [], []]
    assert [head for head in (2, 4, 7, 13, 15) if tree.has_subject(head)] == [2, 13, 15]


def test_what_opens_a_clause(tree: DependencyTree) -> None:
    assert tree.opens({11}, "acl:relcl") and not tree.opens({12}, "acl:relcl")
    tree.words[11] = "that"
    assert tree.opens({11}, "acl:relcl") and not tree.opens({11}, "ccomp")
    tree.tags[8] = "ADP"
    assert tree.opens({8, 11}, "acl:relcl") and not tree.opens({8}, "acl:relcl")
