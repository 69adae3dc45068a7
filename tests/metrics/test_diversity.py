"""Diversity figures worked out by hand, and self-BLEU against sacrebleu text by text."""

import math
import random

import pytest

from textdiff.metrics.diversity import distinct_n, self_bleu, sequence_entropy, unigram_entropy, words


def test_words_are_split_as_stated():
    assert words("Don't go, \u00c9va\u2019s  cat2!\n") == ["Don't", "go", ",", "\u00c9va\u2019s", "cat2", "!"]


def test_distinct_n_by_hand():
    texts = ["a b a b", "b a"]           # bigrams ab ba ab | ba; trigrams aba bab; unigrams 2 of 6
    assert [distinct_n(texts, n) for n in (1, 2, 3, 4)] == [2 / 6, 2 / 4, 1.0, 1.0]
    assert distinct_n(["a b"], 3) == 0.0


def test_distinct_n_counts_tokens_as_given():
    rng = random.Random(0)
    texts = [[rng.randrange(5) for _ in range(rng.randrange(12))] for _ in range(30)]
    for n in (1, 2, 3):
        grams = [tuple(text[i + k] for k in range(n)) for text in texts for i in range(len(text) - n + 1)]
        assert distinct_n(texts, n) == len(set(grams)) / len(grams)


def test_entropies_by_hand():
    texts = ["a a b b", "c c c c"]                   # pooled: 1/4, 1/4, 1/2; alone: ln 2 and 0
    assert unigram_entropy(texts) == pytest.approx(1.5 * math.log(2))
    assert sequence_entropy(texts) == pytest.approx(0.5 * math.log(2))
    assert unigram_entropy(["", ""]) == sequence_entropy([""]) == 0.0


def test_self_bleu_is_the_mean_of_sacrebleus_sentence_bleu():
    sacrebleu = pytest.importorskip("sacrebleu")
    rng = random.Random(1)
    pieces = ["the", "cat", "sat", "on", "a mat.", "it's"]
    texts = [" ".join(rng.choices(pieces, k=rng.randint(1, 14))) for _ in range(25)]
    texts += ["", "Alone, unlike  anything!"]
    equally_close = ["a b c d", "a b c", "a b c d e"]
    for group in (texts, equally_close):
        others = [group[:i] + group[i + 1:] for i in range(len(group))]
        each = [sacrebleu.sentence_bleu(text, rest).score for text, rest in zip(group, others, strict=True)]
        assert self_bleu(group) == pytest.approx(sum(each) / len(each), abs=1e-9)


def test_self_bleu_at_its_ends():
    assert self_bleu(["one two three four five"] * 3) == pytest.approx(100)
    assert self_bleu(["a b c d", "e f g h"]) == 0


def test_self_bleu_of_a_sample_is_fixed_by_its_seed():
    rng = random.Random(2)
    texts = [" ".join(rng.choices("abcdefg", k=8)) for _ in range(40)]
    assert self_bleu(texts, max_texts=10, seed=3) == self_bleu(random.Random(3).sample(texts, 10))
    assert self_bleu(texts, max_texts=10, seed=3) != self_bleu(texts, max_texts=10, seed=4)
    assert self_bleu(texts, max_texts=40) == self_bleu(texts)


@pytest.mark.parametrize("call, message", [
    (lambda: distinct_n([], 1), "at least 1"), (lambda: distinct_n(["a"], 0), "n=0"),
    (lambda: distinct_n("a b", 1), "one string"), (lambda: unigram_entropy([]), "at least 1"),
    (lambda: sequence_entropy([]), "at least 1"), (lambda: self_bleu(["a"]), "at least 2"),
    (lambda: self_bleu(["a", "b"], max_texts=1), "max_texts=1")])
def test_bad_calls_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
