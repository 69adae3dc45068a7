"""Figures of control against values worked out by hand, with stand-ins for wishes, systems and judge."""

import math
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from textdiff.metrics.diversity import distinct_n, self_bleu
from textdiff.text.control_evaluation import (
    Outcome,
    control_figures,
    counted_rows,
    failures,
    joint,
    lm_score,
    peak_memory_mib,
    try_targets,
)
from textdiff.text.control_targets import Target


class Letters:
    """A judge that charges a nat for a word, and two for each of its letters e; the mark # ends a text."""

    name = "letters"

    def __init__(self, longest=99):
        self.longest, self.charged = longest, 0

    def nll(self, texts, batch_size=32):
        rows = [text.replace("#", " #").split() for text in texts]
        if any(len(row) > self.longest for row in rows):
            raise ValueError("A text is too long.")
        self.charged += len(rows)
        return [(sum(1 + 2 * word.count("e") for word in row), len(row)) for row in rows]


def wish(share, strict):
    return SimpleNamespace(
        success=lambda texts: list(map(share, texts)), strict=lambda texts: list(map(strict, texts))
    )


class Make:
    """Wishes that look at a text's length in words."""

    def length(self, n):
        return wish(lambda text: abs(len(text.split()) - n) <= 2, lambda text: len(text.split()) == n)

    def semantic(self, field, value):
        return wish(lambda text: value in text, lambda text: value in text.split())


def outcome(texts, success, strict=None, seconds=1.0, calls=None, memory=10.0, **target):
    kind = "+".join(success)
    return Outcome(Target(kind, **target), texts, success, strict or success, seconds, calls, memory)


def test_figures_worked_out_by_hand():
    outcomes = [
        outcome(["a b c", "a b d"], {"pos": [1.0, 0.5]}, {"pos": [1.0, 0.0]}, seconds=3.0, calls=33.0),
        outcome(
            ["the men", "we"], {"pos": [0.25, 0.0]}, {"pos": [0.0, 0.0]}, seconds=1.0, calls=17.0, memory=12.0
        ),
    ]
    found = control_figures(outcomes, Letters())
    assert (found.kind, found.targets, found.samples, found.judge) == ("pos", 2, 2, "letters")
    assert found.success == pytest.approx((0.75 + 0.125) / 2)
    assert found.success_std == pytest.approx((0.75 - 0.125) / 2)  # of these two
    assert found.success_strict == pytest.approx(0.25) and found.success_strict_std == pytest.approx(0.25)
    assert found.parts == {"pos": {"success": found.success, "success_strict": found.success_strict}}
    # nats per token: 3/3 and 3/3; (3 + 3)/2 and 3/1. Ratios of sums would be 15/9.
    assert found.lm_score_nats == pytest.approx(((1 + 1) / 2 + (3 + 3) / 2) / 2)
    assert found.lm_score_perplexity == pytest.approx(math.exp(found.lm_score_nats))
    assert found.distinct_2 == pytest.approx((3 / 4 + 1) / 2)
    assert found.distinct_4 == 0
    assert found.self_bleu == pytest.approx(sum(self_bleu(o.texts) for o in outcomes) / 2)
    assert found.seconds_per_sample == pytest.approx(1.0) and found.denoiser_calls == pytest.approx(25.0)
    assert found.failed_targets == 1 and found.peak_memory_mib == 12.0 and found.judge_left_out == 0
    assert found.to_dict()["success"] == found.success


def test_a_mean_over_targets_is_not_one_over_texts():
    """Four texts of the first target weigh as much as one of the second."""
    judge = Letters()
    outcomes = [outcome(["a"] * 4, {"length": [1.0] * 4}), outcome(["e e"], {"length": [0.0]})]
    assert lm_score(outcomes, judge)[0] == pytest.approx((1 + 3) / 2)
    assert judge.charged == 2  # equal texts once


def test_ends_are_charged_as_tokens():
    outcomes = [outcome(["e"], {"length": [1.0]})]
    assert lm_score(outcomes, Letters())[0] == pytest.approx(3.0)
    assert lm_score(outcomes, Letters(), end="#")[0] == pytest.approx((3 + 1) / 2)


def test_an_empty_text_has_no_score_of_its_own():
    outcomes = [outcome(["", "e"], {"length": [0.0, 1.0]}), outcome([""], {"length": [0.0]})]
    assert lm_score(outcomes, Letters()) == (3.0, 0)
    assert lm_score(outcomes[1:], Letters()) == (None, 0)
    assert control_figures(outcomes[1:], Letters()).lm_score_perplexity is None


def test_texts_too_long_for_the_judge_are_counted():
    outcomes = [outcome(["a b c", "a b c", "e"], {"length": [1.0] * 3})]
    assert lm_score(outcomes, Letters(longest=2)) == (3.0, 2)
    assert control_figures(outcomes, Letters(longest=2)).judge_left_out == 2


def test_a_composition_wants_all_of_its_wishes():
    assert joint({"semantic": [1.0, 0.0, 1.0], "pos": [0.5, 1.0, 1.0]}) == [0.5, 0.0, 1.0]
    found = control_figures(
        [outcome(["x", "y", "z"], {"semantic": [1.0, 0.0, 1.0], "pos": [0.5, 1.0, 1.0]})], Letters()
    )
    assert found.success == pytest.approx(0.5)
    assert {name: own["success"] for name, own in found.parts.items()} == pytest.approx(
        {"semantic": 2 / 3, "pos": 2.5 / 3}
    )


def test_what_failed_in_every_sample_is_told_with_its_best_attempt():
    outcomes = [
        outcome(["x", "y"], {"semantic": [1.0, 0.0], "pos": [0.3, 0.9]}, content=("food", "Thai")),
        outcome(["x", "y"], {"semantic": [0.0, 1.0], "pos": [0.0, 0.5]}),
    ]
    (found,) = failures(outcomes)
    assert found["best"] == "x" and found["success"] == {"semantic": 1.0, "pos": 0.3}
    assert found["target"]["content"] == ("food", "Thai")


def test_one_sample_a_target_has_no_self_bleu():
    found = control_figures([outcome(["a b a b"], {"length": [1.0]})], Letters())
    assert found.self_bleu is None and found.samples == 1
    assert found.distinct_2 == pytest.approx(distinct_n(["a b a b"], 2)) and found.denoiser_calls is None


def test_no_target_is_refused():
    with pytest.raises(ValueError, match="There is no target"):
        control_figures([], Letters())


def test_every_text_is_held_against_its_own_target():
    targets = [Target("semantic+length", content=("food", "Thai"), length=n) for n in (2, 6)]
    seen, ticks = [], []

    def draw(target, wishes, samples, seed):
        seen.append((len(wishes), seed))
        return ["a Thai", "a b Thais"][:samples]

    found = try_targets(targets, Make(), draw, samples=2, seed=7, tick=lambda: ticks.append(1))
    assert [one.success for one in found] == [
        {"semantic": [1.0, 1.0], "length": [1.0, 1.0]}, {"semantic": [1.0, 1.0], "length": [0.0, 0.0]},
    ]  # fmt: skip
    assert found[0].strict == {"semantic": [1.0, 0.0], "length": [1.0, 0.0]}
    assert found[0].calls is None and found[0].seconds >= 0 and len(ticks) == 2
    first = list(seen)
    assert len({seed for _, seed in first}) == 2 and {count for count, _ in first} == {2}
    try_targets(targets, Make(), draw, samples=1, seed=7)
    assert seen[2:] == first  # another system: the same seeds
    assert found[0].to_dict()["target"] == targets[0].to_dict()


def test_calls_are_counted_by_rows():
    """33 calls of 2 texts and then of 1 are 33 for each text, however they are grouped."""
    module = nn.Linear(3, 3)

    def draw(target, wishes, samples, seed):
        for rows in (2, 1):
            for _ in range(33):
                module(torch.zeros(rows, 3))
        return ["x"] * 3

    (found,) = try_targets([Target("length", length=1)], Make(), draw, samples=3, denoiser=module)
    assert found.calls == 33
    with counted_rows(module) as rows:
        module(input=torch.zeros(4, 3))
    module(torch.zeros(5, 3))
    assert rows == [4]


def test_peak_memory_is_that_of_the_process():
    status = Path("/proc/self/status")
    if not status.is_file():
        pytest.skip("needs /proc to compare with")
    peak = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
    assert peak_memory_mib() == pytest.approx(int(peak[1]) / 1024, rel=0.02)
