"""A transformer in two parts: one reads clean tokens, each once, the other asks them what stands elsewhere.

Tokens that have left the noise are read in the order in which they left it, each seeing those before it and itself, so
what was read of a token never changes and is kept (`Memory`) while others follow. Questions, one for each position that
is still noise, see clean tokens only. One pass teaches every token of a text, given those before it in its order, and
a step of sampling costs what is new. The split is that of encoder-decoder block diffusion (E2D2, arXiv 2510.22852;
BD3-LM, arXiv 2503.09573).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from textdiff.text.transformer import BlockWeights, attention, neighbours, rotary_angles, rotate


class Memory:
    """What was computed of tokens that are clean, by name, at L + 1 places each; the last one is for padding.

    Without positions (in training, where all are read at once) it keeps nothing and hands back what it is given.
    """

    def __init__(self, length: int) -> None:
        self.length = length
        self.kept: dict[str, Tensor] = {}
        self.read: Tensor | None = None  # bool [B, L], tokens read so far

    def unread(self, clean: Tensor) -> Tensor:
        """Which of the clean tokens, bool [B, L], were not read before; it takes them for read."""
        if self.read is None or (self.read & ~clean).any():  # noise came back: nothing that was read still holds
            self.kept, self.read = {}, torch.zeros_like(clean)
        new, self.read = clean & ~self.read, clean
        return new

    def put(self, name: str, new: Tensor, at: Tensor | None) -> Tensor:
        """Keep `new`, [B, m, X] or [B, heads, m, X], at positions `at` [B, m].

        Returns:
            all that is kept under the name so far, [B, L + 1, X] or [B, heads, L + 1, X].
        """
        if at is None:
            return new
        if name not in self.kept:
            self.kept[name] = new.new_zeros(*new.shape[:-2], self.length + 1, new.shape[-1])
        rows = torch.arange(len(at), device=at.device)[:, None]
        if new.ndim == 3:
            self.kept[name][rows, at] = new
        else:
            self.kept[name][rows, :, at] = new.transpose(1, 2)
        return self.kept[name]


class View(NamedTuple):
    """Where m tokens of every row stand, and whom they see."""

    at: Tensor | None  # [B, m]; None = everywhere, m = L
    mask: Tensor  # bool [B, 1, m, L], or L + 1 places of a memory
    edges: tuple[Tensor, Tensor]  # bool [B, m, 1] each: whether the left, the right neighbour is seen
    rotary: tuple[Tensor, Tensor]  # [B, 1, m, head_dim / 2] each

    def neighbours(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """States [B, L, H] of the left and right neighbours, [B, m, H] each; whatever stands there beyond an edge."""
        if self.at is None:
            return neighbours(states)
        rows = torch.arange(len(states), device=states.device)[:, None]
        return states[rows, (self.at - 1).clamp(min=0)], states[rows, (self.at + 1).clamp(max=states.shape[1] - 1)]


class OrderedBlock(BlockWeights):
    """What reading and asking have in common."""

    def heads_of(self, x: Tensor) -> Tensor:
        """[B, m, H] -> [B, heads, m, head_dim]."""
        return x.view(*x.shape[:2], self.heads, x.shape[2] // self.heads).transpose(1, 2)

    def project(self, h: Tensor, rotary: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of mixed states [B, m, H], turned by position: [B, heads, m, head_dim] each."""
        q, k, v = (self.heads_of(part) for part in self.qkv(h).chunk(3, dim=-1))
        return rotate(self.query_norm(q), rotary).to(v.dtype), rotate(self.key_norm(k), rotary).to(v.dtype), v

    def finish(self, h: Tensor, attended: Tensor) -> Tensor:
        """Add what was attended to, [B, heads, m, head_dim], to h [B, m, H]."""
        return h + self.dropout(self.attention_out(attended.transpose(1, 2).flatten(2)))


class ReadingBlock(OrderedBlock):
    """Clean tokens see those clean before them, and themselves."""

    def forward(self, h: Tensor, view: View, memory: Memory, name: str) -> Tensor:
        """h: [B, m, H], tokens not yet read; `name` of what is kept."""
        states = self.attention_norm(h)
        beside = view.neighbours(memory.put(f"{name} attention", states, view.at))
        q, k, v = self.project(self.attention_mix.add(states, beside, view.edges), view.rotary)
        k, v = memory.put(f"{name} keys", k, view.at), memory.put(f"{name} values", v, view.at)
        h = self.finish(h, attention(q, k, v, view.mask))
        states = self.mlp_norm(h)
        beside = view.neighbours(memory.put(f"{name} mlp", states, view.at))
        return self.feed(h, self.mlp_mix.add(states, beside, view.edges))


class Offer(NamedTuple):
    """What an asking block needs of the clean tokens."""

    attention: Tensor  # [B, L, H]
    mlp: Tensor  # [B, L, H]
    keys: Tensor  # [B, heads, L, head_dim]
    values: Tensor  # [B, heads, L, head_dim]


class AskingBlock(OrderedBlock):
    """Questions see clean tokens and themselves; clean tokens do not see them."""

    def offer(self, clean: Tensor, view: View, memory: Memory, name: str) -> Offer:
        """Read the last states of clean tokens, [B, m, H], for questions to come."""
        states, H = self.attention_norm(clean), clean.shape[-1]
        k, v = F.linear(states, self.qkv.weight[H:], self.qkv.bias[H:]).chunk(2, dim=-1)
        v = self.heads_of(v)
        k = rotate(self.key_norm(self.heads_of(k)), view.rotary).to(v.dtype)
        parts = (states, self.mlp_norm(clean), k, v)
        return Offer(*(memory.put(f"{name} {i}", part, view.at) for i, part in enumerate(parts)))

    def forward(self, h: Tensor, view: View, offer: Offer) -> Tensor:
        """h: [B, m, H], questions."""
        mixed = self.attention_mix.add(self.attention_norm(h), view.neighbours(offer.attention), view.edges)
        h = self.finish(h, self._attend(*self.project(mixed, view.rotary), offer, view.mask))
        return self.feed(h, self.mlp_mix.add(self.mlp_norm(h), view.neighbours(offer.mlp), view.edges))

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, offer: Offer, mask: Tensor) -> Tensor:
        """Attention of questions to clean tokens and each to itself; q, k, v: [B, heads, m, head_dim]."""
        scale = q.shape[-1] ** -0.5
        scores = (q @ offer.keys.transpose(-1, -2) * scale).masked_fill(~mask, float("-inf"))
        itself = (q * k).sum(-1, keepdim=True) * scale
        weights = torch.softmax(torch.cat([scores, itself], dim=-1), dim=-1)
        return weights[..., :-1] @ offer.values + weights[..., -1:] * v


class OrderedTransformer(nn.Module):
    """Reading blocks, then asking blocks: clean tokens and questions in, the questions' last states out."""

    def __init__(
        self, hidden: int, reading: int, asking: int, heads: int, intermediate: int, dropout: float
    ) -> None:
        super().__init__()
        shape = (hidden, heads, intermediate, dropout)
        self.reading_blocks = nn.ModuleList(ReadingBlock(*shape) for _ in range(reading))
        self.asking_blocks = nn.ModuleList(AskingBlock(*shape) for _ in range(asking))
        self.clean_norm, self.norm = nn.LayerNorm(hidden), nn.LayerNorm(hidden)
        self.head_dim = hidden // heads

    def forward(
        self, clean: Tensor, clean_view: View, questions: Tensor, asked_view: View, memory: Memory
    ) -> Tensor:
        """Read what is new, then answer.

        Args:
            clean: tokens not yet read, [B, m, H].
            clean_view: theirs.
            questions: [B, k, H].
            asked_view: theirs.
            memory: of tokens read before.
        """
        for i, block in enumerate(self.reading_blocks):
            clean = block(clean, clean_view, memory, f"reading {i}")
        clean = self.clean_norm(clean)
        for i, block in enumerate(cast(Iterable[AskingBlock], self.asking_blocks)):
            questions = block(questions, asked_view, block.offer(clean, clean_view, memory, f"asking {i}"))
        return self.norm(questions)

    def rotary(self, positions: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Angles of positions [B, m]."""
        return rotary_angles(positions, self.head_dim, dtype)


def whom_they_see(
    segments: Tensor, rank: Tensor, clean: Tensor, *, themselves: bool
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Masks of attention [B, L, L] and of the left and right neighbours [B, L] each, all bool.

    A token sees the clean ones of its segment with a lower rank, and itself where `themselves`; padding sees nothing
    else.

    Args:
        segments: [B, L], 0 = padding.
        rank: [B, L], the turns at which tokens are clean (`stagger.ranks_of`).
        clean: bool [B, L].
        themselves: whether a token sees itself.
    """
    together = segments[:, :, None] == segments[:, None, :]
    seen = together & (rank[:, None, :] < rank[:, :, None]) & (clean & (segments > 0))[:, None, :]
    left, right = seen.diagonal(-1, 1, 2), seen.diagonal(1, 1, 2)
    if themselves:
        seen = seen | torch.eye(segments.shape[1], dtype=torch.bool, device=segments.device)
    return seen, (F.pad(left, (1, 0)), F.pad(right, (0, 1)))


def chosen_places(chosen: Tensor) -> tuple[Tensor, Tensor]:
    """Positions of what is chosen, bool [B, L], side by side, [B, m]; L where there is none, and whether there is."""
    length = chosen.shape[1]
    m = int(chosen.sum(1).max())
    at = (~chosen).to(torch.uint8).argsort(dim=1, stable=True)[:, :m]
    real = chosen.gather(1, at)
    return at.masked_fill(~real, length), real


def view_at(
    transformer: OrderedTransformer, at: Tensor, places: Tensor, seen: Tensor, edges: tuple[Tensor, Tensor],
    dtype: torch.dtype,
) -> View:  # fmt: skip
    """The view of m tokens of every row; a place beyond the end sees what the last token sees.

    Args:
        transformer: whose blocks look.
        at: positions, [B, m], L = none.
        places: of all tokens within their segments, [B, L].
        seen: [B, L, L], from `whom_they_see`.
        edges: [B, L] each, from the same.
        dtype: of the angles.
    """
    length = seen.shape[1]
    inside = at.clamp(max=length - 1)
    mask = F.pad(seen.gather(1, inside[..., None].expand(-1, -1, length)), (0, 1))
    left, right = ((edge.gather(1, inside) & (at < length))[..., None] for edge in edges)
    return View(at, mask[:, None], (left, right), transformer.rotary(places.gather(1, inside), dtype))
