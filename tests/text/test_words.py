"""Words as features: what two words share, what padding may not change, and what is refused."""

import numpy as np
import pytest
import torch

from textdiff.text.words import (
    NUM_FEATURES,
    UNKNOWN,
    EncoderShape,
    WordEncoder,
    WordFeatures,
    check_sentences,
    frequent_words,
    shape,
    stack,
)

SMALL = EncoderShape(hidden=16, layers=2, heads=2, intermediate=32, buckets=10_000, dropout=0.0)


def test_frequent_words() -> None:
    sentences = [["The", "dog", "the", "’s"], ["a", "Dog", "'s", "x"]]
    assert frequent_words(sentences, 9) == ["'s", "dog", "the"]
    assert frequent_words(sentences, 1) == ["'s"]
    assert frequent_words(sentences, 9, min_count=1) == ["'s", "dog", "the", "a", "x"]


@pytest.mark.parametrize(
    ("word", "written"),
    [
        ("Mid-90s", "Xx-dx"),
        ("USA", "X"),
        ("dog", "x"),
        ("I", "X1"),
        ("3.5", "d.d"),
        ("’s", "'x"),
        ("été", "x"),
    ],
)
def test_shape(word: str, written: str) -> None:
    assert shape(word) == f"shape {written}"


def test_features_by_what_words_share() -> None:
    features = WordFeatures(["dog", "walking"], 10_000)
    row = features(["walking", "talking", "Walking", "dog"])
    assert row.shape == (6, NUM_FEATURES) and row.dtype == np.int64
    walking, talking, capital, dog = row[1:5]
    assert walking[0] != UNKNOWN and talking[0] == UNKNOWN and dog[0] not in (UNKNOWN, walking[0])
    same = walking == talking
    assert not same[1:4].any() and same[4:].all()  # no beginning in common, but endings and shape
    assert (walking == capital)[:-1].all() and walking[-1] != capital[-1]  # but for the shape
    assert row[0, 0] != row[-1, 0] and UNKNOWN not in (row[0, 0], row[-1, 0])  # the marks of the ends


def test_hashes_stay_what_they_are() -> None:
    # Saved models depend on them, from one run and machine to the next.
    assert WordFeatures([], 4096)(["dog"])[1].tolist() == [0, 2571, 424, 573, 2355, 1087, 2742, 1702, 761]


def test_stacked_rows_are_padded() -> None:
    features = WordFeatures(["a"], 64)
    stacked, segments = stack([features(["a"]), features(["a", "b", "c"])])
    assert stacked.shape == (2, 5, NUM_FEATURES)
    assert segments.tolist() == [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]
    assert stacked[0, 3:].eq(0).all()


def test_padding_changes_nothing_and_neighbours_do() -> None:
    torch.manual_seed(0)
    features = WordFeatures(["a", "b"], SMALL.buckets)
    encoder = WordEncoder(SMALL, 2).eval()
    short, long = features(["a", "b"]), features(["b", "b", "a", "c", "d"])
    alone = encoder(*stack([short]))[0]
    together = encoder(*stack([short, long]))[0]
    assert torch.allclose(alone, together[:4], atol=1e-5)
    assert not torch.allclose(alone[1], encoder(*stack([features(["a", "c"])]))[0, 1], atol=1e-3)


def test_every_parameter_learns() -> None:
    torch.manual_seed(0)
    features = WordFeatures(["a", "b"], SMALL.buckets)
    encoder = WordEncoder(SMALL, 2)
    encoder(*stack([features(["a", "b", "c"])])).pow(3).sum().backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
    assert encoder.words.weight.grad.abs().sum(1).gt(0).tolist() == [True] * 5  # unknown, marks, a, b


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"hidden": 0}, "hidden = 0 cannot be"),
        ({"layers": 1.5}, "layers = 1.5 cannot be"),
        ({"buckets": True}, "buckets = True cannot be"),
        ({"heads": None}, "heads = None cannot be"),
        ({"dropout": 1.0}, "dropout = 1.0 cannot be"),
        ({"hidden": 20, "heads": 4}, "hidden = 20 must be an even multiple of heads = 4"),
    ],
)
def test_sizes_that_cannot_be_are_refused(changes: dict, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        EncoderShape(**changes)


@pytest.mark.parametrize(
    ("sentence", "why"),
    [
        ("a dog", "'a dog' is not: split it first"),
        (["a", 1], "must be a list of words"),
        (["a", ""], "must be a list of words"),
        (["a"] * 513, "513 words is too long"),
    ],
)
def test_what_is_no_list_of_words_is_refused(sentence, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        check_sentences([["fine"], sentence])
    check_sentences([[], ["fine"] * 512])
