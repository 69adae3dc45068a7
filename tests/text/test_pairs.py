"""Pairs: read from every kind of file, divided without a leak, and packed so that targets alone are noised."""

import gzip
import json
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch

from textdiff.text.pairs import PairRows, TokenPair, divided, encode_pairs, length_table, read_pairs, training_pairs
from textdiff.text.presets import PRESETS
from textdiff.text.tokenizer import separator, train_bpe, train_word_level

PAIRS = [("ein Hund", "a dog"), ("eine Katze", "a cat"), ("Haus", "the house over there")]
LINES = "".join(f"{source}\t{target}\n" for source, target in PAIRS)


def arguments(**given):
    empty = {"dataset": None, "train_files": None, "validation_files": None, "data_dir": "nowhere"}
    return Namespace(**{**empty, **given})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "pairs.tsv"
    path.write_text(LINES + "\n", encoding="utf-8")
    return path


def test_tsv_plain_packed_reversed_and_by_column(file: Path, tmp_path: Path) -> None:
    assert read_pairs(file) == PAIRS
    assert read_pairs(file, (2, 1)) == [(target, source) for source, target in PAIRS]
    packed = tmp_path / "pairs.tsv.gz"
    packed.write_bytes(gzip.compress("x\tÄ\tb\r\n\nx\t \tb\nx\tc\td\textra\n".encode()))
    assert read_pairs(packed, (2, 3)) == [("Ä", "b"), ("c", "d")]


def test_lines_that_say_so_are_turned(tmp_path: Path) -> None:
    path = tmp_path / "levels.tsv"
    path.write_text("ADV-ELE\thard\teasy\nELE-INT\teasy\tmiddling\n", encoding="utf-8")
    assert read_pairs(path, (2, 3), turned="ELE-INT") == [("hard", "easy"), ("middling", "easy")]


def test_all_pairs_of_the_simplify_preset_go_from_harder_to_easier(shared_data: Path) -> None:
    kept, out = training_pairs(arguments(data_dir=str(shared_data)), PRESETS["simplify"])
    with gzip.open(shared_data / "simplification" / "onestop_pairs.tsv.gz", "rt", encoding="utf-8") as file:
        rows = [[cell.strip() for cell in line.split("\t")] for line in file]
    hardest = {(one, other) for kind, one, other in rows if kind.startswith("ADV-")}
    easiest = {(other, one) for kind, one, other in rows if kind == "ELE-INT"}
    assert easiest and set(kept + out) <= hardest | easiest


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a\tb\nalone\n", "line 2, has 1 columns, but source and target are columns 1 and 2"),
        (b"a\t\n\n", "holds no pair"),
        (b"", "holds no pair"),
        ("Mädchen\tgirl".encode("latin-1"), "is not UTF-8"),
    ],
)
def test_a_bad_file_is_one_sentence(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "bad.tsv").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_pairs(tmp_path / "bad.tsv")
    with pytest.raises(FileNotFoundError, match="No file"):
        read_pairs(tmp_path / "none.tsv")


def test_a_dataset_by_its_columns_nested_ones_too(tmp_path: Path) -> None:
    rows = [{"id": i, "translation": {"de": source, "en": target}} for i, (source, target) in enumerate(PAIRS)]
    rows.append({"id": 9, "translation": {"de": None, "en": "left out"}})
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    columns = ["translation.de", "translation.en"]
    kept, out = training_pairs(arguments(dataset=str(path), pair_columns=columns), PRESETS["tiny"])
    assert set(kept) | set(out) == set(PAIRS)
    for wrong, message in [
        (["de", "en"], "no column 'de': choose one of id, translation.de"),
        (["id", "translation.en"], "column 'id' does not hold text: name another with --pair-columns"),
        (None, "give --pair-columns"),
    ]:
        with pytest.raises(ValueError, match=message):
            training_pairs(arguments(dataset=str(path), pairs=True, pair_columns=wrong), PRESETS["tiny"])


def test_what_a_command_names(file: Path) -> None:
    both = training_pairs(arguments(train_files=[file], validation_files=[file], pairs=True), PRESETS["tiny"])
    assert both == (PAIRS, PAIRS)
    turned, _ = training_pairs(
        arguments(train_files=[file], validation_files=[file], pair_columns=["2", "1"]), PRESETS["tiny"]
    )
    assert turned == [(target, source) for source, target in PAIRS]
    both_ways, out = training_pairs(arguments(train_files=[file], validation_files=[file]), PRESETS["paraphrase"])
    assert sorted(both_ways) == sorted(PAIRS + turned) and out == PAIRS
    for given, preset, error, message in [
        ({"pairs": True}, "tiny", ValueError, "give --train-files or --dataset"),
        ({"pair_columns": ["1", "2"]}, "de-en", ValueError, "want pairs of your own"),
        ({"train_files": [file], "pair_columns": ["source", "2"]}, "tiny", ValueError, "numbers from 1"),
        ({"train_files": [file], "pair_columns": ["0", "2"]}, "tiny", ValueError, "numbers from 1"),
        ({"train_files": [file], "dataset": "x"}, "de-en", ValueError, "give one of them"),
        ({}, "de-en", FileNotFoundError, "in nowhere, where it is not"),
    ]:
        with pytest.raises(error, match=message):
            training_pairs(arguments(**given), PRESETS[preset])


def test_no_held_out_text_is_trained_on_from_either_side() -> None:
    pairs = [(f"source {i}", f"target {i // 3}") for i in range(600)]
    pairs += [(target, source) for source, target in pairs]
    kept, out = divided(pairs)
    assert kept and 0.02 < len(out) / len(pairs) < 0.2
    assert not {text for pair in kept for text in pair} & {text for pair in out for text in pair}
    few = [("a", "b")] * 4
    assert divided(few) == (few, few[-1:])


@pytest.mark.parametrize("name", ["de-en", "paraphrase", "simplify"])
def test_a_presets_columns_are_the_right_ones(name: str, shared_data: Path) -> None:
    (file,) = PRESETS[name].sources
    pairs = read_pairs(shared_data / file, PRESETS[name].pairs)
    sample = pairs[:: len(pairs) // 500]
    text = [" ".join(side) for side in zip(*sample, strict=True)]
    if name == "de-en":
        assert text[0].count(" ist ") > 20 and text[1].count(" is ") > 20
    elif name == "simplify":
        assert len(text[0]) > 1.03 * len(text[1])
    assert all("\t" not in side and side not in ("ADV-ELE", "ADV-INT", "INT-ELE") for pair in sample for side in pair)


@pytest.fixture(scope="module")
def tokens():
    """Nine pairs of made-up ids from 10, sources of 1 to 3 tokens, targets of 1 to 3."""
    numbers = iter(range(10, 1000))
    return [
        TokenPair(*(np.array([next(numbers) for _ in range(size)], dtype=np.int32) for size in (n, m)))
        for n in (1, 2, 3) for m in (1, 2, 3)
    ]  # fmt: skip


def segments(row):
    """Every segment of a row: its ids and which are known."""
    for number in range(1, int(row["attention_mask"].max()) + 1):
        inside = row["attention_mask"] == number
        yield row["input_ids"][inside].tolist(), row["known"][inside].tolist()


def test_rows_hold_every_pair_once_source_and_separator_known(tokens) -> None:
    rows = PairRows(tokens, 14, between=1, total=None, source_dropout=0.0)
    found = [segment for i in range(len(rows)) for segment in segments(rows[i])]
    expected = [
        ([*p.source.tolist(), 1, *p.target.tolist()], [True] * (len(p.source) + 1) + [False] * len(p.target))
        for p in tokens
    ]
    assert sorted(found) == sorted(expected)
    assert rows.tokens_per_row * len(rows) == pytest.approx(sum(len(ids) for ids, _ in expected))
    for i in range(len(rows)):
        assert not rows[i]["known"][rows[i]["attention_mask"] == 0].any()


def test_a_source_is_left_out_as_often_as_asked_and_never_in_part(tokens) -> None:
    rows = PairRows(tokens, 14, between=1, total=3000, source_dropout=0.3)
    whole = {tuple([*pair.source.tolist(), 1, *pair.target.tolist()]) for pair in tokens}
    alone = {tuple([1, *pair.target.tolist()]) for pair in tokens}
    kinds = [0, 0]
    for i in range(len(rows)):
        for ids, known in segments(rows[i]):
            assert tuple(ids) in (whole if known[1] or ids[0] != 1 else alone)
            kinds[ids[0] == 1] += 1
    assert kinds[1] / sum(kinds) == pytest.approx(0.3, abs=4 * (0.21 / sum(kinds)) ** 0.5)
    every = PairRows(tokens, 14, between=1, total=None, source_dropout=1.0)
    seen = [tuple(ids) for i in range(len(every)) for ids, _ in segments(every[i])]
    assert set(seen) == alone
    assert every.tokens_per_row * len(every.rows) == pytest.approx(sum(map(len, alone)))


def test_a_row_is_a_function_of_seed_and_index(tokens) -> None:
    one, other = (PairRows(tokens, 14, between=1, total=50, source_dropout=0.5) for _ in range(2))
    for i in (40, 3, 3, 17):
        assert all(torch.equal(one[i][name], other[i][name]) for name in one[i])
    assert any(
        not torch.equal(one[i]["input_ids"], PairRows(tokens, 14, between=1, total=50, seed=1)[i]["input_ids"])
        for i in range(5)
    )


def test_nothing_leaks_from_one_pair_into_another(tokens, small_model) -> None:
    model = small_model(spread=0.1, stagger=1.0)
    row = PairRows([TokenPair(p.source % 7 + 3, p.target % 7 + 3) for p in tokens[:4]], 32, between=1, total=1)[0]
    mask, known = row["attention_mask"][None], row["known"][None]
    assert int(mask.max()) == 4

    def logits(ids):
        x0 = model.denoiser.embedding.embed(ids[None])
        noise = torch.randn(x0.shape, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            return model.denoiser(
                noise, torch.zeros(1), attention_mask=mask, known=known, x0_known=x0, x0_prev=None
            ).logits[0]

    changed = row["input_ids"].clone()
    second = (mask[0] == 2) & known[0]
    changed[second] = (changed[second] + 1) % 12
    before, after = logits(row["input_ids"]), logits(changed)
    others = (mask[0] != 2) & (mask[0] > 0)
    assert torch.equal(before[others], after[others])
    assert not torch.allclose(before[(mask[0] == 2) & ~known[0]], after[(mask[0] == 2) & ~known[0]])


def test_the_loss_does_not_charge_the_source(tokens, small_model) -> None:
    model = small_model()
    row = PairRows([TokenPair(p.source % 7 + 3, p.target % 7 + 3) for p in tokens[:1]], 4, between=1, total=1)[0]
    batch = {name: value[None] for name, value in row.items()}
    with torch.no_grad():
        whole = model(**batch)
        assert whole.loss > 0
        batch["known"] = batch["attention_mask"] > 0
        assert model(**batch).loss == 0


def test_long_pairs_are_left_out_with_a_warning() -> None:
    tokenizer = train_word_level([text for pair in PAIRS for text in pair], min_count=1)
    with pytest.warns(UserWarning, match="1 of 3 pairs are longer than the window of 5 tokens"):
        found = encode_pairs(PAIRS, tokenizer, 5)
    assert length_table(found) == [[], [], [0, 0, 2]]
    assert [tokenizer.decode(pair.target) for pair in found] == ["a dog", "a cat"]
    with pytest.raises(ValueError, match="None of the 3 pairs fits the model's window of 3 tokens"):
        encode_pairs(PAIRS, tokenizer, 3)


def test_the_separator_cannot_be_typed() -> None:
    tokenizer = train_bpe([LINES], 300)
    (pair,) = encode_pairs([("a <s> b", "<s>")], tokenizer, 64)
    assert separator(tokenizer) == 1 and 1 not in pair.source and 1 not in pair.target
    assert tokenizer.decode(pair.source, skip_special_tokens=False) == "a <s> b"
