#!/usr/bin/env python3
"""Digits: generation, inpainting, super-resolution and denoising beside classical methods, in one command.

    python benchmarks/digits.py --model runs/digits --json benchmarks/results/images.json

Feature distances are taken in the shipped digit classifier's 128 features, never Inception's, and stand beside the
same distance between training and test digits. "textdiff" is one picture in generation; of --samples answers it is the
mean of enlargements, as nearest in squares as the baselines are, and the median of what fills a hole, where answers
differ in black and white and their mean is grey.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from digit_tasks import Answers, DigitJudge, add_digit_options, centre_square, cleaner, holes, larger, record, strokes

from textdiff.cli import run

if TYPE_CHECKING:
    from textdiff.image.classifier import DigitClassifier
    from textdiff.image.image_diffusion import ImageDiffusion

NOISES = {"light": 0.125, "medium": 0.25, "heavy": 0.5}  # of the range from black to white
Table = dict[str, dict[str, float]]  # figure -> method -> value


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Command line of the script."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_digit_options(parser)
    add = parser.add_argument
    add("--generated", type=int, default=1000, help="digits to generate (default: 1000)")
    add("--images", type=int, default=64, help="test digits to damage in each task (default: 64)")
    add("--samples", type=int, default=16, help="answers that the mean or median is of (default: 16)")
    add("--steps", type=int, default=50, help="denoising steps (default: 50)")
    add("--sampler", default="ddpm", help="ddpm (default), ddim, dpmpp_2m or churn")
    add("--guidance-scale", type=float, default=1.5, help="of the second row of generation (default: 1.5)")
    add("--seed", type=int, default=0, help="of all noise")
    add("--json", default="benchmarks/results/images.json", help="file whose tables of digits are replaced")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Measure, print and record."""
    args = parse_args(argv)
    for name in ("generated", "images", "samples", "steps"):
        if getattr(args, name) < 1:
            raise ValueError(f"--{name} is {getattr(args, name)}: give a number above zero.")
    from textdiff import __version__
    from textdiff.image.classifier import DigitClassifier
    from textdiff.image.data import read_source
    from textdiff.image.image_diffusion import ImageDiffusion
    from textdiff.image.sampling import Sampling
    from textdiff.reports import birth_certificate, listing, read_figures, table

    read_figures(args.json)
    Sampling(0, args.guidance_scale, args.steps, args.sampler, args.seed)
    train, test = read_source(args.data, size=28, channels=1)
    model, classifier = (
        ImageDiffusion.from_pretrained(args.model),
        DigitClassifier.from_pretrained(args.classifier),
    )
    if model.shape.image_size != 28 or model.shape.image_channels != 1:
        raise ValueError(f"{args.model} does not make digits of 28 x 28 in grey: name a digit model.")
    if test.labels is None or len(test) < max(args.images, 10):
        raise ValueError(
            f"{args.data} has too few test digits with classes: give at least {max(args.images, 10)}."
        )
    certificate = birth_certificate(
        version=__version__, model=args.model or "bundled", data=args.data, classifier=classifier.fingerprint(),
        generated=args.generated, images=args.images, samples=args.samples, steps=args.steps,
        sampler=args.sampler, seed=args.seed,
    )  # fmt: skip
    results: dict[str, Table] = {}
    for name, figures in measure(args, model, classifier, train, test):
        results[name] = figures
        methods = list(dict.fromkeys(method for values in figures.values() for method in values))
        rows = [{"method": m, **{f: values.get(m) for f, values in figures.items()}} for m in methods]
        sys.stdout.write(f"\n{name}\n\n{table(rows)}\n")
        sys.stdout.flush()
    record(args.json, ["digits"], {"certificate": certificate, **results})
    sys.stdout.write(f"\n{listing(certificate)}\n")


def measure(
    args: argparse.Namespace, model: ImageDiffusion, classifier: DigitClassifier, train: Any, test: Any
) -> Iterator[tuple[str, Table]]:
    """Every table by name, one after another."""
    from tqdm import tqdm

    options = {"num_inference_steps": args.steps, "sampler": args.sampler, "seed": args.seed}
    chosen = np.random.default_rng(args.seed).permutation(len(test))[: args.images]
    truths, shown = test.pixels[chosen, 0], train.pixels[:, 0]
    masks = {"inpainting": centre_square(args.images), "inpainting_strokes": strokes(args.images, args.seed)}
    with tqdm(desc="tasks", total=5 + len(NOISES), unit="task", file=sys.stderr) as bar:
        yield "generation", generation(args, model, classifier, train, test, options)
        bar.update()
        for name, mask in masks.items():
            yield name, scores(holes(model, truths, mask, shown, args.samples, **options), truths)
            bar.update()
        for scale in (2, 4):
            answers = larger(model, truths, scale, args.samples, **options)
            yield f"super_resolution_{scale}x", scores(answers, truths)
            bar.update()
        for name, noise in NOISES.items():
            yield f"denoising_{name}", scores(cleaner(model, truths, noise, args.seed), truths)
            bar.update()


def generation(
    args: argparse.Namespace,
    model: ImageDiffusion,
    classifier: DigitClassifier,
    train: Any,
    test: Any,
    options: dict[str, Any],
) -> Table:
    """Generated digits of all classes alike, and as many training digits, against the test digits."""
    wanted = np.arange(args.generated) % 10
    judge = DigitJudge(classifier, train, test, args.generated, args.seed)
    labels: Any = wanted.tolist() if model.shape.num_classes else None
    truth = wanted if model.shape.num_classes else None
    drawn = {"textdiff": model.generate(args.generated, labels=labels, **options)}
    if model.shape.num_classes:
        guided = model.generate(args.generated, labels=labels, guidance_scale=args.guidance_scale, **options)
        drawn[f"textdiff, guidance {args.guidance_scale:g}"] = guided
    sets = {method: judge.figures(pictures, truth) for method, pictures in drawn.items()}
    figures: Table = {"class_accuracy": {"test digits": judge.test_accuracy}}
    for method, own in {**sets, "training digits": judge.training_digits()}.items():
        for figure, value in own.items():
            figures.setdefault(figure, {})[method] = value
    return figures


def scores(answers: Answers, truths: np.ndarray) -> Table:
    """PSNR and SSIM of every method."""
    from textdiff.metrics.pictures import psnr, ssim

    return {
        "ssim": {method: ssim(list(pictures), list(truths)) for method, pictures in answers.items()},
        "psnr": {method: psnr(list(pictures), list(truths)) for method, pictures in answers.items()},
    }


if __name__ == "__main__":
    run(main)
