"""Tiny untrained language models whose every part is real."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from textdiff.diffusion.scheduler import Scheduler
from textdiff.text.denoiser import DenoiserConfig, TextDenoiser
from textdiff.text.language_model import DiffusionLM
from textdiff.text.tokenizer import train_bpe, train_word_level

SENTENCES = ["The little dog ran home.", "A cat sat on the mat, and it was happy.", "We saw the big red sun."] * 9


def untrained(tokenizer, **shape) -> DiffusionLM:
    """A model with random weights everywhere, the zero-initialised ones included."""
    torch.manual_seed(0)
    small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    shape = {"max_position_embeddings": 24, **small, **shape}
    denoiser = TextDenoiser(DenoiserConfig(vocab_size=tokenizer.get_vocab_size(), **shape))
    for parameter in denoiser.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    counts = [0, 0, 0, 0, 5, 5, 5, 5]
    return DiffusionLM(denoiser, Scheduler.adaptive([3.0, -6.0]), tokenizer, config={"length_counts": counts})


@pytest.fixture(scope="session")
def bpe_lm() -> DiffusionLM:
    """Byte-level vocabulary, window of 24 tokens."""
    return untrained(train_bpe(SENTENCES, 300))


@pytest.fixture(scope="session")
def word_lm() -> DiffusionLM:
    """Word-level vocabulary, window of 24 tokens."""
    return untrained(train_word_level(SENTENCES, min_count=1))


@pytest.fixture(scope="session")
def small_model() -> Callable[..., Any]:
    """Builds a `DiffusionLMModel` of 12 tokens, word vectors of 16 and a window of 8."""
    from textdiff.text.model import DiffusionLMConfig, DiffusionLMModel

    def build(*, spread: float = 0.0, **shape: float) -> DiffusionLMModel:
        """A fresh one; `spread` of random weights on top."""
        with torch.random.fork_rng():
            torch.manual_seed(0)
            config = DiffusionLMConfig(
                vocab_size=12, embedding_dim=16, hidden_size=48, num_hidden_layers=2, num_attention_heads=2,
                intermediate_size=96, max_position_embeddings=8, **shape,
            )  # fmt: skip
            model = DiffusionLMModel(config)
            for parameter in model.parameters():
                parameter.data += spread * torch.randn_like(parameter)
        return model.eval()

    return build
