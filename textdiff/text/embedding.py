"""Token embeddings: the only owner of word vectors.

Rows live on the unit sphere (Plaid, arXiv 2305.18619, section 4; kept there in every forward pass) or are free
(Diffusion-LM, arXiv 2205.14217). The same inner product serves the output prior, clamping and final rounding: for unit
rows it orders tokens exactly as the Euclidean distance does; for free rows the squared norm is subtracted, so that it
still does.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class TokenEmbedding(nn.Module):
    """A table of word vectors [V, D] with the operations that diffusion needs."""

    def __init__(self, vocab_size: int, dim: int, *, unit_norm: bool = True) -> None:
        super().__init__()
        self.unit_norm = unit_norm
        self.weight = nn.Parameter(torch.empty(vocab_size, dim))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw fresh standard normal vectors."""
        nn.init.normal_(self.weight)

    @property
    def dim(self) -> int:
        """Dimension D of a word vector."""
        return self.weight.shape[1]

    def vectors(self) -> Tensor:
        """Word vectors in float32, shape [V, D]: unit rows unless the embedding is free."""
        return self._placed(self.weight)

    def embed(self, ids: Tensor) -> Tensor:
        """Vectors of token ids: [B, L] -> [B, L, D]."""
        return self._placed(F.embedding(ids, self.weight))

    def _placed(self, rows: Tensor) -> Tensor:
        """Rows of the table, [..., D], in float32 and, unless the embedding is free, on the unit sphere."""
        return F.normalize(rows.float(), dim=-1) if self.unit_norm else rows.float()

    def logits(self, x: Tensor) -> Tensor:
        """Closeness of x to every word vector, -|x - e|^2 / 2 up to a constant: [..., D] -> [..., V]."""
        vectors = self.vectors()
        scores = x.float() @ vectors.T
        return scores if self.unit_norm else scores - 0.5 * vectors.pow(2).sum(-1)

    def mean(self, logits: Tensor) -> Tensor:
        """The mean vector of a token drawn by logits, within the hull of the vocabulary: [..., V] -> [..., D]."""
        return torch.softmax(logits, dim=-1) @ self.vectors()

    def round(self, x: Tensor) -> Tensor:
        """Ids of the nearest word vectors: [..., D] -> [...]."""
        return self.logits(x).argmax(-1)

    def clamp(self, x: Tensor) -> Tensor:
        """The nearest word vectors themselves: [..., D] -> [..., D] (Diffusion-LM, section 4.2)."""
        return self.embed(self.round(x))
