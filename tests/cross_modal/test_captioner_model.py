"""The joint loss of encoder and text model: its terms, who learns from it, and rows without their picture."""

from __future__ import annotations

import math

import pytest
import torch

from textdiff.cross_modal import captioner_model
from textdiff.cross_modal.picture_encoder import PictureEncoderConfig
from textdiff.text.model import DiffusionLMConfig

WORDS = torch.tensor([[4, 5, 6, 0, 0], [5, 0, 0, 0, 0], [6, 7, 8, 8, 4], [7, 4, 0, 0, 0]])
INDEX = torch.tensor([5, 9, 2, 7])


@pytest.fixture
def model() -> captioner_model.CaptionerModel:
    text = DiffusionLMConfig(
        vocab_size=9, embedding_dim=8, hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16, max_position_embeddings=5,
    )  # fmt: skip
    shape = {"image_size": 8, "width": 8, "multiples": (1, 2), "hidden": 8, "length": 5}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = captioner_model.CaptionerModel(text, PictureEncoderConfig(**shape))
        for parameter in model.parameters():
            parameter.data += 0.2 * torch.randn_like(parameter)
    return model


def pictures() -> torch.Tensor:
    return torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_the_encoder_learns_from_the_words(model, monkeypatch) -> None:
    monkeypatch.setattr(captioner_model, "PICTURE_DROPOUT", 0.0)
    model.encoder.length.requires_grad_(False).weight.zero_()  # lengths teach it nothing: words alone do
    model.train()(pictures(), WORDS, INDEX).loss.backward()
    learning = [*model.encoder.squares.parameters(), *model.encoder.place.parameters()]
    assert all(parameter.grad.abs().max() > 0 for parameter in learning)


@torch.no_grad()
def test_a_row_s_loss_depends_on_its_index_words_and_picture_alone(model) -> None:
    x0 = pictures()
    model.eval()
    whole = float(model(x0, WORDS, INDEX).loss)
    parts = [float(model(x0[i : i + 1], WORDS[i : i + 1], INDEX[i : i + 1]).loss) for i in (3, 1, 0, 2)]
    assert sum(parts) / 4 == pytest.approx(whole, rel=1e-4)
    assert float(model(x0.roll(1, 0), WORDS, INDEX).loss) != pytest.approx(whole, rel=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("dropout", [0.0, 1.0])
def test_rows_without_their_picture_do_not_see_it(model, monkeypatch, dropout: float) -> None:
    monkeypatch.setattr(captioner_model, "PICTURE_DROPOUT", dropout)
    curve = model.text.scheduler
    one = model.train()(pictures(), WORDS, INDEX).cross_entropy
    model.text.scheduler, model.text.levels = curve, type(model.text.levels)(-6.0, 5.0)
    other = model(pictures().roll(1, 0), WORDS, INDEX).cross_entropy
    assert bool(abs(one - other) < 1e-6) == (dropout == 1.0)


@torch.no_grad()
def test_a_length_of_even_chances_costs_its_logarithm_spread_over_the_words(model) -> None:
    model.encoder.length.weight.zero_()
    model.encoder.length.bias.zero_()
    found = model.eval()(pictures(), WORDS, INDEX)
    wanted = sum(math.log(5) / count for count in (3, 1, 5, 2)) / 4
    assert float(found.length) == pytest.approx(wanted, rel=1e-5)
    terms = found.reconstruction + found.diffusion + found.prior + found.length
    assert float(found.loss) == pytest.approx(float(terms), rel=1e-5)
