"""Losses under captions: alike in noise, a function of the picture's number, least under the picture's own caption."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from textdiff.cross_modal.agreement import caption_losses, top_share

CAPTIONS = ["a seven left of a three", "an eight above a two", "a one above a two"]


def test_a_picture_s_losses_depend_on_nothing_beside_it(artist, monkeypatch) -> None:
    pictures = list(np.random.default_rng(0).integers(0, 256, (2, 8, 8)).astype(np.uint8))
    whole, calls = caption_losses(artist, pictures, CAPTIONS, draws=2), []
    monkeypatch.setattr("textdiff.cross_modal.agreement.AT_ONCE", 2)
    parts = caption_losses(artist, pictures, CAPTIONS, draws=2, progress=lambda: calls.append(1))
    torch.testing.assert_close(parts, whole, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(
        caption_losses(artist, pictures[:1], CAPTIONS[::-1], draws=2)[0], whole[0].flip(0), rtol=1e-4, atol=1e-5
    )
    assert len(calls) == 2 and whole.shape == (2, 3)
    assert (caption_losses(artist, pictures, CAPTIONS, draws=2, seed=1) - whole).abs().min() > 1e-5


@pytest.mark.slow
def test_a_picture_s_own_caption_explains_it_best(patterns) -> None:
    left = np.zeros((8, 8), dtype=np.uint8)
    left[:, :4] = 255
    losses = caption_losses(patterns, [left, left[:, ::-1]], ["light left", "light right"], draws=4)
    assert losses[0, 0] < 0.7 * losses[0, 1] and losses[1, 1] < 0.7 * losses[1, 0]
    assert top_share(losses, 1) == 1.0


def test_shares_by_rank() -> None:
    losses = torch.tensor([[0.0, 1.0, 2.0], [0.0, 1.0, 2.0], [0.0, 1.0, 2.0]])
    assert [top_share(losses, k) for k in (1, 2, 3)] == pytest.approx([1 / 3, 2 / 3, 1.0])
    assert top_share(torch.zeros(3, 3), 1) == 0.0 and top_share(torch.zeros(3, 3), 2) == 1.0  # all in the middle


def test_bad_input_is_a_sentence(artist) -> None:
    picture = np.zeros((8, 8), dtype=np.uint8)
    with pytest.raises(ValueError, match="draws is 0"):
        caption_losses(artist, [picture], CAPTIONS, draws=0)
    with pytest.raises(ValueError, match="not of the model's size, 8 x 8"):
        caption_losses(artist, [picture[:4]], CAPTIONS)
