#!/usr/bin/env python3
"""Pictures of captions: composed digits checked cell by cell, emoji found again among held-out captions.

    python benchmarks/captions.py --digits-model runs/composed-digits --emoji-model runs/emoji

And captions of pictures (--captioner runs/caption-digits), right where they say what is on the canvas, all of it.
--only composed-digits, --only emoji or --only caption-digits measures one of them. Writes contact sheets with their
captions beside them. Cells are right where the digit classifier reads the digit that the caption puts there; "real
digits" is what it reads on canvases of real test digits. Emoji are found by the model's own loss ("by loss": the
caption under which a real picture denoises best) and by the drawn picture's nearest among the real ones, in means of
8 x 8 pixels ("by drawing").
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from written_captions import caption_digits

from textdiff.cli import run

if TYPE_CHECKING:
    from textdiff.cross_modal.captioned import Captioned
    from textdiff.cross_modal.text_to_image import TextToImage

PARTS = ("composed-digits", "emoji", "caption-digits")
BLOCK = 8  # pixels a side that are averaged before pictures are compared
Row = dict[str, Any]


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Command line of the script."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--only", default=None, help="composed-digits, emoji or caption-digits (default: all)")
    add("--digits-model", help="model folder or name (default: the bundled composed-digits)")
    add("--emoji-model", default="emoji", help="model folder or name (default: the bundled emoji)")
    add("--captioner", help="model folder or name (default: the bundled caption-digits)")
    add("--classifier", help="folder of benchmarks/digit_classifier.py (default: the bundled one)")
    add("--digits", default="../shared/data/images/mnist.npz", help=".npz of digits with their classes")
    add("--emoji", default="../shared/data/images/noto_emoji64.npz", help=".npz of pictures with captions")
    add("--canvases", type=int, default=400, help="to draw or read, seen and held out each (default: 400)")
    add("--captions", type=int, default=64, help="emoji to draw, seen and held out each (default: 64)")
    add("--draws", type=int, default=16, help="noisy versions of each emoji for its loss (default: 16)")
    add("--guidance-scales", type=float, nargs="+", default=[1.0, 1.5, 3.0], help="(default: 1 1.5 3)")
    add("--steps", type=int, default=50, help="denoising steps (default: 50)")
    add("--sampler", default="ddpm", help="ddpm (default), ddim, dpmpp_2m or churn")
    add("--seed", type=int, default=0, help="of captions and noise")
    add("--sheets", default="pictures", help="folder for contact sheets (default: pictures)")
    add("--json", default="benchmarks/results/images.json", help="file whose parts are replaced")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Measure, print, draw and record."""
    args = parse_args(argv)
    if args.only is not None and args.only not in PARTS:
        raise ValueError(f"--only is {args.only!r}: choose {', '.join(PARTS)}.")
    for name in ("canvases", "captions", "draws", "steps"):
        if getattr(args, name) < 1:
            raise ValueError(f"--{name} is {getattr(args, name)}: give a number above zero.")
    if Path(args.sheets).is_file():
        raise ValueError(f"--sheets {args.sheets} is a file: name a folder.")
    from textdiff import __version__
    from textdiff.reports import birth_certificate, listing, read_figures, table, write_json

    read_figures(args.json)
    measures = {"composed-digits": composed_digits, "emoji": emoji, "caption-digits": caption_digits}
    for part in PARTS if args.only is None else (args.only,):
        rows, facts = measures[part](args)
        how = {"sampler": args.sampler, "steps": args.steps, "seed": args.seed}
        certificate = birth_certificate(version=__version__, **{**how, **facts})
        sys.stdout.write(f"\n{part}\n\n{table(rows)}\n\n{listing(certificate)}\n")
        sys.stdout.flush()
        measured = {part.replace("-", "_"): {"certificate": certificate, "rows": rows}}
        write_json({**read_figures(args.json), **measured}, args.json)


def composed_digits(args: argparse.Namespace) -> tuple[list[Row], dict[str, Any]]:
    """Cells right on canvases without and with a held-out pair, at every guidance scale."""
    from textdiff.cross_modal.composed_digits import ComposedDigits
    from textdiff.cross_modal.text_to_image import TextToImage
    from textdiff.image.classifier import DigitClassifier
    from textdiff.image.data import read_source

    model = TextToImage.from_pretrained(args.digits_model)
    judge = DigitClassifier.from_pretrained(args.classifier)
    _, test = read_source(args.digits, size=28, channels=1)
    size = model.image.shape.image_size
    sets = {
        held_out: ComposedDigits(test, total=args.canvases, seed=args.seed, size=size, held_out=held_out)
        for held_out in (False, True)
    }
    canvases = {held_out: [own.canvas(i) for i in range(args.canvases)] for held_out, own in sets.items()}
    real = {held_out: [canvas.pixels[0] for canvas in own] for held_out, own in canvases.items()}
    rows = [cell_row("real digits", judge, real, canvases)]
    for scale in args.guidance_scales:
        drawn = {
            held_out: model.generate(
                [canvas.caption for canvas in own], guidance_scale=scale, **sampling(args, f"scale {scale:g}")
            )
            for held_out, own in canvases.items()
        }
        rows.append(cell_row(f"textdiff, guidance {scale:g}", judge, drawn, canvases))
        for held_out, pictures in drawn.items():
            name = f"composed-digits-{'held-out' if held_out else 'seen'}-{scale:g}"
            sheet(args, name, pictures[:64], [canvas.caption for canvas in canvases[held_out][:64]])
    facts = {"model": args.digits_model or "bundled", "data": args.digits, "canvases": args.canvases}
    return rows, {**facts, "classifier": judge.fingerprint(), "chance": 0.1}


def cell_row(method: str, judge: Any, pictures: dict[bool, Any], canvases: dict[bool, Any]) -> Row:
    """One method's figures: cells without held-out pairs are counted on the canvases that have none."""
    from textdiff.cross_modal.cells import read_cells, right_share, stray_ink

    wanted = {held_out: [canvas.composition for canvas in own] for held_out, own in canvases.items()}
    cells = {held_out: read_cells(judge, pictures[held_out], wanted[held_out]) for held_out in wanted}
    whole = {
        held_out: float(np.mean([all(cell.right for cell in row) for row in own]))
        for held_out, own in cells.items()
    }
    return {
        "method": method,
        "cells_right_seen": right_share(cells[False], held_out=False),
        "cells_right_held_out": right_share(cells[True], held_out=True),
        "cells_right_beside_held_out": right_share(cells[True], held_out=False),
        "canvases_right_seen": whole[False],
        "canvases_right_held_out": whole[True],
        "stray_ink": float(np.mean([stray_ink(pictures[held_out], wanted[held_out]) for held_out in wanted])),
    }


def emoji(args: argparse.Namespace) -> tuple[list[Row], dict[str, Any]]:
    """Captions found again, of pictures seen in training and held out; two sheets at every guidance scale."""
    from textdiff.cross_modal.captioned import read_captioned
    from textdiff.cross_modal.text_to_image import TextToImage

    model = TextToImage.from_pretrained(args.emoji_model)
    shape, rows = model.image.shape, []
    parts = read_captioned(args.emoji, size=shape.image_size, channels=shape.image_channels)
    for name, part in zip(("seen", "held-out"), parts, strict=True):
        chosen = np.random.default_rng(args.seed).permutation(len(part))[: args.captions]
        own = part.part(np.sort(chosen))
        rows.append(found_row(f"{name}, by loss", loss_table(args, model, own)))
        for scale in args.guidance_scales:
            drawn = model.generate(
                own.captions, guidance_scale=scale, **sampling(args, f"{name} {scale:g}")
            )
            sheet(args, f"emoji-{name}-{scale:g}", drawn, own.captions)
            rows.append(found_row(f"{name}, by drawing, guidance {scale:g}", distance_table(drawn, own)))
    facts = {"model": args.emoji_model, "data": args.emoji, "draws": args.draws}
    return rows, {**facts, "held_out_captions": len(parts[1])}


def loss_table(args: argparse.Namespace, model: TextToImage, own: Captioned) -> Any:
    """Losses [pictures, captions]."""
    from tqdm import tqdm

    from textdiff.cross_modal.agreement import caption_losses

    pictures = list(np.moveaxis(own.pictures.pixels, 1, -1))
    with tqdm(desc="losses", total=len(own), unit="picture", file=sys.stderr) as bar:
        return caption_losses(
            model, pictures, own.captions, draws=args.draws, seed=args.seed, progress=lambda: bar.update()
        )


def distance_table(drawn: list[Any], own: Captioned) -> Any:
    """Squared distances [drawn, real pictures] between block means."""
    import torch
    from torch.nn import functional

    from textdiff.image.pictures import read_pictures

    channels = own.pictures.pixels.shape[1]
    real = torch.from_numpy(own.pictures.pixels).float() / 127.5 - 1.0
    means = [
        functional.avg_pool2d(x, BLOCK, ceil_mode=True).flatten(1).double()
        for x in (torch.stack(read_pictures(drawn, channels)), real)
    ]
    return torch.cdist(means[0], means[1]).square()


def found_row(method: str, losses: Any) -> Row:
    """How often the right one is the first, or among the first five, of as many as there are."""
    from textdiff.cross_modal.agreement import top_share

    count = len(losses)
    return {
        "method": method, "of": count, "top_1": top_share(losses, 1), "top_5": top_share(losses, 5),
        "chance_top_1": 1.0 / count, "chance_top_5": min(1.0, 5.0 / count),
    }  # fmt: skip


def sampling(args: argparse.Namespace, name: str) -> dict[str, Any]:
    """Options of every drawing, with a progress bar."""
    from tqdm import tqdm

    bar = tqdm(desc=name, unit="step", file=sys.stderr)

    def progress(made: int, total: int) -> None:
        bar.total = total
        bar.update(made - bar.n)
        if made == total:
            bar.close()

    return {
        "num_inference_steps": args.steps, "sampler": args.sampler, "seed": args.seed, "progress": progress,
    }  # fmt: skip


def sheet(args: argparse.Namespace, name: str, pictures: list[Any], captions: list[str]) -> None:
    """A contact sheet, eight in a row, and its captions in a text file."""
    from textdiff.image.pictures import contact_sheet

    folder = Path(args.sheets)
    folder.mkdir(parents=True, exist_ok=True)
    contact_sheet(pictures, min(8, len(pictures)), zoom=2).save(folder / f"{name}.png")
    (folder / f"{name}.txt").write_text("\n".join(captions) + "\n", encoding="utf-8")


if __name__ == "__main__":
    run(main)
