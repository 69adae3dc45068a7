"""Timing in turns, and its arithmetic: seconds, operations of matrix products, ratios and growth."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from time import perf_counter
from typing import Any

Call = Callable[[], Any]


def take_turns(calls: Sequence[Call], repeats: int) -> tuple[list[list[float]], list[list[float]]]:
    """Every call once in every turn: wall and CPU seconds (child processes' too), a list for each call."""
    wall: list[list[float]] = [[] for _ in calls]
    cpu: list[list[float]] = [[] for _ in calls]
    for _ in range(repeats):
        for i, call in enumerate(calls):
            started, before = perf_counter(), sum(os.times()[:4])
            call()
            wall[i].append(perf_counter() - started)
            cpu[i].append(sum(os.times()[:4]) - before)
    return wall, cpu


def flops(call: Call) -> int:
    """Floating-point operations of the matrix products in a call."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops()


def beside(
    labels: Mapping[str, Any], tokens: int, rate: float, work: Sequence[float], seconds: Sequence[list[float]]
) -> dict[str, Any]:
    """A row of a table, ours beside GPT-2's.

    Args:
        labels: its first columns.
        tokens: of one call.
        rate: of the machine's matrix products, operations per second.
        work: operations of a call of ours, of GPT-2's.
        seconds: of every turn, ours and GPT-2's.
    """
    ours, theirs = (median(each) for each in seconds)
    ratios = [b / a for a, b in zip(*seconds, strict=True)]
    return {
        **labels, "tokens_per_second": tokens / ours, "gpt2_tokens_per_second": tokens / theirs,
        "ratio": median(ratios), "ratio_min": min(ratios), "ratio_max": max(ratios),
        "of_matrix_rate": work[0] / ours / rate, "gpt2_of_matrix_rate": work[1] / theirs / rate,
        "gflops": work[0] / 1e9, "gpt2_gflops": work[1] / 1e9,
        "seconds": seconds[0], "gpt2_seconds": seconds[1],
    }  # fmt: skip


def growth(rows: Sequence[Mapping[str, Any]], axis: str, fixed: str, value: int) -> list[dict[str, Any]]:
    """How seconds grow along one axis of the generation table, the other fixed, as multiples of the first.

    Args:
        rows: of `beside`, labelled with dtype, batch and length.
        axis: "length" or "batch".
        fixed: the other one.
        value: of the other one.
    """
    found: list[dict[str, Any]] = []
    for dtype in dict.fromkeys(row["dtype"] for row in rows):
        line = [row for row in rows if row["dtype"] == dtype and row[fixed] == value]
        first = min(line, key=lambda row: row[axis])
        for row in sorted(line, key=lambda row: row[axis]):
            ours, theirs = median(row["seconds"]), median(row["gpt2_seconds"])
            found.append({
                "dtype": dtype, axis: row[axis], "grew": row[axis] / first[axis],
                "ours_s": ours, "ours_grew": ours / median(first["seconds"]),
                "gpt2_s": theirs, "gpt2_grew": theirs / median(first["gpt2_seconds"]),
            })  # fmt: skip
    return found
