"""Word vectors against brute force over the vocabulary."""

import pytest
import torch

from textdiff.text.embedding import TokenEmbedding


@pytest.fixture(params=[True, False], ids=["unit", "free"])
def embedding(request: pytest.FixtureRequest) -> TokenEmbedding:
    torch.manual_seed(0)
    return TokenEmbedding(50, 6, unit_norm=request.param)


def test_unit_rows_have_length_one_and_free_rows_their_own(embedding: TokenEmbedding) -> None:
    lengths = embedding.vectors().norm(dim=-1)
    expected = torch.ones(50) if embedding.unit_norm else embedding.weight.norm(dim=-1)
    torch.testing.assert_close(lengths, expected)


def test_rounding_is_the_nearest_vector(embedding: TokenEmbedding) -> None:
    x = 3 * torch.randn(4, 7, 6)
    nearest = torch.cdist(x, embedding.vectors()[None].expand(4, -1, -1)).argmin(-1)
    assert torch.equal(embedding.round(x), nearest)
    torch.testing.assert_close(embedding.clamp(x), embedding.vectors()[nearest])


def test_logits_are_minus_half_the_squared_distance_up_to_a_constant(embedding: TokenEmbedding) -> None:
    x = torch.randn(3, 6)
    exact = -0.5 * (x[:, None] - embedding.vectors()).pow(2).sum(-1)
    difference = embedding.logits(x) - exact
    torch.testing.assert_close(difference, difference[:, :1].expand(-1, 50), atol=1e-5, rtol=0)


def test_embedding_and_rounding_are_inverse(embedding: TokenEmbedding) -> None:
    ids = torch.arange(50).view(2, 25)
    assert torch.equal(embedding.round(embedding.embed(ids)), ids)
