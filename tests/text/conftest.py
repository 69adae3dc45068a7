"""A tiny untrained language model, byte-level, whose every part is real."""

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
