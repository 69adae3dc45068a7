"""benchmarks/likelihood.py: one command trains what is missing, charges alike and keeps the other rows."""

import argparse
import json
import math
import os
import sys
from dataclasses import replace

import pytest

from textdiff.text.presets import PRESETS, Preset

SHAPE = {
    "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32,
    "max_position_embeddings": 24, "stagger": 0.3,
}  # fmt: skip


@pytest.fixture
def toy(monkeypatch, tmp_path):
    """A preset on a few sentences, known to the processes that train as well."""
    lines = [f"{who} {what} ." for who in ("the dog", "a cat", "my old aunt") for what in ("ran", "sat", "ate pie")]
    (tmp_path / "toy.txt").write_text("\n".join(lines * 20), encoding="utf-8")
    preset = Preset(
        name="toy", about="", sources={"toy.txt": 1.0}, tests={"toy": "toy.txt"}, tokenizer="word", model=SHAPE,
        conditional=False, batch_size=2, row_length=32, max_steps=2,
    )  # fmt: skip
    monkeypatch.setitem(PRESETS, "toy", preset)
    return tmp_path


def finish(folder, kind, seed, steps=2):
    """Train a contender in this process."""
    import importlib

    script = {"autoregressive": "autoregressive", "mdlm": "masked"}.get(kind)
    target = folder / "runs" / "toy" / f"{kind}-{seed}"
    line = ["--preset", "toy", "--data-dir", str(folder), "--output-dir", str(target), "--seed", str(seed)]
    if script:
        importlib.import_module(script).main(line)
    else:
        from scripts.train import main

        main([*line, "--use-cpu", *(["--recipe", "diffusion_lm"] if kind == "diffusion_lm" else [])])


def test_all_four_pay_for_the_same_texts(load, toy, capsys):
    likelihood = load("likelihood")
    kinds = ["textdiff", "autoregressive", "mdlm", "diffusion_lm"]
    for kind in kinds:
        finish(toy, kind, 0)
    target = toy / "table.json"
    other = {"preset": "else", "model": "mdlm", "corpus": "x"}
    target.write_text(json.dumps({"rows": [other], "certificates": {"else": {}}}))
    places = ["--data-dir", str(toy), "--runs", str(toy / "runs"), "--json", str(target)]
    likelihood.main(["--preset", "toy", "--seeds", "1", *places])
    written = json.loads(target.read_text())
    assert written["rows"][0] == other and set(written["certificates"]) == {"else", "toy"}
    rows = {r["model"]: r for r in written["rows"][1:]}
    assert list(rows) == kinds
    for r in rows.values():
        assert r["test_tokens"] == rows["mdlm"]["test_tokens"] and r["texts"] == 9
        assert r["ci95"][0] < r["nats_per_token"] < r["ci95"][1]
        assert r["perplexity"] == pytest.approx(math.exp(r["nats_per_token"]))
        assert r["ratio_to_autoregressive"] == pytest.approx(r["perplexity"] / rows["autoregressive"]["perplexity"])
        assert r["tokens_seen"] > 0 and r["seeds"] == 1 and r["seed_sd"] is None
    assert "| toy" in capsys.readouterr().out


def test_a_model_that_reads_in_order_is_charged_in_three(load, toy, monkeypatch):
    likelihood = load("likelihood")
    shape = {**SHAPE, "num_hidden_layers": 2, "reading_layers": 1, "stagger": 1.0}
    monkeypatch.setitem(PRESETS, "toy", replace(PRESETS["toy"], model=shape))
    for kind in ("textdiff", "autoregressive", "diffusion_lm"):
        finish(toy, kind, 0)
    namesake = json.loads((toy / "runs" / "toy" / "diffusion_lm-0" / "config.json").read_text())
    assert namesake["reading_layers"] == 0  # it regresses vectors: there is nothing to read in order
    target = toy / "table.json"
    places = ["--data-dir", str(toy), "--runs", str(toy / "runs"), "--json", str(target)]
    likelihood.main(["--preset", "toy", "--seeds", "1", "--models", "autoregressive", *places])
    likelihood.main(["--preset", "toy", "--seeds", "1", "--models", "textdiff", *places])
    rows = {r["model"]: r for r in json.loads(target.read_text())["rows"]}
    ours = ["textdiff", "textdiff, left to right", "textdiff, random order"]
    assert list(rows) == ["autoregressive", *ours]
    for r in rows.values():
        assert r["ratio_to_autoregressive"] == pytest.approx(r["perplexity"] / rows["autoregressive"]["perplexity"])
    blocks, random = (rows[name]["nats_per_token"] for name in ("textdiff", "textdiff, random order"))
    assert blocks == pytest.approx(random, rel=0.05)
    assert len({rows[name]["nats_per_token"] for name in ours}) > 1  # texts of four tokens are one block


def test_figures_of_seeds_are_means_and_their_spread(load, tmp_path):
    likelihood = load("likelihood")
    for seed in range(2):
        folder = tmp_path / "toy" / f"mdlm-{seed}"
        folder.mkdir(parents=True)
        (folder / "training.json").write_text(json.dumps({"parameters": 5, "tokens_seen": 7, "seconds": 60}))
    args = argparse.Namespace(runs=str(tmp_path), preset="toy")
    texts = [([1, 2], 8), ([3], 4), ([4, 5, 6], 12)]
    found = likelihood.row(args, "toy", "mdlm", texts, [[2.0, 1.0, 3.0], [6.0, 3.0, 9.0]], {"commit": "abc"})
    assert found["nats_per_token"] == pytest.approx(2.0) and found["seed_sd"] == pytest.approx(2**0.5)
    assert found["ci95"] == pytest.approx([2.0, 2.0])  # every text costs the same per token
    assert found["bits_per_byte"] == pytest.approx(2.0 * 6 / 24 / math.log(2))


def test_a_run_that_fails_is_named(load, tmp_path):
    load("likelihood")
    import rivals

    contender = rivals.Contender("mdlm", 0, tmp_path / "mdlm-0")
    with pytest.raises(ValueError, match=r"Training .*mdlm-0 failed \(.*Unknown preset 'none'"):
        rivals.train_all([contender], "none", "nowhere", 1, lambda: None)


@pytest.mark.parametrize(("said", "threads"), [("7", "7"), (None, str(max(1, (os.cpu_count() or 1) // 2)))])
def test_runs_have_the_threads_they_were_told_or_their_share(load, tmp_path, monkeypatch, said, threads):
    load("likelihood")
    import rivals

    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if said:
        monkeypatch.setenv("OMP_NUM_THREADS", said)
    show = [sys.executable, "-c", "import os; print(os.environ['OMP_NUM_THREADS'])"]
    monkeypatch.setattr(rivals.Contender, "command", lambda self, *_: show)
    rivals.train_all([rivals.Contender("mdlm", 0, tmp_path / "mdlm-0")], "none", "nowhere", 2, lambda: None)
    assert (tmp_path / "mdlm-0.log").read_text().strip() == threads


def test_finished_runs_are_not_trained_again(load, tmp_path, monkeypatch):
    load("likelihood")
    import rivals

    started, ticks = [], []
    nothing = [sys.executable, "-c", ""]
    monkeypatch.setattr(rivals.Contender, "command", lambda self, *_: started.append(self.seed) or nothing)
    finished, missing = (rivals.Contender("mdlm", seed, tmp_path / f"mdlm-{seed}") for seed in (0, 1))
    finished.folder.mkdir()
    (finished.folder / "training.json").write_text("{}")
    rivals.train_all([finished, missing], "none", "nowhere", 2, lambda: ticks.append(1))
    assert started == [1] and ticks == [1]


def test_charges_are_parted_by_corpus_and_kept_together(load):
    parted = load("likelihood").parted
    corpora = {"a": [([1], 1), ([2], 1)], "b": [([3], 1)]}
    assert parted(corpora, [0.5, 1.5, 2.5], together="all") == {"a": [0.5, 1.5], "b": [2.5], "all": [0.5, 1.5, 2.5]}
    assert parted({"a": corpora["a"]}, [0.5, 1.5], together="all") == {"a": [0.5, 1.5]}
