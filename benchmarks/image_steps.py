#!/usr/bin/env python3
"""Digits by sampler and number of steps: class accuracy and distances beside those of training digits.

    python benchmarks/image_steps.py
    python benchmarks/image_steps.py --model runs/digits --steps 8 32 --samplers ddpm dpmpp_2m

Every setting draws the same classes from the same seed. nfe counts the calls of the denoiser for each digit;
with guidance one call is two of the network. Distances are taken in the shipped digit classifier's features,
never Inception's; they fall with the number of digits, so the floor is that of equally many training digits.
Leaves one plot of class accuracy and Frechet distance against nfe.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from itertools import product
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from digit_tasks import DigitJudge, add_digit_options, record

from textdiff.cli import run

if TYPE_CHECKING:
    from textdiff.image.image_diffusion import ImageDiffusion

FLOOR = "training digits"
SAMPLERS = ["ddpm", "ddim", "dpmpp_2m", "churn"]
PANELS = {
    "class_accuracy": "class accuracy (up: better)",
    "feature_frechet": "Fréchet distance of features (down: better)",
}
Row = dict[str, Any]


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Command line of the script."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_digit_options(parser)
    add = parser.add_argument
    add("--images", type=int, default=400, help="digits to draw in each setting (default: 400)")
    add("--steps", type=int, nargs="+", default=[4, 8, 16, 32, 64, 250], help="(default: 4 8 16 32 64 250)")
    add("--samplers", nargs="+", default=SAMPLERS, help="default: all four")
    add(
        "--guidance-scale",
        type=float,
        default=1.0,
        help="1 (default) = class as learned, above exaggerates it",
    )
    add("--seed", type=int, default=0, help="of all noise")
    add("--json", default="benchmarks/results/images.json", help="file for digits.steps")
    add("--plot", default="docs/pictures/image_steps.png", help="file for the plot")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Draw every setting, then print, plot and record."""
    args = parse_args(argv)
    from textdiff import __version__
    from textdiff.image.classifier import DigitClassifier
    from textdiff.image.data import read_source
    from textdiff.image.image_diffusion import ImageDiffusion
    from textdiff.reports import birth_certificate, check_target, listing, read_figures, table

    check(args)
    read_figures(args.json)
    check_target(args.plot)
    train, test = read_source(args.data, size=28, channels=1)
    classifier = DigitClassifier.from_pretrained(args.classifier)
    model = ImageDiffusion.from_pretrained(args.model)
    if (model.shape.image_size, model.shape.image_channels, model.shape.num_classes) != (28, 1, 10):
        raise ValueError(
            f"{args.model} does not draw digits of 28 x 28 in grey by class: name a model that does."
        )
    if test.labels is None or train.labels is None or len(test) < 10:
        raise ValueError(f"{args.data} has too few test digits with classes: give at least 10.")
    judge = DigitJudge(classifier, train, test, args.images, args.seed)
    certificate = birth_certificate(
        version=__version__, model=args.model or "bundled", data=args.data,
        classifier=classifier.fingerprint(), images=args.images, guidance_scale=args.guidance_scale,
        seed=args.seed, test_accuracy=judge.test_accuracy,
    )  # fmt: skip
    floor = {"sampler": FLOOR, "steps": None, "nfe": None, **judge.training_digits()}
    rows = [floor, *settings(args, model, judge)]
    sys.stdout.write(f"{table(rows)}\n\n{listing(certificate)}\n")
    record(args.json, ["digits"], {"steps": {"certificate": certificate, "rows": rows}})
    plot(rows, args.plot)


def check(args: argparse.Namespace) -> None:
    """Refuse before any work what would be refused in the middle of it."""
    from textdiff.image.sampling import Sampling

    if args.images < 10:
        raise ValueError(f"--images is {args.images}: give at least 10, one of each class.")
    for sampler, steps in product(args.samplers, args.steps):
        Sampling(0, args.guidance_scale, steps, sampler, args.seed)


def settings(args: argparse.Namespace, model: ImageDiffusion, judge: DigitJudge) -> list[Row]:
    """A row for every sampler and number of steps."""
    from tqdm import tqdm

    from textdiff.image.drawing import AT_ONCE
    from textdiff.image.sampling import grid_of

    nfe = {steps: len(grid_of(model.scheduler, steps)) - 1 for steps in args.steps}
    labels, rows = np.arange(args.images) % 10, []
    parts = -(-args.images // AT_ONCE)
    calls = parts * len(args.samplers) * sum(nfe[steps] for steps in args.steps)
    with tqdm(desc="digits", total=calls, unit="call", file=sys.stderr) as bar:
        for sampler, steps in product(args.samplers, args.steps):
            started = perf_counter()
            drawn = model.generate(
                args.images, labels=labels.tolist(), num_inference_steps=steps, sampler=sampler,
                seed=args.seed, guidance_scale=args.guidance_scale, progress=lambda made, total: bar.update(),
            )  # fmt: skip
            seconds = (perf_counter() - started) / args.images
            found = judge.figures(drawn, labels)
            rows.append(
                {"sampler": sampler, "steps": steps, "nfe": nfe[steps], **found, "seconds_each": seconds}
            )
    return rows


def plot(rows: Sequence[Row], target: str) -> None:
    """Both figures against nfe, a line for each sampler, and the floor."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.5), layout="constrained")
    floor, drawn = rows[0], rows[1:]
    ticks = sorted({row["nfe"] for row in drawn})
    for axes, (name, label) in zip(figure.subplots(1, 2), PANELS.items(), strict=True):
        for sampler in dict.fromkeys(row["sampler"] for row in drawn):
            line = sorted((row["nfe"], row[name]) for row in drawn if row["sampler"] == sampler)
            axes.plot(*zip(*line, strict=True), marker="o", label=sampler)
        axes.axhline(floor[name], color="black", linestyle="--", label=FLOOR)
        axes.set_xscale("log", base=2)
        axes.set_xticks(ticks, [str(tick) for tick in ticks])
        axes.set(xlabel="calls of the denoiser", ylabel=label)
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(target, dpi=120)


if __name__ == "__main__":
    run(main)
