#!/usr/bin/env python3
r"""Likelihood on held-out text: the diffusion bound beside an autoregressive model's exact likelihood.

    python benchmarks/likelihood.py --rival runs/english-gpt2 \
        --source tatoeba=../shared/data/tatoeba/deu-eng.test.tsv.gz --json likelihood.json

Both pay for the same events on the same pieces of text, without context beyond them: every token, and the
piece's length (the diffusion model by -log p(length) under its training counts, the autoregressive one by its
end token).
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from typing import Any

from textdiff.cli import run


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Command line of the script."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--model", help="diffusion model (default: the bundled one)")
    add("--rival", required=True, help="folder of the autoregressive model, same tokenizer")
    add("--source", nargs="+", required=True, metavar="NAME=FILE", help="held-out texts")
    add("--held-out", nargs="*", default=[], metavar="NAME=FILE", help="of these, what training held out")
    add("--limit", type=int, default=1000, help="pieces of each source at most (default: 1000)")
    add("--levels", type=int, default=8, help="noise levels a piece (default: 8)")
    add("--seed", type=int, default=0, help="of pieces and noise")
    add("--json", help="file for the figures")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Print one row a source."""
    args = parse_args(argv)
    from tqdm import tqdm

    from textdiff import DiffusionLM, __version__
    from textdiff.metrics.judge import Judge
    from textdiff.text.evaluation import cut_texts, source_texts
    from textdiff.text.reports import birth_certificate, check_target, listing, table, write_json
    from textdiff.text.scoring import bound

    check_target(args.json)
    model = DiffusionLM.from_pretrained(args.model)
    rival = Judge.from_pretrained(args.rival).model
    sources = [(s.partition("="), False) for s in args.source] + [(s.partition("="), True) for s in args.held_out]
    rows: list[dict[str, Any]] = []
    for (name, _, file), held_out_only in tqdm(sources, desc="sources", unit="source"):
        texts = source_texts(file, held_out_only=held_out_only)
        cut = cut_texts(texts, model.vocabulary, model.window, seed=args.seed)[: args.limit]
        scored = [(model.vocabulary.encode(text)[: model.window], len(text.encode("utf-8"))) for text, _ in cut]
        found = bound(
            model.denoiser, model.scheduler, scored,
            length_counts=model.length_counts, levels=args.levels, seed=args.seed,
        )  # fmt: skip
        rows.append(row(name, found, sum(rival_nats(rival, [ids for ids, _ in scored])) / found.tokens))
    certificate = birth_certificate(
        version=__version__, model=args.model or "english (bundled)", rival=args.rival, sources=args.source,
        held_out=args.held_out, pieces=args.limit, levels=args.levels, seed=args.seed,
        passes="2 (self-conditioned)",
    )  # fmt: skip
    sys.stdout.write(f"{table(rows)}\n\n{listing(certificate)}\n")
    if args.json:
        write_json({"certificate": certificate, "rows": rows}, args.json)


def rival_nats(rival: Any, texts: Sequence[list[int]]) -> list[float]:
    """Exact -log p of `tokens </s>` after `<s>` for every text, in nats."""
    import torch

    out = [0.0] * len(texts)
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    for at in range(0, len(order), 64):
        chosen = order[at : at + 64]
        rows = [torch.tensor([1, *texts[i], 2]) for i in chosen]
        ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        real = torch.nn.utils.rnn.pad_sequence([torch.ones_like(r) for r in rows], batch_first=True)
        with torch.inference_mode():
            logits = rival(input_ids=ids, attention_mask=real).logits[:, :-1]
        nats = torch.nn.functional.cross_entropy(logits.transpose(1, 2).float(), ids[:, 1:], reduction="none")
        for i, value in zip(chosen, (nats * real[:, 1:]).sum(1).tolist(), strict=True):
            out[i] = value
    return out


def row(name: str, found: Any, exact: float) -> dict[str, Any]:
    """One line of the table: nats per token, bits per byte, and the ratio of perplexities."""
    total = found.nats_per_token + found.length_nats_per_token
    half = (found.nats_per_token_interval[1] - found.nats_per_token_interval[0]) / 2
    bits = found.tokens / found.bytes / math.log(2)
    return {
        "held-out text": name, "tokens": found.tokens,
        "bound, nats/token": total, "± (95 %)": half, "of it length": found.length_nats_per_token,
        "AR, nats/token": exact, "bound, bits/byte": total * bits, "AR, bits/byte": exact * bits,
        "perplexity bound": round(math.exp(total), 1), "AR perplexity": round(math.exp(exact), 1),
        "ratio": round(math.exp(total - exact), 2),
    }  # fmt: skip


if __name__ == "__main__":
    run(main)
