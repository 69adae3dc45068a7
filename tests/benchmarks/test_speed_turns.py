"""benchmarks/speed_turns.py: who is called when, and the arithmetic on given seconds."""

import importlib

import pytest
import torch


@pytest.fixture(scope="module")
def turns(root):
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(root / "benchmarks"))
        yield importlib.import_module("speed_turns")


def test_calls_take_turns(turns):
    order = []
    wall, cpu = turns.take_turns([lambda: order.append("ours"), lambda: order.append("theirs")], 3)
    assert order == ["ours", "theirs"] * 3
    assert [len(each) for each in (*wall, *cpu)] == [3] * 4
    assert all(seconds >= 0 for each in (*wall, *cpu) for seconds in each)


def test_operations_are_two_for_each_multiply_and_add(turns):
    a, b, weight = torch.ones(3, 5), torch.ones(5, 7), torch.ones(7, 5, requires_grad=True)
    assert turns.flops(lambda: a @ b) == 2 * 3 * 5 * 7
    assert turns.flops(lambda: a + a) == 0
    loss = torch.nn.functional.linear(a.requires_grad_(), weight).sum()
    assert turns.flops(loss.backward) == 2 * (2 * 3 * 5 * 7)  # for the input and for the weight
    with torch.inference_mode():
        assert turns.flops(lambda: torch.nn.functional.linear(a, weight)) == 2 * 3 * 5 * 7


def test_a_row_from_given_seconds(turns):
    row = turns.beside({"batch": 8}, 100, 1e9, [4e9, 3e9], [[2.0, 4.0, 5.0], [6.0, 2.0, 5.0]])
    assert row["batch"] == 8
    assert (row["tokens_per_second"], row["gpt2_tokens_per_second"]) == (25.0, 20.0)
    assert (row["ratio"], row["ratio_min"], row["ratio_max"]) == (1.0, 0.5, 3.0)  # of turns
    assert (row["of_matrix_rate"], row["gpt2_of_matrix_rate"]) == (1.0, 0.6)
    assert (row["gflops"], row["gpt2_gflops"]) == (4.0, 3.0)
    assert (row["seconds"], row["gpt2_seconds"]) == ([2.0, 4.0, 5.0], [6.0, 2.0, 5.0])


def test_growth_keeps_to_one_line_of_one_dtype_in_rising_order(turns):
    rows = [
        {"dtype": dtype, "batch": batch, "length": length, "seconds": [ours], "gpt2_seconds": [theirs]}
        for dtype, batch, length, ours, theirs in [
            ("float32", 4, 32, 6.0, 2.0), ("float32", 4, 8, 2.0, 1.0), ("float32", 1, 8, 9.0, 9.0),
            ("bfloat16", 4, 8, 1.0, 4.0),
        ]
    ]  # fmt: skip
    same = {"grew": 1.0, "ours_grew": 1.0, "gpt2_grew": 1.0}
    assert turns.growth(rows, "length", "batch", 4) == [
        {"dtype": "float32", "length": 8, "ours_s": 2.0, "gpt2_s": 1.0, **same},
        {
            "dtype": "float32", "length": 32, "grew": 4.0,
            "ours_s": 6.0, "ours_grew": 3.0, "gpt2_s": 2.0, "gpt2_grew": 2.0,
        },
        {"dtype": "bfloat16", "length": 8, "ours_s": 1.0, "gpt2_s": 4.0, **same},
    ]  # fmt: skip
