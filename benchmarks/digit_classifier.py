#!/usr/bin/env python3
"""Train the digit classifier whose features and classes judge generated digits; under two minutes on one core.

    python benchmarks/digit_classifier.py --output-dir textdiff/weights/digit_classifier

Prints its accuracy on the test digits and the fingerprint that belongs beside every figure made with it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from textdiff.cli import run


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Command line of the script."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--output-dir", required=True, help="folder for the classifier")
    add("--data", default="../shared/data/images/mnist.npz", help=".npz of digits 28 x 28 with their classes")
    add("--epochs", type=int, default=5, help="passes over the digits (default: 5)")
    add("--width", type=int, default=32, help="channels of the first convolution (default: 32)")
    add("--seed", type=int, default=0, help="of weights, order and shifts")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Train, test, save and say."""
    args = parse_args(argv)
    if args.epochs < 1 or args.width < 1:
        raise ValueError(f"--epochs and --width are {args.epochs} and {args.width}: give numbers above zero.")
    if Path(args.output_dir).is_file():
        raise ValueError(f"--output-dir {args.output_dir} is a file: name a folder.")
    from tqdm import tqdm

    from textdiff.image.classifier import judged, train_classifier
    from textdiff.image.data import read_source

    train, test = read_source(args.data, size=28, channels=1)
    if train.labels is None or test.labels is None:
        raise ValueError(f"{args.data} has no classes: give the digits' y_train and y_test too.")
    with tqdm(desc="training", unit="step", total=args.epochs * (len(train) // 128), file=sys.stderr) as bar:
        classifier = train_classifier(
            train.pixels, train.labels, epochs=args.epochs, seed=args.seed, width=args.width,
            progress=lambda loss: bar.update(),
        )  # fmt: skip
    _, classes = judged(classifier, list(test.pixels[:, 0]))
    accuracy = round(float((classes == test.labels).mean()), 4)
    classifier.save_pretrained(args.output_dir, test_accuracy=accuracy, seed=args.seed, epochs=args.epochs)
    sys.stdout.write(f"test accuracy {accuracy}, fingerprint {classifier.fingerprint()}\n")


if __name__ == "__main__":
    run(main)
