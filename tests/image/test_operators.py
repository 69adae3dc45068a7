"""Operators are linear, their transposes adjoint, and the solver agrees with dense algebra, sample by sample."""

from __future__ import annotations

import pytest
import torch

from textdiff.image.operators import check_scale, downsample, gaussian_blur, missing, solve, transpose

KNOWN = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(3)) < 0.4
OPERATORS = {
    "missing": missing(KNOWN),
    "downsample": downsample(4),
    "blur": gaussian_blur(1.2),
    "both": lambda x: downsample(2)(gaussian_blur(0.7)(x)),
}
operators = pytest.mark.parametrize("name", OPERATORS)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@operators
def test_the_transpose_is_adjoint(name: str) -> None:
    operator, x = OPERATORS[name], normal(2, 1, 8, 8)
    y = normal(*operator(x).shape, seed=1)
    back = transpose(operator, x)(y)
    torch.testing.assert_close((operator(x) * y).sum(), (x * back).sum())


@operators
@pytest.mark.parametrize("noise", [0.1, 0.5])
def test_the_solver_agrees_with_dense_algebra(name: str, noise: float) -> None:
    operator, like = OPERATORS[name], torch.zeros(2, 1, 8, 8, dtype=torch.float64)
    residual, variance = operator(normal(2, 1, 8, 8)), torch.tensor([0.3, 2.0])
    found = solve(operator, like, residual, variance, noise)
    columns = operator(torch.eye(64, dtype=torch.float64).view(64, 1, 8, 8)).flatten(1)  # A^T, [64, M]
    for i in range(2):
        system = variance[i] * columns.T @ columns + noise**2 * torch.eye(columns.shape[1])
        wanted = torch.linalg.solve(system, residual[i].flatten())
        torch.testing.assert_close(found[i].flatten(), wanted, rtol=1e-4, atol=1e-4)


@operators
def test_a_sample_is_solved_alike_alone_and_in_a_batch(name: str) -> None:
    operator = OPERATORS[name]
    residual, variance = operator(normal(3, 1, 8, 8)).float(), torch.tensor([0.1, 1.0, 5.0])
    unlike = residual * torch.tensor([1.0, 100.0, 0.0]).view(3, 1, 1, 1)
    together = solve(operator, torch.zeros(3, 1, 8, 8), unlike, variance, 0.2)
    alone = solve(operator, torch.zeros(1, 1, 8, 8), residual[:1], variance[:1], 0.2)
    torch.testing.assert_close(together[:1], alone, rtol=1e-4, atol=1e-5)
    assert not together[2].any()


def test_operators_do_what_their_names_say() -> None:
    x = normal(1, 2, 8, 8)
    assert missing(KNOWN)(x)[~KNOWN.expand(1, 2, 8, 8)].eq(0).all()
    torch.testing.assert_close(downsample(4)(x)[0, 1, 1, 0], x[0, 1, 4:, :4].mean())
    flat = torch.full((1, 2, 8, 8), 0.3)
    torch.testing.assert_close(gaussian_blur(2.0)(flat), flat)
    assert gaussian_blur(1.0)(x).var() < 0.3 * x.var()


@pytest.mark.parametrize("radius", [0.0, -1.0, 1e9, float("nan"), float("inf")])
def test_an_impossible_blur_is_refused(radius: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        gaussian_blur(radius)


@pytest.mark.parametrize("scale", [0, -2, 1.5, True])
def test_impossible_blocks_are_refused(scale) -> None:
    with pytest.raises(ValueError, match="a whole number from 1"):
        downsample(scale)


@pytest.mark.parametrize(
    ("scale", "message"), [(1, "from 2"), (2.5, "from 2"), (True, "from 2"), (8, "at most 56 a side")]
)
def test_an_impossible_scale_is_refused(scale, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_scale(scale, (8, 7), limit=56)
    assert check_scale(4, (8, 7), limit=56) == (32, 28)
