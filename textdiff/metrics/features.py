"""How far apart two sets of pictures are, in the features of a network that the caller names.

A distance means something only beside the same distance between two sets of real pictures of the same size, and only
for one and the same network; it is not the FID of the Inception network and is never called that here.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def frechet_distance(features: Any, references: Any) -> float:
    """|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)) of Gaussians fitted to two sets (Dowson & Landau 1982, eq. 16).

    The square root is taken from the eigenvalues of C1^(1/2) C2 C1^(1/2), which are real. Small sets score too
    high, the more so below D rows: compare only figures of equally many.

    Args:
        features: [N, D].
        references: [M, D].
    """
    a, b = _checked(features, references, least=2)
    one, other = (np.atleast_2d(np.cov(part, rowvar=False)) for part in (a, b))
    roots, vectors = np.linalg.eigh(one)
    half = (vectors * np.sqrt(np.clip(roots, 0.0, None))) @ vectors.T
    mixed = np.linalg.eigvalsh(half @ other @ half)
    shift = float(((a.mean(0) - b.mean(0)) ** 2).sum())
    return shift + float(roots.sum() + np.trace(other) - 2.0 * np.sqrt(np.clip(mixed, 0.0, None)).sum())


def kernel_distance(features: Any, references: Any) -> float:
    """Unbiased squared MMD with the kernel (x y / D + 1)^3 (arXiv 1801.01401, section 4), features scaled together.

    Both sets are divided by the root mean square length per coordinate of the references. It may fall below 0.
    """
    a, b = _checked(features, references, least=2)
    scale = np.sqrt((b**2).mean()) or 1.0
    a, b = a / scale, b / scale
    own = [_mean_off_diagonal(_cubic(part, part)) for part in (a, b)]
    return float(sum(own) - 2.0 * _cubic(a, b).mean())


def density_coverage(features: Any, references: Any, neighbours: int = 5) -> tuple[float, float]:
    """Density and coverage (Naeem et al., arXiv 2002.09797, eqs. 7-8): near 1 and 1 - 2^-k where the sets are alike
    and equally large: coverage falls where there are more references than pictures.

    Density counts in how many balls around references a picture lies, coverage which references have a picture in
    theirs; a ball reaches to a reference's k-th neighbour. Noise scores near 0 in both.

    Args:
        features: [N, D].
        references: [M, D], M > neighbours.
        neighbours: k.
    """
    a, b = _checked(features, references, least=neighbours + 1)
    radius = np.sort(_distances(b, b), axis=1)[:, neighbours]
    inside = _distances(b, a) < radius[:, None]
    return float(inside.sum(0).mean() / neighbours), float(inside.any(1).mean())


def _checked(features: Any, references: Any, least: int) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.asarray(features, dtype=np.float64), np.asarray(references, dtype=np.float64)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or len(a) < 2 or len(b) < least:
        raise ValueError(
            f"Features have the shapes {list(a.shape)} and {list(b.shape)}: give rows of one length, "
            f"at least 2 and {least} of them."
        )
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("Some features are not finite: look at the pictures or the network they come from.")
    return a, b


def _cubic(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a @ b.T / a.shape[1] + 1.0) ** 3


def _mean_off_diagonal(kernel: np.ndarray) -> float:
    n = len(kernel)
    return float((kernel.sum() - np.trace(kernel)) / (n * (n - 1)))


def _distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Euclidean, [N, M]."""
    square = (a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2.0 * a @ b.T
    return np.sqrt(np.clip(square, 0.0, None))
