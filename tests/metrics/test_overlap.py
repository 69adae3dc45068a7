"""BLEU, chrF and ROUGE-L against values by hand and the E2E challenge's published score."""

import math
from pathlib import Path

import pytest

from textdiff.metrics.overlap import bleu, chrf, rouge_l

EXAMPLE = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "e2e" / "metrics_example"


def test_bleu_of_mteval_13a_with_many_references():
    if not EXAMPLE.is_dir():
        pytest.skip("the E2E metrics example is not in ../shared/data")
    texts = (EXAMPLE / "baseline-output.txt").read_text(encoding="utf-8").strip().split("\n")
    blocks = (EXAMPLE / "devel-conc.txt").read_text(encoding="utf-8").strip().split("\n\n")
    score, signature = bleu(texts, [block.split("\n") for block in blocks], lowercase=True)
    assert score == pytest.approx(72.02928494, abs=1e-8)
    assert "case:lc" in signature and "tok:13a" in signature


def test_bleu_by_hand():
    # precisions 5/6, 4/5, 3/4, 2/3; one word short of the reference's seven: exp(1 - 7/6)
    score = bleu(["x a b c d e"], ["a b c d e f g"]).score
    assert score == pytest.approx(100 * math.exp(1 - 7 / 6) * (5 / 6 * 4 / 5 * 3 / 4 * 2 / 3) ** 0.25)
    assert bleu(["a b c d"], [["nothing alike", "a b c d"]]).score == pytest.approx(100)


def test_bleu_sees_case_unless_told_otherwise():
    assert bleu(["A B C D"], ["a b c d"]).score == 0
    assert bleu(["A B C D"], ["a b c d"], lowercase=True).score == pytest.approx(100)


def test_chrf_by_hand():
    # precision and recall are alike: 2/3 of the letters, 1/2 of the pairs, no triple; there are no longer ones
    assert chrf(["abc"], ["abd"]).score == pytest.approx(100 * (2 / 3 + 1 / 2 + 0) / 3)
    score, signature = chrf(["a b", "c d"], [["x", "a b"], ["c d"]])
    assert score == pytest.approx(100) and signature.startswith("nrefs:var|case:mixed") and "nc:6|nw:0" in signature
    assert "nw:2" in chrf(["a"], ["a"], word_order=2).signature
    for texts, references, options, message in [
        ([], [], {}, "no texts"), (["a"], ["a", "b"], {}, "references for 2"), (["a"], [[]], {}, "has no reference"),
        (["a"], ["a"], {"word_order": -1}, "word_order=-1"),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=message):
            chrf(texts, references, **options)


def lcs(a, b):
    """Length of the longest common subsequence, straight from the recurrence."""
    table = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            table[i + 1][j + 1] = table[i][j] + 1 if x == y else max(table[i][j + 1], table[i + 1][j])
    return table[-1][-1]


def test_rouge_l_is_the_f1_of_the_longest_common_subsequence():
    pytest.importorskip("rouge_score")
    assert rouge_l(["The cat, sat!"], ["a cat has sat"]) == pytest.approx(2 * 2 / (3 + 4))
    texts, references = ["a b c d e f", "b a c"], ["f b d a e", "a b c c"]
    each = [2 * lcs(t.split(), r.split()) / (len(t.split()) + len(r.split()))
            for t, r in zip(texts, references, strict=True)]
    assert rouge_l(texts, references) == pytest.approx(sum(each) / 2)
    assert rouge_l(["a b"], [["c", "a b", "a"]]) == 1


@pytest.mark.parametrize("metric", [bleu, rouge_l])
@pytest.mark.parametrize("texts, references, message", [
    ([], [], "no texts"), (["a"], ["a", "b"], "1 texts and references for 2"), ("a", "a", "one string"),
    (["a", "b"], [["a"], []], "Text 1 has no reference")])
def test_bad_calls_are_refused(metric, texts, references, message):
    pytest.importorskip("rouge_score")
    with pytest.raises(ValueError, match=message):
        metric(texts, references)
