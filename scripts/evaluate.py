#!/usr/bin/env python3
"""Measure a diffusion language model, a file of texts, or predictions against references.

    python scripts/evaluate.py --task bound --file held_out.txt
    python scripts/evaluate.py --task samples --num-samples 200 --judge gpt2 --training-files stories.txt
    python scripts/evaluate.py --task texts --file real.txt --judge gpt2
    python scripts/evaluate.py --task infill --file held_out.txt --judge gpt2 --training-files stories.txt
    python scripts/evaluate.py --task compare --predictions mine.txt --references theirs.txt
    python scripts/evaluate.py --task control --kind pos --model e2e --tagger runs/tagger --judge runs/e2e/judge

Texts are divided as in training: by <|endoftext|>, else by blank lines, else one a line; predictions and
references are one a line. A judge is a causal language model, folder or hub id. Perplexity never stands
alone: see docs/how_it_works.md. Targets of control are read off E2E's validation file (default of its --file).
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textdiff.cli import run
from textdiff.text.sampling_options import add_sampling_options, sampling_facts, sampling_of

if TYPE_CHECKING:
    from tqdm import tqdm

    from textdiff.text.language_model import DiffusionLM

Report = tuple[dict[str, Any], dict[str, Any]]  # figures to show, and what else goes into the JSON


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Command line of the script."""
    from textdiff.text.control_options import add_control_options

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--task", required=True, help="bound, samples, texts, infill, compare or control")
    add("--model", help="model folder, hub id or name of a bundled model (default: the bundled English model)")
    add("--file", help="texts for bound, texts and infill: UTF-8, .txt or .txt.gz; of a .tsv, the first column")
    add("--held-out", action="store_true", help="of --file, only the texts that training on it holds out (1 in 100)")
    add("--limit", type=int, help="texts at most (default: all), or infill items (default: 200)")
    add("--judge", help="causal language model that charges texts: folder or hub id")
    add("--training-files", nargs="+", metavar="FILE", help="the model's training text, for copies and counts")
    add("--levels", type=int, default=32, help="bound: noise levels, or random orders, a text (default: 32)")
    add("--num-samples", type=int, help="texts to draw (default: 200); infill: candidates (default: 1)")
    add_sampling_options(parser, seed_help="of texts and noise")
    add("--batch-size", type=int, default=32, help="texts the judge reads at once (default: 32)")
    add("--predictions", metavar="FILE", help="compare: one text a line")
    add("--references", metavar="FILE", help="compare: one text a line")
    add("--kind", help="control: semantic, pos, tree, span, length, semantic+pos or semantic+tree")
    add_control_options(parser)
    add("--json", metavar="FILE", help="write everything there too; - prints JSON instead of the table")
    return parser.parse_args(argv)


def task_bound(args: argparse.Namespace) -> Report:
    """The likelihood bound of a file's texts."""
    from textdiff.text.evaluation import on_every_call
    from textdiff.text.scoring import calls_of

    model = load_model(args)
    texts = cut_file(args, model)
    calls = calls_of(model.denoiser, len(texts), levels=args.levels, order=args.order)
    with progress(calls, "call") as bar, on_every_call(model.denoiser.transformer, bar.update):
        found = model.score(texts, levels=args.levels, seed=args.seed, order=args.order)
    return {
        "n": len(texts), "tokens": found.tokens, "bytes": found.bytes,
        "bound_nats_per_token": found.nats_per_token, "95_percent_interval": found.nats_per_token_interval,
        "perplexity_bound": math.exp(found.nats_per_token), "bits_per_byte": found.bits_per_byte,
        "bits_per_byte_interval": found.bits_per_byte_interval,
        "length_nats_per_token": found.length_nats_per_token,
        "perplexity_bound_with_length": math.exp(found.nats_per_token + found.length_nats_per_token),
    }, {}  # fmt: skip


def task_samples(args: argparse.Namespace) -> Report:
    """Figures of texts drawn from noise."""
    from textdiff.text.evaluation import on_every_call
    from textdiff.text.language_model import CANDIDATES_AT_ONCE

    count = 200 if args.num_samples is None else args.num_samples
    judge, model = load_judge(args), load_model(args)
    calls = math.ceil(count / CANDIDATES_AT_ONCE) * (args.steps + 1)
    with progress(calls, "call") as bar, on_every_call(model.denoiser, bar.update):
        texts = model.generate(count, **sampling_of(args))
    return measured(args, texts, judge), {"samples": texts}


def task_texts(args: argparse.Namespace) -> Report:
    """The same figures of a file's texts, cut into pieces as in training where a model is named."""
    judge = load_judge(args)
    texts = cut_file(args, None if args.model is None else load_model(args))
    return measured(args, texts, judge), {}


def measured(args: argparse.Namespace, texts: list[str], judge: Any) -> dict[str, Any]:
    """Every figure of a set of texts."""
    from textdiff.text.evaluation import text_metrics

    options = {"batch_size": args.batch_size, "seed": args.seed}
    return text_metrics(texts, judge=judge, training=training(args), **options)


def task_infill(args: argparse.Namespace) -> Report:
    """Figures of filled blanks beside trivial fillers, with the length given and left free."""
    from textdiff.text.evaluation import source_texts, token_counts
    from textdiff.text.infilling import compare_fillers, diffusion_fillers, infill_items

    require(args, "judge", "file", "training_files")
    judge, model = load_judge(args), load_model(args)
    texts = source_texts(args.file, held_out_only=args.held_out)
    number = 200 if args.limit is None else args.limit
    items = infill_items(texts, model.vocabulary, n=number, window=model.window, seed=args.seed)
    counts = token_counts(model.vocabulary, training(args) or ())
    candidates = 1 if args.num_samples is None else args.num_samples
    with progress(2 * len(items), "text") as bar:
        options = sampling_of(args, seeded=False)
        fillers = diffusion_fillers(model, num_samples=candidates, tick=bar.update, **options)
        rows, shown = compare_fillers(
            items, fillers, judge, model.vocabulary, counts,
            temperature=args.temperature, seed=args.seed, batch_size=args.batch_size,
        )
    signature = {row.pop("bleu_signature") for row in rows}
    return {"rows": rows}, {"bleu_signature": signature.pop(), "filled": shown}


def task_compare(args: argparse.Namespace) -> Report:
    """BLEU and ROUGE-L of predictions against references, by the packaged `evaluate` modules."""
    require(args, "predictions", "references")
    predictions, references = read_lines(args.predictions), read_lines(args.references)
    if len(predictions) != len(references):
        raise ValueError(
            f"{args.predictions} has {len(predictions)} lines and {args.references} has {len(references)}: "
            "give one reference for each prediction, on the same line."
        )
    import evaluate

    from textdiff.metrics import path

    metrics = evaluate.combine([evaluate.load(path("bleu")), evaluate.load(path("rouge_l"))])
    return {"n": len(predictions), **metrics.compute(predictions=predictions, references=references)}, {}


def task_control(args: argparse.Namespace) -> Report:
    """Success and fluency of one kind of control, beside the same model without it."""
    from textdiff.text.control_task import control_report

    options = sampling_of(args, seeded=False)
    return control_report(args, load_model(args), load_judge(args), options, progress)


TASKS: dict[str, Callable[[argparse.Namespace], Report]] = {
    "bound": task_bound, "samples": task_samples, "texts": task_texts, "infill": task_infill,
    "compare": task_compare, "control": task_control,
}  # fmt: skip


def require(args: argparse.Namespace, *names: str) -> None:
    """Refuse a command line that lacks what its task needs."""
    missing = [f"--{name.replace('_', '-')}" for name in names if not getattr(args, name)]
    if missing:
        raise ValueError(
            f"--task {args.task} needs {' and '.join(missing)}: give {'it' if len(missing) == 1 else 'them'}."
        )


def check(args: argparse.Namespace) -> None:
    """What can be refused before anything is loaded."""
    from textdiff.reports import check_target
    from textdiff.text.control_options import check_control_options

    for name in ("limit", "num_samples", "batch_size"):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise ValueError(f"--{name.replace('_', '-')} is {value}: it must be at least 1.")
    check_target(args.json)
    if args.task == "control":
        require(args, "kind", "judge")
        check_control_options(args, [args.kind])
    for file in [args.file, *(args.training_files or [])]:
        if file is not None and not Path(file).is_file():
            raise FileNotFoundError(f"No file {file}: give a UTF-8 text file (.txt or .txt.gz).")


def load_model(args: argparse.Namespace) -> DiffusionLM:
    """The diffusion model, once the sampling options are known to be good."""
    from textdiff.text.language_model import DiffusionLM
    from textdiff.text.sampling import Sampling

    Sampling(**sampling_of(args))
    return DiffusionLM.from_pretrained(args.model)


def load_judge(args: argparse.Namespace) -> Any:
    """The judge, if one was named."""
    if args.judge is None:
        return None
    from textdiff.metrics.judge import Judge

    return Judge.from_pretrained(args.judge)


def cut_file(args: argparse.Namespace, model: DiffusionLM | None) -> list[str]:
    """The texts of --file, in a model's pieces if there is one, at most --limit of them in random order."""
    from textdiff.text.evaluation import cut_texts, shuffled, source_texts

    require(args, "file")
    texts = source_texts(args.file, held_out_only=args.held_out)
    if model is None:
        return shuffled(texts, seed=args.seed)[: args.limit]
    return [text for text, _ in cut_texts(texts, model.vocabulary, model.window, seed=args.seed)][: args.limit]


def training(args: argparse.Namespace) -> Iterator[str] | None:
    """The texts of --training-files, if there are any."""
    from textdiff.text.evaluation import training_texts

    return training_texts(args.training_files) if args.training_files else None


def read_lines(file: str) -> list[str]:
    """The lines of a file, empty ones kept, since line i belongs to line i of another file."""
    from textdiff.text.data import read_content

    content = read_content(file, wanted="text file with one text a line")
    if not content.strip():
        raise ValueError(f"{file} holds no text: give one text a line.")
    return content.removesuffix("\n").split("\n")


def progress(total: int, unit: str) -> tqdm:
    """A bar on stderr."""
    from tqdm import tqdm

    return tqdm(total=total, unit=unit, file=sys.stderr)


def certificate(args: argparse.Namespace, seconds: float) -> dict[str, Any]:
    """How the figures came about."""
    from textdiff import __version__
    from textdiff.reports import birth_certificate
    from textdiff.text.control_options import control_facts

    facts = {
        "task": args.task, "data": args.file, "held_out_only": args.held_out or None, "judge": args.judge,
        "training_files": args.training_files, "predictions": args.predictions, "references": args.references,
        "seed": args.seed, "seconds": round(seconds, 1),
    }  # fmt: skip
    if args.task in ("bound", "samples", "infill", "control") or args.model:
        facts = {"model": args.model or "english (bundled)", **facts}
    if args.task in ("samples", "infill", "control"):
        facts |= {**sampling_facts(args), "nfe": args.steps + 1}
    own = {"bound": {"levels": args.levels}, "infill": {"candidates": args.num_samples or 1}}
    facts |= own.get(args.task, control_facts(args) if args.task == "control" else {})
    return birth_certificate(version=__version__, **facts)


def main(argv: list[str] | None = None) -> None:
    """Do the task, print its figures and how they came about."""
    from time import perf_counter

    args = parse_args(argv)
    if args.task not in TASKS:
        raise ValueError(f"Unknown task {args.task!r}: choose {', '.join(TASKS)}.")
    check(args)
    from textdiff.reports import listing, table, write_json

    started = perf_counter()
    found, extras = TASKS[args.task](args)
    facts = certificate(args, perf_counter() - started)
    if args.json is not None:
        write_json({**found, **extras, "certificate": facts}, args.json)
    if args.json != "-":
        figures = table(found["rows"]) if "rows" in found else listing(found)
        sys.stdout.write(f"{figures}\n\n{listing(facts)}\n")


if __name__ == "__main__":
    sys.path.remove(str(Path(__file__).resolve().parent))  # else `import evaluate` would find this file
    run(main)
