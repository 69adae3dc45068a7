"""scripts/generate.py: what it prints, and one sentence for every bad input."""

import json
import sys
from collections.abc import Callable

import pytest

from scripts.generate import main
from textdiff.cli import run

FAST = ["--steps", "2", "--num-samples", "3"]


def test_from_the_shell(shell: Callable, untrained: str) -> None:
    done = shell("generate.py", "--model", untrained, "--json", *FAST)
    assert (done.returncode, done.stderr) == (0, "")
    assert len([json.loads(line) for line in done.stdout.splitlines()]) == 3


def test_a_prompt_comes_back(untrained: str, capsys: pytest.CaptureFixture[str]) -> None:
    prompt = "The  dog [MASK] 👩‍👩‍👧"
    main(["--model", untrained, "--prompt", prompt, "--length", "2-4", "--json", *FAST])
    texts = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert texts and all(text.startswith(prompt) and len(text) > len(prompt) for text in texts)


def test_show_steps_end_in_the_text(untrained: str, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--model", untrained, "--show-steps", "--num-samples", "1", "--steps", "3", "--length", "5"])
    printed = capsys.readouterr()
    steps = printed.err.splitlines()
    assert len(steps) == 4
    assert steps[-1].split()[1:] == printed.out.split()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--steps", "0"], "num_inference_steps is 0"),
        (["--sampler", "x"], "choose categorical"),
        (["--num-samples", "-1"], "num_samples is -1"),
        (["--length", "0"], "1 to 24 tokens"),
        (["--length", "9-99"], "1 to 24 tokens"),
        (["--length", "long"], "--length is 'long'"),
        (["--length", "3-"], "--length is '3-'"),
        (["--seed", "-1"], "seed is -1"),
        (["--prompt", "A", "--show-steps"], "does not go with --prompt"),
        (["--model", "./nowhere"], "No model folder"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(
    untrained: str, arguments: list[str], message: str,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(sys, "argv", ["generate.py", "--model", untrained, *arguments])
    with pytest.raises(SystemExit) as stopped:
        run(main)
    printed = capsys.readouterr()
    assert stopped.value.code == 2 and printed.out == ""
    assert message in printed.err and printed.err.count("\n") == 1
