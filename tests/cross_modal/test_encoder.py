"""The caption encoder: shapes that fit, and rows that do not see each other."""

from __future__ import annotations

import pytest
import torch

from textdiff.cross_modal.encoder import CaptionEncoder, CaptionEncoderConfig

SMALL = {"vocab_size": 9, "length": 5, "hidden": 8, "layers": 1, "heads": 2, "intermediate": 16}


def test_rows_do_not_see_each_other_nor_what_pads_them() -> None:
    encoder = CaptionEncoder(CaptionEncoderConfig(**SMALL)).eval()
    ids = torch.tensor([[4, 5, 0, 0, 0], [6, 4, 7, 8, 5]])
    embeddings, mask = encoder(ids)
    assert embeddings.shape == (2, 5, 8) and mask.equal(ids > 0)
    torch.testing.assert_close(encoder(ids[:1, :2]).embeddings, embeddings[:1, :2], rtol=0, atol=1e-5)
    torch.testing.assert_close(encoder(ids[1:]).embeddings[0], embeddings[1], rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "change", [{"hidden": 6}, {"layers": 0}, {"vocab_size": 0}, {"dropout": 1.0}, {"heads": 3}]
)
def test_impossible_shapes_are_refused(change: dict) -> None:
    with pytest.raises(ValueError, match="correct its config"):
        CaptionEncoderConfig(**{**SMALL, **change})
