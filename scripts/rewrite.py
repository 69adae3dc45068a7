#!/usr/bin/env python3
"""Make targets from sources with a model that was trained on pairs: translate, paraphrase, simplify.

    python scripts/rewrite.py --model runs/de-en --text "Das ist ein kleiner Hund."
    python scripts/rewrite.py --model runs/de-en --file in.txt --output out.txt --source-guidance 1.5
    python scripts/rewrite.py --model runs/simplify --file in.txt --json > rewritten.jsonl

scripts/train.py makes such models: --preset de-en, paraphrase or simplify, or --pairs with files of your own.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from textdiff.cli import run
from textdiff.text.sampling_options import REWRITE_TEMPERATURE, add_sampling_options, sampling_of

if TYPE_CHECKING:
    from textdiff.text.rewriting import Rewrite, RewriteOptions

TEXTS_AT_ONCE = 16


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Command line of the script."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--text", help="the source")
    source.add_argument(
        "--file", help="UTF-8 file with one source a line, .txt or .txt.gz; no line may be empty"
    )
    add = parser.add_argument
    add("--model", required=True, help="folder or hub id of a model trained on pairs")
    add("--output", metavar="FILE", help="write there (default: standard output)")
    add("--num-samples", type=int, default=8, help="candidates of every source (default: 8)")
    add("--rank", default="mbr", help="mbr (minimum Bayes risk, default) or bound (likelihood)")
    add(
        "--source-guidance",
        type=float,
        default=1.0,
        help="above 1: follow the source more closely, at twice the cost (default: 1 = off)",
    )
    add("--length", type=int, help="tokens of the target (default: as in the training pairs)")
    add(
        "--length-candidates",
        type=int,
        help="take so many of the likeliest lengths in turn (default: draw lengths)",
    )
    add_sampling_options(parser, temperature=REWRITE_TEMPERATURE, seed_help="same seed, same targets")
    add("--json", action="store_true", help="one JSON object a source, with all its candidates, best first")
    return parser.parse_args(argv)


def options(args: argparse.Namespace) -> RewriteOptions:
    """How to rewrite, in the library's words."""
    return {
        "num_samples": args.num_samples, "rank": args.rank, "source_guidance": args.source_guidance,
        "length": args.length, "length_candidates": args.length_candidates, **sampling_of(args),
    }  # fmt: skip


def read_sources(args: argparse.Namespace) -> list[str]:
    """The sources, one for each line of what comes out."""
    if args.file is None:
        return [args.text]
    from textdiff.text.data import read_content

    lines = read_content(args.file).removesuffix("\n").split("\n")
    empty = [number for number, line in enumerate(lines, start=1) if not line.strip()]
    if empty:
        raise ValueError(f"{args.file} is empty in line {empty[0]}: give one source a line.")
    return lines


def report(source: str, found: list[Rewrite], *, as_json: bool) -> str:
    """One line for a source: its best target, or a JSON object."""
    if as_json:
        candidates = [{"text": one.text, "score": round(one.score, 4)} for one in found]
        return json.dumps({"input": source, "candidates": candidates}, ensure_ascii=False)
    return found[0].text.replace("\r", " ").replace("\n", " ")


def write_all(args: argparse.Namespace, lines: Iterator[str]) -> None:
    """Write lines as they come; a file that was there is kept until the first."""
    if args.output in (None, "-"):
        _write(sys.stdout, lines)
        return
    first = next(lines)
    with open(args.output, "w", encoding="utf-8") as file:
        _write(file, chain([first], lines))


def _write(file: TextIO, lines: Iterator[str]) -> None:
    for line in lines:
        file.write(line + "\n")
        file.flush()


def main(argv: list[str] | None = None) -> None:
    """Rewrite every source."""
    args = parse_args(argv)
    from textdiff.reports import check_target
    from textdiff.text.rewriting import checked_options

    check_target(args.output)
    if args.file and args.output and Path(args.file).resolve() == Path(args.output).resolve():
        raise ValueError(f"--output {args.output} is the file of the sources: name another one.")

    checked_options(options(args))
    sources = read_sources(args)
    from textdiff.text.language_model import DiffusionLM

    model = DiffusionLM.from_pretrained(args.model)
    model.rewriter().check(sources, options(args))  # a bad line is found before an hour of work on the others
    from tqdm import tqdm

    def lines() -> Iterator[str]:
        with tqdm(total=len(sources), unit="text", file=sys.stderr, disable=args.file is None) as bar:
            for at in range(0, len(sources), TEXTS_AT_ONCE):
                part = sources[at : at + TEXTS_AT_ONCE]
                for source, found in zip(part, model.rewrite_candidates(part, **options(args)), strict=True):
                    yield report(source, found, as_json=args.json)
                bar.update(len(part))

    write_all(args, lines())


if __name__ == "__main__":
    run(main)
