"""How long a target is, given how long its source is: counts in the training pairs.

Where too few pairs have a source of that length, those of neighbouring lengths count too, their targets
stretched by the ratio of the sources' lengths.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

ENOUGH = 64  # pairs that a distribution over lengths rests on, where there are so many


def count_lengths(lengths: Iterable[tuple[int, int]]) -> list[list[int]]:
    """A table whose row n says how many sources of n tokens have targets of 0, 1, 2, ... tokens.

    Args:
        lengths: (of the source, of the target) in tokens, of every pair.
    """
    table: list[list[int]] = []
    for source, target in lengths:
        table += [[] for _ in range(source + 1 - len(table))]
        row = table[source]
        row += [0] * (target + 1 - len(row))
        row[target] += 1
    return table


class TargetLengths:
    """The distribution of a target's length given its source's.

    Args:
        counts: from `count_lengths`.

    Raises:
        ValueError: if the table holds no pair, or something else than counts.
    """

    def __init__(self, counts: Sequence[Sequence[int]]) -> None:
        lists = isinstance(counts, list) and all(isinstance(row, list) for row in counts)
        if not lists or not all(type(n) is int and n >= 0 for row in counts for n in row):
            raise ValueError("The table of target lengths is damaged: copy the model's config.json again.")
        self.counts = [np.asarray(row, dtype=np.float64) for row in counts]
        if not any(row.sum() > 0 for row in self.counts):
            raise ValueError("The table of target lengths is empty: train the model on pairs.")

    def chances(self, source: int, low: int, high: int) -> tuple[np.ndarray, np.ndarray]:
        """Target lengths `low` to `high` and their chances, for a source of so many tokens, at least 1.

        All have the same chance where no pair has any of them.
        """
        found = np.zeros(high + 1 - low)
        for width in range(max(source, len(self.counts)) + 1):
            for near in {source - width, source + width}:
                if 1 <= near < len(self.counts):
                    self._add(found, low, near, source)
            if found.sum() >= ENOUGH:
                break
        if not found.sum() > 0:
            found[:] = 1.0
        return np.arange(low, high + 1), found / found.sum()

    def _add(self, found: np.ndarray, low: int, near: int, source: int) -> None:
        """Count the targets of sources of `near` tokens, stretched as if these had `source`."""
        targets = np.flatnonzero(self.counts[near])
        stretched = np.maximum(np.rint(targets * (source / near)).astype(int), 1) - low
        fits = (stretched >= 0) & (stretched < len(found))
        np.add.at(found, stretched[fits], self.counts[near][targets[fits]])

    def likeliest(self, source: int, low: int, high: int, count: int) -> list[int]:
        """The `count` likeliest lengths, best first, the shorter of equals; fewer if fewer occur."""
        sizes, chances = self.chances(source, low, high)
        order = np.argsort(-chances, kind="stable")[:count]
        return [int(sizes[i]) for i in order if chances[i] > 0]

    def spread(self, source: int, low: int, high: int, starts: Sequence[float]) -> list[int]:
        """The lengths at which the cumulative chance passes each of `starts`, numbers in [0, 1)."""
        sizes, chances = self.chances(source, low, high)
        places = np.searchsorted(np.cumsum(chances), starts, side="right")
        return [int(sizes[min(place, len(sizes) - 1)]) for place in places]
