#!/usr/bin/env python3
r"""Infilling on held-out sentences, one random span of 1 to 5 words blanked, beside trivial fillers.

    python benchmarks/infilling.py --model textdiff/weights/english --judge runs/english-gpt2 \
        --source stories=../shared/data/tinystories/test.txt.gz \
        --training-files ../shared/data/tinystories/train.txt.gz --json infilling.json

The judge is a causal language model trained on the same text. It charges every filled text, and writes one
row itself: its own continuation of the left part, which does not see the right one. --middle adds an autoregressive
model trained to fill middles, --masked a masked diffusion model, each of them as large as ours; --rivals-from takes
what they wrote from an earlier file. A second table parts the sources by the words of the blank.
"""

from __future__ import annotations

import argparse
import sys
from time import perf_counter
from typing import TYPE_CHECKING, Any

from textdiff.cli import run
from textdiff.text.sampling_options import add_sampling_options, sampling_facts, sampling_of

if TYPE_CHECKING:
    from textdiff.text.infilling import Item


WORDS = ((1, 1), (2, 3), (4, 5))  # words of a blank, from and to
SHOWN = ("exact_match", "span_and_after_nats", "fill_bleu", "text_bleu", "fill_rouge_l")


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Command line of the script."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--model", help="diffusion model (default: the bundled one)")
    add("--judge", required=True, help="causal language model: folder or hub id")
    add("--source", nargs="+", required=True, metavar="NAME=FILE", help="held-out texts")
    add("--held-out", action="store_true", help="keep only the texts that training held out (1 in 100)")
    add(
        "--training-files",
        nargs="+",
        required=True,
        metavar="FILE",
        help="where the unigram filler counts its tokens",
    )
    add("--middle", help="folder of an autoregressive model trained with --fill-in-the-middle")
    add("--masked", help="folder of a masked diffusion model")
    add("--rivals-from", metavar="JSON", help="take the others' fills of the same blanks from an earlier file")
    add("--n", type=int, default=200, help="sentences of each source (default: 200)")
    add(
        "--candidates",
        type=int,
        nargs="+",
        default=[1],
        help="candidates a blank, best counts (default: 1)",
    )
    add_sampling_options(parser, seed_help="of sentences, spans and noise")
    add("--json", default="benchmarks/results/infill.json", help="file for all figures and all filled texts")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Print one table a source."""
    args = parse_args(argv)
    from textdiff import __version__
    from textdiff.metrics.judge import Judge
    from textdiff.reports import birth_certificate, check_target, earlier_figures, listing, table, write_json
    from textdiff.text.evaluation import token_counts, training_texts
    from textdiff.text.language_model import DiffusionLM
    from textdiff.text.sampling import Sampling

    Sampling(**sampling_of(args))
    check_target(args.json)
    judge, model = Judge.from_pretrained(args.judge), DiffusionLM.from_pretrained(args.model)
    sources = read_sources(args, model)
    before = None if args.rivals_from is None else earlier_figures(args.rivals_from)  # which may be the target
    counts = token_counts(model.vocabulary, training_texts(args.training_files))
    certificate = birth_certificate(
        version=__version__, model=args.model or "english (bundled)", judge=judge.name,
        sources=args.source, n=args.n, held_out_only=args.held_out or None,
        **sampling_facts(args), nfe=args.steps + 1, seed=args.seed,
        candidates=args.candidates, middle=args.middle, masked=args.masked, rivals_from=args.rivals_from,
        training_files=args.training_files,
    )  # fmt: skip
    results: dict[str, Any] = {}
    for name, items in sources.items():
        rivals = {} if before is None else written_before(before, args.rivals_from, name, items)
        results[name] = measure(args, model, judge, items, counts, name, rivals)
        rows = [{k: v for k, v in row.items() if k != "bleu_signature"} for row in results[name]["rows"]]
        parts = table(results[name]["by_words"])
        sys.stdout.write(f"\n{name} ({len(items)} sentences)\n\n{table(rows)}\n\n{parts}\n")
        sys.stdout.flush()
        write_json({"certificate": certificate, "sources": results}, args.json)
    sys.stdout.write(f"\n{listing(certificate)}\n")


def read_sources(args: argparse.Namespace, model: Any) -> dict[str, list[Item]]:
    """The items of every source, so that a bad file is found before an hour of work on the others."""
    from textdiff.text.evaluation import source_texts
    from textdiff.text.infilling import infill_items

    found = {}
    for source in args.source:
        name, equals, file = source.partition("=")
        if not (name and equals and file):
            raise ValueError(f"--source is {source!r}: write NAME=FILE.")
        texts = source_texts(file, held_out_only=args.held_out)
        found[name] = infill_items(texts, model.vocabulary, n=args.n, window=model.window, seed=args.seed)
    return found


def measure(
    args: argparse.Namespace, model: Any, judge: Any, items: list[Item], counts: Any, name: str,
    rivals: dict[str, list[str]],
) -> dict[str, Any]:  # fmt: skip
    """The rows of one source and its filled texts, beside those of rivals written before."""
    from tqdm import tqdm

    from textdiff.text.infilling import compare_fillers, diffusion_fillers

    options = sampling_of(args, seeded=False)
    started, fillers = perf_counter(), {}
    with tqdm(total=2 * len(args.candidates) * len(items), desc=name, unit="text", file=sys.stderr) as bar:
        for candidates in args.candidates:
            fillers |= diffusion_fillers(model, num_samples=candidates, tick=bar.update, **options)
        others = {**rivals, **written(args, items)}
        rows, filled = compare_fillers(
            items, fillers, judge, model.vocabulary, counts, written=others,
            temperature=args.temperature, seed=args.seed,
        )
    parts = by_words(items, filled, judge)
    return {"rows": rows, "by_words": parts, "seconds": round(perf_counter() - started, 1), "filled": filled}


def written(args: argparse.Namespace, items: list[Item]) -> dict[str, list[str]]:
    """The filled texts of the other models that the command line names."""
    from fillers import masked_texts, middle_texts

    found = {}
    if args.masked:
        found["masked diffusion, length given"] = masked_texts(
            args.masked, items, steps=args.steps, seed=args.seed, temperature=args.temperature
        )
    if args.middle:
        for how, temperature in (("", args.temperature), (", greedy", 0.0)):
            for length, given in (("given", True), ("free", False)):
                found[f"fill in the middle{how}, length {length}"] = middle_texts(
                    args.middle, items, seed=args.seed, length_given=given, temperature=temperature
                )
    return found


def written_before(before: dict[str, Any], file: str, name: str, items: list[Item]) -> dict[str, list[str]]:
    """What masked diffusion and fill-in-the-middle wrote into the same blanks, as an earlier file has it.

    Raises:
        ValueError: if its blanks are others.
    """
    filled = before.get("sources", {}).get(name, {}).get("filled", [])
    if [item.free for item in items] != [one["blank"] for one in filled]:
        raise ValueError(f"{file} has other blanks of {name}: give the --n, --seed and --source that it was made with.")
    rivals = [filler for filler in filled[0] if filler.startswith(("masked diffusion", "fill in the middle"))]
    return {filler: [one[filler] for one in filled] for filler in rivals}


def by_words(items: list[Item], filled: list[dict[str, str]], judge: Any) -> list[dict[str, Any]]:
    """The same figures for blanks of one, two or three, and four or five words."""
    from textdiff.text.infilling import WORD, infill_metrics

    rows = []
    for low, high in WORDS:
        part = [i for i, item in enumerate(items) if low <= len(WORD.findall(item.fill)) <= high]
        for name in [key for key in filled[0] if key != "blank"] if part else []:
            texts = [filled[i][name] for i in part]
            figures = infill_metrics([items[i] for i in part], texts, judge)
            rows.append(
                {"words": f"{low}-{high}", "filler": name, **{key: figures[key] for key in ("n", *SHOWN)}}
            )
    return rows


if __name__ == "__main__":
    run(main)
