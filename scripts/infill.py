#!/usr/bin/env python3
"""Fill the blanks of a text with a diffusion language model.

    python scripts/infill.py --text "The little dog ran into the [MASK] and found [MASK]."
    python scripts/infill.py --text "Once upon a time ___ lived in [MASK:2-4]." --num-samples 4 --show-steps
    python scripts/infill.py --file sentences.txt --json > filled.jsonl

[MASK] and ___ leave the length to the model; [MASK:3] asks for three tokens, [MASK:2-6] for two to six.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING

from textdiff.cli import run
from textdiff.text.sampling_options import add_sampling_options, sampling_of

if TYPE_CHECKING:
    from textdiff.text.language_model import DiffusionLM, Infill


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Command line of the script."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--text", help="the text with its blanks")
    source.add_argument("--file", help="UTF-8 file with one text a line; empty lines are passed over")
    add = parser.add_argument
    add("--model", help="model folder, hub id or name of a bundled model (default: the bundled English model)")
    add("--num-samples", type=int, default=16, help="candidates to draw (default: 16); equal ones are shown once")
    add("--rank", default="bound", help="bound (likelihood, default) or mbr (minimum Bayes risk)")
    add_sampling_options(parser, seed_help="same seed, same fills")
    add("--json", action="store_true", help="print one JSON object a text")
    add("--show-steps", action="store_true", help="print a candidate coming out of the noise, on stderr")
    return parser.parse_args(argv)


def read_lines(path: str) -> list[str]:
    """The texts of a file, plain or .gz, one a line; a bad one is found before an hour of work on the others."""
    from textdiff.text.blanks import parse
    from textdiff.text.data import read_content

    lines = read_content(path, wanted="text file with one text a line").split("\n")
    texts = {number: line for number, line in enumerate(lines, start=1) if line.strip()}
    if not texts:
        raise ValueError(f"{path} holds no text: give one text with a blank on each line.")
    for number, text in texts.items():
        try:
            parse(text)
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}") from error
    return list(texts.values())


def show_steps(model: DiffusionLM, text: str, args: argparse.Namespace) -> None:
    """Print what the first candidate reads at every step."""
    for number, (reading,) in enumerate(model.infill_steps(text, **sampling_of(args)), start=1):
        sys.stderr.write(f"{number:4d}  {' '.join(reading.split())}\n")
        sys.stderr.flush()


def report(text: str, found: list[Infill], *, as_json: bool) -> str:
    """Candidates of one text, best first, as JSON or for reading."""
    if as_json:
        candidates = [{"text": one.text, "fills": one.fills, "score": round(one.score, 4)} for one in found]
        return json.dumps({"input": text, "infills": candidates}, ensure_ascii=False)
    lines = ["  score  text   <- fills (score: log-likelihood per token of the blanks)"]
    for one in found:
        line = f"{one.score:7.2f}  {one.text}   <- {' | '.join(fill.strip() for fill in one.fills)}"
        lines.append(line.replace("\r", "").replace("\n", "⏎"))
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> None:
    """Fill every text asked for and print the candidates."""
    args = parse_args(argv)
    from textdiff.text.blanks import parse

    texts = [args.text] if args.file is None else read_lines(args.file)
    if args.file is None:
        parse(args.text)  # what cannot be filled is refused before the model is loaded
    from textdiff.text.language_model import DiffusionLM

    model = DiffusionLM.from_pretrained(args.model)
    progress = texts
    if args.file is not None:
        from tqdm import tqdm

        progress = tqdm(texts, unit="text", file=sys.stderr)
    for text in progress:
        if args.show_steps:
            show_steps(model, text, args)
        found = model.infill(text, num_samples=args.num_samples, rank=args.rank, **sampling_of(args))
        sys.stdout.write(report(text, found, as_json=args.json) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    run(main)
