"""Judge perplexity at the entropy of real text: what a sampler's perplexity is worth once dullness is paid for.

A sweep of score temperatures gives each sampler and step count several points (entropy, judge perplexity); their line
in log perplexity is read at real text's entropy. Where the sweep does not reach that entropy there is no figure: a line
is not drawn beyond its points.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

ENTROPY = "entropy_pooled"


def perplexity_at(entropy: float, points: Sequence[tuple[float, float]]) -> float | None:
    """Judge perplexity at an entropy (nats), read between points (entropy, perplexity); None beyond them."""
    if len(points) < 2:
        return None
    entropies, perplexities = np.array(sorted(points)).T
    if not entropies[0] <= entropy <= entropies[-1]:
        return None
    return float(np.exp(np.interp(entropy, entropies, np.log(perplexities))))


def at_data_entropy(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float | None]]:
    """For every sampler and step count of a sweep, judge perplexity at real text's entropy over the judge's own.

    Args:
        rows: of benchmarks/samples.py: the first is real text, the second the autoregressive judge's own.

    Returns:
        sampler -> steps (as a string) -> ratio, None where the sweep does not reach the entropy.
    """
    real, own = rows[0], rows[1]
    points: dict[tuple[str, int], list[tuple[float, float]]] = {}
    for row in rows[2:]:
        if "steps" in row:
            points.setdefault((row["texts"], row["steps"]), []).append((row[ENTROPY], row["judge_perplexity"]))
    found: dict[str, dict[str, float | None]] = {}
    for (sampler, steps), these in points.items():
        perplexity = perplexity_at(real[ENTROPY], these)
        ratio = None if perplexity is None else perplexity / own["judge_perplexity"]
        found.setdefault(sampler, {})[str(steps)] = ratio
    return found


def best_at_data_entropy(ratios: Mapping[str, Mapping[str, float | None]]) -> dict[str, float | None]:
    """For every step count the lowest ratio of all samplers, masked diffusion apart."""
    ours = [own for sampler, own in ratios.items() if not sampler.startswith("mdlm")]
    best: dict[str, float | None] = {}
    for n in dict.fromkeys(n for own in ours for n in own):
        known = [r for own in ours if (r := own.get(n)) is not None]
        best[n] = min(known) if known else None
    return best
