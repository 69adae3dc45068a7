"""Feature distances against closed forms and against what each is there to see."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import sqrtm

from textdiff.metrics.features import density_coverage, frechet_distance, kernel_distance


def rows(count: int = 400, dims: int = 6, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, dims))


def test_the_frechet_distance_of_a_shift_and_a_stretch() -> None:
    a = rows()
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(a + 2.0, a) == pytest.approx(4.0 * 6)
    assert frechet_distance(3.0 * (a - a.mean(0)), a - a.mean(0)) == pytest.approx(
        4.0 * np.trace(np.cov(a.T))
    )


def test_the_frechet_distance_is_the_textbooks_with_a_matrix_root() -> None:
    a, b = rows() @ rows(6, 6, 1), rows(300, seed=2) @ rows(6, 6, 3) + 0.3
    ca, cb = np.cov(a.T), np.cov(b.T)
    wanted = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(ca + cb - 2 * sqrtm(ca @ cb).real)
    assert frechet_distance(a, b) == pytest.approx(wanted)
    assert frechet_distance(b, a) == pytest.approx(wanted)


def test_dead_features_do_no_harm() -> None:
    a, b = rows(), rows(seed=1)
    dead = [np.hstack([part, np.zeros((400, 3))]) for part in (a, b)]
    assert frechet_distance(*dead) == pytest.approx(frechet_distance(a, b), abs=1e-6)


def test_one_feature_is_enough() -> None:
    a, b = rows(dims=1), 3.0 * rows(dims=1, seed=1) + 2.0
    wanted = (a.mean() - b.mean()) ** 2 + (a.std(ddof=1) - b.std(ddof=1)) ** 2
    assert frechet_distance(a, b) == pytest.approx(wanted)


def test_coverage_falls_where_there_are_more_references() -> None:
    few, many = rows(200, seed=1), rows(1000)
    expected = 1 - (1000 / 1200) ** 5  # that none of a reference's 5 nearest of all 1,200 is a picture
    assert density_coverage(few, many)[1] == pytest.approx(expected, abs=0.06)
    assert density_coverage(few, many)[0] == pytest.approx(1.0, abs=0.15)


def test_dead_references_are_a_number() -> None:
    assert np.isfinite(kernel_distance(rows(), 0.0 * rows()))


def test_the_kernel_distance_is_unbiased_and_sees_a_shift() -> None:
    same = [kernel_distance(rows(60, seed=2 * i), rows(60, seed=2 * i + 1)) for i in range(60)]
    assert min(same) < 0 < max(same)
    assert abs(np.mean(same)) < 3 * np.std(same) / np.sqrt(60)
    assert kernel_distance(rows() + 1.0, rows(seed=1)) > 10 * np.std(same)
    a, b = rows(50), rows(70, seed=1) + 0.5
    assert kernel_distance(7.0 * a, 7.0 * b) == pytest.approx(kernel_distance(a, b))


def test_density_and_coverage_see_noise_and_copies() -> None:
    reference = rows()
    density, coverage = density_coverage(rows(seed=1), reference)
    assert density == pytest.approx(1.0, abs=0.15) and coverage == pytest.approx(1 - 2**-5, abs=0.04)
    noise = density_coverage(50 * rows(seed=2), reference)
    assert noise[0] < 0.05 and noise[1] < 0.05
    copies = density_coverage(np.repeat(reference[:5], 80, axis=0), reference)
    assert copies[0] > 0.5 and copies[1] < 0.2


@pytest.mark.parametrize("score", [frechet_distance, kernel_distance, density_coverage])
@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (rows(1), rows(), "rows of one length"),
        (rows(dims=5), rows(), "rows of one length"),
        (rows()[0], rows(), "rows of one length"),
        (rows() * np.inf, rows(), "not finite"),
    ],
)
def test_what_cannot_be_compared(score, a, b, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        score(a, b)
