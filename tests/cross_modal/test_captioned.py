"""Captions held out of training have no new words; rows carry their own caption."""

from __future__ import annotations

import numpy as np
import pytest

from textdiff.cross_modal.caption_words import CaptionWords, words_of
from textdiff.cross_modal.captioned import CaptionedRows, held_out_rows, read_captioned

COLOURS, THINGS = ("red", "green", "blue"), ("cat", "dog", "sun", "cup", "key", "hat", "car", "bus")
CAPTIONS = [f"{colour} {thing}" for colour in COLOURS for thing in THINGS] + ["snowman"]


@pytest.fixture
def npz(tmp_path):
    """pictures.npz: picture k is of brightness k."""
    x = np.arange(len(CAPTIONS), dtype=np.uint8)[:, None, None, None].repeat(8, 1).repeat(8, 2).repeat(3, 3)
    np.savez(tmp_path / "pictures.npz", x=x, caption=np.array(CAPTIONS))
    return tmp_path / "pictures.npz"


def test_words_of_held_out_captions_are_all_trained_on() -> None:
    many = CAPTIONS * 8
    for captions in (CAPTIONS, many):
        held = held_out_rows(captions)
        assert 1 <= len(held) <= max(1, len(captions) // 20) and (held == held_out_rows(captions)).all()
        left = {word for i, one in enumerate(captions) if i not in held for word in words_of(one)}
        assert all(word in left for i in held for word in words_of(captions[i]))
    assert len(held_out_rows(["one", "two", "three"])) == 0


def test_pictures_keep_their_captions_in_both_parts(npz) -> None:
    train, held = read_captioned(str(npz), size=8, channels=3)
    assert len(train) + len(held) == len(CAPTIONS) and "snowman" in train.captions
    for part in (train, held):
        assert [CAPTIONS.index(caption) for caption in part.captions] == part.pictures.pixels[:, 0, 0, 0].tolist()


def test_rows_are_pictures_with_their_captions_in_a_new_order(npz) -> None:
    train, _ = read_captioned(str(npz), size=8, channels=3)
    words = CaptionWords.of(train.captions)
    rows, orders = CaptionedRows(train, words, total=2 * len(train), seed=0), []
    for epoch in range(2):
        own = [rows[epoch * len(train) + i] for i in range(len(train))]
        order = [round((float(row["pixel_values"][0, 0, 0]) + 1) * 127.5) for row in own]
        for row, number in zip(own, order, strict=True):
            assert row["input_ids"].equal(words.encode([CAPTIONS[number]])[0])
            assert set(row) == {"pixel_values", "input_ids", "sample_index"}
        orders.append(order)
    assert sorted(orders[0]) == sorted(orders[1]) and orders[0] != orders[1]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.zeros((2, 8, 8), np.uint8)}, "lacks caption"),
        ({"y": np.zeros(2)}, "lacks x and caption"),
        ({"x": np.zeros((2, 8, 8), np.uint8), "caption": np.array(["a"])}, "2 pictures and 1 captions"),
        ({"x": np.zeros((2, 8, 8), np.uint8), "caption": np.array(["a", " . "])}, "or an empty one"),
        ({"x": np.zeros((2, 8, 8), np.uint8), "caption": np.array(["a", "b"])}, "no caption whose words"),
        ({"x": np.zeros((2, 8, 8)), "caption": np.array(["a", "a"])}, "of type float64"),
    ],
)
def test_files_that_are_not_as_said(tmp_path, arrays: dict, message: str) -> None:
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(ValueError, match=message):
        read_captioned(str(tmp_path / "bad.npz"), size=8, channels=1)


def test_a_file_that_is_not_there(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match="none.npz does not exist"):
        read_captioned(str(tmp_path / "none.npz"), size=8, channels=1)


def test_emoji_have_captions_to_hold_out(shared_data) -> None:
    train, held = read_captioned(str(shared_data / "images" / "noto_emoji64.npz"), size=64, channels=3)
    assert len(train) + len(held) == 1279 and len(held) == 63
    assert {word for one in held.captions for word in words_of(one)} <= set(CaptionWords.of(train.captions).known)
