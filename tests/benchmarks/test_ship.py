"""From a run to a bundled model: weights, classifiers, and a card with the figures of its commands alone."""

import json
import shutil

import pytest
import torch

from textdiff.text.classifier import TextClassifier
from textdiff.text.language_model import DiffusionLM

CONTROL = {
    "success": 0.5, "success_strict": 0.25, "lm_score_nats": 1.5, "lm_score_perplexity": 4.5, "distinct_4": 0.75,
    "seconds_per_sample": 0.125, "denoiser_calls": 33.0,
}  # fmt: skip


@pytest.fixture
def finished(control_place, tmp_path):
    """A finished run with a classifier, facts and figures."""
    run = tmp_path / "run"
    shutil.copytree(control_place / "model", run)
    shutil.copytree(control_place / "classifier", run / "classifiers" / "content")
    (run / "classifiers" / "content" / "checkpoint-8").mkdir()
    for name, content in {"training.json": {"parameters": 2e6}, "curves.json": []}.items():
        (run / name).write_text(json.dumps(content))
    (run / "curves.png").write_bytes(b"")
    figures = {"pos": {**CONTROL, "uncontrolled": CONTROL, "baselines": {}, "certificate": {"seed": 3}}}
    (tmp_path / "control.json").write_text(json.dumps(figures))
    (tmp_path / "likelihood.json").write_text(json.dumps({"rows": [], "certificates": {}}))
    facts = {"name": "toy", "about": "Toy.", "commands": {"control": "python measure.py"}, "example": "A [MASK]."}
    (tmp_path / "facts.json").write_text(json.dumps(facts))
    return run


def test_what_is_shipped_is_the_run(load, finished, tmp_path):
    arguments = ["--run", finished, "--facts", tmp_path / "facts.json", "--figures", tmp_path, "--output"]
    load("ship").main([*map(str, arguments), str(tmp_path / "out")])
    run, shipped = (DiffusionLM.from_pretrained(folder) for folder in (finished, tmp_path / "out"))
    for (name, one), other in zip(run.denoiser.state_dict().items(), shipped.denoiser.state_dict().values()):
        torch.testing.assert_close(one, other, atol=0.0, rtol=0.0 if name.endswith("embedding.weight") else 2**-8)
    folder = tmp_path / "out" / "classifiers" / "content"
    assert {path.name for path in folder.iterdir()} == {"classifier.json", "classifier.safetensors"}
    TextClassifier.from_pretrained(folder, shipped.vocabulary)
    card = (tmp_path / "out" / "README.md").read_text()
    assert "2.0 M parameters" in card and "## Control" in card and "python measure.py" in card and "A [MASK]." in card
    assert "0.125" in card and "seed 3" in card and "Likelihood" not in card


def test_a_run_that_is_not_finished_is_refused(load, finished, tmp_path):
    (finished / "training.json").unlink()
    with pytest.raises(ValueError, match="no finished run"):
        load("ship").main(f"--run {finished} --facts {tmp_path}/facts.json --output {tmp_path}/out".split())
