#!/usr/bin/env python3
"""Training and drawing digits beside a well-known package, of the same size, in one run: speed and quality.

    python benchmarks/image_speed.py
    pip install denoising-diffusion-pytorch
    python benchmarks/image_speed.py --rival denoising-diffusion-pytorch

Both are trained from scratch on the same batches with the same optimiser (AdamW after a warm-up, gradients
clipped to 1, averaged weights) and take turns, step by step; then they draw in turns, in equally many calls
of the network and without guidance. A ratio is the rival's seconds / ours of the same turn (above 1 we are
faster), its median over the turns with quartiles. Quality is read after equally many steps, and once more
when the faster one has trained for as many seconds as the other: equal compute. Network, noise curve, loss
and sampler are each package's own.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import sys
from collections.abc import Callable, Sequence
from statistics import median, quantiles
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from digit_tasks import DigitJudge, record
from speed_turns import take_turns
from torch import nn

from textdiff.cli import run

if TYPE_CHECKING:
    from image_rivals import Contender

    from textdiff.image.data import Pictures

AT_ONCE = 64  # digits drawn together
DECAY = 0.999  # of averaged weights
WARM_UP = 0.1  # of the steps that both are trained
MOST_CALLS = 1000  # the rivals' curves have so many steps
Row = dict[str, Any]


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Command line of the script."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--rival", default="diffusers", help="diffusers (default) or denoising-diffusion-pytorch")
    add("--classifier", help="folder of benchmarks/digit_classifier.py (default: the bundled one)")
    add("--data", default="../shared/data/images/mnist.npz", help=".npz of digits with their classes")
    add("--width", type=int, default=48, help="of our network, which sets the size (default: 48)")
    add("--train-steps", type=int, default=250, help="that both are trained (default: 250)")
    add("--batch-size", type=int, default=64, help="digits of a step (default: 64)")
    add("--learning-rate", type=float, default=1e-3, help="of both, after the warm-up (default: 0.001)")
    add("--images", type=int, default=256, help="digits that each draws (default: 256)")
    add("--calls", type=int, default=32, help="of the network for each of them (default: 32)")
    add("--seed", type=int, default=0, help="of weights, batches and noise")
    add("--json", default="benchmarks/results/images.json", help="file for digits.side_by_side")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Train, draw, print and record."""
    args = parse_args(argv)
    check(args)
    from image_rivals import pair, size

    from textdiff import __version__
    from textdiff.image.classifier import DigitClassifier
    from textdiff.image.data import read_source
    from textdiff.reports import birth_certificate, listing, read_figures, table

    read_figures(args.json)
    train, test = read_source(args.data, size=28, channels=1)
    if train.labels is None or test.labels is None or len(test) < 10:
        raise ValueError(f"{args.data} has too few test digits with classes: give at least 10.")
    classifier = DigitClassifier.from_pretrained(args.classifier)
    torch.manual_seed(args.seed)
    ours, theirs = pair(args.rival, args.width)
    certificate = birth_certificate(
        version=__version__, rival=args.rival, rival_version=importlib.metadata.version(args.rival),
        parameters=size(ours.network), rival_parameters=size(theirs.network), ours=ours.facts,
        rivals=theirs.facts, ratio="the rival's seconds / ours", classes=ours.classes, data=args.data,
        classifier=classifier.fingerprint(), train_steps=args.train_steps, batch_size=args.batch_size,
        learning_rate=args.learning_rate, images=args.images, calls=args.calls, seed=args.seed,
    )  # fmt: skip
    pupils = [Pupil(name, one, train, args) for name, one in (("textdiff", ours), (args.rival, theirs))]
    judge = DigitJudge(classifier, train, test, args.images, args.seed)
    tables = side_by_side(args, pupils, judge)
    for name, rows in tables.items():
        sys.stdout.write(f"\n{name}\n\n{table(rows)}\n")
    sys.stdout.write(f"\n{listing(certificate)}\n")
    record(args.json, ["digits", "side_by_side"], {args.rival: {"certificate": certificate, **tables}})


def check(args: argparse.Namespace) -> None:
    """Refuse numbers that cannot be."""
    least = {"width": 4, "train_steps": 2, "batch_size": 1, "images": 10, "calls": 2, "seed": 0}
    for name, value in least.items():
        if getattr(args, name) < value:
            raise ValueError(f"--{name.replace('_', '-')} is {getattr(args, name)}: give at least {value}.")
    if args.calls > MOST_CALLS:
        raise ValueError(
            f"--calls is {args.calls}: give at most {MOST_CALLS}, the steps of the rivals' curves."
        )
    if not 0 < args.learning_rate < 1:
        raise ValueError(f"--learning-rate is {args.learning_rate}: give a number between 0 and 1.")


class Pupil:
    """A contender in training, with its optimiser, its averaged weights and its place in the data.

    Args:
        name: in the tables.
        contender: that learns.
        pictures: that it learns from.
        args: of the command line.

    Attributes:
        steps: of training so far.
        seconds: that they took.
    """

    def __init__(self, name: str, contender: Contender, pictures: Pictures, args: argparse.Namespace) -> None:
        from torch.optim.swa_utils import AveragedModel

        from textdiff.training.averaging import ema_average

        self.name, self.contender, self.pictures, self.args = name, contender, pictures, args
        self.average = AveragedModel(contender.network, multi_avg_fn=ema_average(DECAY))
        self.optimiser = torch.optim.AdamW(
            contender.network.parameters(), args.learning_rate, weight_decay=0.0
        )
        warm = max(1, round(WARM_UP * args.train_steps))
        self.plan = torch.optim.lr_scheduler.LambdaLR(
            self.optimiser, lambda step: min(1.0, (step + 1) / warm)
        )
        self.order = np.random.default_rng(args.seed).permutation(len(pictures))
        self.steps, self.seconds = 0, 0.0

    def step(self) -> None:
        """One step of training."""
        size, network = self.args.batch_size, self.contender.network.train()
        index = np.arange(self.steps * size, (self.steps + 1) * size)
        own = self.pictures.part(self.order[index % len(self.order)])
        x0 = torch.from_numpy(own.pixels).float() / 127.5 - 1.0
        labels = torch.as_tensor(own.labels) if self.contender.classes else None
        self.contender.loss(x0, labels, torch.from_numpy(index)).backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        self.optimiser.step()
        self.optimiser.zero_grad()
        self.plan.step()
        self.average.update_parameters(network)
        self.steps += 1

    def draw(self, wanted: np.ndarray, seed: int) -> list[Any]:
        """Digits of the wanted classes [N], or as many of any, by the averaged weights."""
        labels = torch.as_tensor(wanted) if self.contender.classes else None
        return self.contender.draw(self.average.module, labels, len(wanted), self.args.calls, seed)


def side_by_side(
    args: argparse.Namespace, pupils: Sequence[Pupil], judge: DigitJudge
) -> dict[str, list[Row]]:
    """Both tables: speed and quality."""
    with progress("training", args.train_steps) as bar:
        training, _ = take_turns([*(pupil.step for pupil in pupils), bar.update], args.train_steps)
    for pupil, seconds in zip(pupils, training[:2], strict=True):
        pupil.seconds = sum(seconds)
    drawn, drawing = draw(args, pupils)
    unasked = dict.fromkeys(("steps", "train_seconds", "calls"))
    rows: list[Row] = [{"method": "training digits", **unasked, **judge.training_digits()}]
    for pupil, pictures in zip(pupils, drawn, strict=True):
        rows.append(quality(pupil, "equal steps", judge, pictures))
    faster, slower = sorted(pupils, key=lambda pupil: pupil.seconds)
    catch_up(faster, slower.seconds)
    rows.append(quality(faster, "equal seconds", judge, draw(args, [faster])[0][0]))
    per_turn = min(AT_ONCE, args.images)
    return {
        "speed": [
            beside("training step", args.batch_size, training[:2]),
            beside(f"drawing in {args.calls} calls", per_turn, drawing[:2]),
        ],
        "quality": rows,
    }


def catch_up(pupil: Pupil, seconds: float) -> None:
    """Train on until so many seconds are spent."""
    with progress(f"{pupil.name}, to equal seconds", None) as bar:
        while pupil.seconds < seconds:
            pupil.seconds += take_turns([pupil.step], 1)[0][0][0]
            bar.update()


def draw(args: argparse.Namespace, pupils: Sequence[Pupil]) -> tuple[list[list[Any]], list[list[float]]]:
    """Every pupil's digits, drawn in turns, and the seconds of its turns; the last may be shorter."""
    wanted = np.arange(args.images) % 10
    drawn: list[list[Any]] = [[] for _ in pupils]

    def part(pupil: Pupil, own: list[Any]) -> Callable[[], None]:
        def turn() -> None:
            own.extend(pupil.draw(wanted[len(own) : len(own) + AT_ONCE], args.seed + len(own)))

        return turn

    calls = [part(pupil, own) for pupil, own in zip(pupils, drawn, strict=True)]
    turns = -(-args.images // AT_ONCE)
    with progress("drawing", turns) as bar:
        seconds, _ = take_turns([*calls, bar.update], turns)
    return drawn, seconds


def quality(pupil: Pupil, after: str, judge: DigitJudge, pictures: Sequence[Any]) -> Row:
    """What a pupil's digits are worth at this point of its training."""
    wanted = np.arange(len(pictures)) % 10 if pupil.contender.classes else None
    return {
        "method": f"{pupil.name}, {after}", "steps": pupil.steps, "train_seconds": pupil.seconds,
        "calls": pupil.args.calls, **judge.figures(pictures, wanted),
    }  # fmt: skip


def beside(name: str, images: int, seconds: Sequence[list[float]]) -> Row:
    """A row of the speed table.

    Args:
        name: of what was done.
        images: in a full turn.
        seconds: of every turn, ours and the rival's.
    """
    ours, theirs = (median(each) for each in seconds)
    ratios = [b / a for a, b in zip(*seconds, strict=True)]
    low, middle, high = quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else ratios * 3
    return {
        "what": name, "turns": len(ratios), "images_per_second": images / ours,
        "rival_images_per_second": images / theirs, "seconds_each": ours / images,
        "rival_seconds_each": theirs / images, "ratio": middle, "ratio_low": low, "ratio_high": high,
    }  # fmt: skip


def progress(name: str, total: int | None) -> Any:
    """A bar on standard error."""
    from tqdm import tqdm

    return tqdm(desc=name, total=total, file=sys.stderr)


if __name__ == "__main__":
    run(main)
