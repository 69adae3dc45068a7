#!/usr/bin/env python3
r"""Samples by sampler, steps and temperature: judge perplexity WITH entropy, diversity and copying, beside real text.

    python benchmarks/samples.py --model textdiff/weights/english --judge runs/english-gpt2 \
        --real ../shared/data/tinystories/test.txt.gz \
        --training-files ../shared/data/tinystories/train.txt.gz \
        --steps 8 16 32 64 --samplers categorical ddpm --json samples.json

All rows have equally many texts. Real text is cut into pieces as in training and matched to the lengths that
the model draws; the judge's own samples are drawn at temperature 1. A row with lower perplexity and lower
entropy than real text's is dull, not good: so perplexity is read at real text's entropy between the temperatures of
a sweep, and divided by that of the judge's own samples. --masked adds masked diffusion, in its own random order
of tokens and in two of ours; --rivals-from takes its texts from an earlier file. mmd is the squared maximum mean
discrepancy over character trigrams from other real text.
Besides the tables: a plot of perplexity against entropy, beside the JSON file.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from entropy_matched import at_data_entropy, best_at_data_entropy

from textdiff.cli import run

if TYPE_CHECKING:
    from textdiff.text.sampling import Options

Drawing = Callable[[], tuple[list[str], float | None]]  # -> texts, seconds
Drawn = tuple[dict[str, Any], list[str]]  # a row of the table, its texts
SHOWN = (
    "texts", "steps", "temperature", "judge_perplexity", "judge_nats_per_token", "judge_left_out",
    "entropy_per_text", "entropy_pooled", "distinct_1", "distinct_2", "distinct_3", "distinct_4", "self_bleu",
    "mmd", "longest_copy", "mean_longest_copy", "mean_words", "seconds",
)  # fmt: skip


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Command line of the script."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--model", help="diffusion model (default: the bundled one)")
    add("--judge", required=True, help="causal language model: folder or hub id")
    add("--real", nargs="+", required=True, metavar="FILE", help="held-out text to stand beside")
    add("--held-out", action="store_true", help="of --real, only the texts that training held out (1 in 100)")
    add("--training-files", nargs="+", required=True, metavar="FILE", help="where copies are looked for")
    add("--steps", type=int, nargs="+", default=[8, 16, 32, 64], help="denoising steps (default: 8 16 32 64)")
    add("--samplers", nargs="+", default=["categorical", "ddpm", "ddim", "dpmpp_2m", "churn"], help="default: all five")
    add("--temperatures", type=float, nargs="+", default=[0.5, 0.7, 0.9], help="default: 0.5 0.7 0.9")
    add("--top-p", type=float, nargs="+", default=[1.0], help="chance of those drawn from (default: 1 = off)")
    add("--orders", nargs="+", default=[None], help="in which tokens leave the noise (default: the model's own)")
    add("--masked", help="folder of a masked diffusion model (benchmarks/masked.py) to stand beside")
    add("--rivals-from", metavar="JSON", help="take masked diffusion's texts from an earlier file, and judge them anew")
    add("--num-samples", type=int, default=200, help="texts of each row (default: 200)")
    add("--seed", type=int, default=0, help="of all texts (default: 0)")
    add("--json", default="benchmarks/results/samples.json", help="all figures and texts; the plot goes beside it")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Draw all samples, then print one table."""
    args = parse_args(argv)
    from textdiff import __version__
    from textdiff.metrics.distance import mmd
    from textdiff.metrics.judge import Judge
    from textdiff.reports import birth_certificate, check_target, listing, table
    from textdiff.text.evaluation import copy_metrics, training_texts
    from textdiff.text.language_model import DiffusionLM

    check_target(args.json)
    if args.num_samples < 2:
        raise ValueError(
            f"--num-samples is {args.num_samples}: it must be at least 2, to compare texts with each other."
        )
    judge, model = Judge.from_pretrained(args.judge), DiffusionLM.from_pretrained(args.model)
    settings = check_settings(args, model)
    masked, known = masked_model(args.masked), rivals_from(args.rivals_from, args.num_samples)
    certificate = birth_certificate(
        version=__version__, model=args.model or "english (bundled)", judge=judge.name,
        real=args.real, n=args.num_samples, seed=args.seed,
        held_out_only=args.held_out or None, rivals_from=args.rivals_from, training_files=args.training_files,
        nfe="steps + 1",
    )  # fmt: skip
    sets, others = reference_sets(args, model, judge)
    rows = [row for row, _ in sets]
    for drawn, setting in [*drawings(args, model, masked, settings), *known]:
        sets.append(measured(setting, *drawn(), judge))
        rows.append(sets[-1][0])
        save(args.json, certificate, sets)
    copies = copy_metrics(
        {str(i): texts for i, (_, texts) in enumerate(sets)}, training_texts(args.training_files)
    )
    for i, row in enumerate(rows):
        row |= copies[str(i)] | {"mmd": mmd(sets[i][1], others)}
    save(args.json, certificate, sets)
    shown = [{name: row.get(name) for name in SHOWN} for row in rows]
    ratios = [{"sampler": name, **own} for name, own in at_data_entropy(rows).items()]
    sys.stdout.write(
        f"{table(shown)}\n\nJudge perplexity at real text's entropy over the judge's own, by steps:\n\n"
        f"{table(ratios)}\n\n{listing(certificate)}\n"
    )
    plot(rows, Path(args.json).with_suffix(".png"))


def check_settings(args: argparse.Namespace, model: Any) -> list[Options]:
    """Every sampler, order, top_p, steps and temperature together, none of them refused later."""
    from textdiff.text.sampling import Sampling

    settings: list[Options] = [
        {"sampler": sampler, "order": order, "top_p": top_p, "num_inference_steps": steps, "temperature": temperature}
        for sampler, order, top_p, steps, temperature in product(
            args.samplers, args.orders, args.top_p, args.steps, args.temperatures
        )
    ]
    for setting in settings:
        Sampling(**setting, seed=args.seed).sampler_for(model.denoiser)
    return settings


def masked_model(folder: str | None) -> Any:
    """The masked diffusion model and its vocabulary, found before any work; None without a folder."""
    if folder is None:
        return None
    from masked_model import read_masked

    return read_masked(folder)


def drawings(
    args: argparse.Namespace, model: Any, masked: Any, settings: Sequence[Options]
) -> Iterator[tuple[Drawing, dict[str, Any]]]:
    """How to draw each row of the sweep, and its labels; masked diffusion's last, in MDLM's order and in others."""
    for setting in settings:
        yield partial(draw, args, model, setting), labels(setting["sampler"], None, setting)
    orders = ["random", "spread", "stretches"] if masked else []
    for order, top_p, steps, temperature in product(orders, args.top_p, args.steps, args.temperatures):
        own: Options = {"order": order, "top_p": top_p, "num_inference_steps": steps, "temperature": temperature}
        yield partial(draw_masked, args, *masked, own), labels("mdlm", "random", own)


def rivals_from(file: str | None, count: int) -> list[tuple[Drawing, dict[str, Any]]]:
    """Masked diffusion's texts in a file of this script, as if drawn now.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it has none, or not as many texts a row.
    """
    from textdiff.reports import earlier_figures

    if file is None:
        return []
    names = ("texts", "steps", "nfe", "temperature", "seconds")
    rows = [row for row in earlier_figures(file).get("rows", []) if str(row.get("texts")).startswith("mdlm")]
    if not rows or any(len(row["samples"]) != count for row in rows):
        raise ValueError(f"{file} has no rows of masked diffusion with {count} texts each: give --masked instead.")
    return [
        (partial(lambda texts: (texts, None), row["samples"]), {name: row[name] for name in names if name in row})
        for row in rows
    ]


def labels(name: str, usual: str | None, setting: Options) -> dict[str, Any]:
    """What a row is of; order and top_p stand in the name where they are not the usual ones."""
    order, steps, top_p = setting["order"], setting["num_inference_steps"], setting["top_p"]
    return {
        "texts": name + f", {order} order" * (order != usual) + f", top-p {top_p:g}" * (top_p < 1),
        "steps": steps, "nfe": steps if name == "mdlm" else steps + 1, "temperature": setting["temperature"],
    }  # fmt: skip


def measured(labels: dict[str, Any], texts: list[str], seconds: float | None, judge: Any) -> Drawn:
    """A row of the table, and its texts."""
    from textdiff.text.evaluation import text_metrics

    took = {} if seconds is None else {"seconds": round(seconds, 1)}
    return {**labels, **text_metrics(texts, judge=judge), **took}, texts


def reference_sets(args: argparse.Namespace, model: Any, judge: Any) -> tuple[list[Drawn], list[str]]:
    """Real text of matched lengths and the judge's own samples; and more real text, to measure distance from."""
    from textdiff.text.continuation import LeftToRight
    from textdiff.text.evaluation import cut_texts, matched_texts, source_texts

    texts = [text for file in args.real for text in source_texts(file, held_out_only=args.held_out)]
    pool = cut_texts(texts, model.vocabulary, model.window, seed=args.seed)
    real, others = (
        matched_texts(part, model.length_counts, args.num_samples, seed=args.seed) for part in (pool[::2], pool[1::2])
    )
    started = perf_counter()
    own = LeftToRight(judge).texts(args.num_samples, longest=model.window, seed=args.seed)
    return [
        measured({"texts": "real text"}, real, None, judge),
        measured({"texts": "the judge's own"}, own, perf_counter() - started, judge),
    ], others


def draw(args: argparse.Namespace, model: Any, setting: Options) -> tuple[list[str], float]:
    """One setting's samples and their seconds, with a bar that every call of the denoiser moves."""
    from tqdm import tqdm

    from textdiff.text.evaluation import on_every_call
    from textdiff.text.language_model import CANDIDATES_AT_ONCE

    steps, name = setting["num_inference_steps"], " ".join(map(str, setting.values()))
    calls = -(-args.num_samples // CANDIDATES_AT_ONCE) * (steps + 1)
    started = perf_counter()
    with (
        tqdm(total=calls, desc=name, unit="call", file=sys.stderr) as bar,
        on_every_call(model.denoiser, bar.update),
    ):
        texts = model.generate(args.num_samples, seed=args.seed, **setting)
    return texts, perf_counter() - started


def draw_masked(args: argparse.Namespace, model: Any, vocabulary: Any, setting: Options) -> tuple[list[str], float]:
    """Masked diffusion's samples and their seconds."""
    from masked_sampling import generate

    from textdiff.text.plans import length_chances

    sizes, chances = length_chances(model.config.length_counts, 1, model.config.max_position_embeddings)
    lengths = np.random.default_rng([args.seed, 3]).choice(sizes, size=args.num_samples, p=chances).tolist()
    started = perf_counter()
    drawn = generate(
        model, lengths, vocabulary, steps=setting["num_inference_steps"], seed=args.seed,
        temperature=setting["temperature"], top_p=setting["top_p"], order=setting["order"],
    )  # fmt: skip
    return [vocabulary.decode(ids).strip() for ids in drawn], perf_counter() - started


def save(target: str, certificate: dict[str, Any], sets: Sequence[Drawn]) -> None:
    """Write what is known so far, so that a run cut short is not lost."""
    from textdiff.reports import write_json

    ratios = at_data_entropy([row for row, _ in sets])
    content = {
        "certificate": certificate,
        "judge_perplexity_ratio_to_ar_at_data_entropy": best_at_data_entropy(ratios),
        "ratios_by_sampler": ratios,
        "rows": [{**row, "samples": texts} for row, texts in sets],
    }
    write_json(content, target)


def plot(rows: Sequence[dict[str, Any]], file: Path) -> None:
    """Judge perplexity against entropy, a panel a sampler; a line joins the temperatures of a number of steps."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    fixed = [row for row in rows if "steps" not in row]
    samplers = list(dict.fromkeys(row["texts"] for row in rows if "steps" in row))
    counts = sorted({row["steps"] for row in rows if "steps" in row})
    across = min(3, len(samplers))
    down = -(-len(samplers) // across)
    figure, panels = pyplot.subplots(
        down, across, figsize=(4 * across, 3.5 * down), sharex=True, sharey=True, squeeze=False, layout="constrained"
    )
    colours = pyplot.get_cmap("viridis")
    for panel in panels.flat[len(samplers) :]:
        panel.set_visible(False)
    for panel, name in zip(panels.flat, samplers):
        for k, steps in enumerate(counts):
            own = [row for row in rows if row["texts"] == name and row.get("steps") == steps]
            line = sorted(own, key=lambda row: row["temperature"])
            x, y = ([row[key] for row in line] for key in ("entropy_pooled", "judge_perplexity"))
            panel.plot(x, y, marker="o", color=colours(k / max(1, len(counts) - 1) * 0.9), label=f"{steps} steps")
        for row, colour in zip(fixed, ("tab:red", "tab:orange")):
            at = (row["entropy_pooled"], row["judge_perplexity"])
            panel.plot(*at, "*", markersize=14, color=colour, label=row["texts"])
        panel.set(title=name, yscale="log")
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside right upper")
    figure.supxlabel("entropy of all words, nats (right: more varied)")
    figure.supylabel("judge perplexity (down: likelier)")
    figure.suptitle(f"judge: {rows[0]['judge']}")
    figure.savefig(file, dpi=110)
    pyplot.close(figure)


if __name__ == "__main__":
    run(main)
