"""scripts/infill.py as a stranger calls it: what it prints, and one sentence for every bad input."""

import gzip
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from scripts.infill import main
from textdiff.cli import run

FAST = ["--steps", "2", "--num-samples", "3"]


def ending(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Exit code and stderr of the script, run as its last line runs it."""
    monkeypatch.setattr(sys, "argv", ["infill.py", *arguments])
    with pytest.raises(SystemExit) as stopped:
        run(main)
    printed = capsys.readouterr()
    assert printed.out == ""
    return stopped.value.code, printed.err


def test_from_the_shell(shell: Callable, untrained: str) -> None:
    done = shell("infill.py", "--model", untrained, "--text", "The little [MASK] ran ___.", *FAST)
    assert (done.returncode, done.stderr) == (0, "")
    head, *rows = done.stdout.removesuffix("\n").split("\n")
    assert "score" in head and 1 <= len(rows) <= 3
    assert all("The little " in row and " ran " in row and " <- " in row for row in rows)


def test_a_file_may_be_packed_and_its_bad_line_is_named(
    untrained: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    packed, mixed = tmp_path / "texts.txt.gz", tmp_path / "mixed.txt"
    packed.write_bytes(gzip.compress(b"\xef\xbb\xbfThe [MASK] ran.\n\nA [MASK:1].\n"))
    main(["--model", untrained, "--file", str(packed), "--json", *FAST])
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["input"] for row in rows] == ["The [MASK] ran.", "A [MASK:1]."]
    mixed.write_text("The [MASK] ran.\n\nNo blank.\n")
    code, said = ending(monkeypatch, capsys, "--model", untrained, "--file", str(mixed))
    assert code == 2 and said.startswith(f"error: {mixed}, line 3: The text has no blank")
    assert ending(monkeypatch, capsys, "--file", str(tmp_path))[1].startswith(f"error: No file {tmp_path}")


def test_a_bad_text_from_the_shell(shell: Callable, untrained: str) -> None:
    done = shell("infill.py", "--model", untrained, "--text", "No blank.")
    assert done.returncode == 2
    assert done.stderr.startswith("error: The text has no blank") and done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_help_loads_nothing_heavy(root: Path) -> None:
    code = (
        "import sys\nfrom scripts.infill import parse_args\n"
        "try:\n    parse_args(['--help'])\nfinally:\n    assert not {'torch', 'numpy', 'tokenizers'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root)
    assert done.returncode == 0 and "[MASK:2-6]" in done.stdout


def test_json(untrained: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = "The „[MASK]“ ran."
    main(["--model", untrained, "--text", text, "--json", *FAST])
    found = json.loads(capsys.readouterr().out)
    assert found["input"] == text
    for one in found["infills"]:
        assert one["text"] == f"The „{one['fills'][0]}“ ran." and isinstance(one["score"], float)


def test_the_same_seed_gives_the_same_text(untrained: str, capsys: pytest.CaptureFixture[str]) -> None:
    printed = []
    for seed in ("1", "1", "2"):
        main(["--model", untrained, "--text", "A [MASK]", "--seed", seed, *FAST])
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1] != printed[2]


def test_show_steps(untrained: str, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--model", untrained, "--text", "A [MASK:2] b.", "--show-steps", "--num-samples", "1", "--steps", "4"])
    printed = capsys.readouterr()
    steps = printed.err.splitlines()
    assert [line.split()[0] for line in steps] == ["1", "2", "3", "4", "5"]
    assert all("A " in line and line.endswith(" b.") for line in steps)
    assert steps[-1].split("  ", 1)[1].strip().removeprefix("5").strip() in printed.out


def test_a_file_of_texts(untrained: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "texts.txt"
    path.write_text("A [MASK].\n\nThe ___ 👩‍👩‍👧\r\n", encoding="utf-8")
    main(["--model", untrained, "--file", str(path), "--json", *FAST])
    printed = capsys.readouterr()
    found = [json.loads(line) for line in printed.out.splitlines()]
    assert [one["input"] for one in found] == ["A [MASK].", "The ___ 👩‍👩‍👧"]
    assert "2/2" in printed.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--text", ""], "The text is empty"),
        (["--text", "A [MASK:9-2]."], "[MASK:9-2] is not"),
        (["--text", "[MASK:99]"], "the model's window has 24"),
        (["--text", "[MASK]", "--sampler", "euler"], "choose categorical, ddim, ddpm, dpmpp_2m, churn"),
        (["--text", "[MASK]", "--steps", "0"], "num_inference_steps is 0"),
        (["--text", "[MASK]", "--steps", "-4"], "num_inference_steps is -4"),
        (["--text", "[MASK]", "--num-samples", "0"], "num_samples is 0"),
        (["--text", "[MASK]", "--rank", "x"], "bound or mbr"),
        (["--text", "[MASK]", "--model", "nowhere/at/all"], "No model folder"),
        (["--text", "[MASK]", "--model", "owner/name"], "the hub gave no such model"),
        (["--file", "nowhere.txt"], "No file nowhere.txt: give a UTF-8 text file"),
        (["--file", "latin1.txt"], "is not UTF-8"),
        (["--file", "empty.txt"], "holds no text"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(
    untrained: str, arguments: list[str], message: str,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("latin1.txt").write_bytes("café [MASK]".encode("latin-1"))
    Path("empty.txt").write_text("\n \n")
    code, said = ending(monkeypatch, capsys, "--model", untrained, *arguments)
    assert code == 2
    assert message in said and said.startswith("error: ") and said.count("\n") == 1


@pytest.mark.parametrize(
    ("damaged", "message"),
    [
        ("model.safetensors", "truncated or corrupted"),
        ("config.json", "not valid JSON"),
        ("tokenizer.json", "not a tokenizer"),
    ],
)
def test_a_damaged_model(
    untrained: str, damaged: str, message: str,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    for path in Path(untrained).iterdir():
        content = path.read_bytes()
        (tmp_path / path.name).write_bytes(content[: len(content) // 2] if path.name == damaged else content)
    code, said = ending(monkeypatch, capsys, "--model", str(tmp_path), "--text", "A [MASK].")
    assert code == 2 and message in said and said.count("\n") == 1
