"""What a captioner writes of composed digits, read back by the captions' rule: part of benchmarks/captions.py.

"Another canvas's caption" is chance: captions of the same kind that know nothing of the picture. "Digit classifier,
told the places" reads the same canvases cell by cell, given where the digits stand, which a captioner has to see.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from textdiff.cross_modal.captioner import Captioner
    from textdiff.cross_modal.composed_digits import Canvas
    from textdiff.cross_modal.composition import Composition

Row = dict[str, Any]
Both = dict[bool, list[Any]]  # of canvases without, and with, a held-out pair


def caption_digits(args: argparse.Namespace) -> tuple[list[Row], dict[str, Any]]:
    """Rows and facts of the table."""
    from textdiff.cross_modal.captioner import Captioner
    from textdiff.cross_modal.cells import read_cells
    from textdiff.cross_modal.composed_digits import ComposedDigits
    from textdiff.image.classifier import DigitClassifier
    from textdiff.image.data import read_source

    model, judge = Captioner.from_pretrained(args.captioner), DigitClassifier.from_pretrained(args.classifier)
    _, test = read_source(args.digits, size=28, channels=1)
    size = model.encoder.config.image_size
    canvases: dict[bool, list[Canvas]] = {}
    for held_out in (False, True):
        own = ComposedDigits(test, total=args.canvases, seed=args.seed, size=size, held_out=held_out)
        canvases[held_out] = [own.canvas(i) for i in range(args.canvases)]
    pictures = {held_out: [canvas.pixels[0] for canvas in own] for held_out, own in canvases.items()}
    wanted = {held_out: [canvas.composition for canvas in own] for held_out, own in canvases.items()}
    cells = {held_out: read_cells(judge, pictures[held_out], wanted[held_out]) for held_out in wanted}
    told = {
        held_out: [{cell.place: cell.found for cell in row} for row in own] for held_out, own in cells.items()
    }
    others = {held_out: places([c.caption for c in [*own[1:], *own[:1]]]) for held_out, own in canvases.items()}
    rows = [
        reading_row("another canvas's caption", others, wanted),
        reading_row("digit classifier, told the places", told, wanted),
    ]
    for scale in args.guidance_scales:
        written = {h: written_of(args, model, pictures[h], scale) for h in pictures}
        rows.append(reading_row(f"textdiff, guidance {scale:g}", {h: places(written[h]) for h in written}, wanted))
    facts = {"model": args.captioner or "bundled", "data": args.digits, "canvases": args.canvases}
    certificate = {**facts, "sampler": "categorical", "classifier": judge.fingerprint()}
    return rows, {**certificate, "chance": same_share(wanted[False])}


def written_of(args: argparse.Namespace, model: Captioner, pictures: list[Any], scale: float) -> list[str]:
    """A caption of every picture, with a progress bar."""
    from tqdm import tqdm

    with tqdm(desc=f"captions, scale {scale:g}", total=len(pictures), unit="caption", file=sys.stderr) as bar:
        return model.caption(
            pictures, picture_guidance=scale, num_inference_steps=args.steps, seed=args.seed,
            progress=lambda made, total: bar.update(made - bar.n),
        )  # fmt: skip


def places(captions: Sequence[str]) -> list[dict[tuple[int, int], int] | None]:
    """The digit at every place that a caption names; None for one that breaks the rule."""
    from textdiff.cross_modal.composition import read_composition

    found: list[dict[tuple[int, int], int] | None] = []
    for caption in captions:
        try:
            found.append({place: digit for digit, place in read_composition(caption).cells()})
        except ValueError:
            found.append(None)
    return found


def reading_row(method: str, found: Both, wanted: dict[bool, list[Composition]]) -> Row:
    """How much of what is on the canvases was found.

    Args:
        method: its name.
        found: digits by place of every canvas, None where a caption breaks the rule.
        wanted: what stands there.
    """
    from textdiff.cross_modal.composition import HELD_OUT

    right: dict[bool, list[bool]] = {False: [], True: []}
    whole: dict[bool, list[bool]] = {False: [], True: []}
    arranged, ruled = list[bool](), list[bool]()
    for held_out, own in wanted.items():
        for read, composition in zip(found[held_out], own, strict=True):
            true = {place: digit for digit, place in composition.cells()}
            ruled.append(read is not None)
            arranged.append(read is not None and read.keys() == true.keys())
            whole[held_out].append(read == true)
            for place, digit in true.items():
                right[(digit, place) in HELD_OUT].append(read is not None and read.get(place) == digit)
    return {
        "method": method,
        "captions_right_seen": float(np.mean(whole[False])),
        "captions_right_held_out": float(np.mean(whole[True])),
        "digits_right_seen": float(np.mean(right[False])),
        "digits_right_held_out": float(np.mean(right[True])),
        "arrangements_right": float(np.mean(arranged)),
        "by_the_rule": float(np.mean(ruled)),
    }


def same_share(compositions: Sequence[Composition]) -> float | None:
    """Share of pairs of canvases that show the same: how often a caption of another one is right."""
    counts = np.unique([repr(composition) for composition in compositions], return_counts=True)[1]
    pairs = len(compositions) * (len(compositions) - 1)
    return float((counts * (counts - 1)).sum() / pairs) if pairs else None
