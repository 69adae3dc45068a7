"""Perplexity read at an entropy: between points only, straight in its logarithm."""

import math

import pytest


@pytest.fixture
def module(load):
    return load("entropy_matched")


def row(texts, entropy, perplexity, steps=None):
    figures = {"texts": texts, "entropy_pooled": entropy, "judge_perplexity": perplexity}
    return figures if steps is None else {**figures, "steps": steps}


def test_between_points_the_logarithm_is_straight(module):
    points = [(4.0, 10.0), (6.0, 1000.0)]
    assert module.perplexity_at(5.0, points) == pytest.approx(100.0)
    assert module.perplexity_at(4.5, points[::-1]) == pytest.approx(10 ** 1.5)
    assert module.perplexity_at(6.0, points) == pytest.approx(1000.0)


def test_beyond_the_points_there_is_no_figure(module):
    assert module.perplexity_at(6.1, [(4.0, 10.0), (6.0, 1000.0)]) is None
    assert module.perplexity_at(4.0, [(4.0, 10.0)]) is None


def test_ratios_by_sampler_and_the_best_of_them(module):
    rows = [
        row("real text", 5.0, 20.0), row("the judge's own", 5.2, 40.0),
        row("ddim", 4.0, 40.0, 8), row("ddim", 6.0, 40.0 * math.e**2, 8),
        row("churn", 4.0, 40.0, 8), row("churn", 6.0, 40.0, 8), row("churn", 4.0, 1.0, 16), row("churn", 4.5, 1.0, 16),
        row("mdlm", 4.0, 4.0, 8), row("mdlm", 6.0, 4.0, 8),
    ]  # fmt: skip
    ratios = module.at_data_entropy(rows)
    assert ratios["ddim"]["8"] == pytest.approx(math.e)
    assert ratios["churn"] == {"8": pytest.approx(1.0), "16": None}
    assert ratios["mdlm"]["8"] == pytest.approx(0.1)
    assert module.best_at_data_entropy(ratios) == {"8": pytest.approx(1.0), "16": None}
