"""From files to rows: nothing is lost, nothing overflows, and row j is a function of (seed, j)."""

from __future__ import annotations

import gzip
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from textdiff.text.data import PackedRows, held_out, known_mask, pack, pieces, read_texts, sentences
from textdiff.text.tokenizer import train_bpe

STORY = (
    'Tom ran home. "Where is the dog?" he asked. "It is gone!" said Mum.\n'
    "They looked for 12 days. Then it came."
)
BPE = train_bpe([STORY] * 5, 300)
texts = st.text(alphabet=st.sampled_from(" \n\t.!?\"'”’)ab") | st.characters(codec="utf-8"))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("one\ntwo\n", ["one", "two"]),
        ("one\ntwo\n\nthree\n", ["one\ntwo", "three"]),
        ("one\n \t\n\n\n two \n", ["one", "two"]),
        ("one\n\ntwo\n<|endoftext|>\nthree\n<|endoftext|>\n", ["one\n\ntwo", "three"]),
        ("one\r\ntwo\r\n", ["one", "two"]),
        ("one\r\ntwo\r\n\r\nthree", ["one\ntwo", "three"]),
        ("one\ntwo\n\n", ["one", "two"]),
        ("\n\none\ntwo", ["one", "two"]),
        ("  Ähm, 世界 👋 ", ["Ähm, 世界 👋"]),
        ("\ufeffone\ntwo", ["one", "two"]),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_texts_of_a_file(content: str, expected: list[str], packed: bool, tmp_path: Path) -> None:
    path = tmp_path / ("a.txt.gz" if packed else "a.txt")
    path.write_bytes(gzip.compress(content.encode()) if packed else content.encode())
    assert read_texts(path) == expected


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"", "holds no text: give a file with at least one sentence"),
        ("a.txt", b" \n\n <|endoftext|> \n", "holds no text"),
        ("a.txt", "Grüße".encode("latin-1"), "is not UTF-8 .byte 2.: convert it"),
        ("a.txt.gz", gzip.compress("Grüße".encode("utf-16"), mtime=0), "is not UTF-8"),
        ("a.txt.gz", b"plain text", "is not a whole gzip file"),
        ("a.txt.gz", b"", "holds no text"),
        ("a.txt.gz", gzip.compress(STORY.encode(), mtime=0)[:-9], "is not a whole gzip file"),
        ("a.txt.gz", gzip.compress(STORY.encode(), mtime=0)[:20] + b"\xff" * 30, "is not a whole gzip file"),
    ],
)
def test_unusable_files_are_refused(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_texts(tmp_path / name)


@pytest.mark.parametrize("name", ["missing.txt", ""])
def test_a_missing_file_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="give a UTF-8 text file"):
        read_texts(tmp_path / name)


def test_one_text_in_a_hundred_is_held_out_for_good() -> None:
    chosen = [held_out(f"text {i}") for i in range(20_000)]
    assert sum(chosen) == pytest.approx(200, abs=50)
    assert chosen == [held_out(f"text {i}") for i in range(20_000)]
    assert [i for i in range(300) if held_out(f"text {i}", percent=1)] == [i for i in range(300) if chosen[i]]
    assert all(held_out(f"text {i}", percent=100) for i in range(100))


@given(texts)
def test_sentences_join_to_the_text(text: str) -> None:
    parts = sentences(text)
    assert "".join(parts) == text
    assert all(parts)


def test_sentences_end_where_a_reader_says() -> None:
    expected = ["Tom ran home.", ' "Where is the dog?"', " he asked.", ' "It is gone!"', " said Mum.", "\n"]
    assert sentences(STORY) == [*expected, "They looked for 12 days.", " Then it came."]
    assert sentences("It costs 3.50 or so") == ["It costs 3.50 or so"]


def squeezed(text: str) -> str:
    return "".join(text.split())


@given(st.lists(texts, max_size=4), st.integers(6, 20), st.integers(0, 3))
def test_pieces_fit_and_lose_nothing_but_white_space(batch: list[str], length: int, seed: int) -> None:
    cut = pieces(batch, BPE, length, seed=seed)
    assert all(0 < len(piece) <= length for piece in cut)
    ids = np.concatenate([*cut, np.empty(0, np.int32)]).tolist()
    assert squeezed(BPE.decode(ids, skip_special_tokens=False)) == squeezed("".join(batch))


def test_pieces_are_whole_sentences_of_varied_number() -> None:
    cut = pieces([STORY * 20], BPE, 64, seed=0)
    decoded = [BPE.decode(piece) for piece in cut]
    assert squeezed("".join(decoded)) == squeezed(STORY * 20)
    assert all(text[-1] in '.?!"' and text == text.strip() for text in decoded)
    assert len({len(piece) for piece in cut}) > 5
    assert max(len(piece) for piece in cut) > 40


def test_only_sentences_that_do_not_fit_are_cut() -> None:
    ids = BPE.encode("a b c d e f g h i j").ids
    cut = pieces(["a b c d e f g h i j"], BPE, 8)
    assert [len(piece) for piece in cut] == [8] * (len(ids) // 8) + [len(ids) % 8] * (len(ids) % 8 > 0)
    assert np.concatenate(cut).tolist() == ids


def test_pieces_depend_on_the_seed_alone() -> None:
    one, same, other = (pieces([STORY * 5], BPE, 64, seed=seed) for seed in (1, 1, 2))
    assert [a.tolist() for a in one] == [a.tolist() for a in same] != [a.tolist() for a in other]


@pytest.mark.parametrize("length", [1, 2, 5])
def test_windows_shorter_than_a_usual_piece_work(length: int) -> None:
    cut = pieces([STORY], BPE, length)
    assert all(0 < len(piece) <= length for piece in cut)
    assert squeezed(BPE.decode(np.concatenate(cut).tolist())) == squeezed(STORY)


@given(st.lists(st.integers(1, 30), max_size=60))
def test_packing_places_every_piece_once(lengths: list[int]) -> None:
    rows = pack(lengths, 30)
    assert sorted(i for row in rows for i in row) == list(range(len(lengths)))
    assert all(0 < sum(lengths[i] for i in row) <= 30 for row in rows)


def test_packing_wastes_little() -> None:
    lengths = np.random.default_rng(0).geometric(1 / 20, size=3000).clip(2, 64).tolist()
    rows = pack(lengths, 128)
    assert sum(lengths) / (128 * len(rows)) > 0.95
    assert len(pack([64] * 10, 128)) == 5


@given(st.integers(1, 64), st.integers(0, 2**32 - 1))
def test_something_is_always_left_to_say(length: int, seed: int) -> None:
    known = known_mask(length, np.random.default_rng(seed))
    assert known.shape == (length,)
    assert known.dtype == bool
    assert not known.all()


def test_kinds_of_known_positions_come_in_their_shares() -> None:
    rng, count = np.random.default_rng(0), 4000
    masks = np.stack([known_mask(40, rng) for _ in range(count)])
    starts = np.diff(np.pad(~masks, ((0, 0), (1, 0))).astype(int), axis=1).clip(0).sum(1)  # number of blanks
    blank, share = (~masks).mean(1), partial(pytest.approx, abs=4 * np.sqrt(0.25 / count))
    assert (blank == 1).mean() == share(0.4 + 0.1 / 41)  # nothing given; scattered may happen to give nothing
    tail = masks[:, 0] & ~masks[:, -1] & (starts == 1)
    assert tail.mean() == share(0.1 + 0.4 * 0.03)  # a prefix, or a span that happens to stand at the end
    long_runs = (~masks).sum(1) / starts.clip(min=1)
    spans = (blank < 0.75) & ~tail & (long_runs > 2.2)
    assert 0.33 < spans.mean() < 0.43
    assert np.quantile(blank[spans], 0.02) > 0.09 and np.quantile(blank[spans], 0.9) < 0.65
    assert len(set(starts[spans])) > 5  # one blank, or several


def numbered_pieces(count: int = 30) -> list[np.ndarray]:
    """Piece k is the number k + 1, some times."""
    rng = np.random.default_rng(0)
    return [np.full(rng.integers(2, 9), k + 1, dtype=np.int32) for k in range(count)]


def assert_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    assert all(one[key].equal(other[key]) for key in one)


def test_a_row_is_a_function_of_seed_and_index() -> None:
    rows, again = (PackedRows(numbered_pieces(), 16, total=100, seed=5) for _ in range(2))
    for index in (99, 0, 57, 3):  # any order, and across epochs
        assert_same(rows[index], again[index])
    forward = [rows[i] for i in range(100)]
    for index in reversed(range(100)):
        assert_same(again[index], forward[index])
    other = PackedRows(numbered_pieces(), 16, total=100, seed=6)
    assert sum(other[i]["input_ids"].equal(row["input_ids"]) for i, row in enumerate(forward)) < 30


def test_every_epoch_is_a_permutation_of_all_pieces() -> None:
    data = numbered_pieces()
    rows = PackedRows(data, 16, total=None, seed=1)
    assert len(rows) == len(rows.rows)
    orders = []
    for epoch in range(3):
        batch = [rows[i]["input_ids"] for i in range(epoch * len(rows), (epoch + 1) * len(rows))]
        ids = torch.cat(batch)
        assert sorted(ids[ids > 0].tolist()) == sorted(np.concatenate(data).tolist())
        orders.append(ids.tolist())
    assert orders[0] != orders[1] != orders[2]
    assert len(PackedRows(data, 16, total=77, seed=1)) == 77


def test_rows_number_their_segments_and_pad_with_zeros() -> None:
    rows = PackedRows(numbered_pieces(), 16, total=40, seed=1)
    for index in range(40):
        ids, segments, known, sample_index = rows[index].values()
        assert list(rows[index]) == ["input_ids", "attention_mask", "known", "sample_index"]
        assert ids.shape == segments.shape == known.shape == (16,)
        assert sample_index == index
        real = int((segments > 0).sum())
        assert (segments[:real].diff() >= 0).all()
        assert segments[:real].unique().tolist() == list(range(1, int(segments.max()) + 1))
        assert not ids[real:].any()
        assert not segments[real:].any()
        assert not known[real:].any()
        for number in range(1, int(segments.max()) + 1):
            assert ids[segments == number].unique().numel() == 1  # one piece, whole
            assert not known[segments == number].all()
            piece = ids[segments == number]
            assert piece.tolist() == rows.pieces[int(piece[0]) - 1].tolist()


def test_known_positions_change_between_epochs_and_can_be_left_out() -> None:
    data = [np.arange(1, 17)]
    rows = PackedRows(data, 16, total=50, seed=0)
    assert len({tuple(rows[i]["known"].tolist()) for i in range(50)}) > 15
    plain = PackedRows(data, 16, total=50, seed=0, conditional=False)
    assert not any(plain[i]["known"].any() for i in range(50))
