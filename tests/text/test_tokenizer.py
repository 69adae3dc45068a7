"""Tokenizers: text comes back to the byte, ids are fixed, and any AutoTokenizer loads what is saved."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from textdiff.text.tokenizer import load_tokenizer, save_tokenizer, train_bpe, train_word_level

TEXTS = ["The little dog ran into the house.", "He found 12 apples, and the dog found none!"] * 20
BPE = train_bpe(TEXTS, 280)
STRANGE = "Grüße, 世界! שלום नमस्ते 👩‍👩‍👧‍👦🏳️‍🌈 e\u0301 \u200b\x00\x1b[0m\t\r\n\n  two  spaces \U0010ffff"


@given(st.text())
@example(STRANGE)
@example("")
@example(" ")
@example("\n")
def test_any_text_comes_back_to_the_byte(text: str) -> None:
    ids = BPE.encode(text, add_special_tokens=False).ids
    assert all(3 <= i < BPE.get_vocab_size() for i in ids) or "<" in text
    assert BPE.decode(ids, skip_special_tokens=False).encode() == text.encode()


def test_the_vocabulary_has_the_size_asked_for_and_fixed_special_ids() -> None:
    assert BPE.get_vocab_size() == 280
    assert [BPE.token_to_id(token) for token in ("<pad>", "<s>", "</s>")] == [0, 1, 2]


def test_it_is_cased_learns_words_and_splits_digits() -> None:
    assert BPE.encode("The").ids != BPE.encode("the").ids
    assert len(BPE.encode(" dog found").ids) < 6
    assert BPE.encode("12").tokens == ["1", "2"]


def test_unseen_text_costs_at_most_its_bytes() -> None:
    assert len(BPE.encode(STRANGE).ids) <= len(STRANGE.encode())


def test_training_twice_gives_the_same_tokenizer() -> None:
    assert train_bpe(TEXTS, 280).to_str() == BPE.to_str()


@pytest.mark.parametrize("size", [0, 3, 258])
def test_a_vocabulary_without_room_for_the_bytes_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="bytes and special tokens need 259"):
        train_bpe(TEXTS, size)
    assert train_bpe(TEXTS, 259).get_vocab_size() == 259


def test_word_level_keeps_common_words_and_marks_the_rest() -> None:
    words = train_word_level(["name [ The Vaults ] , price"] * 10 + ["rare"] * 9, min_count=10)
    assert [words.token_to_id(token) for token in ("<pad>", "<s>", "</s>", "<unk>")] == [0, 1, 2, 3]
    assert words.encode("name rare [ price").tokens == ["name", "<unk>", "[", "price"]
    assert words.token_to_id("rare") is None
    ids = words.encode("The Vaults , price").ids
    assert words.decode(ids) == "The Vaults , price"


@pytest.mark.parametrize("tokenizer", [BPE, train_word_level(TEXTS, min_count=2)], ids=["bpe", "words"])
def test_a_saved_folder_loads_with_auto_tokenizer(tokenizer: Tokenizer, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    text = "the dog found 12 apples, Grüße 👋"
    save_tokenizer(tokenizer, tmp_path / "new" / "folder")
    auto = AutoTokenizer.from_pretrained(tmp_path / "new" / "folder")
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    assert auto(text, add_special_tokens=False).input_ids == ids
    assert auto.decode(ids) == tokenizer.decode(ids, skip_special_tokens=False)
    assert (auto.pad_token_id, auto.bos_token_id, auto.eos_token_id) == (0, 1, 2)
    assert auto.unk_token_id == tokenizer.token_to_id("<unk>")
    assert len(auto) == tokenizer.get_vocab_size()


def test_the_configuration_names_a_class_that_transformers_4_has(tmp_path: Path) -> None:
    save_tokenizer(BPE, tmp_path)
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    assert config["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tokenizer.json", "tokenizer_config.json"]


def test_saved_and_loaded_is_the_same_without_padding_or_truncation(tmp_path: Path) -> None:
    tokenizer = Tokenizer.from_str(BPE.to_str())
    tokenizer.enable_truncation(2)
    tokenizer.enable_padding(length=50)
    save_tokenizer(tokenizer, tmp_path)
    assert load_tokenizer(tmp_path).to_str() == BPE.to_str()


def test_a_folder_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="No tokenizer at .*tokenizer.json: give a folder"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b'{"a": 1}', b"\xff\xfe\x00", BPE.to_str().encode()[:500]])
def test_a_corrupt_file_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(ValueError, match="tokenizer.json is not a tokenizer .*copy it again"):
        load_tokenizer(tmp_path)
