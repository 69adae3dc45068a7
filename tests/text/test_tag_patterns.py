"""Patterns of tags: what they allow, what fits them, and what a tree's tags become."""

import pytest

from textdiff.text.penn_tags import UNIVERSAL_TAGS
from textdiff.text.tag_patterns import allowed, fits, of_tree

TAGS = ["ADJ", "DET", "NOUN"]


@pytest.mark.parametrize(
    ("pattern", "places"), [("DET", [1]), ("NOUN|ADJ", [0, 2]), ("_", [0, 1, 2]), ("DET|DET", [1])]
)
def test_what_is_allowed_is_what_fits(pattern, places):
    assert allowed(pattern, TAGS) == places
    assert [fits(tag, pattern) for tag in TAGS] == [place in places for place in range(3)]


@pytest.mark.parametrize(("pattern", "named"), [("VERB", "VERB"), ("DET|verb", "verb"), ("", "")])
def test_a_strange_tag_is_named_beside_those_there_are(pattern, named):
    with pytest.raises(ValueError, match=f"no tag '{named}': choose ADJ, DET, NOUN, or _ for any"):
        allowed(pattern, TAGS)
    with pytest.raises(ValueError, match="has not learned any"):
        allowed(pattern, [])


@pytest.mark.parametrize(
    ("tag", "pattern"),
    [("NOUN", "NOUN"), ("NN", "NOUN"), ("IN", "ADP|SCONJ"), ("XX", "_"), ("_", "_"), ("Foo", "Foo")],
)
def test_tags_of_trees_may_be_universal_or_penns(tag, pattern):
    assert of_tree(tag, UNIVERSAL_TAGS) == pattern


def test_a_penn_tag_stands_for_those_the_classifier_knows():
    assert of_tree("WDT", TAGS) == "DET" and of_tree("VB", TAGS) == "VB"
