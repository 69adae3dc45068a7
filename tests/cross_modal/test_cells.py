"""The checker: right where the asked-for digit stands, wrong where another does, ink where nothing should be."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from textdiff.cross_modal.cells import enlarged, read_cells, right_share, stray_ink
from textdiff.cross_modal.composed_digits import ComposedDigits, window
from textdiff.cross_modal.composition import HELD_OUT, Composition


def judge(x: torch.Tensor) -> torch.Tensor:
    """A classifier of the made-up digits: logits [B, 10] from their brightness."""
    bright = (x[:, 0, 8:20, 8:20].mean((1, 2)) + 1) * 127.5
    return -(bright[:, None] - (20 * torch.arange(10) + 40)).abs()


@pytest.mark.parametrize("size", [28, 32, 56])
def test_true_canvases_are_right_in_every_cell(digits, size: int) -> None:
    canvases = [ComposedDigits(digits, total=1, seed=0, size=size, held_out=True).canvas(i) for i in range(40)]
    pictures, wanted = [c.pixels[0] for c in canvases], [c.composition for c in canvases]
    cells = read_cells(judge, pictures, wanted)
    assert right_share(cells, held_out=True) == right_share(cells, held_out=False) == 1.0
    assert [[(cell.wanted, cell.place) for cell in row] for row in cells] == [one.cells() for one in wanted]
    assert all(cell.held_out == ((cell.wanted, cell.place) in HELD_OUT) for row in cells for cell in row)
    assert stray_ink(pictures, wanted) == 0.0


def test_one_wrong_digit_is_one_wrong_cell(digits) -> None:
    canvas = np.zeros((32, 32), dtype=np.uint8)
    canvas[window((1, 0), 16)], canvas[window((1, 2), 16)] = 20 * 7 + 40, 20 * 4 + 40
    (cells,) = read_cells(judge, [canvas], [Composition(((7, 3),))])
    assert [cell.right for cell in cells] == [True, False] and cells[1].found == 4


def test_shares_where_there_are_no_cells() -> None:
    assert right_share([], held_out=True) is None


def test_ink_beside_the_digits_is_stray() -> None:
    canvas = np.zeros((32, 32), dtype=np.uint8)
    canvas[8:24] = 200
    assert stray_ink([canvas], [Composition(((7, 3),))]) == 0.0
    canvas[0:8, 8:16] = 120
    assert stray_ink([canvas, canvas], [Composition(((7, 3),)), Composition(((1,), (2,)))]) == 1.0


def test_a_cell_is_enlarged_within_its_margin() -> None:
    large = enlarged(torch.full((1, 16, 16), 0.5))
    assert large.shape == (1, 28, 28)
    assert (large[:, 2:-2, 2:-2] - 0.5).abs().max() < 1e-5 and (large[:, :2] == -1).all()


def test_bad_input_is_a_sentence() -> None:
    with pytest.raises(ValueError, match="1 pictures for 0 compositions"):
        read_cells(judge, [np.zeros((32, 32), dtype=np.uint8)], [])
    with pytest.raises(ValueError, match="is square"):
        read_cells(judge, [np.zeros((32, 30), dtype=np.uint8)], [Composition(((7, 3),))])
