#!/usr/bin/env python3
r"""Speed beside a GPT-2 (transformers) of the same size, all in one run.

    python benchmarks/speed.py
    python benchmarks/speed.py --model runs/english --threads 1 --repeats 9 --json speed.json

Ours and GPT-2 take turns; a ratio is GPT-2's seconds / ours of the same turn (above 1 we are faster), its
median over the turns with min and max. Generation is strings out on both sides, decoding included, at equal
batch and length: ours calls the denoiser steps + 1 times, GPT-2 samples with its cache, without top-k and
without an end token. A training step is forward, backward and AdamW over equally many packed positions, with
GPT-2's attention written out (eager). bfloat16 is autocast in training, and cast weights in generation. The
share of the matrix rate counts the matrix products that were executed (ours with the first estimates for
self-conditioning) against one large product measured in the same run.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from itertools import cycle
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from speed_turns import Call, beside, flops, growth, take_turns

from textdiff.cli import run

if TYPE_CHECKING:
    from textdiff.text.language_model import DiffusionLM

ROOT = Path(__file__).resolve().parents[1]
DTYPES = ("float32", "bfloat16")
RESULTS = ROOT / "benchmarks" / "results" / "speed.json"
START = 1  # token id that GPT-2 begins with
TEXT = "The little dog ran into the [MASK] and found [MASK]."
COUNTS = ("lengths", "batches", "length", "batch", "steps", "rows", "matrix_size", "repeats", "threads")


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Command line of the script."""
    shape = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=shape)
    add = parser.add_argument
    add("--model", help="diffusion model (default: the bundled one)")
    add("--lengths", type=int, nargs="+", default=[16, 32, 64], help="tokens of a text (default: 16 32 64)")
    add("--batches", type=int, nargs="+", default=[1, 8, 32, 128], help="texts at once (default: 1 8 32 128)")
    add("--length", type=int, default=32, help="where the batch grows (default: 32)")
    add("--batch", type=int, default=32, help="where the length grows (default: 32)")
    add("--steps", type=int, default=16, help="denoising steps of generation (default: 16)")
    add("--dtypes", nargs="+", default=[*DTYPES], choices=DTYPES, help="default: both")
    add("--rows", type=int, default=32, help="packed rows of a training step (default: 32)")
    add("--row-length", type=int, default=128, help="tokens of a packed row (default: 128)")
    add("--text", default=TEXT, help="what is infilled, with the defaults of scripts/infill.py")
    add("--matrix-size", type=int, default=2048, help="side of the large product (default: 2048)")
    add("--repeats", type=int, default=5, help="turns of every pair (default: 5)")
    add("--threads", type=int, help="threads of torch (default: its own choice)")
    add("--json", help="file for all figures (default: benchmarks/results/speed.json)")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Print a table for each question."""
    args = parse_args(argv)
    import torch

    from textdiff import DiffusionLM, __version__
    from textdiff.reports import birth_certificate, check_target, listing, table, write_json

    check_target(args.json)
    model = DiffusionLM.from_pretrained(args.model)
    check(args, model)
    if args.threads is not None:
        torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    shape = rival_shape(model)
    certificate = birth_certificate(
        version=__version__, model=args.model or "english (bundled)", parameters=size(model.denoiser),
        gpt2_parameters=size(rival(shape)), gpt2=[f"{k} {v}" for k, v in shape.items()],
        ratio="GPT-2's seconds / ours", repeats=args.repeats, infilled=args.text, steps=args.steps,
        nfe=args.steps + 1, decoding="included", training_rows=args.rows, row_length=args.row_length,
    )  # fmt: skip
    tables = {"infilling": infilling(args, model), "matrix_rate": matrix_rates(args)}
    rates = {row["dtype"]: 1e9 * row["gflops_per_second"] for row in tables["matrix_rate"]}
    tables |= {"training": [], "generation": []}
    for dtype, rate in rates.items():
        tables["training"] += training(args, model, shape, dtype, rate)
        tables["generation"] += generation(args, shape, dtype, rate)
    tables["growth_with_length"] = growth(tables["generation"], "length", "batch", args.batch)
    tables["growth_with_batch"] = growth(tables["generation"], "batch", "length", args.length)
    for name, rows in tables.items():
        shown = [{k: v for k, v in row.items() if not isinstance(v, list)} for row in rows]
        sys.stdout.write(f"\n{name.replace('_', ' ')}\n\n{table(shown)}\n")
    sys.stdout.write(f"\n{listing(certificate)}\n")
    if args.json is None:
        RESULTS.parent.mkdir(exist_ok=True)
    write_json({"certificate": certificate, **tables}, args.json or RESULTS)


def check(args: argparse.Namespace, model: DiffusionLM) -> None:
    """Refuse numbers that cannot be, and what the model has no room for."""
    for name in COUNTS:
        given = getattr(args, name)
        for value in given if isinstance(given, list) else [given]:
            if value is not None and value < 1:
                raise ValueError(f"--{name.replace('_', '-')} is {value}: it must be at least 1.")
    longest = max(*args.lengths, args.length)
    if longest > model.window:
        raise ValueError(f"A length of {longest} is beyond the window, {model.window} tokens: ask for less.")
    if args.row_length < model.window + 2:
        raise ValueError(f"--row-length is {args.row_length}: the longest piece needs {model.window + 2}.")


def size(module: Any) -> int:
    """Number of a module's parameters, tied ones once."""
    return sum(parameter.numel() for parameter in module.parameters())


def rival_shape(model: DiffusionLM) -> dict[str, int]:
    """`GPT2Config` fields of a GPT-2 of the denoiser's width, heads and tokenizer, its parameters within 5 %.

    It has as many blocks as come closest, 4 times as wide inside, or as is needed where 4 times misses.

    Raises:
        ValueError: if even one block without an inside is larger than the denoiser.
    """
    config, parameters = model.denoiser.config, size(model.denoiser)
    width, positions = config.hidden_size, model.window + 2
    block = 12 * width**2 + 13 * width
    room = parameters - (config.vocab_size + positions + 2) * width  # beside embeddings and the last norm
    layers = max(1, round(room / block))
    inner = 4 * width
    if abs(room - layers * block) > 0.05 * parameters:
        inner = round((room / layers - 4 * width**2 - 9 * width) / (2 * width + 1))
    if inner < 1:
        raise ValueError(f"No GPT-2 of width {width} has only {parameters} parameters: give a deeper model.")
    return {
        "vocab_size": config.vocab_size, "n_positions": positions, "n_embd": width, "n_layer": layers,
        "n_head": config.num_attention_heads, "n_inner": inner,
    }  # fmt: skip


def rival(shape: Mapping[str, int], attention: str = "sdpa") -> Any:
    """A GPT-2 with random weights, no dropout and no end token; `attention` as transformers names it."""
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        **shape, bos_token_id=START, eos_token_id=None, pad_token_id=None,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
    )  # fmt: skip
    return GPT2LMHeadModel._from_config(config, attn_implementation=attention)


def matrix_rates(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Operations per second of one large square product, for every dtype."""
    import torch

    square = torch.randn(args.matrix_size, args.matrix_size)
    factors = [square.to(getattr(torch, dtype)) for dtype in args.dtypes]
    seconds, _ = take_turns([partial(torch.mm, x, x) for x in factors], args.repeats + 1)
    work = 2 * args.matrix_size**3 / 1e9
    return [
        {"dtype": dtype, "gflops": work, "gflops_per_second": work / median(took[1:]), "seconds": took[1:]}
        for dtype, took in zip(args.dtypes, seconds, strict=True)
    ]


def infilling(args: argparse.Namespace, model: DiffusionLM) -> list[dict[str, Any]]:
    """Wall and CPU seconds of one infill, in a fresh process and as a further call of this one."""
    command = [sys.executable, str(ROOT / "scripts" / "infill.py"), f"--text={args.text}"]
    command += [f"--model={args.model}"] if args.model else []
    threads = {} if args.threads is None else {"OMP_NUM_THREADS": str(args.threads)}

    def cold() -> None:
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **threads})
        if done.returncode:
            raise ValueError(f"scripts/infill.py failed: {done.stderr.strip().removeprefix('error: ')}")

    warm = partial(model.infill, args.text, seed=0)
    warm()
    turns = take_turns([cold, warm], args.repeats)
    return [
        {"infill": name, "wall_s": median(w), "wall_min": min(w), "wall_max": max(w), "cpu_s": median(c),
         "seconds": w, "cpu_seconds": c}
        for name, w, c in zip(("fresh process", "second call"), *turns, strict=True)
    ]  # fmt: skip


def training(
    args: argparse.Namespace, model: DiffusionLM, shape: Mapping[str, int], dtype: str, rate: float
) -> list[dict[str, Any]]:
    """Rows for forward, backward, AdamW and the whole step, on random tokens; pieces as long as in training.

    Operations are a mean over the batches: how many rows get a first estimate is random.
    """
    import numpy as np
    import torch

    from textdiff.text.causal_rows import CausalRows
    from textdiff.text.data import PackedRows
    from textdiff.text.loading import find_model
    from textdiff.text.model import DiffusionLMModel
    from textdiff.text.plans import length_chances

    rng, total = np.random.default_rng(0), args.repeats * args.rows
    sizes, chances = length_chances(model.length_counts, 1, model.window)
    count = 2 * total * args.row_length // int(sizes @ chances + 1)
    pieces = [rng.integers(3, shape["vocab_size"], n) for n in rng.choice(sizes, size=count, p=chances)]
    trained = DiffusionLMModel.from_pretrained(find_model(args.model), dtype=torch.float32)
    calls = phases(trained, PackedRows(pieces, args.row_length, total=total), args.rows, dtype)
    packed = CausalRows(pieces, args.row_length, total=total)
    calls += phases(rival(shape, "eager"), packed, args.rows, dtype)
    counted = [[flops(call) for call in calls] for _ in range(args.repeats)]
    work = [sum(batches) / args.repeats for batches in zip(*counted, strict=True)]
    seconds, _ = take_turns(calls, args.repeats)
    parts = [([work[i], work[i + 3]], [seconds[i], seconds[i + 3]]) for i in range(3)]
    whole = [[sum(turn) for turn in zip(*side, strict=True)] for side in (seconds[:3], seconds[3:])]
    parts.append(([sum(work[:3]), sum(work[3:])], whole))
    return [
        beside({"dtype": dtype, "part": name}, args.rows * args.row_length, rate, *part)
        for name, part in zip(("forward", "backward", "AdamW", "step"), parts, strict=True)
    ]


def phases(model: Any, rows: Any, batch_size: int, dtype: str) -> list[Call]:
    """Forward, backward and AdamW of a model's training step, to be called in this order, over and over."""
    import torch
    from torch.utils.data import DataLoader

    batches = cycle(list(DataLoader(rows, batch_size)))
    optimizer, losses = torch.optim.AdamW(model.train().parameters(), lr=1e-4), []

    def forward() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bfloat16"):
            losses.append(model(**next(batches)).loss)

    def backward() -> None:
        losses.pop().backward()

    def update() -> None:
        optimizer.step()
        optimizer.zero_grad()

    return [forward, backward, update]


def generation(
    args: argparse.Namespace, shape: Mapping[str, int], dtype: str, rate: float
) -> Iterator[dict[str, Any]]:
    """A row for every batch and length that is asked for."""
    import torch
    from tqdm import tqdm

    from textdiff import DiffusionLM

    model, gpt2 = DiffusionLM.from_pretrained(args.model), rival(shape).eval().to(getattr(torch, dtype))
    model.denoiser.to(getattr(torch, dtype))

    def ours(batch: int, length: int) -> list[str]:
        return model.generate(batch, length=length, num_inference_steps=args.steps, seed=0)

    def theirs(batch: int, length: int) -> list[str]:
        start = torch.full((batch, 1), START)
        ids = gpt2.generate(
            start, attention_mask=torch.ones_like(start), do_sample=True, top_k=0, use_cache=True,
            min_new_tokens=length, max_new_tokens=length,
        )  # fmt: skip
        return model.tokenizer.decode_batch(ids[:, 1:].tolist(), skip_special_tokens=False)

    cells = dict.fromkeys([(args.batch, n) for n in args.lengths] + [(n, args.length) for n in args.batches])
    for cell in tqdm(cells, desc=f"generation, {dtype}", unit="cell", file=sys.stderr):
        calls = [partial(ours, *cell), partial(theirs, *cell)]
        work = [flops(call) for call in calls]
        seconds, _ = take_turns(calls, args.repeats)
        labels = {"dtype": dtype, "batch": cell[0], "length": cell[1]}
        yield beside(labels, cell[0] * cell[1], rate, work, seconds)


if __name__ == "__main__":
    run(main)
