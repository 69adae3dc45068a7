"""Captions as ids, and what is said of captions that cannot be read."""

from __future__ import annotations

import pytest

from textdiff.cross_modal.caption_words import CaptionWords, words_of
from textdiff.cross_modal.composed_digits import every_caption


@pytest.fixture(scope="module")
def words() -> CaptionWords:
    return CaptionWords.of(every_caption())


def test_the_words_of_compositions(words) -> None:
    numbers = "zero one two three four five six seven eight nine".split()
    assert words.known == sorted([*numbers, "a", "an", "left", "right", "of", "above", "below"])
    assert words.length == 13 and words.size == len(words.known) + 4


def test_captions_are_padded_and_written_any_way(words) -> None:
    ids = words.encode(["a seven left of a three", "  An EIGHT, above a two. "])
    assert ids.shape == (2, 13) and (ids > 0).sum(1).tolist() == [6, 5]
    assert ids[1].equal(words.encode(["an eight above a two"])[0])
    assert [words.tokenizer.id_to_token(i) for i in ids[0, :2].tolist()] == ["a", "seven"]


def test_punctuation_alone_is_no_word() -> None:
    assert words_of('A "cat" - (or two)!') == ["a", "cat", "-", "or", "two"]
    assert words_of(" ... ") == []


@pytest.mark.parametrize(
    ("caption", "message"),
    [
        ("a sevn above a two", 'never learned: "sevn" \\(near it: seven, '),
        ("a fvie above a thre", '"fvie" \\(near it: five, .*; "thre" \\(near it: three, '),
        ("a <unk> above a two", '"<unk>"'),
        ("☃", '"☃" \\(near it: '),
        ("", "A caption is empty"),
        ("a " * 14, "has 14 words: this model reads 13"),
    ],
)
def test_captions_that_cannot_be_read(words, caption: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        words.encode(["a one above a two", caption])


def test_words_are_saved(words, tmp_path) -> None:
    words.save(tmp_path)
    again = CaptionWords.load(tmp_path, words.length)
    assert again.encode(every_caption()).equal(words.encode(every_caption()))
