"""scripts/rewrite.py as a stranger calls it: what it prints and writes, and one sentence for every bad input."""

import gzip
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from scripts.rewrite import main
from textdiff.cli import run
from textdiff.text.language_model import DiffusionLM

FAST = ["--steps", "2", "--num-samples", "3"]


@pytest.fixture(scope="module")
def pairs(untrained: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of an untrained model of pairs, a window of 24 tokens."""
    folder = tmp_path_factory.mktemp("pairs")
    lm = DiffusionLM.from_pretrained(untrained)
    config = {"target_lengths": [[], *([0] * n + [9, 9] for n in range(1, 12))]}
    DiffusionLM(lm.denoiser, lm.scheduler, lm.tokenizer, config=config).save_pretrained(folder)
    return str(folder)


def test_from_the_shell(shell: Callable, pairs: str) -> None:
    done = shell("rewrite.py", "--model", pairs, "--text", "The little dog", "--source-guidance", "1.5", *FAST)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("\n") == 1 and done.stdout.strip()


def test_help_loads_nothing_heavy(root: Path) -> None:
    code = (
        "import sys\nfrom scripts.rewrite import parse_args\n"
        "try:\n    parse_args(['--help'])\nfinally:\n    assert not {'torch', 'numpy', 'tokenizers'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root)
    assert done.returncode == 0 and "--source-guidance" in done.stdout


def test_a_file_line_by_line_as_json_and_into_a_file(
    pairs: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [f"A {word} sat" for word in "cat dog mat".split()] * 6  # more than are rewritten at once
    file = tmp_path / "in.txt.gz"
    file.write_bytes(gzip.compress("\r\n".join(lines).encode() + b"\n"))
    main(["--model", pairs, "--file", str(file), "--json", *FAST])
    printed = capsys.readouterr()
    found = [json.loads(line) for line in printed.out.splitlines()]
    assert [one["input"] for one in found] == lines and "18/18" in printed.err
    for one in found:
        scores = [candidate["score"] for candidate in one["candidates"]]
        assert 1 <= len(scores) <= 3 and scores == sorted(scores, reverse=True)
    output = tmp_path / "out.txt"
    main(["--model", pairs, "--file", str(file), "--output", str(output), *FAST])
    assert capsys.readouterr().out == ""
    best = [" ".join(one["candidates"][0]["text"].replace("\r", " ").split("\n")) for one in found]
    assert output.read_bytes().decode("utf-8").split("\n") == [*best, ""]


def test_the_same_seed_gives_the_same_targets(pairs: str, capsys: pytest.CaptureFixture[str]) -> None:
    printed = []
    for seed in ("1", "1", "2"):
        main(["--model", pairs, "--text", "A cat sat", "--seed", seed, "--json", *FAST])
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1] != printed[2]


def test_an_old_file_is_kept_until_there_is_something_new(
    pairs: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources, output = tmp_path / "sources.txt", tmp_path / "targets.txt"
    sources.write_text("A cat\n")
    output.write_text("dear\n")

    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(DiffusionLM, "rewrite_candidates", stopped)
    with pytest.raises(KeyboardInterrupt):
        main(["--model", pairs, "--file", str(sources), "--output", str(output), *FAST])
    assert output.read_text() == "dear\n" and len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--text", ""], "Text 1 is empty"),
        (["--text", "\t \n"], "Text 1 is empty"),
        (["--text", "🙂" * 40], "cut it into sentences"),
        (["--text", "A", "--length", "24"], "ask for less"),
        (["--text", "A", "--length", "-1"], "length is -1"),
        (["--text", "A", "--num-samples", "0"], "num_samples is 0"),
        (["--text", "A", "--length", "3", "--length-candidates", "2"], "contradict each other"),
        (["--text", "A", "--num-samples", str(10**20)], "a whole number from 1 to 1000000"),
        (["--text", "\udcff"], "is no text in valid Unicode"),
        (["--file", "cats.txt", "--output", "cats.txt"], "is the file of the sources: name another one"),
        (["--text", "A", "--length-candidates", "0"], "length_candidates is 0"),
        (["--text", "A", "--rank", "x"], "bound or mbr"),
        (["--text", "A", "--source-guidance", "-2"], "source_guidance is -2.0"),
        (["--text", "A", "--source-guidance", "inf"], "source_guidance is inf"),
        (["--text", "A", "--steps", "0"], "num_inference_steps is 0"),
        (["--text", "A", "--sampler", "euler"], "choose categorical, ddim, ddpm, dpmpp_2m, churn"),
        (["--text", "A", "--temperature", "0"], "temperature is 0.0"),
        (["--text", "A", "--seed", "-1"], "seed is -1"),
        (["--text", "A", "--model", "nowhere/at/all"], "No model folder"),
        (["--text", "A", "--output", "no/such/folder.txt"], "give a file in a folder that exists"),
        (["--text", "A", "--output", "."], "give a file in a folder that exists"),
        (["--file", "nowhere.txt"], "No file nowhere.txt"),
        (["--file", "latin1.txt"], "is not UTF-8"),
        (["--file", "holes.txt"], "holes.txt is empty in line 2"),
        (["--file", "empty.txt"], "empty.txt is empty in line 1"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(
    pairs: str, arguments: list[str], message: str,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("latin1.txt").write_bytes("café".encode("latin-1"))
    Path("holes.txt").write_text("A cat\n \nA dog\n")
    Path("empty.txt").write_text("")
    Path("cats.txt").write_text("A cat\n")
    monkeypatch.setattr(sys, "argv", ["rewrite.py", "--model", pairs, *arguments])
    with pytest.raises(SystemExit) as stopped:
        run(main)
    printed = capsys.readouterr()
    assert stopped.value.code == 2 and printed.out == ""
    assert message in printed.err and printed.err.startswith("error: ") and printed.err.count("\n") == 1


def test_a_model_of_texts_is_refused(untrained: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="was not trained on pairs and cannot rewrite: give one that"):
        main(["--model", untrained, "--text", "A cat"])
    assert capsys.readouterr().out == ""
