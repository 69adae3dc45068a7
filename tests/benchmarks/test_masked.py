"""benchmarks/masked.py from end to end on three sentences."""

import importlib
import json
import math
import shutil

import pytest
import torch
from safetensors.torch import load_file

from textdiff.text.presets import PRESETS, Preset

SHAPE = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32,
    "max_position_embeddings": 24,
}  # fmt: skip
SENTENCES = ["The little dog ran home.", "A cat sat on the mat, and it was happy.", "We saw the big red sun."]


@pytest.fixture(scope="module")
def rival(root):
    """benchmarks/masked.py, from its own folder as scripts import it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(root / "benchmarks"))
        yield importlib.import_module("masked")


@pytest.fixture(scope="module")
def read_masked(rival):
    return importlib.import_module("masked_model").read_masked


@pytest.fixture
def toy(monkeypatch, tmp_path):
    """A preset on a file of three sentences, and the arguments that train it."""
    lines = [f"{sentence} {i}" for i in range(40) for sentence in SENTENCES]
    (tmp_path / "toy.txt").write_text("\n".join(lines), encoding="utf-8")
    preset = Preset(
        name="toy", about="", sources={"toy.txt": 1.0}, vocab_size=300, model=SHAPE,
        batch_size=4, row_length=32, max_steps=4,
    )  # fmt: skip
    monkeypatch.setitem(PRESETS, "toy", preset)
    monkeypatch.setattr("textdiff.text.run.VALIDATION_ROWS", 8)
    return f"--preset toy --data-dir {tmp_path} --save-steps 2 --output-dir".split()


def test_a_run_leaves_a_model_and_a_stopped_one_ends_alike(rival, read_masked, toy, tmp_path):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    rival.main([*toy, str(whole)])
    model, vocabulary = read_masked(whole)
    assert vocabulary.decode(vocabulary.encode(SENTENCES[0])) == SENTENCES[0]
    assert sum(model.config.length_counts) > 100 and model.config.length_counts[0] == 0
    facts = json.loads((whole / "training.json").read_text())
    assert facts["parameters"] == model.num_parameters()
    assert facts["validation"]["eval_loss"] == pytest.approx(math.log(300), rel=0.2)  # barely trained
    assert (whole / "curves.png").is_file()
    stopped.mkdir()
    for name in ("run.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(whole / name, stopped)
    shutil.copytree(whole / "checkpoint-2", stopped / "checkpoint-2")
    (stopped / "checkpoint-3").mkdir()  # cut short
    rival.main([*toy, str(stopped)])
    ends = [load_file(folder / "model.safetensors") for folder in (whole, stopped)]
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--preset nothing", "Unknown preset 'nothing'"),
        ("--preset tiny", "Preset 'tiny' has no data of its own"),
        ("--preset e2e --data-dir nowhere", "where it is not"),
        ("--preset toy --max-steps 0", "--max-steps is 0"),
        ("--preset toy --save-steps -1", "--save-steps is -1"),
        ("--preset toy --seed -1", "--seed is -1"),
    ],
)
def test_what_the_script_refuses(rival, toy, tmp_path, line, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        rival.main([*line.split(), "--output-dir", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


def test_it_leaves_other_runs_and_files_alone(rival, read_masked, toy, tmp_path):
    out = tmp_path / "out"
    out.write_text("")
    with pytest.raises(ValueError, match="is a file: name a folder"):
        rival.main([*toy, str(out)])
    out.unlink()
    out.mkdir()
    (out / "config.json").write_text('{"model_type": "textdiff"}')
    with pytest.raises(ValueError, match="holds a run with other settings"):
        rival.main([*toy, str(out)])
    with pytest.raises(ValueError, match="holds no masked-diffusion model"):
        read_masked(out)
