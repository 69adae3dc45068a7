"""benchmarks/rival_runs.py: a rival's preset, the claim of its folder, its Trainer, and what is refused."""

import json
from dataclasses import replace

import pytest
import torch

from textdiff.text.presets import PRESETS
from textdiff.text.tokenizer import load_tokenizer, save_tokenizer, train_bpe

SCRIPTS = ["autoregressive", "masked"]


@pytest.fixture(scope="module")
def runs(imported):
    return imported("rival_runs")


@pytest.fixture
def parse(runs):
    """Reads a command line of a rival without options of its own."""
    parser = runs.rival_parser("A rival.", save_steps=200, logging_steps=20)
    return lambda *line: parser.parse_args(["--preset", "e2e-cpu", "--output-dir", "out", *line])


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("script", SCRIPTS)
def test_a_rival_has_the_presets_steps_and_rate_unless_told_others(runs, imported, script, name):
    parse, line = imported(script).parse_args, ["--preset", name, "--output-dir", "out"]
    assert runs.rivalled_preset(parse(line)) == PRESETS[name]
    told = runs.rivalled_preset(parse([*line, "--max-steps", "7", "--learning-rate", "1e-4"]))
    assert told == replace(PRESETS[name], max_steps=7, learning_rate=1e-4)


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--preset nothing", "Unknown preset 'nothing'"),
        ("--preset tiny", "Preset 'tiny' has no data of its own"),
        ("--data-dir nowhere", "in nowhere, where it is not"),
        ("--max-steps 0", "--max-steps is 0"),
        ("--learning-rate -1", "--learning-rate is -1"),
        ("--learning-rate nan", "--learning-rate is nan"),
        ("--save-steps -1", "--save-steps is -1"),
        ("--seed -1", "--seed is -1"),
        ("--output-dir {file}", "file is a file: name a folder"),
    ],
)
def test_what_is_refused_leaves_nothing(imported, tmp_path, script, line, message):
    (tmp_path / "file").write_text("mine")
    told = line.format(file=tmp_path / "file").split()
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        imported(script).main(["--preset", "e2e", "--output-dir", str(tmp_path / "run"), *told])
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]


def test_the_trainer_has_the_commands_settings_and_the_record_tells_them(
    runs, imported, toy_options, tmp_path, monkeypatch
):
    ended, seeds = [], []

    def make(args, preset, data):
        seeds.append(torch.initial_seed())
        return imported("masked").rival(args, preset, data)

    monkeypatch.setattr("textdiff.text.run.finish_run", lambda *run: ended.append(run))
    folder = tmp_path / "run"
    parser = runs.rival_parser("A rival.", save_steps=200, logging_steps=20)
    line = [*toy_options, str(folder), "--max-steps", "6", "--learning-rate", "1e-4", "--seed", "5"]
    runs.train_rival(parser.parse_args(line), make)
    [(trainer, preset, where, checkpoint)] = ended
    given = trainer.args
    assert (given.max_steps, given.learning_rate, given.seed) == (6, 1e-4, 5)
    assert (given.save_steps, given.eval_steps, given.logging_steps) == (2, 2, 20)
    assert given.per_device_train_batch_size == 4 and len(trainer.train_dataset) == 6 * 4
    assert len(trainer.eval_dataset) == 8 and seeds == [5]
    assert preset == replace(PRESETS["toy"], max_steps=6, learning_rate=1e-4)
    assert (where, checkpoint) == (folder, None)
    assert json.loads((folder / "run.json").read_text()) == {
        "preset": "toy", "data_dir": str(tmp_path), "max_steps": 6, "learning_rate": 1e-4, "seed": 5,
    }  # fmt: skip
    assert load_tokenizer(folder).get_vocab_size() == trainer.model.config.vocab_size
    assert not list(folder.glob("*.part"))


def test_a_folder_of_the_same_settings_loses_its_half_written_checkpoints(runs, parse, tmp_path):
    record = {"preset": "e2e-cpu", "data_dir": "../shared/data", "max_steps": 9, "learning_rate": None}
    (tmp_path / "run.json").write_text(json.dumps({**record, "seed": 0}), encoding="utf-8")
    (tmp_path / "config.json").write_text("{}")
    save_tokenizer(train_bpe(["The dog ran."] * 9, 300), tmp_path)
    (tmp_path / "checkpoint-3").mkdir()
    before = load_tokenizer(tmp_path).to_str()
    runs.claim_folder(parse("--max-steps", "9", "--save-steps", "3"), tmp_path, resuming=True)
    assert load_tokenizer(tmp_path).to_str() == before and not (tmp_path / "checkpoint-3").exists()
    with pytest.raises(ValueError, match="holds a run with other settings: repeat its command or name a new"):
        runs.claim_folder(parse("--max-steps", "9", "--seed", "1"), tmp_path, resuming=True)
    assert load_tokenizer(tmp_path).to_str() == before


def test_a_tokenizer_that_another_command_left_is_dropped(runs, parse, tmp_path):
    (tmp_path / "run.json").write_text("{}")
    save_tokenizer(train_bpe(["The dog ran."] * 9, 300), tmp_path)
    runs.claim_folder(parse(), tmp_path, resuming=False)
    assert not (tmp_path / "tokenizer.json").exists()


def test_other_runs_are_left_alone(runs, parse, tmp_path):
    save_tokenizer(train_bpe(["The dog ran."] * 9, 300), tmp_path)
    with pytest.raises(ValueError, match="holds a run with other settings"):
        runs.claim_folder(parse(), tmp_path, resuming=True)
    (tmp_path / "config.json").write_text('{"model_type": "textdiff"}')
    with pytest.raises(ValueError, match="holds a run with other settings"):
        runs.claim_folder(parse(), tmp_path, resuming=False)
    assert (tmp_path / "tokenizer.json").is_file()
