"""Attention of a picture's places: to each other, and to the vectors of a condition such as a read caption.

A condition is tensors and nothing else: whoever makes them may know words. Rows of which nothing is told see
one learned vector instead, which is what classifier-free guidance (arXiv 2207.12598) guides away from.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

GROUP = 8  # channels that are normalised together, at least
WAVES = 4  # frequencies, in octaves from half a wave across the picture, that tell a place's height and width


class Condition(NamedTuple):
    """What a batch of pictures is told.

    Attributes:
        embeddings: Vectors [B, N, H].
        mask: bool [B, N], True = told; a row without any is not told.
    """

    embeddings: Tensor
    mask: Tensor

    def rows(self, chosen: slice) -> Condition:
        """That of some of the pictures."""
        return Condition(self.embeddings[chosen], self.mask[chosen])

    def to(self, device: torch.device) -> Condition:
        """On another device."""
        return Condition(self.embeddings.to(device), self.mask.to(device))


class ConditionReader(nn.Module):
    """A condition with the learned vector of "not told" before it, and its mean."""

    def __init__(self, size: int, told: int) -> None:
        super().__init__()
        self.null = nn.Parameter(torch.randn(size))
        self.mean = nn.Sequential(nn.Linear(size, told), nn.SiLU(), nn.Linear(told, told))

    def forward(self, condition: Condition | None, count: int) -> tuple[Condition, Tensor]:
        """Vectors [B, 1 + N, H] of which every row sees some, and their means [B, told]; None: N = 0."""
        null = self.null.expand(count, 1, -1)
        if condition is None:
            seen = torch.ones(count, 1, dtype=torch.bool, device=null.device)
            return Condition(null, seen), self.mean(null[:, 0])
        embeddings = torch.cat([null, condition.embeddings.to(null.dtype)], 1)
        mask = torch.cat([~condition.mask.any(1, keepdim=True), condition.mask], 1)
        share = mask[..., None].to(embeddings.dtype)
        mean = (embeddings * share).sum(1) / share.sum(1)
        return Condition(embeddings, mask), self.mean(mean)


class Attention(nn.Module):
    """Self-attention between all places, as a residual."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = normalisation(width)
        self.qkv = nn.Conv2d(width, 3 * width, 1)
        self.out = zeroed(nn.Conv2d(width, width, 1))

    def forward(self, h: Tensor) -> Tensor:
        """[B, width, H, W] -> the same shape."""
        b, c, height, width = h.shape
        parts = self.qkv(self.norm(h)).reshape(b, 3, self.heads, c // self.heads, height * width)
        q, k, v = parts.transpose(-1, -2).unbind(1)
        mixed = nn.functional.scaled_dot_product_attention(q, k, v)
        return h + self.out(mixed.transpose(-1, -2).reshape(b, c, height, width))


class ConditionAttention(nn.Module):
    """Every place, told where it stands, looks at the condition's vectors; as a residual."""

    def __init__(self, width: int, heads: int, size: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = normalisation(width)
        self.place = nn.Linear(4 * WAVES, width)
        self.query = nn.Conv2d(width, width, 1)
        self.key_value = nn.Linear(size, 2 * width)
        self.out = zeroed(nn.Conv2d(width, width, 1))

    def forward(self, h: Tensor, condition: Condition) -> Tensor:
        """h [B, width, H, W], a condition of which every row sees something -> the shape of h."""
        b, c, height, width = h.shape
        place = self.place(place_features(height, width, h.device).to(h.dtype)).T.reshape(1, c, height, width)
        q = self.query(self.norm(h) + place).reshape(b, self.heads, c // self.heads, height * width)
        vectors = self.key_value(condition.embeddings.to(h.dtype))
        k, v = vectors.reshape(b, -1, 2, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        seen = condition.mask[:, None, None]
        mixed = nn.functional.scaled_dot_product_attention(q.transpose(-1, -2), k, v, attn_mask=seen)
        return h + self.out(mixed.transpose(-1, -2).reshape(b, c, height, width))


def place_features(height: int, width: int, device: torch.device) -> Tensor:
    """Sines and cosines [height * width, 4 * WAVES] of every place, as shares of the height and width."""
    ways = [(torch.arange(n, device=device) + 0.5) / n - 0.5 for n in (height, width)]
    waves = math.pi * 2.0 ** torch.arange(WAVES, device=device)
    rows, columns = (way[:, None] * waves for way in ways)
    both = torch.cat([rows[:, None].expand(-1, width, -1), columns[None].expand(height, -1, -1)], -1)
    return torch.cat([both.sin(), both.cos()], -1).reshape(height * width, -1)


def normalisation(width: int) -> nn.GroupNorm:
    """Group normalisation with as many groups as fit and divide, 8 at most, of `GROUP` channels or more."""
    groups = next(n for n in range(min(8, max(1, width // GROUP)), 0, -1) if width % n == 0)
    return nn.GroupNorm(groups, width)


def zeroed(module: nn.Conv2d) -> nn.Conv2d:
    """The convolution, with zeros for weights: what it ends adds nothing at first."""
    nn.init.zeros_(module.weight)
    if module.bias is not None:
        nn.init.zeros_(module.bias)
    return module
