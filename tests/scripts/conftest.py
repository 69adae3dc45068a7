"""A folder with a tiny untrained model, and a way to run a script as a stranger would."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from textdiff.diffusion.scheduler import Scheduler
from textdiff.text.denoiser import DenoiserConfig, TextDenoiser
from textdiff.text.language_model import DiffusionLM
from textdiff.text.tokenizer import train_bpe


@pytest.fixture(scope="session")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The model's folder: 24 tokens of window."""
    torch.manual_seed(0)
    tokenizer = train_bpe(["The little dog ran home.", "A cat sat on the mat."] * 9, 300)
    shape = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    config = DenoiserConfig(vocab_size=tokenizer.get_vocab_size(), max_position_embeddings=24, **shape)
    folder = tmp_path_factory.mktemp("untrained")
    DiffusionLM(TextDenoiser(config), Scheduler.adaptive([3.0, -6.0]), tokenizer).save_pretrained(folder)
    return str(folder)


@pytest.fixture
def shell(root: Path, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess]:
    """Run scripts/<name> with arguments from an empty folder."""

    def call(name: str, *arguments: str) -> subprocess.CompletedProcess:
        command = [sys.executable, str(root / "scripts" / name), *arguments]
        environment = {**os.environ, "PYTHONPATH": str(root)}
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)

    return call
