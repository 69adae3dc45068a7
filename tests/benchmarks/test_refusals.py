"""Benchmarks refuse what they cannot use in one sentence, before any work."""

import runpy
import sys
from pathlib import Path

import pytest

from textdiff.cli import run

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.mark.parametrize(
    ("script", "arguments", "message"),
    [
        ("likelihood.py", ["--preset", "tiny", "--json", "table.json"], "choose one that has test texts"),
        ("likelihood.py", ["--models", "mdlm", "gpt", "--json", "table.json"], "Unknown model 'gpt'"),
        ("likelihood.py", ["--seeds", "0", "--json", "table.json"], "--seeds is 0"),
        ("autoregressive.py", ["--preset", "english", "--data-dir", "nowhere", "--output-dir", "out"], "in nowhere"),
        ("text_to_text.py", ["--preset", "english", "--json", "t.json"], "choose one of pairs, de-en, paraphrase"),
        ("text_to_text.py", ["--preset", "simplify", "--test", "tatoeba"], "has no test 'tatoeba': choose held-out"),
        ("text_to_text.py", ["--preset", "de-en", "--limit", "0"], "--limit is 0"),
        ("text_to_text.py", ["--preset", "de-en", "--source-guidance", "nan"], "--source-guidance is nan"),
        ("text_to_text.py", ["--preset", "de-en", "--order", "sideways"], "choose stretches, spread, left, blocks"),
        ("text_to_text.py", ["--preset", "de-en", "--json", "t.json"], "No model in runs/de-en: train it"),
        ("encoder_decoder.py", ["--preset", "english", "--output-dir", "out"], "choose one of de-en, paraphrase"),
        ("autoregressive.py", ["--preset", "de-en", "--output-dir", "out"], "does not train on the data of preset"),
        ("ship.py", ["--run", "nowhere", "--facts", "x.json", "--output", "out"], "no finished run"),
    ],
)
def test_a_missing_folder_is_one_sentence(
    script: str, arguments: list[str], message: str, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [script, *arguments])
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    main = runpy.run_path(str(BENCHMARKS / script))["main"]
    with pytest.raises(SystemExit) as stop:
        run(main)
    error = capsys.readouterr().err
    assert stop.value.code == 2
    assert message in error and error.count("\n") == 1
    assert not list(tmp_path.iterdir())
