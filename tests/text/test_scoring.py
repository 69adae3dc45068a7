"""The bound: against exact entropies where they are known, and what its interval covers."""

import math

import pytest
import torch

from textdiff.diffusion.scheduler import Scheduler
from textdiff.text.denoiser import DenoiserConfig, TextDenoiser
from textdiff.text.language_model import DiffusionLM
from textdiff.text.scoring import bound, length_nats


@pytest.fixture(scope="module")
def uniform() -> TextDenoiser:
    """Untouched initial weights: the exact denoiser of independent, uniformly drawn tokens."""
    torch.manual_seed(0)
    shape = {"vocab_size": 32, "embedding_dim": 8, "hidden_size": 16, "num_hidden_layers": 1}
    return TextDenoiser(DenoiserConfig(**shape, num_attention_heads=2, max_position_embeddings=16)).eval()


def texts(count: int, length: int = 16) -> list[tuple[list[int], int]]:
    drawn = torch.randint(32, (count, length), generator=torch.Generator().manual_seed(1))
    return [(ids, 3 * length) for ids in drawn.tolist()]


def test_the_exact_denoiser_pays_the_entropy(uniform: TextDenoiser) -> None:
    curve = Scheduler.adaptive([5.0, 1.0, -2.0, -8.0])
    found = bound(uniform, curve, texts(400), length_counts=[], levels=16)
    assert found.nats_per_token == pytest.approx(math.log(32), abs=0.06)
    assert found.nats_per_token_interval[0] < math.log(32) < found.nats_per_token_interval[1]
    assert found.bits_per_byte == pytest.approx(found.nats_per_token / 3 / math.log(2))
    assert (found.tokens, found.bytes) == (6400, 19200)
    assert sum(found.nats) == pytest.approx(found.nats_per_token * 6400)


def test_the_bound_does_not_depend_on_the_curve(uniform: TextDenoiser) -> None:
    """A reconstruction read at another level than the integral's end would show here."""
    ends = [
        bound(uniform, Scheduler.adaptive([top, -8.0]), texts(150), length_counts=[], levels=32) for top in (2.0, 6.0)
    ]
    assert ends[0].nats_per_token == pytest.approx(ends[1].nats_per_token, abs=0.1)


def test_one_text_has_an_interval_from_the_noise_alone(uniform: TextDenoiser) -> None:
    curve = Scheduler.adaptive([5.0, -8.0])
    found = [bound(uniform, curve, texts(1), length_counts=[], levels=8, seed=seed) for seed in range(20)]
    inside = [one.nats_per_token_interval[0] < math.log(32) < one.nats_per_token_interval[1] for one in found]
    assert sum(inside) >= 17
    many = bound(uniform, curve, texts(1), length_counts=[], levels=128)
    width = [one.nats_per_token_interval[1] - one.nats_per_token_interval[0] for one in (found[0], many)]
    assert width[1] < width[0] / 2


def test_a_text_is_scored_alike_alone_and_in_company(bpe_lm: DiffusionLM) -> None:
    alone = bpe_lm.score("The little dog ran.", seed=2)
    company = bpe_lm.score(["The little dog ran.", "A cat, and another cat, and a third.", "We."], seed=2)
    assert company.nats[0] == pytest.approx(alone.nats[0], rel=1e-3)


def test_long_texts_are_scored_in_windows(bpe_lm: DiffusionLM) -> None:
    long = "The little dog ran home. " * 12
    found = bpe_lm.score(long)
    assert found.tokens == len(bpe_lm.vocabulary.encode(long)) > bpe_lm.window
    assert math.isfinite(found.nats_per_token)


def test_length_costs_its_smoothed_frequency() -> None:
    assert length_nats([0, 1, 3], 2, window=4) == pytest.approx(-math.log((3 + 1) / (1 + 3 + 4)))
    assert length_nats([], 2, window=4) == pytest.approx(math.log(4))


@pytest.mark.parametrize(("asked", "message"), [([], "none at all"), (["a", ""], "empty text"), ("", "empty text")])
def test_nothing_to_score(bpe_lm: DiffusionLM, asked: list[str] | str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        bpe_lm.score(asked)


def test_a_text_of_no_tokens(word_lm: DiffusionLM) -> None:
    with pytest.raises(ValueError, match="no tokens"):
        word_lm.score(["a", " "])
