"""The packaged `evaluate` modules: loaded from their folders without network, alone and combined."""

import ast
import math
import subprocess
import sys
from pathlib import Path

import pytest

from textdiff.metrics import NAMES, path

TEXTS = ["the cat sat on the mat", "a dog ran to the sea"]
REFERENCES = [["the cat sat on a mat", "it sat"], ["a dog ran to the sea"]]
TRAINING = ["yesterday a dog ran to the shop", "the cat sat"]


class FixedJudge:
    """Charges ln 2 for each character."""

    name = "fixed"

    def nll(self, texts, batch_size):
        return [(len(text) * math.log(2), len(text)) for text in texts]


@pytest.fixture
def judge(monkeypatch):
    """Replaces the loading of a judge; the names that were asked for."""
    calls = []

    def from_pretrained(name):
        calls.append(name)
        return FixedJudge()

    monkeypatch.setattr("textdiff.metrics.judge.Judge.from_pretrained", from_pretrained)
    return calls


def test_mmd(load):
    metric = load("mmd", others=["the cat sat", "the dog ran", "a bird"])
    assert metric.module_type == "measurement" and metric.name == "textdiff_mmd"
    assert metric.compute(predictions=["zzz qqq", "zzz qqq"])["mmd"] > 0.3
    with pytest.raises(ValueError, match="needs others="):
        load("mmd").compute(predictions=TEXTS)


def test_bleu(load):
    metric = load("bleu")
    assert metric.module_type == "metric" and metric.name == "textdiff_bleu"
    result = metric.compute(predictions=TEXTS, references=[refs[0] for refs in REFERENCES])
    assert result["bleu_signature"].startswith("nrefs:1|case:mixed") and 0 < result["bleu"] < 100
    upper = metric.compute(predictions=["A DOG RAN TO"], references=[["a dog ran to", "a"]], lowercase=True)
    assert upper["bleu"] == pytest.approx(100)


def test_chrf(load):
    metric = load("chrf")
    assert metric.module_type == "metric" and metric.name == "textdiff_chrf"
    result = metric.compute(predictions=TEXTS, references=REFERENCES)
    assert result["chrf_signature"].startswith("nrefs:var|case:mixed") and 0 < result["chrf"] < 100
    plus = load("chrf", word_order=2).compute(predictions=TEXTS[1:], references=REFERENCES[1:])
    assert plus["chrf"] == pytest.approx(100) and "nw:2" in plus["chrf_signature"]


def test_rouge_l(load):
    pytest.importorskip("rouge_score")
    result = load("rouge_l").compute(predictions=TEXTS, references=REFERENCES)
    assert result == {"rouge_l": pytest.approx((10 / 12 + 1) / 2)}


def test_measurements_want_no_references(load):
    metric = load("distinct_n")
    assert metric.module_type == "measurement"
    assert metric.compute(predictions=["a b a b"]) == pytest.approx(
        {"distinct_1": 2 / 4, "distinct_2": 2 / 3, "distinct_3": 1.0, "distinct_4": 1.0})
    assert load("unigram_entropy").compute(predictions=["a a", "b b"]) == pytest.approx(
        {"unigram_entropy": math.log(2), "sequence_entropy": 0.0})
    same = load("self_bleu").compute(predictions=["a b c d"] * 3, max_texts=2)
    assert same == pytest.approx({"self_bleu": 100})


def test_longest_copy_of_a_list_and_of_a_file(load, tmp_path):
    expected = {"longest_copy": 5, "mean_longest_copy": 4.0, "longest_copy_text": "a dog ran to the"}
    assert load("longest_copy").compute(predictions=TEXTS, training=TRAINING) == expected
    file = tmp_path / "train.txt"
    file.write_text("\n\n".join(TRAINING), encoding="utf-8")
    assert load("longest_copy", training=str(file)).compute(predictions=TEXTS) == expected
    with pytest.raises(ValueError, match="needs training="):
        load("longest_copy").compute(predictions=TEXTS)


def test_perplexity_loads_a_named_judge_once(load, judge):
    metric = load("perplexity", judge="some/folder")
    results = [metric.compute(predictions=["abc", "d"]) for _ in range(2)]
    assert judge == ["some/folder"] and results[0] == results[1]
    assert results[0] == {"perplexity": pytest.approx(2), "nats_per_token": pytest.approx(math.log(2)),
                          "perplexity_per_byte": pytest.approx(2), "bits_per_byte": pytest.approx(1),
                          "nats": pytest.approx(4 * math.log(2)), "tokens": 4, "bytes": 4, "judge": "fixed"}
    with pytest.raises(ValueError, match="needs judge="):
        load("perplexity").compute(predictions=["a"])


def test_all_combined(load, judge):
    import evaluate
    pytest.importorskip("rouge_score")
    options = {"longest_copy": {"training": TRAINING}, "perplexity": {"judge": "x"},
               "bleu": {"lowercase": True}, "mmd": {"others": TRAINING}}
    modules = [load(name, **options.get(name, {})) for name in NAMES]
    together = evaluate.combine(modules).compute(predictions=TEXTS, references=REFERENCES)
    apart = {}
    for module in modules:
        references = {"references": REFERENCES} if "references" in module._feature_names() else {}
        apart |= module.compute(predictions=TEXTS, **references)
    assert together == apart and "case:lc" in together["bleu_signature"]


@pytest.mark.parametrize("name", NAMES)
def test_no_texts_are_refused_in_one_sentence(load, name):
    with pytest.raises(ValueError, match="got no predictions: give at least one text"):
        load(name).compute(predictions=[], references=[])


def test_one_string_and_unknown_options_are_refused(load):
    with pytest.raises(ValueError, match="predictions is one string"):
        load("distinct_n").compute(predictions="the cat")
    with pytest.raises(TypeError, match="no option 'case'; its options: lowercase, tokenize"):
        load("bleu", case=True)
    with pytest.raises(ValueError, match="There is no metric 'rouge'"):
        path("rouge")


def test_texts_may_be_added_in_batches(load):
    metric = load("unigram_entropy")
    metric.add_batch(predictions=["a a"])
    metric.add(prediction="b b")
    assert metric.compute()["unigram_entropy"] == pytest.approx(math.log(2))


def test_scripts_survive_the_loaders_reading_of_imports():
    """The loader reads `import a, b` as the package 'a,': one module in each import statement."""
    for name in NAMES:
        tree = ast.parse((Path(path(name)) / f"{name}.py").read_text(encoding="utf-8"))
        assert all(len(node.names) == 1 for node in ast.walk(tree) if isinstance(node, ast.Import))


def test_the_maths_imports_neither_evaluate_nor_torch():
    code = ("import sys, textdiff.metrics.diversity, textdiff.metrics.overlap, textdiff.metrics.copying,"
            "textdiff.metrics.likelihood\n"
            "print({'evaluate', 'torch', 'datasets', 'sacrebleu', 'rouge_score'} & set(sys.modules))")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stderr
