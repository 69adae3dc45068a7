"""Measurements: what a camera, a scratch or a loss of resolution does to a picture, as linear maps.

An operator is any linear function from pictures [B, C, H, W] to measurements [B, ...]. Its transpose comes from
autograd, and (variance A A^T + noise^2) u = r is solved by conjugate gradients with numbers of each sample's own, so
nothing about an operator has to be known but what it does. Where A A^T is a multiple of the identity (a mask, blocks
averaged) one iteration is exact.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

Operator = Callable[[Tensor], Tensor]

LEAST_NOISE = 1e-3  # of a measurement that claims none, so that the system stays solvable
ITERATIONS = 30
CONVERGED = 1e-6
WIDEST_BLUR = 100.0  # pixels
MOST_NOISE = 100.0  # standard deviation, 1 = black to white


def missing(known: Tensor) -> Operator:
    """Pixels where `known` (bool, broadcastable to [B, C, H, W]) stay, the others are lost (0)."""
    return lambda x: x * known.to(x)


def downsample(scale: int) -> Operator:
    """The mean of every block of scale x scale pixels; rows and columns that fill no block are not seen.

    Raises:
        ValueError: if the scale is no whole number above 0.
    """
    if isinstance(scale, bool) or not isinstance(scale, int) or scale < 1:
        raise ValueError(f"The scale is {scale!r}: give a whole number from 1.")
    return lambda x: functional.avg_pool2d(x, scale)


def gaussian_blur(radius: float) -> Operator:
    """A Gaussian of standard deviation `radius` pixels; beyond the edge the edge goes on.

    Raises:
        ValueError: if the radius is not above 0 and at most `WIDEST_BLUR`.
    """
    if not 0 < radius <= WIDEST_BLUR:
        raise ValueError(
            f"The radius of the blur is {radius}: give a number of pixels above 0, at most {WIDEST_BLUR:g}."
        )
    reach = max(1, math.ceil(3 * radius))
    places = torch.arange(-reach, reach + 1, dtype=torch.float64, device="cpu")
    kernel = torch.exp(-0.5 * (places / radius) ** 2)
    kernel = kernel / kernel.sum()

    def blur(x: Tensor) -> Tensor:
        line = kernel.to(x)
        across = line.view(1, 1, 1, -1).expand(x.shape[1], 1, 1, -1)
        wide = functional.pad(x, (reach,) * 4, mode="replicate")
        rows = functional.conv2d(wide, across, groups=x.shape[1])
        return functional.conv2d(rows, across.transpose(2, 3), groups=x.shape[1])

    return blur


def transpose(operator: Operator, like: Tensor) -> Operator:
    """A^T of an operator on pictures shaped like `like` [B, C, H, W]."""

    def transposed(y: Tensor) -> Tensor:
        with torch.enable_grad():
            x = torch.zeros_like(like).requires_grad_()
            (gradient,) = torch.autograd.grad((operator(x) * y).sum(), x)
        return gradient

    return transposed


def solve(operator: Operator, like: Tensor, residual: Tensor, variance: Tensor, noise: float) -> Tensor:
    """u with (variance A A^T + noise^2) u = residual, by conjugate gradients (Hestenes & Stiefel 1952).

    Args:
        operator: A.
        like: pictures [B, C, H, W] of the shape A takes.
        residual: [B, ...].
        variance: [B].
        noise: standard deviation; raised to `LEAST_NOISE`.
    """
    back, shape = transpose(operator, like), (-1,) + (1,) * (residual.ndim - 1)
    each = variance.to(residual.dtype).view(shape)
    floor = max(noise, LEAST_NOISE) ** 2

    def dot(a: Tensor, b: Tensor) -> Tensor:
        return (a * b).flatten(1).sum(1).view(shape)

    u, r = torch.zeros_like(residual), residual
    direction, size = r, dot(r, r)
    goal = CONVERGED**2 * size
    for _ in range(ITERATIONS):
        ahead = each * operator(back(direction)) + floor * direction
        going = size > goal
        length = torch.where(going, size / dot(direction, ahead).clamp(min=1e-30), 0.0)
        u, r = u + length * direction, r - length * ahead
        before, size = size, torch.where(going, dot(r, r), size)
        if not (size > goal).any():
            break
        direction = torch.where(going, r + size / before.clamp(min=1e-30) * direction, direction)
    return u


def check_scale(scale: int, size: tuple[int, int], *, limit: int) -> tuple[int, int]:
    """Height and width after enlarging.

    Args:
        scale: the factor.
        size: height and width before.
        limit: the largest side that the model can make.

    Raises:
        ValueError: if the factor is no whole number above 1, or the result is beyond the limit.
    """
    if isinstance(scale, bool) or not isinstance(scale, int) or scale < 2:
        raise ValueError(f"The scale is {scale!r}: give a whole number from 2.")
    if max(size) * scale > limit:
        raise ValueError(
            f"The scale is {scale}, which makes {size[1] * scale} x {size[0] * scale} pixels of {size[1]} x {size[0]}: "
            f"this model was made for at most {limit} a side, so give a smaller scale or picture."
        )
    return size[0] * scale, size[1] * scale
