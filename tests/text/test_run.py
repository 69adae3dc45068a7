"""Whole runs: two processes are one with twice the batch, and a killed run ends as an unbroken one."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.testing import assert_close

from scripts.train import main
from textdiff.text import training
from textdiff.text.data import PackedRows
from textdiff.text.model import DiffusionLMModel
from textdiff.text.presets import PRESETS
from textdiff.text.run import preset_data
from textdiff.text.tokenizer import load_tokenizer
from textdiff.training import averaging

STEPS = 6


def subjects():
    for who in ("dog", "cat", "boy", "girl", "bird", "old man"):
        for what in ("ran home", "saw the sea", "ate a pie", "slept all day", "sang a song", "found a ball"):
            yield f"The {who} {what}. It was a good day for the {who}."


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    path = tmp_path_factory.mktemp("corpus") / "texts.txt"
    path.write_text("\n".join(subjects()) + "\n", encoding="utf-8")
    return path


def command(corpus, folder, *more):
    return [
        "--train-files", str(corpus), "--output-dir", str(folder),
        "--max-steps", str(STEPS), "--batch-size", "8",
        "--save-steps", "2", "--eval-steps", "3", "--logging-steps", "1", "--no-bf16", "--use-cpu", *more,
    ]  # fmt: skip


# Slow steps give the signal time to arrive in the middle.
CHILD = """
import sys, time
from scripts.train import main
from textdiff.text.training import DiffusionTrainer
pause, arguments = float(sys.argv[1]), sys.argv[2:]
step = DiffusionTrainer.training_step
DiffusionTrainer.training_step = lambda self, *a, **k: (time.sleep(pause), step(self, *a, **k))[1]
main(arguments)
"""


def start(tmp_path, launcher, pause, arguments):
    script = tmp_path / "child.py"
    script.write_text(CHILD)
    root = Path(__file__).resolve().parents[2]
    return subprocess.Popen(
        [sys.executable, *launcher, str(script), str(pause), *arguments],
        cwd=root, env={**os.environ, "PYTHONPATH": str(root)}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


@pytest.fixture(scope="module")
def unbroken(corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("unbroken")
    main(command(corpus, folder))
    return folder


def losses(folder):
    """(step, loss) and every term of the curve, training and validation."""
    clock = ("runtime", "per_second", "epoch", "train_loss", "flos")
    return [
        {k: v for k, v in row.items() if not any(word in k for word in clock)} for row in read(folder, "curves.json")
    ]


def read(folder, name):
    return json.loads((folder / name).read_text(encoding="utf-8"))


def assert_same_run(folder, wanted, *, tolerance):
    ours, theirs = losses(folder), losses(wanted)
    assert [row["step"] for row in ours] == [row["step"] for row in theirs]
    assert len([row for row in ours if "loss" in row]) == STEPS
    for mine, other in zip(ours, theirs, strict=True):
        assert mine == pytest.approx(other, rel=tolerance, abs=tolerance)
    assert_close(
        load_file(folder / "model.safetensors"),
        load_file(wanted / "model.safetensors"),
        rtol=10 * tolerance,
        atol=10 * tolerance,  # Muon's products are bfloat16: sums in another order show
    )
    assert read(folder, "noise_levels.json")["squares"] == pytest.approx(
        read(wanted, "noise_levels.json")["squares"], rel=10 * tolerance
    )


def test_a_run_leaves_a_model_its_curves_and_its_facts(unbroken, corpus):
    names = {path.name for path in unbroken.iterdir()}
    assert {
        "config.json",
        "model.safetensors",
        "scheduler_config.json",
        "tokenizer.json",
        "curves.json",
        "curves.png",
    } <= names
    assert not [name for name in names if name.endswith(".part")]
    model = DiffusionLMModel.from_pretrained(unbroken)
    average = load_file(unbroken / f"checkpoint-{STEPS}" / "ema.safetensors")
    assert all(torch.equal(average[name], value) for name, value in model.state_dict().items())
    assert model.config.vocab_size == len(read(unbroken, "tokenizer.json")["model"]["vocab"])
    facts = read(unbroken, "training.json")
    assert facts["parameters"] == model.num_parameters() and facts["preset"]["max_steps"] == STEPS
    assert facts["validation"]["eval_loss"] > 0
    assert facts["seconds"] >= 0 and facts["preset"]["batch_size"] == 8
    preset = replace(PRESETS["tiny"], sources={corpus.name: 1.0})
    data = preset_data(preset, unbroken, data_dir=str(corpus.parent), seed=0)  # what a rival would train on
    lengths = [len(piece) for piece in data.train]
    assert model.config.length_counts == [lengths.count(n) for n in range(max(lengths) + 1)]
    assert data.tokenizer.to_str() == load_tokenizer(unbroken).to_str()
    rows = PackedRows(data.train, preset.row_length, total=None)
    assert facts["tokens_seen"] == round(STEPS * 8 * sum(lengths) / len(rows))
    assert len(list(unbroken.glob("checkpoint-*"))) == 2


def test_accumulated_parts_are_the_whole_batch(unbroken, corpus, tmp_path):
    main(command(corpus, tmp_path / "run", "--gradient-accumulation-steps", "2"))
    assert_same_run(tmp_path / "run", unbroken, tolerance=1e-4)


def test_another_seed_is_another_run(unbroken, corpus, tmp_path):
    main(command(corpus, tmp_path / "run", "--seed", "1"))
    with pytest.raises(AssertionError):
        assert_same_run(tmp_path / "run", unbroken, tolerance=1e-4)


def test_two_processes_are_one_with_twice_the_batch(unbroken, corpus, tmp_path):
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")
    child = start(tmp_path, launcher, 0, command(corpus, tmp_path / "run"))
    text, _ = child.communicate(timeout=500)
    assert child.returncode == 0, text[-3000:]
    assert_same_run(tmp_path / "run", unbroken, tolerance=1e-4)
    assert (tmp_path / "run" / f"checkpoint-{STEPS}" / "rng_state_1.pth").is_file()


def test_a_killed_run_goes_on_and_ends_as_an_unbroken_one(unbroken, corpus, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    child = start(tmp_path, (), 0.5, command(corpus, folder))
    deadline = time.monotonic() + 400
    while not (folder / "checkpoint-2" / training.EMA_FILE).is_file():
        assert child.poll() is None and time.monotonic() < deadline, child.stdout.read()[-3000:]
        time.sleep(0.02)
    time.sleep(0.3)  # into the third step
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert child.returncode == -signal.SIGKILL
    assert not (folder / "model.safetensors").exists()
    assert training.latest_checkpoint(folder).name == "checkpoint-2"

    seen = []
    compute = training.DiffusionTrainer.compute_loss

    def watch(self, model, inputs, *args, **kwargs):
        if model.training:
            seen.extend(inputs["sample_index"].tolist())
        return compute(self, model, inputs, *args, **kwargs)

    monkeypatch.setattr(training.DiffusionTrainer, "compute_loss", watch)
    main(command(corpus, folder))
    assert seen == list(range(2 * 8, STEPS * 8))
    assert_same_run(folder, unbroken, tolerance=1e-5)


def test_a_half_written_checkpoint_is_passed_over(unbroken, corpus, tmp_path):
    folder = tmp_path / "run"
    main(command(corpus, folder))
    newest = folder / f"checkpoint-{STEPS}" / training.EMA_FILE
    newest.write_bytes(newest.read_bytes()[:-100])
    (folder / "model.safetensors").unlink()
    main(command(corpus, folder))
    assert_same_run(folder, unbroken, tolerance=1e-5)
    assert training.latest_checkpoint(folder).name == f"checkpoint-{STEPS}"


def test_a_finished_run_stays_as_it_is(unbroken, corpus):
    before = load_file(unbroken / "model.safetensors"), losses(unbroken)
    main(command(corpus, unbroken))
    assert_close(load_file(unbroken / "model.safetensors"), before[0], rtol=0, atol=0)
    assert [row for row in losses(unbroken) if "loss" in row] == [row for row in before[1] if "loss" in row]


@pytest.mark.parametrize(
    ("more", "named"),
    [
        (("--seed", "5"), "seed"),
        (("--learning-rate", "1e-4"), "learning_rate"),
        (("--max-steps", "9"), "max_steps"),
    ],
)
def test_another_command_in_the_same_folder_is_refused(unbroken, corpus, more, named):
    before = read(unbroken, "run.json")
    with pytest.raises(ValueError, match=rf"holds a run with other settings \({named}\): repeat its command"):
        main([*command(corpus, unbroken), *more])
    assert read(unbroken, "run.json") == before


def test_a_model_of_somebody_else_is_not_overwritten(corpus, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ValueError, match="holds a model that no run of this script made"):
        main(command(corpus, tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


def test_a_tokenizer_of_a_command_that_never_saved_is_not_taken_over(corpus, tmp_path, monkeypatch):
    folder, others = tmp_path / "run", tmp_path / "others.txt"
    others.write_text("Zebras zigzag.\nQuick quokkas quarrel.\n" * 9, encoding="utf-8")

    def stopped(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(training.DiffusionTrainer, "train", stopped)
    vocabularies = []
    for texts in (others, others, corpus):
        with pytest.raises(KeyboardInterrupt):
            main(command(texts, folder))
        vocabularies.append(read(folder, "tokenizer.json")["model"]["vocab"])
    assert vocabularies[0] == vocabularies[1] != vocabularies[2]


def no_room(*_, **__):
    raise OSError(28, "No space left on device")


def test_a_full_disk_stops_with_a_sentence_and_the_run_goes_on_later(unbroken, corpus, tmp_path, monkeypatch):
    folder, save = tmp_path / "run", averaging.save_model
    monkeypatch.setattr(
        averaging, "save_model", lambda model, path: (no_room if "checkpoint-4" in path else save)(model, path)
    )
    with pytest.raises(OSError, match="Cannot write .*No space left on device.*make room on the disk"):
        main(command(corpus, folder))
    assert training.latest_checkpoint(folder).name == "checkpoint-2"
    monkeypatch.undo()
    main(command(corpus, folder))
    assert_same_run(folder, unbroken, tolerance=1e-5)


def test_a_full_disk_at_the_very_end_loses_nothing(unbroken, corpus, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    monkeypatch.setattr("textdiff.text.run.write_curves", no_room)
    with pytest.raises(OSError, match="make room on the disk"):
        main(command(corpus, folder))
    monkeypatch.undo()
    main(command(corpus, folder))
    assert_same_run(folder, unbroken, tolerance=1e-5)
