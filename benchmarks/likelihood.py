#!/usr/bin/env python3
"""Likelihood on held-out text: the diffusion bound beside an autoregressive model's exact likelihood.

    python benchmarks/likelihood.py --model textdiff/weights/english --rival runs/english-gpt2 \
        --source tatoeba=../shared/data/tatoeba/deu-eng.test.tsv.gz --json likelihood.json

Both pay for the same events on the same pieces of text, without context beyond them: every token, and the piece's length
(the diffusion model by -log p(length) under its training counts, the autoregressive one by its end token).
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from textdiff.cli import run


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Command line of the script."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="diffusion model (default: the bundled one)")
    parser.add_argument("--rival", required=True, help="folder of the autoregressive model, same tokenizer")
    parser.add_argument("--source", nargs="+", required=True, metavar="NAME=FILE", help="held-out texts")
    parser.add_argument("--held-out", action="store_true", help="keep only the texts that training held out (1 in 100)")
    parser.add_argument("--limit", type=int, default=1000, help="pieces of each source at most (default: 1000)")
    parser.add_argument("--levels", type=int, default=8, help="noise levels a piece (default: 8)")
    parser.add_argument("--seed", type=int, default=0, help="of pieces and noise")
    parser.add_argument("--json", help="file for the figures")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Print one row a source."""
    args = parse_args(argv)
    from tqdm import tqdm
    from transformers import AutoModelForCausalLM

    from textdiff import DiffusionLM
    from textdiff.text.card import markdown_table
    from textdiff.text.data import pieces
    from textdiff.text.scoring import bound

    model = DiffusionLM.from_pretrained(args.model)
    rival = AutoModelForCausalLM.from_pretrained(args.rival, use_safetensors=True).float().eval()
    rows: list[dict[str, Any]] = []
    for item in tqdm(args.source, desc="sources", unit="source"):
        name, _, file = item.partition("=")
        cut = pieces(source_texts(file, held_out_only=args.held_out), model.tokenizer, model.window, seed=args.seed)
        chosen = evenly(cut, args.limit)
        texts = [(piece.tolist(), len(model.tokenizer.decode(piece.tolist()).encode("utf-8"))) for piece in chosen]
        found = bound(
            model.denoiser, model.scheduler, texts,
            length_counts=model.length_counts, levels=args.levels, seed=args.seed,
        )  # fmt: skip
        exact = sum(rival_nats(rival, [ids for ids, _ in texts])) / found.tokens
        rows.append(row(name, found, exact))
    print(markdown_table(rows))
    if args.json:
        Path(args.json).write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def source_texts(file: str, *, held_out_only: bool) -> list[str]:
    """Texts of a file; of a .tsv.gz, the distinct sentences of its first column."""
    from textdiff.text.data import held_out, read_texts

    texts = read_texts(file)
    if ".tsv" in file:
        texts = list(dict.fromkeys(line.split("\t")[0] for line in texts))
    return [text for text in texts if held_out(text)] if held_out_only else texts


def evenly(items: Sequence[Any], limit: int) -> list[Any]:
    """At most `limit` items, evenly spread."""
    step = max(1, math.ceil(len(items) / limit))
    return list(items[::step])


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
    """One line of the table."""
    total = found.nats_per_token + found.length_nats_per_token
    half = (found.nats_per_token_interval[1] - found.nats_per_token_interval[0]) / 2
    bits = found.tokens / found.bytes / math.log(2)
    return {
        "held-out text": name, "tokens": found.tokens,
        "bound, nats/token": round(total, 3), "±95 %": round(half, 3), "of it length": round(found.length_nats_per_token, 3),
        "AR, nats/token": round(exact, 3), "bound, bits/byte": round(total * bits, 3), "AR, bits/byte": round(exact * bits, 3),
        "perplexity bound": round(math.exp(total), 1), "AR perplexity": round(math.exp(exact), 1),
        "ratio": round(math.exp(total - exact), 2),
    }  # fmt: skip


if __name__ == "__main__":
    run(main)
