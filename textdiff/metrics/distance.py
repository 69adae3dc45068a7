"""How far apart two sets of texts are: maximum mean discrepancy over character trigrams.

MMD^2 = E k(x, x') + E k(y, y') - 2 E k(x, y) (Gretton et al. 2012, JMLR 13, eq. 3, the unbiased estimate): 0 in mean
where both sets come from one distribution. Each text is its counts of character trigrams at unit length, and
k(x, y) = exp(cos(x, y) - 1), so it sees spelling, words and punctuation, not sense.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np


def trigrams(text: str) -> Counter[str]:
    """Counts of a text's character trigrams, with a space at both ends."""
    padded = f"  {text.strip()}  "
    return Counter(padded[i : i + 3] for i in range(len(padded) - 2))


def mmd(texts: Sequence[str], references: Sequence[str]) -> float:
    """Unbiased MMD^2 of two sets of texts; it may fall slightly below 0 where they are alike.

    Raises:
        ValueError: if a set has fewer than 2 texts, or is one string.
    """
    for name, those in (("The set of texts", texts), ("The set of references", references)):
        if isinstance(those, str) or len(those) < 2:
            raise ValueError(f"{name} is {those[:1]!r}...: MMD wants a list of at least 2 texts on both sides.")
    rows = _unit_rows([*texts, *references])
    kernel = np.exp(rows @ rows.T - 1.0)
    n = len(texts)
    own = [_mean_off_diagonal(part) for part in (kernel[:n, :n], kernel[n:, n:])]
    return float(sum(own) - 2 * kernel[:n, n:].mean())


def _unit_rows(texts: Sequence[str]) -> np.ndarray:
    """Trigram counts of every text at unit length, [N, trigrams]."""
    counts = [trigrams(text) for text in texts]
    column = {gram: i for i, gram in enumerate(dict.fromkeys(gram for count in counts for gram in count))}
    rows = np.zeros((len(texts), len(column)), dtype=np.float32)
    for row, count in zip(rows, counts, strict=True):
        row[[column[gram] for gram in count]] = list(count.values())
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _mean_off_diagonal(kernel: np.ndarray) -> float:
    """Mean over pairs of different texts."""
    n = len(kernel)
    return float((kernel.sum() - np.trace(kernel)) / (n * (n - 1)))
