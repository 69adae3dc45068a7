"""The picture encoder: one vector a square, told its place; impossible shapes."""

from __future__ import annotations

import pytest
import torch

from textdiff.cross_modal.picture_encoder import PictureEncoder, PictureEncoderConfig

SMALL = {"image_size": 16, "width": 8, "multiples": (1, 2), "hidden": 16, "length": 5}


@pytest.fixture(scope="module")
def encoder() -> PictureEncoder:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return PictureEncoder(PictureEncoderConfig(**SMALL)).eval()


@torch.no_grad()
def test_a_vector_for_every_square(encoder) -> None:
    assert encoder.config.stride == 4
    (vectors, mask), lengths = encoder(torch.rand(3, 1, 16, 16))
    assert vectors.shape == (3, 16, 16) and mask.shape == (3, 16) and mask.all() and lengths.shape == (3, 5)


@torch.no_grad()
def test_squares_of_one_look_differ_by_their_place(encoder) -> None:
    (vectors, _), _ = encoder(torch.zeros(1, 1, 16, 16))
    inner = vectors[0].view(4, 4, -1)[1:3, 1:3].flatten(0, 1)  # the rim sees the padding
    assert torch.pdist(inner).min() > 1e-3


@torch.no_grad()
def test_pictures_do_not_see_each_other(encoder) -> None:
    pictures = torch.rand(3, 1, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    whole, alone = encoder(pictures), encoder(pictures[1:2])
    torch.testing.assert_close(whole.prefix.vectors[1:2], alone.prefix.vectors, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(whole.length_logits[1:2], alone.length_logits, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 0}, "sizes must all be at least 1"),
        ({"multiples": ()}, "sizes must all be at least 1"),
        ({"image_size": 18}, "18 x 18 pixels in squares of 4"),
    ],
)
def test_impossible_shapes(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PictureEncoderConfig(**{**SMALL, **change})
