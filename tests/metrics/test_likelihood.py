"""Corpus perplexity by hand."""

import math

import pytest

from textdiff.metrics.likelihood import likelihood


def test_perplexity_is_of_the_totals_not_the_mean_of_each():
    sums = likelihood(["abcd", "", "\u00e9"], [(6 * math.log(2), 2), (0.0, 0), (0.0, 1)])
    assert (sums.tokens, sums.bytes) == (3, 6)
    assert sums.nats_per_token == pytest.approx(2 * math.log(2))
    assert sums.perplexity == pytest.approx(4)       # the mean of the texts' own would be (8 + 1) / 2
    assert sums.bits_per_byte == pytest.approx(1) and sums.perplexity_per_byte == pytest.approx(2)


def test_nothing_to_judge_is_refused():
    with pytest.raises(ValueError, match="no texts"):
        likelihood([], [])
    with pytest.raises(ValueError, match="without a token"):
        likelihood(["a"], [(0.0, 0)])


def test_bytes_of_a_text_that_was_not_charged_do_not_count():
    assert likelihood(["a", "bc"], [(0.0, 0), (1.0, 1)]).bytes == 2
