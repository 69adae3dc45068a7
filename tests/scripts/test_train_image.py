"""scripts/train_image.py at the door: what is wrong is one sentence and exit code 2, and leaves nothing behind.

Runs that train, and refusals of the options of each kind of model: tests/image/test_run.py and tests/cross_modal.
"""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from scripts.train_image import PRESETS, main, parse_args
from textdiff.cli import run


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working folder: photos/ with two pictures, an empty folder and files that are no pictures."""
    monkeypatch.chdir(tmp_path)
    for name in ("photos", "empty", "notes"):
        (tmp_path / name).mkdir()
    for i in range(2):
        Image.new("RGB", (9, 8), (100 * i, 0, 0)).save(tmp_path / "photos" / f"{i}.png")
    (tmp_path / "notes" / "one.txt").write_text("no picture")
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "torn.npz").write_bytes(b"PK\x03\x04 torn")
    np.savez(tmp_path / "other.npz", z=np.zeros(3))
    np.savez(tmp_path / "floats.npz", x=np.zeros((3, 8, 8)))
    np.savez(tmp_path / "pickled.npz", x=np.array([{}, 1], dtype=object))
    return tmp_path


def refusal(capsys, arguments: list[str]) -> str:
    """What the script says, as one line (after a bar of `datasets`, if that looked for pictures), and how it ends."""
    with pytest.raises(SystemExit) as end:
        run(lambda: main([*arguments, "--output-dir", "run", "--use-cpu"]))
    assert end.value.code == 2
    *bar, line = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("error: ") and line.endswith(".") and all("examples" in drawn for drawn in bar if drawn)
    return line


BAD_NUMBERS = {
    ("--batch-size", "-16"): "--batch-size is -16: give a number above zero.",
    ("--gradient-accumulation-steps", "0"): "--gradient-accumulation-steps is 0: give a number above zero.",
    ("--learning-rate", "nan"): "--learning-rate is nan: give a number above zero.",
    ("--save-steps", "0"): "--save-steps is 0: give a number above zero.",
    ("--logging-steps", "-1"): "--logging-steps is -1: give a number above zero.",
    ("--seed", "-1"): "--seed is -1: give a number from 0 to",
    ("--image-size", "0"): "sizes must all be at least 1",
    ("--image-size", "-8"): "sizes must all be at least 1",
}


@pytest.mark.parametrize("wrong", BAD_NUMBERS, ids=" ".join)
def test_a_bad_number_is_one_sentence(folder, capsys, wrong: tuple[str, str]) -> None:
    assert BAD_NUMBERS[wrong] in refusal(capsys, ["--train-data", "photos", *wrong])
    assert not (folder / "run").exists()


BAD_DATA = {
    "nowhere.npz": "nowhere.npz does not exist",
    "empty": "empty",
    "notes": "notes",
    "notes.txt": "notes.txt",
    "torn.npz": "torn.npz is damaged or no .npz of plain arrays",
    "pickled.npz": "pickled.npz is damaged or no .npz of plain arrays",
    "other.npz": "other.npz holds neither x_train nor x",
    "floats.npz": "floats.npz holds pictures of type float64",
}


@pytest.mark.parametrize("preset", ["tiny-image", "composed-digits", "caption-emoji"])
@pytest.mark.parametrize("name", BAD_DATA)
def test_data_that_is_none_is_one_sentence(folder, capsys, name: str, preset: str) -> None:
    said = refusal(capsys, ["--preset", preset, "--train-data", name])
    assert (BAD_DATA[name] if preset != "caption-emoji" else name) in said
    assert not (folder / "run").exists()


def test_a_preset_s_own_data_are_named_where_they_are_missing(folder, capsys) -> None:
    said = refusal(capsys, ["--preset", "caption-digits", "--data-dir", "empty"])
    assert "'caption-digits' wants images/mnist.npz in empty, where it is not" in said and "--train-data" in said


def test_an_output_dir_that_is_a_file_is_refused(folder, capsys) -> None:
    (folder / "run").write_text("mine")
    assert "run is a file: name a folder." in refusal(capsys, ["--train-data", "photos"])
    assert (folder / "run").read_text() == "mine"


# As a stranger calls it.


def test_a_stranger_sees_one_sentence(shell, tmp_path) -> None:
    done = shell("train_image.py", "--train-data", "nowhere.npz", "--output-dir", "run")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: nowhere.npz does not exist") and done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_option_is_exit_code_2(capsys) -> None:
    with pytest.raises(SystemExit) as end:
        parse_args(["--output-dir", "run", "--nonsense"])
    assert end.value.code == 2 and "--nonsense" in capsys.readouterr().err


def test_help_shows_every_preset(capsys) -> None:
    with pytest.raises(SystemExit) as end:
        parse_args(["--help"])
    assert end.value.code == 0
    shown = capsys.readouterr().out
    assert [name for name, preset in PRESETS.items() if f"  {name:<17}{preset.about}\n" not in shown] == []


def test_help_imports_nothing_heavy(root) -> None:
    code = (
        "import sys\nfrom scripts.train_image import parse_args\n"
        "try: parse_args(['--help'])\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'transformers', 'numpy', 'tokenizers', 'datasets', 'matplotlib', 'PIL'}\n"
        "sys.stderr.write(' '.join(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0 and "--preset" in done.stdout
    assert done.stderr == ""
