"""Tiny image models whose every part is real."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from textdiff.image.curve import image_curve
from textdiff.image.image_diffusion import ImageDiffusion
from textdiff.image.unet import UNet, UNetConfig


def untrained(**shape) -> ImageDiffusion:
    """A model with random weights everywhere, the zero-initialised ones included."""
    small = {"image_size": 8, "width": 8, "heads": 2, "num_classes": 3, **shape}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        unet = UNet(UNetConfig(**small))
        for parameter in unet.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)
    return ImageDiffusion(unet, image_curve())


@pytest.fixture(scope="session")
def grey() -> ImageDiffusion:
    """8 x 8, one channel, three classes, a stride of 4."""
    return untrained()


@pytest.fixture(scope="session")
def colour() -> ImageDiffusion:
    """8 x 8, three channels, no classes."""
    return untrained(image_channels=3, num_classes=0)


@pytest.fixture
def picture() -> Callable[..., np.ndarray]:
    """Random uint8 pictures."""

    def make(*shape: int, seed: int = 0) -> np.ndarray:
        return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)

    return make
