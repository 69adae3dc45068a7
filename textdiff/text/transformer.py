"""A bidirectional transformer over vectors: pre-norm blocks with rotary positions (RoFormer, arXiv 2104.09864).

Plain torch: it knows neither tokens nor noise levels; whoever feeds it adds the level to its input (docs/log.md: levels
that modulate every block, AdaLN, cost a fifth more parameters and gained nothing). Rows may hold several segments
(packed short texts); attention never crosses from one into another, and never looks at padding.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def rotary_angles(positions: Tensor, head_dim: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Cosine and sine of the rotary angles of positions [B, L]: two tensors [B, 1, L, head_dim / 2]."""
    half = torch.arange(head_dim // 2, device=positions.device, dtype=torch.float32)
    angles = positions[:, None, :, None].float() * (1e4 ** (-2.0 * half / head_dim))
    return angles.cos().to(dtype), angles.sin().to(dtype)


def rotate(x: Tensor, rotary: tuple[Tensor, Tensor]) -> Tensor:
    """Turn pairs of coordinates by their rotary angles; x: [B, heads, L, head_dim]."""
    cos, sin = rotary
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)


def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """softmax(q k^T / sqrt(head_dim)) v where the mask is True; q, k, v: [B, heads, L, head_dim], mask: [B, 1, L, L].

    On a CPU, short rows are faster through plain matrix products than through the fused kernel: a training step in
    bfloat16 takes four fifths of the time (docs/log.md).
    """
    if q.device.type != "cpu":
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    scores = (q @ k.transpose(-1, -2)) * q.shape[-1] ** -0.5
    return torch.softmax(scores.masked_fill(~mask, float("-inf")), dim=-1) @ v


class Context(NamedTuple):
    """What all blocks know of a batch: who may look at whom, who stands beside whom, and where."""

    mask: Tensor  # bool [B, 1, L, L]
    edges: tuple[Tensor, Tensor]  # bool [B, L, 1] each: the left, the right neighbour is of the same segment
    rotary: tuple[Tensor, Tensor]  # [B, 1, L, head_dim / 2] each


class LocalMix(nn.Module):
    """Adds to every position a share of its left and its right neighbour, channel by channel.

    A depthwise convolution of width 3 (after Primer, arXiv 2109.08668, section 4.2): neighbours need not be found by
    attention first (docs/log.md has the gain, measured together with a wider initialisation of the inputs).
    """

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(2, hidden))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw fresh weights."""
        nn.init.normal_(self.weight, std=0.3)

    def forward(self, h: Tensor, edges: tuple[Tensor, Tensor]) -> Tensor:
        """h: [B, L, H]; edges: 1 where the left, the right neighbour is of the same segment, [B, L, 1] each."""
        return self.add(h, neighbours(h), edges)

    def add(self, h: Tensor, beside: tuple[Tensor, Tensor], edges: tuple[Tensor, Tensor]) -> Tensor:
        """h and its neighbours on both sides, [B, L, H] each; edges: 1 where they are seen, [B, L, 1] each."""
        weight = self.weight.to(h.dtype)
        left, right = (side * edge.to(h.dtype) for side, edge in zip(beside, edges, strict=True))
        return h + weight[0] * left + weight[1] * right


def neighbours(h: Tensor) -> tuple[Tensor, Tensor]:
    """What stands left and right of every position of h [B, L, H]; zeros beyond the ends."""
    return F.pad(h, (0, 0, 1, 0))[:, :-1], F.pad(h, (0, 0, 0, 1))[:, 1:]


class HeadNorm(nn.RMSNorm):
    """RMS norm over each head's coordinates, in the dtype of its input: under autocast, weights are wider than that."""

    def forward(self, x: Tensor) -> Tensor:
        """x: [B, heads, L, head_dim]."""
        return F.rms_norm(x, self.normalized_shape, self.weight.to(x.dtype), self.eps)


class BlockWeights(nn.Module):
    """Attention and MLP, each behind a layer norm and a mix of neighbours, each added to its input.

    Queries and keys are normalised head by head (arXiv 2302.05442, section 2.2).
    """

    def __init__(self, hidden: int, heads: int, intermediate: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(hidden)
        self.attention_mix = LocalMix(hidden)
        self.qkv = nn.Linear(hidden, 3 * hidden)
        self.query_norm = HeadNorm(hidden // heads, eps=1e-6)
        self.key_norm = HeadNorm(hidden // heads, eps=1e-6)
        self.attention_out = nn.Linear(hidden, hidden)
        self.mlp_norm = nn.LayerNorm(hidden)
        self.mlp_mix = LocalMix(hidden)
        self.mlp_in = nn.Linear(hidden, intermediate)
        self.mlp_out = nn.Linear(intermediate, hidden)
        self.dropout = nn.Dropout(dropout)

    def feed(self, h: Tensor, mixed: Tensor) -> Tensor:
        """Add the MLP of mixed states to h, [B, L, H] each."""
        return h + self.dropout(self.mlp_out(F.gelu(self.mlp_in(mixed))))


class Block(BlockWeights):
    """A block of which every position sees all that its mask shows."""

    def forward(self, h: Tensor, context: Context) -> Tensor:
        """h: [B, L, H]."""
        inner = self.attention_mix(self.attention_norm(h), context.edges)
        h = h + self._attend(inner, context.mask, context.rotary)
        return self.feed(h, self.mlp_mix(self.mlp_norm(h), context.edges))

    def _attend(self, h: Tensor, mask: Tensor, rotary: tuple[Tensor, Tensor]) -> Tensor:
        B, L, H = h.shape
        q, k, v = self.qkv(h).view(B, L, 3, self.heads, H // self.heads).permute(2, 0, 3, 1, 4)
        q, k = self.query_norm(q), self.key_norm(k)
        q, k = rotate(q, rotary).to(v.dtype), rotate(k, rotary).to(v.dtype)
        attended = attention(q, k, v, mask)
        return self.dropout(self.attention_out(attended.transpose(1, 2).reshape(B, L, H)))


class Transformer(nn.Module):
    """A stack of blocks and a last norm: [B, L, H] -> [B, L, H]."""

    def __init__(self, hidden: int, layers: int, heads: int, intermediate: int, dropout: float) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(hidden, heads, intermediate, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(hidden)
        self.head_dim = hidden // heads

    def forward(self, h: Tensor, segments: Tensor, positions: Tensor) -> Tensor:
        """Run the stack.

        Args:
            h: [B, L, H].
            segments: [B, L] integers, 0 = padding; positions attend within their own segment.
            positions: [B, L] integers, place within the segment.
        """
        dtype = torch.get_autocast_dtype(h.device.type) if torch.is_autocast_enabled(h.device.type) else h.dtype
        rotary = rotary_angles(positions, self.head_dim, dtype)
        context = Context(same_segment(segments), neighbour_edges(segments), rotary)
        for block in self.blocks:
            h = block(h, context)
        return self.norm(h)


def neighbour_edges(segments: Tensor) -> tuple[Tensor, Tensor]:
    """Whether the left and the right neighbour belong to the same segment: segments [B, L] -> two bool [B, L, 1]."""
    same = (segments[:, 1:] == segments[:, :-1]) & (segments[:, 1:] > 0)
    return F.pad(same, (1, 0))[..., None], F.pad(same, (0, 1))[..., None]


def same_segment(segments: Tensor) -> Tensor:
    """Who may look at whom: segments [B, L] -> bool [B, 1, L, L]; padding looks at itself, so no row is empty."""
    same = segments[:, :, None] == segments[:, None, :]
    seen = same & (segments > 0)[:, None, :]
    itself = torch.eye(segments.shape[1], dtype=torch.bool, device=segments.device)
    return (seen | itself)[:, None]


def segment_positions(attention_mask: Tensor) -> tuple[Tensor, Tensor]:
    """Distance of every position from its segment's first and last token: two integer tensors [B, L] (0 on padding)."""
    L = attention_mask.shape[1]
    index = torch.arange(L, device=attention_mask.device).expand_as(attention_mask)
    changed = attention_mask[:, 1:] != attention_mask[:, :-1]
    edge = torch.ones_like(attention_mask[:, :1], dtype=torch.bool)
    first = torch.where(torch.cat([edge, changed], dim=1), index, 0).cummax(dim=1).values
    last = torch.where(torch.cat([changed, edge], dim=1), index, L).flip(1).cummin(dim=1).values.flip(1)
    real = attention_mask > 0
    return (index - first) * real, (last - index) * real
