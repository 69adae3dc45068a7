"""scripts/distill.py: rounds that halve the steps, taken up where they stopped; refusals of one sentence."""

import argparse
import json

import pytest
import torch
from safetensors.torch import load_file
from torch.testing import assert_close

from scripts.distill import find_sources, main, parse_args, round_steps
from textdiff.cli import run
from textdiff.text import training
from textdiff.text.distillation import Distillation
from textdiff.text.language_model import DiffusionLM
from textdiff.text.model import DiffusionLMModel
from textdiff.text.presets import PRESETS

TEXT = "The dog ran home.\nThe cat slept.\nA bird sang.\nThe sun is red.\n" * 6


@pytest.fixture(scope="module")
def teacher(tmp_path_factory, untrained):
    """A tiny model that has its own mind: random weights where training starts from zeros."""
    folder = tmp_path_factory.mktemp("teacher")
    model = DiffusionLM.from_pretrained(untrained)
    source = torch.Generator().manual_seed(0)
    for parameter in model.denoiser.parameters():
        parameter.data += 0.2 * torch.randn(parameter.shape, generator=source)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    path = tmp_path_factory.mktemp("texts") / "texts.txt"
    path.write_text(TEXT, encoding="utf-8")
    return path


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Few validation rows."""
    monkeypatch.setattr("textdiff.text.run.VALIDATION_ROWS", 8)


def command(teacher, texts, folder, *more):
    return [
        "--model", str(teacher), "--train-files", str(texts), "--output-dir", str(folder),
        "--from-steps", "4", "--to-steps", "1", "--steps-per-round", "4", "--batch-size", "4",
        "--temperature", "0.9",
        "--save-steps", "2", "--eval-steps", "4", "--logging-steps", "2", "--no-bf16", "--use-cpu", *more,
    ]  # fmt: skip


@pytest.fixture(scope="module")
def watched(teacher, texts, tmp_path_factory):
    """A finished distillation, 4 -> 2 -> 1 steps, and every round's (steps, temperature of the teacher)."""
    folder, rounds = tmp_path_factory.mktemp("unbroken") / "student", []

    class Watched(Distillation):
        def __init__(self, model, steps, **options):
            rounds.append((steps, options["teacher_temperature"]))
            super().__init__(model, steps, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("textdiff.text.run.VALIDATION_ROWS", 8)
        patch.setattr("textdiff.text.distillation.Distillation", Watched)
        main(command(teacher, texts, folder))
    return folder, rounds


@pytest.fixture(scope="module")
def unbroken(watched):
    """The folder of the finished distillation."""
    return watched[0]


def weights(folder):
    return load_file(folder / "model.safetensors")


def record(folder):
    return json.loads((folder / "distillation.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("steps", "rounds"), [((64, 4), [32, 16, 8, 4]), ((24, 3), [12, 6, 3]), ((2, 1), [1])]
)
def test_every_round_halves_the_steps(steps, rounds):
    assert round_steps(*steps) == rounds


def test_the_result_is_a_model_that_says_how_it_was_made(unbroken, teacher):
    model = DiffusionLM.from_pretrained(unbroken)
    assert model.config["distilled_steps"] == 1
    assert DiffusionLMModel.from_pretrained(unbroken).config.distilled_steps == 1
    texts = model.generate(2, num_inference_steps=1, temperature=1.0, seed=0, length=6)
    assert len(texts) == 2
    before, after = weights(teacher), weights(unbroken)
    vectors = "denoiser.embedding.weight"
    assert before.keys() == after.keys() and before[vectors].equal(after[vectors])
    assert sum(not before[name].equal(after[name]) for name in before) > len(before) / 2
    curve = "scheduler_config.json"
    assert json.loads((unbroken / curve).read_text()) == json.loads((teacher / curve).read_text())
    model.save_pretrained(unbroken.parent / "copy")
    assert DiffusionLM.from_pretrained(unbroken.parent / "copy").config["distilled_steps"] == 1


def test_the_record_has_every_round(unbroken):
    found = record(unbroken)
    assert [row["steps"] for row in found["rounds"]] == [2, 1]
    assert found["settings"]["steps_per_round"] == 4
    for row in found["rounds"]:
        assert row == record(unbroken / f"steps-{row['steps']}")
        for when in ("before", "after"):
            terms = row[when]
            assert terms["loss"] == pytest.approx(terms["distance"] + terms["divergence"], abs=2e-4)
            assert terms["loss"] > 0
    assert weights(unbroken / "steps-1").keys() == weights(unbroken).keys()


def test_a_student_is_the_average_of_its_round(unbroken):
    average = load_file(unbroken / "steps-1" / "checkpoint-4" / "ema.safetensors")
    for name, tensor in weights(unbroken).items():
        assert average[f"student.{name}"].equal(tensor)
    for name, tensor in weights(unbroken / "steps-2").items():
        assert average[f"teacher.{name}"].equal(tensor)


def test_a_finished_distillation_is_not_made_again(unbroken, teacher, texts, monkeypatch, capsys):
    monkeypatch.setattr(training.DiffusionTrainer, "train", None)
    before = weights(unbroken)
    main(command(teacher, texts, unbroken))
    assert_close(weights(unbroken), before, rtol=0, atol=0)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0].strip() for line in lines[-2:]] == ["2 steps", "1 steps"]


def test_a_stopped_distillation_goes_on_and_ends_as_an_unbroken_one(
    unbroken, teacher, texts, tmp_path, monkeypatch
):
    folder, step, made = tmp_path / "student", training.DiffusionTrainer.training_step, []

    def stopping(self, *args, **kwargs):
        made.append(None)
        if len(made) == 8:  # the last step of the second round
            raise KeyboardInterrupt
        return step(self, *args, **kwargs)

    monkeypatch.setattr(training.DiffusionTrainer, "training_step", stopping)
    with pytest.raises(KeyboardInterrupt):
        main(command(teacher, texts, folder))
    assert not (folder / "model.safetensors").exists()
    main(command(teacher, texts, folder))
    assert len(made) == 8 + 2  # from step 2 of the second round
    assert_close(weights(folder), weights(unbroken), rtol=1e-5, atol=1e-6)


def test_only_the_first_teacher_has_a_temperature(watched):
    assert watched[1] == [(2, 0.9), (1, 1.0)]


# Where texts come from.


def sources(folder, *arguments):
    args = parse_args(["--model", "m", "--output-dir", "o", *arguments])
    return find_sources(args, folder)


def test_texts_are_named_or_those_of_the_models_run(tmp_path):
    settings = {
        "preset": "english", "train_files": None, "validation_files": None, "dataset": "mine.jsonl",
        "text_column": "said", "data_dir": "old", "seed": 3,
    }  # fmt: skip
    (tmp_path / "run.json").write_text(json.dumps(settings), encoding="utf-8")
    own, preset = sources(tmp_path, "--data-dir", "new")
    assert (own.dataset, own.text_column, own.data_dir) == ("mine.jsonl", "said", "new")
    english = PRESETS["english"]
    assert (preset.row_length, preset.batch_size) == (english.row_length, english.batch_size)
    assert (preset.max_steps, preset.learning_rate) == (300, 5e-4)
    named, _ = sources(tmp_path, "--train-files", "a.txt", "--validation-files", "b.txt")
    assert (named.dataset, named.train_files, named.validation_files) == (None, ["a.txt"], ["b.txt"])
    checked, _ = sources(tmp_path, "--validation-files", "b.txt")
    assert (checked.dataset, checked.validation_files) == ("mine.jsonl", ["b.txt"])
    other, preset = sources(tmp_path, "--preset", "e2e", "--batch-size", "6")
    assert isinstance(other, argparse.Namespace) and other.train_files is other.dataset is None
    assert (preset.name, preset.sources, preset.batch_size) == ("e2e", PRESETS["e2e"].sources, 6)


# At the door.


def refusal(capsys, arguments):
    """What the script says, as one line, and how it ends."""
    with pytest.raises(SystemExit) as end:
        run(lambda: main(arguments))
    assert end.value.code == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("error: ") and said.endswith(".")
    return said


BAD_NUMBERS = {
    ("--from-steps", "0"): "--from-steps is 0: give a number above zero.",
    ("--from-steps", "6", "--to-steps", "4"): "--from-steps is 6 and --to-steps 4: every round halves",
    ("--from-steps", "4", "--to-steps", "4"): "--from-steps is 4 and --to-steps 4: every round halves",
    ("--from-steps", "2", "--to-steps", "4"): "--from-steps is 2 and --to-steps 4: every round halves",
    ("--steps-per-round", "0"): "--steps-per-round is 0: give a number above zero.",
    ("--learning-rate", "nan"): "--learning-rate is nan: give a number above zero.",
    ("--temperature", "0"): "--temperature is 0.0: give a number above zero.",
    ("--batch-size", "-1"): "--batch-size is -1: give a number above zero.",
    ("--batch-size", "3", "--gradient-accumulation-steps", "2"): "--batch-size is 3: give a multiple of",
    ("--ema-decay", "1"): "--ema-decay is 1.0: give a number from 0 to below 1.",
    ("--seed", "-1"): "--seed is -1: give a number from 0 to",
    ("--preset", "enormous"): "Unknown preset 'enormous': choose english",
    ("--train-files", "nowhere.txt"): "No file nowhere.txt: give a UTF-8 text file",
    ("--model", "nowhere"): "No model folder 'nowhere'",
}


@pytest.mark.parametrize("wrong", BAD_NUMBERS, ids=" ".join)
def test_a_bad_option_is_one_sentence(teacher, texts, tmp_path, capsys, wrong):
    assert BAD_NUMBERS[wrong] in refusal(capsys, command(teacher, texts, tmp_path / "student", *wrong))
    assert not (tmp_path / "student").exists()


def test_a_model_without_texts_asks_for_some(teacher, tmp_path, capsys):
    said = refusal(capsys, ["--model", str(teacher), "--output-dir", str(tmp_path / "student")])
    assert "does not say what it was trained on (run.json is missing): give --train-files or" in said


def test_a_model_without_a_bound_is_refused(teacher, texts, tmp_path, capsys):
    config = json.loads((teacher / "config.json").read_text(encoding="utf-8"))
    (tmp_path / "config.json").write_text(json.dumps({**config, "categorical": False}), encoding="utf-8")
    said = refusal(capsys, command(tmp_path, texts, tmp_path / "student"))
    assert "has the recipe diffusion_lm: only a model with a bound can be distilled." in said


def test_a_model_that_reads_in_order_has_nothing_to_distil(teacher, texts, tmp_path, capsys):
    config = json.loads((teacher / "config.json").read_text(encoding="utf-8"))
    (tmp_path / "config.json").write_text(json.dumps({**config, "reading_layers": 1}), encoding="utf-8")
    said = refusal(capsys, command(tmp_path, texts, tmp_path / "student"))
    assert "one call says all it knows: there is no second step to learn." in said


def test_the_output_folder_must_be_its_own(teacher, unbroken, texts, tmp_path, capsys):
    assert "is the teacher's own folder" in refusal(capsys, command(teacher, texts, teacher))
    (tmp_path / "file").write_text("")
    assert "file is a file: name a folder." in refusal(capsys, command(teacher, texts, tmp_path / "file"))
    (tmp_path / "config.json").write_text("{}")
    assert "no run of this script made" in refusal(capsys, command(teacher, texts, tmp_path))
    before = record(unbroken)
    said = refusal(capsys, command(teacher, texts, unbroken, "--learning-rate", "1e-3", "--seed", "1"))
    assert "holds a distillation with other settings (learning_rate, seed): repeat its command" in said
    assert record(unbroken) == before


def test_a_stranger_sees_one_sentence(shell, tmp_path):
    done = shell("distill.py", "--model", "nowhere", "--output-dir", "student", "--to-steps", "5")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: --from-steps is 64 and --to-steps 5: ")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
