#!/usr/bin/env python3
"""Draw, complete, enlarge and restore pictures with a diffusion model; PNGs and a contact sheet in a folder.

And the way back: captions of pictures, on standard output.

python scripts/image.py generate --num-samples 16 --labels 3 7 --guidance-scale 1.5
python scripts/image.py inpaint --image digit.png --mask hole.png --num-samples 8
python scripts/image.py upscale --image small.png --scale 4
python scripts/image.py restore --image blurred.png --blur 1.5 --noise 0.05
python scripts/image.py walk --num-samples 8
python scripts/image.py draw --caption "a seven left of a three" "an eight above a two" --num-samples 4
python scripts/image.py caption --image pictures/draw-000.png pictures/draw-004.png
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textdiff.cli import run
from textdiff.text.sampling_options import add_sampling_options, sampling_of

if TYPE_CHECKING:
    from PIL.Image import Image

    from textdiff.image.image_diffusion import ImageDiffusion

SHOWN_AFTER = 1e-3  # seconds, the progress bar, with the first step: what is refused before has none


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Command line of the script."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    tasks = parser.add_subparsers(dest="task", required=True)
    parts = {
        "generate": "pictures from noise",
        "inpaint": "make the white part of a mask anew",
        "upscale": "a larger picture",
        "restore": "take off noise, undo a blur",
        "walk": "from noise to picture, step by step",
        "draw": "pictures of captions",
    }
    add = {name: tasks.add_parser(name, help=about).add_argument for name, about in parts.items()}
    for name, option in add.items():
        option(
            "--model", help="model folder, hub id or bundled name (default: digits; composed-digits for draw)"
        )
        option("--output-dir", default="pictures", help="folder for PNGs and sheet.png (default: pictures)")
        option("--num-samples", type=int, default=16 if name == "generate" else 4, help="pictures to make")
        if name != "draw":
            option("--labels", type=int, nargs="+", help="classes, given out in turn (default: none told)")
        option("--guidance-scale", type=float, help="above 1: more of the class (default: 1) or caption (1.5)")
        option("--steps", type=int, help="denoising steps (default: 50; 1 for noise alone; 16 for walk)")
        option("--sampler", default="ddpm", help="ddpm (default), ddim, dpmpp_2m or churn")
        option("--seed", type=int, default=0, help="same seed, same pictures (default: 0)")
        option("--zoom", type=int, default=2, help="pixels of the sheet for one of a picture (default: 2)")
    add["draw"]("--caption", nargs="+", required=True, help="what to draw, each in quotes")
    for name in ("inpaint", "upscale", "restore"):
        add[name]("--image", required=True, help="picture file")
    for name in ("generate", "walk"):
        add[name]("--size", type=int, nargs=2, metavar=("HEIGHT", "WIDTH"), help="default: as in training")
    add["inpaint"]("--mask", required=True, help="picture of the same size, white where to make it anew")
    add["inpaint"]("--conditioning", default="replacement", help="replacement (default), guidance or anchor")
    add["inpaint"]("--resample", type=int, help="RePaint's repeats, with replacement (default: 5; 1 = off)")
    add["upscale"]("--scale", type=int, required=True, help="factor, 2 or more")
    add["restore"]("--blur", type=float, help="standard deviation of the Gaussian blur, in pixels")
    add["restore"](
        "--noise", type=float, default=0.0, help="standard deviation of the noise, 1 = black to white"
    )
    add_caption_options(tasks.add_parser("caption", help="captions of pictures"))
    return parser.parse_args(argv)


def add_caption_options(parser: argparse.ArgumentParser) -> None:
    """What captions can be asked for."""
    option = parser.add_argument
    option("--image", nargs="+", required=True, help="picture files of the size that the model reads")
    option("--model", help="model folder, hub id or bundled name (default: caption-digits)")
    option("--num-samples", type=int, default=1, help="captions of each picture (default: 1)")
    option("--guidance-scale", type=float, default=1.0, help="above 1: closer to the picture (default: 1)")
    add_sampling_options(parser, seed_help="same seed, same captions")
    option("--json", action="store_true", help="print one JSON object a picture")


def caption(args: argparse.Namespace) -> None:
    """Print what a captioner writes: a line for each caption, after its picture's name where there are several."""
    from textdiff.cross_modal.captioner import Captioner

    count = args.num_samples
    written = Captioner.from_pretrained(args.model).caption(
        args.image, num_samples=count, picture_guidance=args.guidance_scale, **sampling_of(args)
    )
    found = {i: written[i * count : (i + 1) * count] for i in range(len(args.image))}
    if args.json:
        rows = [{"image": path, "captions": found[i]} for i, path in enumerate(args.image)]
        sys.stdout.write("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
        return
    for i, path in enumerate(args.image):
        name = f"{path}: " if len(args.image) > 1 else ""
        sys.stdout.write("".join(f"{name}{text}\n" for text in found[i]))


def sampling_options(args: argparse.Namespace, count: int) -> dict[str, Any]:
    """Keyword arguments of every sampling call."""
    options: dict[str, Any] = {"sampler": args.sampler, "seed": args.seed}
    if args.guidance_scale is not None:
        options["guidance_scale"] = args.guidance_scale
    if args.steps is not None:
        options["num_inference_steps"] = args.steps
    if getattr(args, "labels", None) is not None:
        options["labels"] = [args.labels[i % len(args.labels)] for i in range(count)]
    return options


def make(model: Any, args: argparse.Namespace, options: dict[str, Any]) -> list[Image]:
    """The pictures asked for: of a `TextToImage` if they are to be drawn, otherwise of an `ImageDiffusion`."""
    count = args.num_samples
    if args.task == "draw":
        return model.generate(args.caption, num_samples=count, **options)
    if args.task == "generate":
        return model.generate(count, size=args.size, **options)
    if args.task == "inpaint":
        chosen = {"conditioning": args.conditioning, "resample": args.resample}
        return model.inpaint(args.image, args.mask, num_samples=count, **chosen, **options)
    if args.task == "upscale":
        return model.super_resolve(args.image, args.scale, num_samples=count, **options)
    from textdiff.image.operators import gaussian_blur

    operator = None if args.blur is None else gaussian_blur(args.blur)
    return model.restore(args.image, operator, noise=args.noise, num_samples=count, **options)


def walk(model: ImageDiffusion, args: argparse.Namespace, bar: Callable[[int, int], None]) -> list[Image]:
    """States and estimates of every step, a row for each picture."""
    options = sampling_options(args, args.num_samples)
    steps = []
    for step in model.generate_steps(
        args.num_samples, size=args.size, **{"num_inference_steps": 16, **options}
    ):
        steps.append(step)
        bar(len(steps), options.get("num_inference_steps", 16) + 1)
    rows = [[step.noisy[k] for step in steps] + [steps[-1].estimate[k]] for k in range(args.num_samples)]
    return [picture for row in rows for picture in row]


def columns_of(args: argparse.Namespace, count: int) -> int:
    """Pictures in a row of the sheet: a walk's steps, a caption's pictures where they fit, or eight."""
    if args.task == "walk":
        return count // args.num_samples
    return args.num_samples if args.task == "draw" and 1 < args.num_samples <= 8 else min(count, 8)


def main(argv: list[str] | None = None) -> None:
    """Make the pictures and write them; or print captions."""
    args = parse_args(argv)
    if args.task == "caption":
        caption(args)
        return
    folder = Path(args.output_dir)
    if folder.is_file():
        raise ValueError(f"--output-dir {folder} is a file: name a folder.")
    if args.num_samples < 1 or not 1 <= args.zoom <= 32:
        raise ValueError(
            f"--num-samples and --zoom are {args.num_samples} and {args.zoom}: "
            "give numbers above zero, to zoom at most 32."
        )
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise ValueError(f"Cannot write into --output-dir {folder}: name a folder of yours.")
    from tqdm import tqdm

    from textdiff.cross_modal.text_to_image import TextToImage
    from textdiff.image.image_diffusion import ImageDiffusion
    from textdiff.image.pictures import contact_sheet

    model: Any = (TextToImage if args.task == "draw" else ImageDiffusion).from_pretrained(args.model)
    with tqdm(desc=args.task, unit="step", file=sys.stderr, delay=SHOWN_AFTER, mininterval=0) as progress:

        def bar(made: int, total: int) -> None:
            progress.total = total
            progress.update(made - progress.n)

        if args.task == "walk":
            pictures = walk(model, args, bar)
        else:
            options = sampling_options(args, args.num_samples)
            pictures = make(model, args, {**options, "progress": bar})
    columns = columns_of(args, len(pictures))
    folder.mkdir(parents=True, exist_ok=True)
    for i, picture in enumerate(pictures):
        picture.save(folder / f"{args.task}-{i:03d}.png")
    contact_sheet(pictures, columns, zoom=args.zoom).save(folder / "sheet.png")
    sys.stdout.write(f"{len(pictures)} pictures and sheet.png in {folder}\n")


if __name__ == "__main__":
    run(main)
