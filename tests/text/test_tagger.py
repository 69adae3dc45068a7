"""The tagger: its loss by closed form, and a toy language in which context and endings decide."""

import itertools
import random

import pytest
import torch
from torch.nn import functional as F

from textdiff.text.penn_tags import UNIVERSAL_TAGS
from textdiff.text.tagger import Tagger
from textdiff.text.words import EncoderShape, frequent_words, stack

SMALL = EncoderShape(hidden=32, layers=2, heads=2, intermediate=64, buckets=256, dropout=0.0)
ANYTHING = frozenset(UNIVERSAL_TAGS)


def only(*tags: str) -> list[frozenset[str]]:
    return [frozenset((tag,)) for tag in tags]


@pytest.fixture
def untrained() -> Tagger:
    torch.manual_seed(0)
    return Tagger(SMALL, ["dog"]).eval()


def test_one_tag_a_word_is_cross_entropy(untrained: Tagger) -> None:
    tags = [["DET", "NOUN", "VERB"], ["X"]]
    sentences = [["the", "dog", "ran"], ["etc"]]
    rows = [(untrained.features(s), untrained.target(only(*t))) for s, t in zip(sentences, tags)]
    batch = untrained.collate(rows)
    logits = untrained.logits(batch["features"], batch["segments"])
    flat = torch.cat([logits[0], logits[1, :1]])
    gold = torch.tensor([UNIVERSAL_TAGS.index(tag) for tag in itertools.chain(*tags)])
    assert torch.allclose(untrained(**batch)["loss"], F.cross_entropy(flat, gold))


@pytest.mark.parametrize("allowed", [{"NOUN"}, {"PRON", "DET"}, {"NOUN", "PROPN", "X"}, ANYTHING])
def test_several_tags_cost_what_is_outside_of_them(untrained: Tagger, allowed: set[str]) -> None:
    row = untrained.features(["that", "dog"])
    batch = untrained.collate([(row, untrained.target([frozenset(allowed), ANYTHING]))])
    probabilities = untrained.logits(*stack([row]))[0, 0].softmax(-1)
    inside = sum(probabilities[UNIVERSAL_TAGS.index(tag)] for tag in allowed)
    assert untrained(**batch)["loss"].item() == pytest.approx(-torch.log(inside).item() / 2, abs=1e-6)


def sentence(rng: random.Random) -> tuple[list[str], list[str]]:
    """A clause of a toy language: fish, run and walk are what stands before them; names have capitals."""
    either = rng.choice(["fish", "run", "walk"])
    return rng.choice([
        (["the", either, "ended"], ["DET", "NOUN", "VERB"]),
        (["they", either, "."], ["PRON", "VERB", "PUNCT"]),
        (["that", either, "ended"], ["DET", "NOUN", "VERB"]),
        (["that", "ended", "."], ["PRON", "VERB", "PUNCT"]),
        ([rng.choice(["Ann", "Bob", "Eve"]), "ended", "the", either], ["PROPN", "VERB", "DET", "NOUN"]),
    ])  # fmt: skip


def test_a_toy_language_is_learned_from_sentences_most_of_which_allow_several_tags() -> None:
    rng = random.Random(0)
    clauses = [sentence(rng) for _ in range(200)]
    torch.manual_seed(0)
    tagger = Tagger(SMALL, frequent_words([words for words, _ in clauses], 20))
    vague = {"that": frozenset(("DET", "PRON")), "fish": frozenset(("NOUN", "VERB"))}
    rows = [
        (tagger.features(words), tagger.target(
            [(vague if k % 4 else {}).get(word, frozenset((tag,))) for word, tag in zip(words, tags)]
        ))
        for k, (words, tags) in enumerate(clauses)
    ]  # fmt: skip
    optimizer = torch.optim.AdamW(tagger.parameters(), lr=1e-2)
    for step in range(40):
        optimizer.zero_grad()
        tagger(**tagger.collate(rows[step * 16 % 192 :][:16]))["loss"].backward()
        optimizer.step()
    tagger.eval()
    found = tagger.tag([words for words, _ in clauses])
    assert found == [tags for _, tags in clauses]
    assert tagger.tag([["Zoe", "ended", "."], [], ["they", "fish", "."]]) == [
        ["PROPN", "VERB", "PUNCT"],
        [],
        ["PRON", "VERB", "PUNCT"],
    ]


def test_tags_do_not_depend_on_company(untrained: Tagger) -> None:
    sentences = [["a"] * n for n in (3, 1, 7, 0, 2)] + [["the", "dog", "ran"]]
    assert untrained.tag(sentences) == [untrained.tag([words])[0] for words in sentences]
    assert untrained.tag([]) == []


def test_a_string_is_refused(untrained: Tagger) -> None:
    with pytest.raises(ValueError, match="split it first"):
        untrained.tag(["the dog ran"])
