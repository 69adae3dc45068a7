"""A small convolutional network that reads a picture as vectors for a text model, and how long its caption is.

The vectors stand before the caption's words (`textdiff.text.denoiser.Prefix`), one for each square of the picture,
told where it stands. A text model is given the number of its words: that number's chances are read here too.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from textdiff.image.attention import WAVES, normalisation, place_features
from textdiff.text.denoiser import Prefix


@dataclass(frozen=True)
class PictureEncoderConfig:
    """Shape of the encoder."""

    image_channels: int = 1
    image_size: int = 32  # height and width
    patch: int = 2  # pixels a side that are folded into one place at first; 1 = none
    width: int = 32  # channels at first
    multiples: tuple[int, ...] = (1, 2, 4)  # channels of every level, in widths; each level halves the one before it
    hidden: int = 128  # H, which is the text model's
    length: int = 13  # N, words of the longest caption

    def __post_init__(self) -> None:
        object.__setattr__(self, "multiples", tuple(self.multiples))
        sizes = (
            self.image_channels, self.image_size, self.patch, self.width, self.hidden, self.length, *self.multiples
        )  # fmt: skip
        if not self.multiples or min(sizes) < 1:
            raise ValueError("The picture encoder's sizes must all be at least 1: correct its config.")
        if self.image_size % self.stride:
            raise ValueError(
                f"The picture encoder reads {self.image_size} x {self.image_size} pixels in squares of {self.stride}: "
                "give a size that is a multiple of that."
            )

    @property
    def stride(self) -> int:
        """Height and width in pixels of the squares that become vectors."""
        return self.patch * 2 ** (len(self.multiples) - 1)

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {**asdict(self), "multiples": list(self.multiples)}


class Read(NamedTuple):
    """What is read in pictures."""

    prefix: Prefix  # P vectors [B, P, H], all told
    length_logits: Tensor  # [B, N]; the chances of 1 to N words


class PictureEncoder(nn.Module):
    """Pictures [B, C, S, S] in [-1, 1] -> vectors of their squares, row after row, and chances of caption lengths."""

    def __init__(self, config: PictureEncoderConfig) -> None:
        super().__init__()
        self.config = config
        widths = [config.width * multiple for multiple in config.multiples]
        here = config.image_channels * config.patch**2
        layers: list[nn.Module] = [nn.PixelUnshuffle(config.patch)]
        for i, width in enumerate(widths):
            layers += [nn.Conv2d(here, width, 3, stride=1 if i == 0 else 2, padding=1), Residual(width)]
            here = width
        self.squares = nn.Sequential(*layers, normalisation(here), nn.SiLU(), nn.Conv2d(here, config.hidden, 1))
        self.place = nn.Linear(4 * WAVES, config.hidden)
        self.count = nn.Sequential(nn.Linear(config.hidden, config.hidden), nn.SiLU())
        self.length = nn.Linear(config.hidden, config.length)

    def forward(self, pictures: Tensor) -> Read:
        """Read a batch of pictures."""
        squares = self.squares(pictures)
        height, width = squares.shape[2:]
        place = self.place(place_features(height, width, squares.device).to(squares.dtype))
        vectors = squares.flatten(2).transpose(1, 2) + place
        mask = torch.ones(vectors.shape[:2], dtype=torch.bool, device=vectors.device)
        return Read(Prefix(vectors, mask), self.length(self.count(vectors).mean(1)).float())


class Residual(nn.Module):
    """Two convolutions, added to what they are given."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            normalisation(width), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1),
            normalisation(width), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1),
        )  # fmt: skip

    def forward(self, h: Tensor) -> Tensor:
        """[B, width, H, W] -> the same shape."""
        return h + self.inner(h)
