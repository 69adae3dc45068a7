"""Whether the right digit stands in every cell of a drawn canvas, judged by the digit classifier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from textdiff.cross_modal.composed_digits import MARGIN, SIDE, window
from textdiff.cross_modal.composition import HELD_OUT, Composition, Place
from textdiff.image.classifier import DigitClassifier
from textdiff.image.pictures import read_pictures

INK = 0.2  # mean brightness, of 0 to 1, from which a part of the canvas counts as drawn on


@dataclass(frozen=True)
class Cell:
    """What was asked for and what stands there."""

    wanted: int
    found: int
    place: Place

    @property
    def right(self) -> bool:
        """Whether they are the same."""
        return self.wanted == self.found

    @property
    def held_out(self) -> bool:
        """Whether no training canvas had this digit at this place."""
        return (self.wanted, self.place) in HELD_OUT


@torch.no_grad()
def read_cells(
    classifier: DigitClassifier, pictures: Any, compositions: Sequence[Composition]
) -> list[list[Cell]]:
    """Every cell of every picture.

    Args:
        classifier: of digits, 28 x 28.
        pictures: square canvases, anything that `read_pictures` takes.
        compositions: what they should show.

    Raises:
        ValueError: if there are not as many pictures as compositions, or one is not square.
    """
    canvases = read_pictures(pictures, 1)
    if len(canvases) != len(compositions):
        raise ValueError(
            f"There are {len(canvases)} pictures for {len(compositions)} compositions: give one each."
        )
    if any(canvas.shape[1] != canvas.shape[2] or canvas.shape[1] % 4 for canvas in canvases):
        raise ValueError("A canvas of digits is square, with a side that is a multiple of 4: give such.")
    cut = [
        canvas[(slice(None), *window(place, canvas.shape[1] // 2))]
        for canvas, composition in zip(canvases, compositions, strict=True)
        for _, place in composition.cells()
    ]
    found = iter(classifier(torch.stack([enlarged(one) for one in cut])).argmax(1).tolist())
    return [
        [Cell(wanted, next(found), place) for wanted, place in composition.cells()]
        for composition in compositions
    ]


def enlarged(cell: torch.Tensor) -> torch.Tensor:
    """A cell [1, c, c] in [-1, 1] as the classifier's digit [1, 28, 28]."""
    side = SIDE - 2 * MARGIN
    large = functional.interpolate(cell[None], size=(side, side), mode="bicubic", align_corners=False)[0]
    return functional.pad(large.clamp(-1.0, 1.0), [MARGIN] * 4, value=-1.0)


def stray_ink(pictures: Any, compositions: Sequence[Composition]) -> float:
    """Share of pictures with something drawn where no digit should stand."""
    strays = []
    for canvas, composition in zip(read_pictures(pictures, 1), compositions, strict=True):
        bright, half = (canvas[0].numpy() + 1.0) / 2.0, canvas.shape[1] // 4
        for _, place in composition.cells():
            bright[window(place, 2 * half)] = 0.0
        strays.append(bright.reshape(4, half, 4, half).mean((1, 3)).max() > INK)
    return float(np.mean(strays))


def right_share(cells: Sequence[Sequence[Cell]], *, held_out: bool) -> float | None:
    """Share of right cells among those whose pair was held out of training, or was not; None: there are none."""
    chosen = [cell.right for row in cells for cell in row if cell.held_out == held_out]
    return float(np.mean(chosen)) if chosen else None
