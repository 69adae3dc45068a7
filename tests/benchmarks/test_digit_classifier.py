"""The command that trains the digit classifier leaves a folder that loads, and says its accuracy and fingerprint."""

from __future__ import annotations

import json

import numpy as np
import pytest

from textdiff.image.classifier import DigitClassifier


@pytest.fixture
def digits(tmp_path):
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 60, (256, 28, 28)).astype(np.uint8), np.arange(256) % 2
    x[y == 1, 8:20, 8:20] = 255
    np.savez(tmp_path / "digits.npz", x_train=x, y_train=y, x_test=x[:40], y_test=y[:40])
    np.savez(tmp_path / "bare.npz", x=x)
    return tmp_path


def test_it_trains_and_says_what_it_made(load, digits, capsys) -> None:
    out = digits / "judge"
    load("digit_classifier").main(
        ["--data", str(digits / "digits.npz"), "--output-dir", str(out), "--epochs", "40", "--width", "4"]
    )
    said = capsys.readouterr().out.split()
    classifier, config = DigitClassifier.from_pretrained(out), json.loads((out / "config.json").read_text())
    assert said[-1] == classifier.fingerprint()
    assert float(said[2].strip(",")) == config["test_accuracy"] > 0.9


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--epochs", "0"], "above zero"),
        (["--data", "bare.npz"], "has no classes"),
        (["--output-dir", "bare.npz"], "is a file"),
    ],
)
def test_bad_input_is_a_sentence(load, digits, monkeypatch, change: list[str], message: str) -> None:
    benchmark = load("digit_classifier")
    monkeypatch.chdir(digits)
    with pytest.raises(ValueError, match=message):
        benchmark.main(["--data", "digits.npz", "--output-dir", "judge", *change])
