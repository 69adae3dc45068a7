"""The trunk: who may look at whom, and rotary positions by their defining property."""

import torch

from textdiff.text.transformer import Transformer, rotary_angles, rotate, same_segment, segment_positions


def test_attention_mask_by_hand() -> None:
    seen = same_segment(torch.tensor([[1, 1, 2, 0]]))[0, 0]
    assert seen.int().tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]


def test_rotary_products_depend_on_the_distance_alone() -> None:
    torch.manual_seed(0)
    q, k = torch.randn(2, 8)

    def product(at_q: int, at_k: int) -> torch.Tensor:
        cos, sin = rotary_angles(torch.tensor([[at_q, at_k]]), 8, torch.float32)
        turned = rotate(torch.stack([q, k]).view(1, 1, 2, 8), (cos, sin))[0, 0]
        return turned[0] @ turned[1]

    torch.testing.assert_close(product(3, 1), product(9, 7))
    assert abs(product(3, 1) - product(3, 2)) > 1e-3


def test_a_segment_is_blind_to_the_others() -> None:
    torch.manual_seed(0)
    trunk = Transformer(16, 2, 2, 32, 0.0)
    h = torch.randn(1, 5, 16)
    segments, positions = torch.tensor([[1, 1, 1, 2, 2]]), torch.tensor([[0, 1, 2, 0, 1]])
    packed = trunk(h, segments, positions)
    alone = trunk(h[:, 3:], segments[:, 3:], positions[:, 3:])
    torch.testing.assert_close(packed[:, 3:], alone)
    mixed = trunk(h, torch.ones_like(segments), positions)
    assert (mixed[:, 3:] - alone).abs().max() > 1e-3


def test_segment_positions_by_hand() -> None:
    start, end = segment_positions(torch.tensor([[1, 1, 1, 2, 3, 3, 0, 0]]))
    assert start.tolist() == [[0, 1, 2, 0, 0, 1, 0, 0]]
    assert end.tolist() == [[2, 1, 0, 0, 1, 0, 0, 0]]
