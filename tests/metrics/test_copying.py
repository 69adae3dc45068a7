"""The longest copy against a search over all runs of words."""

import gzip
import random

import pytest

from textdiff.metrics.copying import longest_copies, read_documents


def brute_force(text, training):
    """Longest run of blank-separated words of `text` that stands in one training document."""
    tokens = text.split()
    runs = [tokens[i:j] for i in range(len(tokens)) for j in range(i + 1, len(tokens) + 1)]
    shared = [run for run in runs if any(f" {' '.join(run)} " in f" {doc} " for doc in training)]
    return max(map(len, shared), default=0)


def test_by_hand():
    training = ["Once upon a time, there was a dog.", "The dog ran home. He slept."]
    texts = ["A time, there was a cat.", "once upon a dog ran home", "", "zebra", "dog. The"]
    lengths, longest = longest_copies(texts, training)
    assert lengths == [5, 3, 0, 0, 2]                # the last: "dog ." but not across documents
    assert longest == "time , there was a"


@pytest.mark.parametrize("seed", range(20))
def test_against_brute_force(seed):
    rng = random.Random(seed)
    letters = "abcde"[:2 + seed % 4]

    def text(longest):
        return " ".join(rng.choices(letters, k=rng.randint(0, longest)))

    training = ["a", *(text(25) for _ in range(8))]
    texts = [text(12) for _ in range(10)] + [training[-1], f"{letters[0]} q q"]
    lengths, longest = longest_copies(texts, training)
    assert lengths == [brute_force(each, training) for each in texts]
    assert len(longest.split()) == max(lengths)
    assert any(f" {longest} " in f" {document} " for document in training)


def test_documents_are_read_from_plain_and_gzipped_files(tmp_path):
    text = "one\ntwo\n\nthree\n<|endoftext|>\n\nf\u00fcnf"
    (tmp_path / "a.txt").write_text(text, encoding="utf-8")
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(text.encode()))
    for name in ("a.txt", "a.txt.gz"):
        assert list(read_documents(tmp_path / name)) == ["one\ntwo\n", "three\n", "f\u00fcnf"]


def test_bad_files_are_refused(tmp_path):
    (tmp_path / "latin.txt").write_bytes("\u00fc\n".encode("latin-1"))
    (tmp_path / "plain.gz").write_bytes(b"no gzip")
    for name in ("latin.txt", "plain.gz"):
        with pytest.raises(ValueError, match="is not UTF-8 text"):
            list(read_documents(tmp_path / name))
    with pytest.raises(FileNotFoundError, match="There is no training text"):
        list(read_documents(tmp_path / "none.txt"))


@pytest.mark.parametrize("texts, training, message", [
    ([], ["a"], "no texts"), (["a"], ["", " "], "has no words"), ("a", ["a"], "one string"),
    (["a"], "a", "one string")])
def test_bad_calls_are_refused(texts, training, message):
    with pytest.raises(ValueError, match=message):
        longest_copies(texts, training)
