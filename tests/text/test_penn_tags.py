"""Penn tags made universal: single words as the guidelines have them, and a treebank that has both tags."""

import gzip
import json
from pathlib import Path

import pytest

from textdiff.text.penn_tags import BY_TAG, BY_TAG_AND_WORD, UNIVERSAL_TAGS, straight_quotes, universal_tags


@pytest.mark.parametrize(
    ("tag", "word", "universal"),
    [
        ("NN", "dog", "NOUN"),
        ("NNP", "Paris", "PROPN"),
        ("NN", "Someone", "PRON"),
        ("PRP$", "their", "PRON"),
        ("IN", "That", "SCONJ"),
        ("IN", "of", "ADP SCONJ"),
        ("DT", "the", "DET"),
        ("DT", "that", "DET PRON"),
        ("WDT", "that", "PRON"),
        ("WDT", "which", "DET PRON"),
        ("TO", "to", "ADP PART"),
        ("VB", "go", "VERB"),
        ("VB", "have", "AUX VERB"),
        ("VBZ", "’s", "AUX VERB"),
        ("POS", "’s", "PART"),
        ("MD", "would", "AUX"),
        ("RB", "n’t", "PART"),
        ("RB", "often", "ADV"),
        ("CC", "&", "CCONJ"),
        ("NNP", "i", "PRON"),
        ("NNP", "United", "ADJ PROPN"),
        ("NN", "[", "PUNCT SYM"),
        ("NN", "%", "PUNCT SYM"),
        ("$", "$", "SYM"),
        (".", "?", "PUNCT"),
        ("POS", "’", "PART"),
        ("US$", "US$", " ".join(UNIVERSAL_TAGS)),
        ("VBG|NN", "polishing", "VERB NOUN"),
        ("nonsense", "word", " ".join(UNIVERSAL_TAGS)),
    ],
)
def test_single_words(tag: str, word: str, universal: str) -> None:
    assert universal_tags(tag, word) == frozenset(universal.split())


def test_the_tables_are_plain_json_of_universal_tags() -> None:
    assert json.loads(json.dumps([BY_TAG, BY_TAG_AND_WORD])) == [BY_TAG, BY_TAG_AND_WORD]
    named = [*BY_TAG.values(), *(tags for words in BY_TAG_AND_WORD.values() for tags in words.values())]
    assert {tag for tags in named for tag in tags.split()} == set(UNIVERSAL_TAGS)
    assert set(BY_TAG_AND_WORD) <= set(BY_TAG)


def test_straight_quotes() -> None:
    assert straight_quotes("don’t “x”") == 'don\'t "x"'


def test_a_treebank_that_has_both_tags_agrees(shared_data: Path) -> None:
    path = shared_data / "syntax" / "en_ewt-ud-dev.conllu.gz"
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        rows = [row for line in lines if len(row := line.split("\t")) == 10 and row[0].isdigit()]
    allowed = [universal_tags(row[4], row[1]) for row in rows]
    assert sum(row[3] in tags for row, tags in zip(rows, allowed)) / len(rows) > 0.995
    # And it says much: two words in three have one tag left of the 17.
    assert sum(len(tags) == 1 for tags in allowed) / len(rows) > 0.65
