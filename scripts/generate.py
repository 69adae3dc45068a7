#!/usr/bin/env python3
"""Write texts from pure noise, or go on from a prompt, with a diffusion language model.

python scripts/generate.py --num-samples 4
python scripts/generate.py --prompt "The old king" --length 8-16
python scripts/generate.py --length 20 --show-steps
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator

from textdiff.cli import run
from textdiff.text.sampling_options import add_sampling_options, sampling_of


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Command line of the script."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--model", help="model folder, hub id or name of a bundled model (default: the bundled English model)")
    add("--num-samples", type=int, default=4, help="texts to draw (default: 4)")
    add("--prompt", help="beginning to go on from; it comes back unchanged")
    add("--length", help="tokens to write, such as 20 or 8-16 (default: as in the training data)")
    add_sampling_options(parser, steps=64)
    add("--json", action="store_true", help="print one JSON string a text")
    add("--show-steps", action="store_true", help="print the first text coming out of the noise, on stderr")
    return parser.parse_args(argv)


def parse_length(asked: str | None) -> tuple[int, int] | None:
    """The least and the most tokens that --length asks for."""
    if asked is None:
        return None
    low, dash, high = asked.partition("-")
    if not low.isdecimal() or (dash and not high.isdecimal()):
        raise ValueError(f"--length is {asked!r}: give a number of tokens or a range, such as 20 or 8-16.")
    return int(low), int(high) if dash else int(low)


def show_steps(steps: Iterator[list[str]]) -> None:
    """Print what the first text reads at every step."""
    for number, readings in enumerate(steps, start=1):
        sys.stderr.write(f"{number:4d}  {' '.join(readings[0].split())}\n")
        sys.stderr.flush()


def main(argv: list[str] | None = None) -> None:
    """Draw the texts asked for and print them."""
    args = parse_args(argv)
    length = parse_length(args.length)
    if args.prompt is not None and args.show_steps:
        raise ValueError(
            "--show-steps does not go with --prompt: use scripts/infill.py --show-steps with a blank at the end."
        )
    from textdiff.text.language_model import DiffusionLM

    model = DiffusionLM.from_pretrained(args.model)
    options = sampling_of(args)
    if args.show_steps:
        show_steps(model.generate_steps(1, length=length, **options))
    if args.prompt is not None:
        found = model.complete(args.prompt, length=length, num_samples=args.num_samples, **options)
        texts = [one.text for one in found]
    else:
        texts = model.generate(args.num_samples, length=length, **options)
    for text in texts:
        sys.stdout.write((json.dumps(text, ensure_ascii=False) if args.json else text) + "\n")


if __name__ == "__main__":
    run(main)
