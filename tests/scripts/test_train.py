"""scripts/train.py at the door: every bad input is one sentence and exit code 2 and leaves nothing behind."""

import gzip
import json
import re
import subprocess
import sys
import time

import pytest

from scripts.train import main, parse_args
from textdiff.cli import run
from textdiff.text.presets import PRESETS

TEXT = "The dog ran home.\nThe cat slept.\nA bird sang.\n"


@pytest.fixture
def folder(tmp_path):
    """A folder with one good file and many bad ones."""
    (tmp_path / "good.txt").write_text(TEXT, encoding="utf-8")
    (tmp_path / "empty.txt").write_text("", encoding="utf-8")
    (tmp_path / "blank.txt").write_text(" \n\n\t\n", encoding="utf-8")
    (tmp_path / "latin.txt").write_bytes("Das Mädchen lief.".encode("latin-1"))
    (tmp_path / "broken.txt.gz").write_bytes(gzip.compress(TEXT.encode() * 99)[:-20])
    (tmp_path / "plain.txt.gz").write_text(TEXT, encoding="utf-8")
    (tmp_path / "rows.jsonl").write_text('{"title": "A", "number": 1, "none": null}\n', encoding="utf-8")
    (tmp_path / "torn.jsonl").write_text('{"text": "A"}\n{"text": \n', encoding="utf-8")
    (tmp_path / "rows.xml").write_text("<a/>", encoding="utf-8")
    return tmp_path


def refusal(capsys, arguments):
    """What the script says, as one line, and how it ends."""
    with pytest.raises(SystemExit) as end:
        run(lambda: main(arguments))
    assert end.value.code == 2
    said = capsys.readouterr().err.strip()
    assert said.count("\n") == 0 and said.startswith("error: ") and said.endswith(".")
    assert "Traceback" not in said
    return said


BAD_NUMBERS = {
    ("--max-steps", "0"): "--max-steps is 0: give a number above zero.",
    ("--max-steps", "-5"): "--max-steps is -5: give a number above zero.",
    ("--batch-size", "0"): "--batch-size is 0: give a number above zero.",
    ("--batch-size", "-16"): "--batch-size is -16: give a number above zero.",
    ("--gradient-accumulation-steps", "0"): "--gradient-accumulation-steps is 0: give a number above zero.",
    ("--learning-rate", "0"): "--learning-rate is 0.0: give a number above zero.",
    ("--learning-rate", "nan"): "--learning-rate is nan: give a number above zero.",
    ("--learning-rate", "inf"): "--learning-rate is inf: give a number above zero.",
    ("--save-steps", "0"): "--save-steps is 0: give a number above zero.",
    ("--eval-steps", "-1"): "--eval-steps is -1: give a number above zero.",
    ("--logging-steps", "0"): "--logging-steps is 0: give a number above zero.",
    ("--ema-decay", "1"): "--ema-decay is 1.0: give a number from 0 to below 1.",
    ("--ema-decay", "-0.1"): "--ema-decay is -0.1: give a number from 0 to below 1.",
    ("--seed", "-1"): "--seed is -1: give a number from 0 to",
    ("--preset", "enormous"): f"Unknown preset 'enormous': choose {', '.join(PRESETS)}.",
    ("--batch-size", "6", "--gradient-accumulation-steps", "4"): "--batch-size is 6: give a multiple of",
}


@pytest.mark.parametrize("wrong", BAD_NUMBERS, ids=" ".join)
def test_a_bad_number_is_one_sentence(folder, capsys, wrong):
    said = refusal(capsys, ["--train-files", str(folder / "good.txt"), "--output-dir", str(folder / "run"), *wrong])
    assert BAD_NUMBERS[wrong] in said
    assert not (folder / "run").exists()


def test_a_batch_that_the_processes_cannot_share_is_refused(folder, capsys, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "3")
    said = refusal(capsys, ["--train-files", str(folder / "good.txt"), "--output-dir", str(folder / "run")])
    assert "--batch-size is 16: give a multiple of processes x accumulation steps, 3 x 1." in said
    assert not (folder / "run").exists()


BAD_FILES = {
    "missing.txt": "No file .*missing.txt: give a UTF-8 text file",
    ".": "No file .*: give a UTF-8 text file",
    "empty.txt": "empty.txt holds no text: give a file with at least one sentence",
    "blank.txt": "blank.txt holds no text",
    "latin.txt": r"latin.txt is not UTF-8 \(byte 5\): convert it",
    "broken.txt.gz": "broken.txt.gz is not a whole gzip file .*: copy it again",
    "plain.txt.gz": "plain.txt.gz is not a whole gzip file .*: copy it again",
}


@pytest.mark.parametrize("option", ["--train-files", "--validation-files"])
@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_is_one_sentence(folder, capsys, name, option):
    good = ["--train-files", str(folder / "good.txt")] if option == "--validation-files" else []
    said = refusal(capsys, [*good, option, str(folder / name), "--output-dir", str(folder / "run")])
    assert re.search(BAD_FILES[name], said), said
    assert not (folder / "run").exists()


BAD_DATASETS = {
    ("rows.jsonl",): "has no column 'text': choose one of title, number, none.",
    (
        "rows.jsonl",
        "--text-column",
        "number",
    ): "column 'number' does not hold text: name another with --text-column.",
    ("rows.jsonl", "--text-column", "none"): "has no text in column 'none'.",
    ("rows.xml",): "is a .xml file: give .json, .jsonl, .csv or .parquet.",
    ("torn.jsonl",): "cannot be read",
    ("missing.jsonl",): "No file or folder ",
}


@pytest.mark.parametrize("wrong", BAD_DATASETS, ids=" ".join)
def test_a_bad_dataset_is_one_sentence(folder, capsys, wrong):
    name, *more = wrong
    said = refusal(capsys, ["--dataset", str(folder / name), *more, "--output-dir", str(folder / "run")])
    assert BAD_DATASETS[wrong] in said
    assert not (folder / "run").exists()


@pytest.mark.parametrize("offline", [True, False])
def test_a_hub_dataset_without_network_fails_at_once(folder, capsys, monkeypatch, offline):
    import datasets
    from huggingface_hub import constants

    assert datasets.__version__  # imported: the clock below is the script's alone
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    before = time.monotonic()
    said = refusal(capsys, ["--dataset", "nobody/nothing", "--output-dir", str(folder / "run")])
    assert time.monotonic() - before < 3
    assert "nobody/nothing" in said
    if not offline:
        assert "the hub cannot be reached" in said and "HF_HUB_OFFLINE=1" in said
    assert not (folder / "run").exists()


def test_files_and_a_dataset_are_too_much(folder, capsys):
    files = ["--train-files", str(folder / "good.txt"), "--dataset", str(folder / "rows.jsonl")]
    assert "give one of them" in refusal(capsys, [*files, "--output-dir", str(folder / "run")])


def test_a_preset_without_data_asks_for_some(folder, capsys):
    said = refusal(capsys, ["--output-dir", str(folder / "run")])
    assert "Preset 'tiny' has no data of its own: give --train-files or --dataset." in said


def test_missing_sources_are_named(folder, capsys):
    said = refusal(capsys, ["--preset", "english", "--data-dir", str(folder), "--output-dir", str(folder / "run")])
    first = next(iter(PRESETS["english"].sources))
    assert f"Preset 'english' wants {first} in {folder}, where it is not" in said and "--train-files" in said
    assert not (folder / "run").exists()


def test_an_output_dir_that_is_a_file_is_refused(folder, capsys):
    said = refusal(capsys, ["--train-files", str(folder / "good.txt"), "--output-dir", str(folder / "good.txt")])
    assert "good.txt is a file: name a folder." in said
    assert (folder / "good.txt").read_text() == TEXT


def test_a_column_of_a_dataset_is_what_is_trained_on(folder, monkeypatch):
    rows = [{"said": " Hello there. "}, {"said": None}, {"said": "  "}, {"said": "Good bye."}]
    (folder / "talk.jsonl").write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    seen = []

    class Enough(Exception):
        pass

    def stop(texts, *_, **__):
        seen.extend(texts)
        raise Enough

    monkeypatch.setattr("textdiff.text.run.train_bpe", stop)
    with pytest.raises(Enough):
        main(
            [
                "--dataset",
                str(folder / "talk.jsonl"),
                "--text-column",
                "said",
                "--output-dir",
                str(folder / "run"),
                "--use-cpu",
            ]
        )
    assert seen == ["Hello there.", "Good bye."]


# As a stranger calls it.


def test_a_stranger_sees_one_sentence(shell, tmp_path):
    done = shell("train.py", "--train-files", "nowhere.txt", "--output-dir", "run")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: No file nowhere.txt: give a UTF-8 text file (.txt or .txt.gz).\n"
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_option_is_exit_code_2(shell):
    done = shell("train.py", "--output-dir", "run", "--nonsense")
    assert done.returncode == 2 and "--nonsense" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--train-files", "good.txt", "--pairs"], "good.txt, line 1, has 1 columns, but source and target are"),
        (["--train-files", "pairs.tsv", "--pair-columns", "1", "3"], "line 1, has 2 columns"),
        (["--train-files", "pairs.tsv", "--pair-columns", "one", "two"], "numbers from 1"),
        (["--train-files", "empty.txt", "--pairs"], "empty.txt holds no pair"),
        (["--pairs"], "want pairs of your own: give --train-files or --dataset"),
        (["--dataset", "rows.jsonl", "--pairs"], "give --pair-columns"),
        (["--dataset", "rows.jsonl", "--pair-columns", "title", "none"], "no pair in columns title and none"),
        (["--preset", "de-en", "--data-dir", "."], "wants tatoeba/deu-eng.train.tsv.gz in ."),
    ],
)
def test_bad_pairs_are_one_sentence(folder, capsys, monkeypatch, arguments, message):
    monkeypatch.chdir(folder)
    (folder / "pairs.tsv").write_text("Der Hund\tThe dog\n", encoding="utf-8")
    assert message in refusal(capsys, [*arguments, "--output-dir", "run"])
    assert not (folder / "run").exists()


def test_options_of_pairs_are_no_setting_of_runs_without_them():
    args = parse_args(["--output-dir", "run"])
    assert not {"pairs", "pair_columns"} & set(vars(args))
    assert parse_args(["--output-dir", "run", "--pair-columns", "2", "1"]).pair_columns == ["2", "1"]


def test_help_shows_every_preset(capsys):
    with pytest.raises(SystemExit) as end:
        parse_args(["--help"])
    assert end.value.code == 0
    shown = capsys.readouterr().out
    assert [name for name, preset in PRESETS.items() if f"  {name:<14}{preset.about}\n" not in shown] == []


def test_help_imports_nothing_heavy(root):
    code = (
        "import sys\nfrom scripts.train import parse_args\n"
        "try: parse_args(['--help'])\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'transformers', 'numpy', 'tokenizers', 'datasets', 'matplotlib'}\n"
        "sys.stderr.write(' '.join(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0 and "--output-dir" in done.stdout
    assert done.stderr == ""
