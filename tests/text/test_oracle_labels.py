"""Labels by oracles: stand-ins that say where they were asked, what is kept, answers that do not fit."""

import gzip
from dataclasses import replace
from pathlib import Path

import pytest

from textdiff.text.labelled import LabelledText, read_labelled
from textdiff.text.oracle_labels import TEXTS_AT_ONCE, fill_from, fill_in, read_kept, write_labelled


class Capitals:
    """Tags a word by its first letter; one span over the whole sentence, one over its last word."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def tag(self, sentences):
        self.asked += sentences
        return [[word[0].upper() for word in words] for words in sentences]

    def parse(self, sentences):
        self.asked += sentences
        return [frozenset({(0, len(words), "S"), (len(words) - 1, len(words), "NP")}) for words in sentences]


TEXTS = [
    LabelledText("The dog  ran", {"who": "dog"}),
    LabelledText("A cat", tags=("D", "N")),
    LabelledText("The dog ran", spans=()),
    LabelledText("The dog  ran"),
    LabelledText("it sat on me", tags=("P", "V", "A", "P"), spans=((0, 1, "NP"),)),
]


def test_what_texts_lack_is_filled_in() -> None:
    found = fill_in(TEXTS, tagger=Capitals(), parser=Capitals())
    dog = {"tags": ("T", "D", "R"), "spans": ((0, 3, "S"), (2, 3, "NP"))}
    assert found == [
        replace(TEXTS[0], **dog),
        replace(TEXTS[1], spans=((0, 2, "S"), (1, 2, "NP"))),
        replace(TEXTS[2], tags=dog["tags"]),  # that there are no spans is known
        replace(TEXTS[3], **dog),
        TEXTS[4],
    ]
    assert fill_in(TEXTS) == TEXTS


def test_equal_texts_are_judged_once_and_those_that_are_labelled_never() -> None:
    tagger, parser = Capitals(), Capitals()
    fill_in(TEXTS, tagger=tagger, parser=parser)
    assert tagger.asked == [["The", "dog", "ran"]]
    assert parser.asked == [["A", "cat"], ["The", "dog", "ran"]]  # short ones first


def test_progress_is_shown_batch_by_batch() -> None:
    seen: list[tuple[str, list[int]]] = []

    def watched(batches, what):
        seen.append((what, [len(batch) for batch in batches]))
        return batches

    texts = [LabelledText(f"text {k}", tags=("T", "N")) for k in range(2 * TEXTS_AT_ONCE + 1)]
    fill_in(texts, tagger=Capitals(), parser=Capitals(), progress=watched)
    assert seen == [("spans", [TEXTS_AT_ONCE, TEXTS_AT_ONCE, 1])]


def test_what_is_kept_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "new" / "labelled.jsonl.gz"
    assert read_kept(path) == []
    found = fill_in([*TEXTS, LabelledText("Café \u2028 \x85 x", {"a": "b"})], tagger=Capitals())
    write_labelled(found, path)
    assert read_kept(path) == read_labelled(path) == found
    before = path.read_bytes()
    write_labelled(found, path)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    path.write_bytes(before[:-9])
    with pytest.raises(ValueError, match="or delete it, and the oracles are asked again"):
        read_kept(path)
    path.write_bytes(gzip.compress(b'{"text": "a b", "tags": ["X"]}'))
    with pytest.raises(ValueError, match="1 tags for 2 words"):
        read_kept(path)


def test_labels_of_equal_texts_are_taken_over() -> None:
    cat = LabelledText("A cat", {"does": "sit"})
    known = [replace(cat, labels={}, tags=("D", "N"), spans=((0, 2, "NP"),)), LabelledText("x", tags=("X",))]
    asked = [cat, LabelledText("A cat", tags=("a", "b")), LabelledText("y")]
    assert fill_from(asked, known) == [
        LabelledText("A cat", {"does": "sit"}, ("D", "N"), ((0, 2, "NP"),)),
        LabelledText("A cat", {}, ("a", "b"), ((0, 2, "NP"),)),
        LabelledText("y"),
    ]


class Wrong:
    """An oracle whose answers are what it is told."""

    def __init__(self, answers) -> None:
        self.answers = answers

    def tag(self, sentences):
        return self.answers

    parse = tag


@pytest.mark.parametrize(
    ("oracle", "why"),
    [
        ({"tagger": Wrong([["X"]])}, r"gave 1 tags to the 2 words of 'A cat'"),
        ({"tagger": Wrong([])}, r"gave 0 answers to 1 texts"),
        ({"parser": Wrong([{(0, 3, "S")}])}, r"does not fit a sentence of 2 words"),
        ({"parser": Wrong([{(0, 2, "S"), (0, 2, "NP")}])}, r"Two spans cover"),
    ],
)
def test_answers_that_do_not_fit_are_refused(oracle, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        fill_in([LabelledText("A cat")], **oracle)
