"""A compact U-Net told the noise level and, where there are any, the class and a condition: a plain module.

The stem folds patches of pixels into channels (pixel-unshuffle), so the first level already has a half of the height
and width: at equal parameters it trains and samples about twice as fast on a CPU as a stem that does not.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from textdiff.image.attention import (
    Attention,
    Condition,
    ConditionAttention,
    ConditionReader,
    normalisation,
    zeroed,
)

PREDICTIONS = ("v", "eps", "x0")
LEVEL_FEATURES = 64  # sines and cosines of the noise level


@dataclass(frozen=True)
class UNetConfig:
    """Shape of the network and what it predicts."""

    image_channels: int = 1
    image_size: int = 28  # height and width in training
    patch: int = 2  # pixels a side that the stem folds into one place; 1 = none
    width: int = 48  # channels of the first level
    multiples: tuple[int, ...] = (
        1,
        2,
    )  # channels of every level, in widths; each level halves height and width
    blocks: int = 1  # residual blocks a level on the way down, one more on the way up
    heads: int = 4  # of attention, at the lowest level
    dropout: float = 0.0
    num_classes: int = 0  # 0 = unconditional; class `num_classes` is "not told"
    condition_size: int = 0  # numbers in each vector of the condition, which the lowest level looks at; 0 = none
    prediction: str = "v"  # "v", "eps" or "x0"
    data_std: float = 0.5  # of training pixels in [-1, 1], for guidance by a measurement

    def __post_init__(self) -> None:
        object.__setattr__(self, "multiples", tuple(self.multiples))
        sizes = (
            self.image_channels,
            self.image_size,
            self.patch,
            self.width,
            self.blocks,
            self.heads,
            *self.multiples,
        )
        if not self.multiples or min(sizes) < 1 or min(self.num_classes, self.condition_size) < 0:
            raise ValueError("The U-Net's sizes must all be at least 1: correct its config.")
        if self.prediction not in PREDICTIONS:
            raise ValueError(f"The prediction is {self.prediction!r}: choose {', '.join(PREDICTIONS)}.")
        if (self.width * self.multiples[-1]) % self.heads:
            raise ValueError(
                "The lowest level's channels are no multiple of the heads: correct the U-Net's config."
            )

    @property
    def stride(self) -> int:
        """Height and width of a picture must be multiples of this."""
        return self.patch * 2 ** (len(self.multiples) - 1)

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {**asdict(self), "multiples": list(self.multiples)}


class Network(nn.Module):
    """What the image wing can draw with: (x_t [B, C, H, W], logsnr [B], labels, condition) -> v, eps or x0."""

    config: UNetConfig


class UNet(Network):
    """(x_t [B, C, H, W], logsnr [B], labels [B] or None, condition or None) -> v, eps or x0, shaped like x_t."""

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = config
        told = 4 * config.width
        widths = [config.width * multiple for multiple in config.multiples]
        pixels = config.image_channels * config.patch**2
        self.level = nn.Sequential(nn.Linear(LEVEL_FEATURES, told), nn.SiLU(), nn.Linear(told, told))
        self.classes = nn.Embedding(config.num_classes + 1, told) if config.num_classes else None
        size = config.condition_size
        self.condition = ConditionReader(size, told) if size else None
        self.fold, self.unfold = nn.PixelUnshuffle(config.patch), nn.PixelShuffle(config.patch)
        self.stem = nn.Conv2d(pixels, widths[0], 3, padding=1)
        self.down, kept = self._way_down(widths, told)
        self.middle = nn.ModuleList([
            ResidualBlock(widths[-1], widths[-1], told, config.dropout),
            Attention(widths[-1], config.heads),
            *self._looking(widths[-1]),
            ResidualBlock(widths[-1], widths[-1], told, config.dropout),
        ])  # fmt: skip
        self.up = self._way_up(widths, kept, told)
        self.head = nn.Sequential(
            normalisation(widths[0]), nn.SiLU(), zeroed(nn.Conv2d(widths[0], pixels, 3, padding=1))
        )

    def _looking(self, width: int) -> list[nn.Module]:
        """What looks at the condition, if there is to be one."""
        size = self.config.condition_size
        return [ConditionAttention(width, self.config.heads, size)] if size else []

    def _way_down(self, widths: list[int], told: int) -> tuple[nn.ModuleList, list[int]]:
        """The blocks, and the channels of everything that is handed across."""
        here, kept, blocks = widths[0], [widths[0]], nn.ModuleList()
        for i, width in enumerate(widths):
            for _ in range(self.config.blocks):
                blocks.append(ResidualBlock(here, width, told, self.config.dropout))
                here = width
                kept.append(here)
                if i == len(widths) - 1:
                    blocks.extend(self._looking(here))
            if i < len(widths) - 1:
                blocks.append(nn.Conv2d(here, here, 3, stride=2, padding=1))
                kept.append(here)
        return blocks, kept

    def _way_up(self, widths: list[int], kept: list[int], told: int) -> nn.ModuleList:
        """The blocks that take back, last first, what was handed across."""
        here, left, blocks = widths[-1], list(kept), nn.ModuleList()
        for i, width in reversed(list(enumerate(widths))):
            for _ in range(self.config.blocks + 1):
                blocks.append(ResidualBlock(here + left.pop(), width, told, self.config.dropout))
                here = width
                if i == len(widths) - 1:
                    blocks.extend(self._looking(here))
            if i:
                blocks.append(Enlarge(here))
        return blocks

    def forward(
        self, x_t: Tensor, logsnr: Tensor, labels: Tensor | None = None, condition: Condition | None = None
    ) -> Tensor:
        """The prediction, shaped like x_t.

        Args:
            x_t: noisy pictures [B, C, H, W]; height and width are multiples of `config.stride`.
            logsnr: [B].
            labels: classes [B]; `config.num_classes`, or None for all, where the class is not told.
            condition: vectors [B, N, config.condition_size]; None, or a row of its mask empty, where none is told.
        """
        told = self.level(level_features(logsnr).to(x_t.dtype))
        if self.classes is not None:
            unknown = torch.full_like(logsnr, self.config.num_classes, dtype=torch.long)
            told = told + self.classes(unknown if labels is None else labels)
        if self.condition is not None:
            condition, mean = self.condition(condition, len(x_t))
            told = told + mean
        h = self.stem(self.fold(x_t))
        kept = [h]
        for block in self.down:
            h = through(block, h, told, condition)
            if isinstance(block, ConditionAttention):
                kept.pop()
            kept.append(h)
        for block in self.middle:
            h = through(block, h, told, condition)
        for block in self.up:
            given = torch.cat([h, kept.pop()], 1) if isinstance(block, ResidualBlock) else h
            h = through(block, given, told, condition)
        return self.unfold(self.head(h))


class ResidualBlock(nn.Module):
    """Two convolutions; noise level and class scale and shift what stands between them."""

    def __init__(self, given: int, width: int, told: int, dropout: float) -> None:
        super().__init__()
        self.first = nn.Sequential(normalisation(given), nn.SiLU(), nn.Conv2d(given, width, 3, padding=1))
        self.told = nn.Sequential(nn.SiLU(), nn.Linear(told, 2 * width))
        self.norm = normalisation(width)
        self.second = nn.Sequential(
            nn.SiLU(), nn.Dropout(dropout), zeroed(nn.Conv2d(width, width, 3, padding=1))
        )
        self.skip = nn.Conv2d(given, width, 1) if given != width else nn.Identity()

    def forward(self, h: Tensor, told: Tensor) -> Tensor:
        """h [B, given, H, W] -> [B, width, H, W]; told [B, told]."""
        scale, shift = self.told(told)[:, :, None, None].chunk(2, 1)
        return self.skip(h) + self.second(self.norm(self.first(h)) * (1 + scale) + shift)


class Enlarge(nn.Module):
    """Twice the height and width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, h: Tensor) -> Tensor:
        """[B, width, H, W] -> [B, width, 2 H, 2 W]."""
        return self.conv(nn.functional.interpolate(h, scale_factor=2.0, mode="nearest"))


def through(block: nn.Module, h: Tensor, told: Tensor, condition: Condition | None) -> Tensor:
    """What a block makes of h, given what its kind wants to know."""
    if isinstance(block, ResidualBlock):
        return block(h, told)
    return block(h, condition) if isinstance(block, ConditionAttention) else block(h)


def level_features(logsnr: Tensor) -> Tensor:
    """Sines and cosines [B, LEVEL_FEATURES] of logsnr [B], of 1/32 to 2 radians a nat; beyond 30 nats all is alike."""
    half = LEVEL_FEATURES // 2
    frequencies = torch.logspace(1.0, -5.0, half, base=2.0, dtype=torch.float64, device=logsnr.device)
    angles = logsnr.double().clamp(-30.0, 30.0)[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], 1)
