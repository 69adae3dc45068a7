"""The joint loss: both networks learn from it, and a row's depends on its index alone."""

from __future__ import annotations

import pytest
import torch

from textdiff.cross_modal.encoder import CaptionEncoderConfig
from textdiff.cross_modal.model import TextToImageModel
from textdiff.image.model import ImageDiffusionConfig


@pytest.fixture(scope="module")
def model() -> TextToImageModel:
    shape = {"vocab_size": 9, "length": 5, "hidden": 8, "layers": 1, "heads": 2, "intermediate": 16}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = TextToImageModel(
            ImageDiffusionConfig(image_size=8, width=8, heads=2, condition_size=8), CaptionEncoderConfig(**shape)
        )
        for parameter in model.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)
    return model


def batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x0 = torch.rand(4, 1, 8, 8, generator=generator) * 2 - 1
    return x0, torch.randint(4, 9, (4, 5), generator=generator), torch.tensor([5, 9, 2, 7])


def test_the_encoder_learns_from_the_pictures(model) -> None:
    x0, ids, index = batch()
    model.train()(x0, ids, index).loss.backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in model.encoder.parameters())
    model.zero_grad()


def test_a_row_s_loss_depends_on_its_index_and_caption_alone(model) -> None:
    x0, ids, index = batch()
    model.eval()
    with torch.no_grad():
        whole = float(model(x0, ids, index).loss)
        parts = [float(model(x0[i : i + 1], ids[i : i + 1], index[i : i + 1]).loss) for i in (3, 1, 0, 2)]
        other = float(model(x0, ids.roll(1, 0), index).loss)
    assert sum(parts) / 4 == pytest.approx(whole, rel=1e-4)
    assert other != pytest.approx(whole, rel=1e-4)
