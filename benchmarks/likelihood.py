#!/usr/bin/env python3
r"""Likelihood of held-out text: our bound beside an autoregressive model, masked diffusion and Diffusion-LM's recipe.

    python benchmarks/likelihood.py --preset e2e-cpu

Trains what is not yet trained under --runs (the same pieces, rows and steps for all four, several seeds), charges the
preset's test texts and prints one table. Bounds are upper bounds; the autoregressive figure is exact. The interval is
95 % over texts, of the mean over seeds; `seeds ±` is the standard deviation between seeds.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

from rivals import CHARGED, KINDS, Contender, charged_as, charges, train_all

from textdiff.cli import run

Corpora = dict[str, list[tuple[list[int], int]]]  # name -> token ids and bytes of every text


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Command line of the script."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--preset", default="e2e-cpu", help="row of scripts/train.py's table (default: e2e-cpu)")
    add("--models", nargs="+", default=list(KINDS), help=f"default: {' '.join(KINDS)}")
    add("--seeds", type=int, default=3, help="runs of each model (default: 3)")
    add("--jobs", type=int, default=2, help="runs that train at once (default: 2)")
    add("--limit", type=int, default=2000, help="test texts of each source at most (default: 2000)")
    add("--runs", default="runs", help="folder of all runs (default: runs)")
    add("--data-dir", default="../shared/data", help="folder of the preset's sources")
    add("--json", default="benchmarks/results/likelihood.json", help="file whose rows of this preset are replaced")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Train, charge, print and record."""
    args = parse_args(argv)
    from tqdm import tqdm

    from textdiff import __version__
    from textdiff.reports import birth_certificate, listing, read_figures, table

    check_args(args)
    read_figures(args.json)
    contenders = [
        Contender(kind, seed, Path(args.runs, args.preset, f"{kind}-{seed}"))
        for seed in range(args.seeds)
        for kind in args.models
    ]
    missing = [c for c in contenders if not c.finished]
    with tqdm(total=len(missing), desc="training", unit="run", disable=not missing) as bar:
        train_all(contenders, args.preset, args.data_dir, args.jobs, bar.update)
    corpora = test_corpora(args, contenders[0].folder)
    certificate = birth_certificate(
        version=__version__, preset=args.preset, runs=args.runs, seeds=args.seeds, texts=args.limit,
    )  # fmt: skip
    nats: dict[tuple[str, str], list[list[float]]] = {}
    for contender in tqdm(contenders, desc="charging", unit="model"):
        texts = [ids for own in corpora.values() for ids, _ in own]
        for kind, order in charged_as(contender).items():
            own = charges(contender, texts, seed=contender.seed, order=order)
            for name, part in parted(corpora, own, together=args.preset).items():
                nats.setdefault((name, kind), []).append(part)
    if len(corpora) > 1:
        corpora[args.preset] = [text for texts in corpora.values() for text in texts]
    rows = [row(args, name, kind, corpora[name], each, certificate) for (name, kind), each in nats.items()]
    record(args.json, certificate, rows)
    sys.stdout.write(f"{table([shown(r) for r in rows])}\n\n{listing(certificate)}\n")


def check_args(args: argparse.Namespace) -> None:
    """Refuse what no run can be made of.

    Raises:
        ValueError: for an unknown preset or model, a preset without test texts, or numbers below 1.
    """
    from textdiff.text.presets import PRESETS

    if args.preset not in PRESETS or not PRESETS[args.preset].tests:
        able = ", ".join(name for name, preset in PRESETS.items() if preset.tests)
        raise ValueError(f"--preset is {args.preset!r}: choose one that has test texts, {able}.")
    if unknown := [kind for kind in args.models if kind not in KINDS]:
        raise ValueError(f"Unknown model {unknown[0]!r}: choose {', '.join(KINDS)}.")
    for name in ("seeds", "jobs", "limit"):
        if getattr(args, name) < 1:
            raise ValueError(f"--{name} is {getattr(args, name)}: it must be at least 1.")


def test_corpora(args: argparse.Namespace, folder: Path) -> Corpora:
    """The preset's test texts in pieces of the models' window, by name."""
    from textdiff.text.denoiser import DenoiserConfig
    from textdiff.text.evaluation import cut_texts
    from textdiff.text.presets import PRESETS
    from textdiff.text.sources import test_texts
    from textdiff.text.tokenizer import load_tokenizer
    from textdiff.text.vocabulary import Vocabulary

    preset, tokenizer = PRESETS[args.preset], load_tokenizer(folder)
    vocabulary = Vocabulary(tokenizer, tokenizer.get_vocab_size())
    window = DenoiserConfig(**preset.model).max_position_embeddings
    found: Corpora = {}
    for name, texts in test_texts(preset, args.data_dir).items():
        cut = cut_texts(texts, vocabulary, window)[: args.limit]
        found[name] = [(vocabulary.encode(text)[:window], len(text.encode("utf-8"))) for text, _ in cut]
    return found


def parted(corpora: Corpora, nats: Sequence[float], *, together: str) -> dict[str, list[float]]:
    """A model's charges by corpus, and where there are several also all of them, under the name `together`."""
    ends = list(accumulate((len(texts) for texts in corpora.values()), initial=0))
    found = {name: list(nats[a:b]) for name, (a, b) in zip(corpora, pairwise(ends), strict=True)}
    return found if len(found) == 1 else {**found, together: list(nats)}


def row(
    args: argparse.Namespace, name: str, kind: str, texts: Sequence[tuple[list[int], int]],
    nats: Sequence[Sequence[float]], certificate: Mapping[str, Any],
) -> dict[str, Any]:  # fmt: skip
    """One model's figures on one corpus; nats: of every text, for each seed."""
    import numpy as np

    tokens, size = np.array([float(len(ids)) for ids, _ in texts]), sum(size for _, size in texts)
    each = np.array(nats)
    per_seed = each.sum(1) / tokens.sum()
    mean = float(per_seed.mean())
    residual = each.mean(0) - mean * tokens
    half = 1.96 * math.sqrt((residual**2).sum() * len(texts) / (len(texts) - 1)) / tokens.sum()
    folder = "textdiff" if kind in CHARGED else kind
    facts = json.loads(Path(args.runs, args.preset, f"{folder}-0", "training.json").read_text(encoding="utf-8"))
    return {
        "corpus": name, "model": kind, "exact": kind == "autoregressive",
        "perplexity": math.exp(mean), "nats_per_token": mean, "ci95": [mean - half, mean + half],
        "seed_sd": float(per_seed.std(ddof=1)) if len(each) > 1 else None,
        "bits_per_byte": mean * tokens.sum() / size / math.log(2),
        "seeds": len(each), "parameters": facts["parameters"], "tokens_seen": facts["tokens_seen"],
        "train_seconds": facts["seconds"], "texts": len(texts), "test_tokens": int(tokens.sum()),
        "preset": args.preset, "commit": certificate["commit"],
    }  # fmt: skip


def add_ratios(rows: Sequence[dict[str, Any]]) -> None:
    """Perplexity over that of the autoregressive model on the same corpus and texts, where there is one."""
    exact = {(r["corpus"], r["test_tokens"]): r["perplexity"] for r in rows if r["exact"]}
    for r in rows:
        own = exact.get((r["corpus"], r["test_tokens"]))
        r["ratio_to_autoregressive"] = None if own is None else r["perplexity"] / own


def shown(r: Mapping[str, Any]) -> dict[str, Any]:
    """The row as the table shows it."""
    half = (r["ci95"][1] - r["ci95"][0]) / 2
    return {
        "corpus": r["corpus"], "model": r["model"], "kind": "exact" if r["exact"] else "bound",
        "nats/token": r["nats_per_token"], "± (95 %)": half, "seeds ±": r["seed_sd"],
        "bits/byte": r["bits_per_byte"], "perplexity": round(r["perplexity"], 2),
        "ratio to AR": r["ratio_to_autoregressive"], "seeds": r["seeds"],
        "tokens seen": r["tokens_seen"], "minutes": r["train_seconds"] and round(r["train_seconds"] / 60, 1),
        "parameters": r["parameters"],
    }  # fmt: skip


def record(target: str, certificate: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the rows, in place of those of the same preset and model, beside those of others; all get their ratios."""
    from textdiff.reports import read_figures, write_json

    before = {"rows": [], "certificates": {}, **read_figures(target)}
    new = {(r["preset"], r["model"]) for r in rows}
    kept = [r for r in before["rows"] if (r["preset"], r["model"]) not in new]
    add_ratios([r for r in (*kept, *rows) if r["preset"] == rows[0]["preset"]])
    certificates = {**before["certificates"], rows[0]["preset"]: dict(certificate)}
    write_json({"certificates": certificates, "rows": [*kept, *rows]}, target)


if __name__ == "__main__":
    run(main)
