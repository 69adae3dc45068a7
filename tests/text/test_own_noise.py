"""Noise of one's own: the same in any company."""

import torch

from textdiff.text.own_noise import OwnNoise, candidate_seeds


def test_own_noise_does_not_depend_on_the_padding() -> None:
    alone, beside = OwnNoise([3], [5], torch.device("cpu")), OwnNoise([7, 3], [4, 5], torch.device("cpu"))
    assert beside.normal(2)[1, :3].equal(alone.normal(2)[0])
    assert beside.uniform()[1, :3].equal(alone.uniform()[0])
    assert not beside.normal(2)[1, 3:].any()


def test_seeds_of_candidates_do_not_depend_on_their_number() -> None:
    assert candidate_seeds(7, 3) == candidate_seeds(7, 9)[:3]
    assert len(set(candidate_seeds(7, 100) + candidate_seeds(8, 100))) == 200
