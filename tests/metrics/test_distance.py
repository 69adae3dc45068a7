"""MMD against its definition, and on sets that are alike or not."""

import math
from itertools import permutations

import numpy as np
import pytest

from textdiff.metrics.distance import mmd, trigrams


def kernel(one: str, other: str) -> float:
    a, b = trigrams(one), trigrams(other)
    norm = math.sqrt(sum(v * v for v in a.values()) * sum(v * v for v in b.values()))
    return math.exp(sum(a[g] * b[g] for g in a) / norm - 1)


def test_the_definition() -> None:
    x, y = ["the cat sat", "a dog", "the dog ran"], ["my cat", "the cat sat on it"]
    within = [np.mean([kernel(a, b) for a, b in permutations(part, 2)]) for part in (x, y)]
    between = np.mean([kernel(a, b) for a in x for b in y])
    assert mmd(x, y) == pytest.approx(sum(within) - 2 * between, abs=1e-6)
    assert mmd(x, y) == pytest.approx(mmd(y, x), abs=1e-6)


def test_it_tells_sets_that_differ_from_sets_that_do_not() -> None:
    rng = np.random.default_rng(0)

    def draw(words: list[str], count: int) -> list[str]:
        return [" ".join(rng.choice(words, 6)) for _ in range(count)]

    animals, tools = ["cat", "dog", "bird", "mouse", "fox"], ["saw", "nail", "drill", "plane", "glue"]
    alike = [mmd(draw(animals, 60), draw(animals, 60)) for _ in range(20)]
    assert abs(np.mean(alike)) < 3 * np.std(alike) / 20**0.5  # unbiased: as often below 0 as above
    assert mmd(draw(animals, 60), draw(tools, 60)) > 20 * np.std(alike)
    assert mmd(draw(animals, 60), ["cat cat cat cat cat cat"] * 60) > 20 * np.std(alike)  # collapse is seen


@pytest.mark.parametrize(("one", "other"), [(["a"], ["b", "c"]), (["a", "b"], "text"), ([], ["b", "c"])])
def test_what_is_refused(one, other) -> None:
    with pytest.raises(ValueError, match="at least 2 texts"):
        mmd(one, other)
