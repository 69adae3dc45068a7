"""The parser: CKY against all binary trees, its loss by closed form, and a toy grammar learned."""

import itertools
import random
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from textdiff.text.parser import NOWHERE, Parser, all_spans, best_tree
from textdiff.text.trees import Tree, check_spans, corpus_labelled_f1, read_trees
from textdiff.text.words import EncoderShape, frequent_words

SMALL = EncoderShape(hidden=32, layers=2, heads=2, intermediate=64, buckets=256, dropout=0.0)
LABELS = ["NP", "PP", "S", "VP"]


def binary_trees(i: int, j: int) -> Iterator[frozenset[tuple[int, int]]]:
    """Every binary tree over the words i to j - 1, as its spans."""
    if j - i == 1:
        yield frozenset({(i, j)})
    for k in range(i + 1, j):
        for left, right in itertools.product(binary_trees(i, k), binary_trees(k, j)):
            yield left | right | {(i, j)}


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 6])
def test_cky_finds_the_best_of_all_trees(length: int) -> None:
    trees = list(binary_trees(0, length))
    assert len(trees) == [1, 1, 2, 5, 14, 42][length - 1]
    for seed in range(20):
        scores = np.random.default_rng(seed).normal(size=(length + 1, length + 1))
        found = best_tree(scores)
        best = max(trees, key=lambda tree: sum(scores[span] for span in tree))
        assert set(found) == best and len(found) == 2 * length - 1


def test_cky_follows_a_tree_that_is_told() -> None:
    scores = np.zeros((6, 6))
    for span in [(0, 5), (0, 2), (2, 5), (3, 5)]:
        scores[span] = 1.0
    assert {(0, 5), (0, 2), (2, 5), (3, 5)} <= set(best_tree(scores))
    assert best_tree(np.zeros((1, 1))) == []


@pytest.fixture
def untrained() -> Parser:
    torch.manual_seed(0)
    return Parser(SMALL, ["dog"], LABELS).eval()


def test_the_loss_is_cross_entropy_with_a_zero_for_no_constituent(untrained: Parser) -> None:
    spans = frozenset({(0, 3, "S"), (0, 2, "NP"), (1, 2, "WHNP")})  # a label that it does not know is none
    rows = [(untrained.features(["the", "dog", "ran"]), untrained.target(spans)),
            (untrained.features(["yes"]), untrained.target(frozenset()))]  # fmt: skip
    batch = untrained.collate(rows)
    assert batch["targets"][0].tolist() == [
        [NOWHERE, 0, 1, 3], [NOWHERE, NOWHERE, 0, 0], [NOWHERE, NOWHERE, NOWHERE, 0], [NOWHERE] * 4,
    ]  # fmt: skip
    assert (batch["targets"][1] != NOWHERE).nonzero().tolist() == [[0, 1]]
    row = torch.tensor([0] * 6 + [1])
    start, end = (torch.tensor([*all_spans(3)[k], *all_spans(1)[k]]) for k in (0, 1))
    scores = untrained.label_scores(batch["features"], batch["segments"], (row, start, end))
    logits = torch.cat([torch.zeros(7, 1), scores], dim=1)
    wanted = F.cross_entropy(logits, torch.tensor([0, 1, 3, 0, 0, 0, 0]), reduction="sum") / 4
    assert torch.allclose(untrained(**batch)["loss"], wanted)


def test_scores_are_of_the_words_inside_and_around(untrained: Parser) -> None:
    features = torch.from_numpy(untrained.features(["the", "dog", "ran"]))[None]
    segments = torch.ones(1, 5, dtype=torch.long)
    one = torch.tensor([0]), torch.tensor([1]), torch.tensor([2])
    before = untrained.label_scores(features, segments, one)
    features[0, 2] = torch.from_numpy(untrained.features(["cat"]))[1]
    assert not torch.allclose(before, untrained.label_scores(features, segments, one), atol=1e-4)


def phrase(rng: random.Random, depth: int = 0) -> str:
    """A noun phrase of a toy grammar; "of" belongs to the noun before it."""
    noun = f"(NP (DT {rng.choice(['the', 'a'])}) (NN {rng.choice(['dog', 'cat', 'hat', 'mat'])}))"
    return f"(NP {noun} (PP (IN of) {phrase(rng, depth + 1)}))" if rng.random() < 0.4 and depth < 2 else noun


def grown(rng: random.Random) -> Tree:
    """A sentence of the toy grammar; "with" belongs to the verb."""
    verb, inner = rng.choice(["saw", "fed", "hid"]), phrase(rng)
    rest = f" (PP (IN with) {phrase(rng)})" if rng.random() < 0.4 else ""
    return read_trees(f"(TOP (S {phrase(rng)} (VP (VBD {verb}) {inner}{rest}) (. .)))")[0]


def test_a_toy_grammar_is_learned() -> None:
    rng = random.Random(0)
    trees = [grown(rng) for _ in range(120)]
    fresh = [tree for tree in (grown(rng) for _ in range(60)) if tree not in trees]
    assert len(fresh) > 30
    torch.manual_seed(0)
    parser = Parser(SMALL, frequent_words([tree.words for tree in trees], 20), LABELS)
    rows = [(parser.features(tree.words), parser.target(tree.spans)) for tree in trees]
    optimizer = torch.optim.AdamW(parser.parameters(), lr=1e-2)
    for step in range(80):
        optimizer.zero_grad()
        parser(**parser.collate(rows[step * 16 % 112 :][:16]))["loss"].backward()
        optimizer.step()
    parser.eval()
    found = parser.parse([tree.words for tree in fresh])
    assert corpus_labelled_f1([tree.spans for tree in fresh], found) > 0.97


def test_what_comes_out_is_always_a_tree(untrained: Parser) -> None:
    for parameter in untrained.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    rng = random.Random(1)
    sentences = [[rng.choice("abcdefg") for _ in range(n)] for n in (12, 1, 0, 5, 30, 5, 2)]
    found = untrained.parse(sentences)
    assert sum(map(len, found)) > 20
    for words, spans in zip(sentences, found):
        check_spans(spans, len(words))
    assert found == [untrained.parse([words])[0] for words in sentences]


def test_a_string_is_refused(untrained: Parser) -> None:
    with pytest.raises(ValueError, match="split it first"):
        untrained.parse(["the dog ran"])
