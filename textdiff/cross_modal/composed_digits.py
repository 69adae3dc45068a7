"""Canvases of two to four digits with their captions, made on the fly: each a function of (seed, index).

32 x 32 pixels: digits of 28 x 28 lose 2 pixels of margin and are shrunk to 16 x 16. There a digit classifier
still reads them as well as before (.977 of 2,000 test digits), every place is a multiple of the U-Net's stride
of 4, and training costs a third of what a canvas of 56 x 56 would.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import Dataset

from textdiff.cross_modal.caption_words import CaptionWords
from textdiff.cross_modal.composition import (
    Composition,
    Place,
    held_out_composition,
    trained_composition,
)
from textdiff.image.data import Pictures

SIDE = 28  # of the digits given
MARGIN = 2  # pixels of theirs that are cut off on every side


class Canvas(NamedTuple):
    """A picture uint8 [1, S, S] of a composition, and its caption."""

    pixels: np.ndarray
    composition: Composition
    caption: str


class ComposedDigits(Dataset):
    """Rows of a training run, or canvases to look at.

    Args:
        digits: of 28 x 28 pixels, grey, with their classes.
        total: canvases.
        seed: of all that is drawn.
        size: height and width of the canvas; a multiple of 4.
        held_out: every canvas has one (digit, place) pair of `HELD_OUT`; otherwise none has any.
        words: for rows; canvases need none.

    Raises:
        ValueError: if the digits or the size are not as said.
    """

    def __init__(
        self,
        digits: Pictures,
        *,
        total: int,
        seed: int,
        size: int = 32,
        held_out: bool = False,
        words: CaptionWords | None = None,
    ) -> None:
        if size % 4 or size < 16:
            raise ValueError(f"The canvas is {size} pixels wide: give a multiple of 4, at least 16.")
        if digits.labels is None or set(np.unique(digits.labels)) != set(range(10)):
            raise ValueError("Compositions want digits of all ten classes: give their labels, 0 to 9.")
        if digits.pixels.shape[1:] != (1, SIDE, SIDE):
            raise ValueError(f"Compositions want grey digits of {SIDE} x {SIDE} pixels: give such.")
        self.cell, self.total, self.seed, self.held_out, self.words = size // 2, total, seed, held_out, words
        self.shrunk = shrunk(digits.pixels, self.cell)
        self.of_class = [np.flatnonzero(digits.labels == digit) for digit in range(10)]

    def __len__(self) -> int:
        return self.total

    def canvas(self, index: int) -> Canvas:
        """The numbered canvas."""
        rng = np.random.default_rng([self.seed, index])
        composition = (held_out_composition if self.held_out else trained_composition)(rng)
        pixels = np.zeros((1, 2 * self.cell, 2 * self.cell), dtype=np.uint8)
        for digit, place in composition.cells():
            chosen = self.of_class[digit][rng.integers(len(self.of_class[digit]))]
            pixels[(0, *window(place, self.cell))] = self.shrunk[chosen]
        return Canvas(pixels, composition, composition.caption((rng.random(3) < 0.5).tolist()))

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        if self.words is None:
            raise ValueError("Rows of composed digits need words to read captions: give a CaptionWords.")
        canvas = self.canvas(index)
        return {
            "pixel_values": torch.from_numpy(canvas.pixels).float() / 127.5 - 1.0,
            "input_ids": self.words.encode([canvas.caption])[0],
            "sample_index": torch.tensor(index),
        }


def window(place: Place, cell: int) -> tuple[slice, slice]:
    """Rows and columns of a digit at a place of the canvas."""
    top, left = (half * cell // 2 for half in place)
    return slice(top, top + cell), slice(left, left + cell)


def shrunk(digits: np.ndarray, cell: int) -> np.ndarray:
    """Digits uint8 [N, 1, 28, 28] without their margin, cell x cell: uint8 [N, cell, cell]."""
    inside = digits[..., MARGIN:-MARGIN, MARGIN:-MARGIN]
    parts = []
    for at in range(0, len(inside), 2000):
        part = torch.from_numpy(inside[at : at + 2000]).float()
        small = functional.interpolate(part, size=(cell, cell), mode="bilinear", antialias=True)
        parts.append(small.round().clamp(0, 255).byte().numpy()[:, 0])
    return np.concatenate(parts)


def every_caption() -> list[str]:
    """Captions that hold all words there are, the longest among them."""
    full = [Composition(((a, (a + 1) % 10), ((a + 2) % 10, (a + 3) % 10))) for a in range(10)]
    return [one.caption(turned) for one in full for turned in ((False,) * 3, (True,) * 3)]
