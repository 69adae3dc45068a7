"""The Python that the documents show runs, block after block, with the bundled model."""

import re
import shlex
from pathlib import Path

import pytest

from scripts import image, train_image
from textdiff.diffusion.scheduler import Scheduler
from textdiff.storage import BUNDLED
from textdiff.text.denoiser import DenoiserConfig, TextDenoiser
from textdiff.text.language_model import DiffusionLM
from textdiff.text.tokenizer import train_bpe

BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)
SHELL = re.compile(r"```bash\n(.*?)```", re.DOTALL)
PAGES = ["README.md", "docs/getting_started.md", "docs/control.md"]


@pytest.mark.parametrize("page", PAGES)
def test_the_code_of_a_page_runs(page: str, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    blocks = BLOCK.findall((root / page).read_text(encoding="utf-8"))
    assert blocks
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, page, "exec"), names)
    assert "model" in names


def test_the_code_of_text_to_text_runs(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tokenizer = train_bpe(["Der Hund schl\u00e4ft. Es regnet."] * 9, 300)
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    denoiser = TextDenoiser(DenoiserConfig(vocab_size=tokenizer.get_vocab_size(), **shape))
    lengths = {"target_lengths": [[], *([0] * n + [9] for n in range(1, 20))]}
    DiffusionLM(denoiser, Scheduler.adaptive([3.0, -6.0]), tokenizer, config=lengths).save_pretrained(
        tmp_path / "runs/de-en"
    )
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in BLOCK.findall((root / "docs/text_to_text.md").read_text(encoding="utf-8")):
        exec(compile(block, "text_to_text.md", "exec"), names)
    assert "chrf_signature" in capsys.readouterr().out


def test_the_code_of_images_runs(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("digits", "digit_classifier", "composed-digits", "caption-digits"):
        if not (BUNDLED / name / "config.json").is_file():
            pytest.skip(f"needs the bundled model {name}, which benchmarks/ship_images.py writes: it is not there")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in BLOCK.findall((root / "docs/images.md").read_text(encoding="utf-8")):
        exec(compile(block, "images.md", "exec"), names)
    assert "model" in names and (tmp_path / "walk.png").is_file() and "[" in capsys.readouterr().out


def test_the_commands_of_images_are_understood(root: Path) -> None:
    """Every call of scripts/image.py and scripts/train_image.py has options that these know."""
    blocks = "\n".join(SHELL.findall((root / "docs/images.md").read_text(encoding="utf-8"))).replace("\\\n", " ")
    scripts = {"scripts/image.py": image, "scripts/train_image.py": train_image}
    calls = [shlex.split(line)[1:] for line in blocks.splitlines() if line.startswith("python scripts/")]
    assert {name for name, *_ in calls} == set(scripts) and len(calls) >= 12
    for name, *options in calls:
        scripts[name].parse_args(options)
