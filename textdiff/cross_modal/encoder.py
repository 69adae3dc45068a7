"""A small transformer over a caption's words; its outputs are the condition of a U-Net trained with it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from textdiff.image.attention import Condition
from textdiff.text.transformer import Transformer


@dataclass(frozen=True)
class CaptionEncoderConfig:
    """Shape of the encoder."""

    vocab_size: int
    length: int  # N, tokens of the longest caption
    hidden: int = 96  # H, which is the U-Net's condition_size
    layers: int = 3
    heads: int = 4
    intermediate: int = 256
    dropout: float = 0.0

    def __post_init__(self) -> None:
        sizes = (self.vocab_size, self.length, self.hidden, self.layers, self.heads, self.intermediate)
        if min(sizes) < 1 or self.hidden % (2 * self.heads) or not 0 <= self.dropout < 1:
            raise ValueError(
                "The caption encoder's sizes must be at least 1, its width a multiple of twice its heads, "
                "and its dropout from 0 to below 1: correct its config."
            )

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


class CaptionEncoder(nn.Module):
    """Token ids [B, N], 0 = padding -> a condition of vectors [B, N, H], in which padding is not told."""

    def __init__(self, config: CaptionEncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.words = nn.Embedding(config.vocab_size, config.hidden)
        self.transformer = Transformer(
            config.hidden, config.layers, config.heads, config.intermediate, config.dropout
        )

    def forward(self, input_ids: Tensor) -> Condition:
        """Encode a batch of captions."""
        told = input_ids > 0
        positions = torch.arange(input_ids.shape[1], device=input_ids.device).expand_as(input_ids)
        return Condition(self.transformer(self.words(input_ids), told.long(), positions), told)
