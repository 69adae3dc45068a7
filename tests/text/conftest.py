"""Tiny untrained language models whose every part is real."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from textdiff.diffusion.scheduler import Scheduler
from textdiff.text.classifier import TextClassifier
from textdiff.text.denoiser import DenoiserConfig
from textdiff.text.language_model import DiffusionLM
from textdiff.text.ordered_denoiser import make_denoiser
from textdiff.text.tokenizer import train_bpe, train_word_level

SENTENCES = ["The little dog ran home.", "A cat sat on the mat, and it was happy.", "We saw the big red sun."] * 9


def untrained(tokenizer, **shape) -> DiffusionLM:
    """A model with random weights everywhere, the zero-initialised ones included."""
    torch.manual_seed(0)
    small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    shape = {"max_position_embeddings": 24, **small, **shape}
    denoiser = make_denoiser(DenoiserConfig(vocab_size=tokenizer.get_vocab_size(), **shape))
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
def ordered_lm() -> DiffusionLM:
    """Word-level vocabulary; clean tokens are read in order. What it says of a token depends on those before it."""
    lm = untrained(train_word_level(SENTENCES, min_count=1), reading_layers=1, stagger=1.0)
    with torch.no_grad():
        for parameter in lm.denoiser.parameters():
            parameter += 0.15 * torch.randn_like(parameter)
    lm.scheduler = Scheduler.adaptive([5.0, -6.0])
    return lm


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


KINDS = {
    "DET": "The A the", "ADJ": "little big red happy.", "NOUN": "dog cat home. mat, sun.",
    "VERB": "ran sat saw was", "PRON": "it We", "ADP": "on", "CCONJ": "and",
}  # fmt: skip
FIELDS = {
    "animal": {"dog": "dog", "cat": "cat", "absent": ""}, "friendly": {"yes": "big", "no": "little"},
    "sentiment": {"pos": "happy.", "neg": "home."}, "weather": {"sunny day": "sun.", "red": "red"},
}  # fmt: skip


@pytest.fixture(scope="session")
def lookup(word_lm: DiffusionLM) -> TextClassifier:
    """A classifier of `word_lm` that knows the truth: a word's kind is its tag, a field has the value whose
    words stand in the text, NP is a determiner with a noun at most two words on, VP a verb up to a noun."""
    tokens = word_lm.tokenizer.token_to_id

    def holds(words: str) -> torch.Tensor:
        """Which tokens are among these words, [V]."""
        mask = torch.zeros(word_lm.denoiser.config.vocab_size)
        mask[[tokens(word) for word in words.split()]] = 1
        return mask

    tags = torch.stack([holds(words) for words in KINDS.values()], dim=1)
    det, noun, verb = (list(KINDS).index(kind) for kind in ("DET", "NOUN", "VERB"))

    class Lookup(TextClassifier):
        def hidden(self, x0, t, attention_mask):
            return x0 @ torch.linalg.pinv(self.vectors) * attention_mask[..., None]  # p

        def field_logits(self, p, attention_mask):
            doubt = torch.tensor(0.5).expand(len(p))  # what is not spoken of is absent
            return [
                10 * torch.stack([(p @ holds(w)).sum(1) if w else doubt for w in values.values()], dim=1)
                for values in FIELDS.values()
            ]

        def tag_logits(self, p):
            return 10 * p @ tags

        def span_logits(self, p, starts, ends):
            first, last = p[:, starts] @ tags, p[:, ends - 1] @ tags
            np = first[..., det] * last[..., noun] * (ends - starts <= 3)
            vp = first[..., verb] * last[..., noun]
            return 10 * torch.stack([torch.full_like(np, 0.5), np, vp], dim=-1)

    small = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    fields = {name: list(values) for name, values in FIELDS.items()}
    made = Lookup.for_model(
        word_lm.denoiser, word_lm.vocabulary, fields=fields, tags=list(KINDS), spans=["NP", "VP"], **small
    )
    return made.eval().requires_grad_(False)
