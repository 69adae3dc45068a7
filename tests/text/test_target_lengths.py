"""Lengths of targets: exact where there are pairs enough, stretched from neighbours where there are not."""

import numpy as np
import pytest

from textdiff.text.target_lengths import ENOUGH, TargetLengths, count_lengths


def test_the_table_counts_every_pair() -> None:
    table = count_lengths([(2, 3), (2, 3), (2, 1), (4, 2)])
    assert table == [[], [], [0, 1, 0, 2], [], [0, 0, 1]]


@pytest.fixture
def corpus() -> TargetLengths:
    """Sources of 4 tokens: targets of 3, 5 and 6 as 1 : 2 : 1; a single pair of 10 and 20 tokens."""
    return TargetLengths(count_lengths([(4, 3), (4, 5), (4, 6), (4, 5)] * (ENOUGH // 4) + [(10, 20)]))


def test_chances_are_the_shares_where_pairs_are_enough(corpus: TargetLengths) -> None:
    sizes, chances = corpus.chances(4, 1, 8)
    np.testing.assert_array_equal(sizes, np.arange(1, 9))
    np.testing.assert_allclose(chances, [0, 0, 0.25, 0, 0.5, 0.25, 0, 0])
    np.testing.assert_allclose(corpus.chances(4, 5, 6)[1], [2 / 3, 1 / 3])


def test_neighbours_are_stretched(corpus: TargetLengths) -> None:
    _, chances = corpus.chances(8, 1, 30)
    expected = np.zeros(30)
    expected[[5, 9, 11]] = np.array([1, 2, 1]) * ENOUGH / 4
    expected[15] = 1  # 20 tokens for 10 are 16 for 8
    np.testing.assert_allclose(chances, expected / expected.sum())


def test_a_range_without_pairs_is_even(corpus: TargetLengths) -> None:
    np.testing.assert_allclose(corpus.chances(4, 7, 8)[1], [0, 1])  # of the pair of 10 and 20
    np.testing.assert_allclose(corpus.chances(4, 1, 2)[1], [0.5, 0.5])


def test_the_likeliest_come_first_and_none_without_a_chance(corpus: TargetLengths) -> None:
    assert corpus.likeliest(4, 1, 8, 1) == [5]
    assert corpus.likeliest(4, 1, 8, 2) == [5, 3]
    assert corpus.likeliest(4, 1, 8, 9) == [5, 3, 6]


def test_evenly_spread_numbers_take_lengths_by_their_shares(corpus: TargetLengths) -> None:
    drawn = corpus.spread(4, 1, 8, (np.arange(400) / 400).tolist())
    assert [drawn.count(n) for n in range(9)] == [0, 0, 0, 100, 0, 200, 100, 0, 0]
    assert corpus.spread(4, 1, 8, [1 - 1e-12]) == [6]


@pytest.mark.parametrize("counts", [[], [[], [0, 0]]])
def test_an_empty_table_is_refused(counts: list[list[int]]) -> None:
    with pytest.raises(ValueError, match="table of target lengths is empty"):
        TargetLengths(counts)


@pytest.mark.parametrize("counts", [5, "x", {"1": [2]}, [["a"]], [[], [-1, 2]], [[], [float("nan")]], [3]])
def test_a_damaged_table_is_refused(counts: object) -> None:
    with pytest.raises(ValueError, match="table of target lengths is damaged"):
        TargetLengths(counts)
