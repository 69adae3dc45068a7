"""Staggered clocks: ends, order, and a bound and samplers that do not mind them."""

from itertools import pairwise

import pytest
import torch

from textdiff.diffusion.samplers import SAMPLERS, sample
from textdiff.diffusion.scheduler import Scheduler
from textdiff.diffusion.stagger import (
    order_of,
    own_times,
    ranks_of,
    starts_of,
    stride_times,
    strides_of,
    turns_of,
    wait_of,
)

CURVE = Scheduler.adaptive([5.0, 1.0, -6.0])


def test_all_begin_in_noise_and_end_clean() -> None:
    start, wait = torch.rand(3, 50, dtype=torch.float64), torch.tensor([[0.0], [2.5], [40.0]], dtype=torch.float64)
    assert (own_times(torch.tensor([[1.0]], dtype=torch.float64), start, wait) == 1).all()
    assert (own_times(torch.tensor([[0.0]], dtype=torch.float64), start, wait) == 0).all()


def test_without_a_wait_there_is_one_time() -> None:
    t = torch.rand(4, 1, dtype=torch.float64)
    own = own_times(t, torch.rand(4, 9, dtype=torch.float64), torch.zeros(4, 1, dtype=torch.float64))
    assert own.equal(t.expand(4, 9))


def test_the_first_is_clean_when_the_last_sets_out() -> None:
    start = torch.tensor([[0.0, 1.0]], dtype=torch.float64)
    one_after_the_other = torch.ones(1, 1, dtype=torch.float64)
    assert own_times(torch.tensor([[0.75]]), start, one_after_the_other).tolist() == [[0.5, 1.0]]
    assert own_times(torch.tensor([[0.5]]), start, one_after_the_other).tolist() == [[0.0, 1.0]]
    assert own_times(torch.tensor([[0.25]]), start, one_after_the_other).tolist() == [[0.0, 0.5]]


def test_each_element_spends_its_share_of_the_clock_on_its_way() -> None:
    t = (torch.arange(10000, dtype=torch.float64)[:, None] + 0.5) / 10000
    own = own_times(t, torch.tensor([[0.0, 0.3, 1.0]], dtype=torch.float64), torch.tensor([[4.0]]))
    moving = ((own > 0) & (own < 1)).double().mean(0)
    torch.testing.assert_close(moving, torch.full((3,), 0.2, dtype=torch.float64), atol=2e-4, rtol=0)


def test_elements_leave_at_the_distance_asked_for_as_far_as_the_steps_allow() -> None:
    count = torch.tensor([0.0, 1.0, 5.0, 21.0])
    assert wait_of(0.5, count).tolist() == [0, 0, 2, 10]
    assert wait_of(torch.tensor([1.0, 1.0, 0.0, 2.0]), count).tolist() == [0, 0, 0, 40]
    assert wait_of(0.5, count, steps=16).tolist() == [0, 0, 2, 7]  # two of 16 steps for a way: eight ways at most
    assert wait_of(0.5, count, steps=1).tolist() == [0, 0, 0, 0]
    assert wait_of(0.5, count, steps=8, steps_of_a_way=1).tolist() == [0, 0, 2, 7]


def test_places_are_a_random_order_of_the_free_ones_of_a_group() -> None:
    group = torch.tensor([[1, 1, 1, 2, 2, 1, 0]]).expand(3000, -1)
    free = torch.tensor([[True, False, True, True, True, True, False]]).expand(3000, -1)
    noise = torch.rand(3000, 7, generator=torch.Generator().manual_seed(0))
    start, count = starts_of(noise, group, free)
    assert count[0].tolist()[:6] == [3, 3, 3, 2, 2, 3]
    assert (start[:, [0, 2, 5]].sort(dim=1).values == torch.tensor([0, 0.5, 1])).all()
    assert (start[:, [3, 4]].sort(dim=1).values == torch.tensor([0, 1])).all()
    assert not start[:, [1, 6]].any()
    orders = torch.unique(start[:, [0, 2, 5]], dim=0, return_counts=True)[1]
    assert len(orders) == 6 and (orders - 500).abs().max() < 100


def test_a_spread_order_takes_the_middles_of_what_is_left() -> None:
    free = torch.ones(40, 9, dtype=torch.bool)
    noise, group = torch.rand(40, 9, generator=torch.Generator().manual_seed(0)), torch.ones(40, 9)
    noise[:20, 4], noise[20:, 0] = 1.0, 1.0  # where it begins
    order = order_of("spread", noise, group, free)
    assert order.sort(dim=1).values.equal(torch.arange(9, dtype=torch.float64).expand(40, -1))
    assert order[:20].argsort(1)[:, 1:3].sort(dim=1).values.tolist() == [[0, 8]] * 20
    assert order[:20].argsort(1)[:, 3:5].sort(dim=1).values.tolist() == [[2, 6]] * 20
    assert order[20:].argsort(1)[:, :3].tolist() == [[0, 8, 4]] * 20
    assert len(order.unique(dim=0)) > 20  # ties as the noise has them


def test_a_spread_order_knows_the_free_places_of_a_group_alone() -> None:
    free = torch.tensor([[True, False, False, True, True, True, True]])
    group = torch.tensor([[1, 1, 1, 1, 1, 2, 2]])
    noise = torch.tensor([[0.9, 0.99, 0.98, 0.1, 0.2, 0.5, 0.6]])
    order = order_of("spread", noise, group, free)[0]
    assert order[[0, 4, 3]].argsort().tolist() == [0, 1, 2] and order[6] < order[5]
    assert order.isinf().tolist() == [False, True, True, False, False, False, False]
    assert order_of("random", noise, group, free).equal(noise.double())
    two_steps = order_of("spread", noise, group, free, steps=2)[0]
    assert two_steps[[0, 4, 3]].tolist() == order[[0, 4, 3]].tolist()
    assert two_steps[5:].tolist() == noise[0, 5:].double().tolist()  # a step for each


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_brings_known_data_home(name: str) -> None:
    """With the exact denoiser of a point, any order of elements ends in the point."""
    x0 = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(1))
    start = torch.rand(2, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    wait = torch.tensor([[0.0], [6.0]], dtype=torch.float64)
    seen: list[torch.Tensor] = []

    def denoiser(x_t: torch.Tensor, t: torch.Tensor, x0_prev: torch.Tensor | None) -> torch.Tensor:
        seen.append(t)
        return x0

    states = list(
        sample(
            denoiser, torch.randn(2, 5, 3), CURVE.times(32), CURVE, step=SAMPLERS[name],
            own_times=lambda t: own_times(t[:, None], start, wait), generator=torch.Generator().manual_seed(3),
        )
    )  # fmt: skip
    sigma = float(CURVE.alpha_sigma(torch.zeros(1))[1])
    assert (states[-1].x - x0).abs().max() < 5 * sigma
    assert seen[0].shape == (2, 5) and (seen[0] == 1).all()
    assert all((later <= now).all() for now, later in pairwise(seen))
    assert torch.equal(seen[7][0], seen[7][0, :1].expand(5)) and len(seen[7][1].unique()) > 1


def test_an_element_that_waits_does_not_move() -> None:
    x = torch.randn(1, 2, 4, generator=torch.Generator().manual_seed(0))
    start, wait = torch.tensor([[0.0, 1.0]], dtype=torch.float64), torch.ones(1, 1, dtype=torch.float64)
    for name, step in SAMPLERS.items():
        states = list(
            sample(
                lambda x_t, t, x0_prev: torch.zeros_like(x_t), x, CURVE.times(8), CURVE, step=step,
                own_times=lambda t: own_times(t[:, None], start, wait), generator=torch.Generator().manual_seed(3),
            )
        )  # fmt: skip
        half = states[3].x  # the clock at .5: the first is home, the second has not set out
        torch.testing.assert_close(half[:, 1], x[:, 1], msg=name)
        torch.testing.assert_close(states[-1].x[:, 0], half[:, 0], msg=name)
        assert not torch.allclose(half[:, 0], x[:, 0])


def test_orders_from_left_to_right_by_tokens_and_by_blocks() -> None:
    group = torch.tensor([[1] * 8 + [2] * 3])
    free = torch.tensor([[True, True, False, True, True, True, False, True, True, True, True]])
    noise = torch.tensor([[0.4, 0.3, 0.0, 0.2, 0.1, 0.9, 0.0, 0.5, 0.3, 0.2, 0.1]])
    left = ranks_of(order_of("left", noise, group, free), group, free)
    assert left.tolist() == [[3, 4, 1, 5, 6, 7, 2, 8, 1, 2, 3]]  # given ones first
    blocks = ranks_of(order_of("blocks", noise, group, free), group, free)
    assert blocks.tolist() == [[6, 5, 1, 4, 3, 8, 2, 7, 3, 2, 1]]  # the first four of six free ones, then two
    assert ranks_of(noise, group * 0, free).tolist() == [[0] * 11]


def test_blocks_are_drawn_at_random_within() -> None:
    noise = torch.rand(3000, 6, generator=torch.Generator().manual_seed(0))
    group, free = torch.ones(3000, 6, dtype=torch.long), torch.ones(3000, 6, dtype=torch.bool)
    rank = ranks_of(order_of("blocks", noise, group, free), group, free)
    assert (rank[:, :4].sort(1).values == torch.arange(1, 5)).all() and (rank[:, 4:] > 4).all()
    assert len(rank.unique(dim=0)) == 24 * 2


def test_stretches_go_from_left_to_right_side_by_side() -> None:
    noise = torch.rand(1, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    group, free = torch.ones(1, 8, dtype=torch.long), torch.ones(1, 8, dtype=torch.bool)
    free[0, 3] = False

    def order(steps: int) -> list[int]:
        return order_of("stretches", noise, group, free, steps=steps)[free].argsort().tolist()

    assert order(0) == order(7) == [0, 1, 2, 3, 4, 5, 6]
    assert order(4) == [0, 1, 4, 2, 5, 3, 6]  # two stretches, of four and of three, which end together
    assert order(6) == [0, 1, 2, 3, 4, 5, 6]  # the last alone is a stretch, and leaves beside the one before it
    assert order(3) == [0, 3, 1, 4, 2, 5, 6]
    assert order(1) == [0, 1, 2, 3, 4, 5, 6]  # all at once


@pytest.mark.parametrize(("count", "steps"), [(18, 8), (16, 8), (7, 3), (9, 1), (64, 4)])
def test_a_stretch_leaves_in_strides_of_its_own_one_element_in_each(count: int, steps: int) -> None:
    group, free = torch.ones(1, count, dtype=torch.long), torch.ones(1, count, dtype=torch.bool)
    order = order_of("stretches", torch.rand(1, count), group, free, steps=steps)
    waited = (strides_of(*turns_of(order, group, free), steps) + 1)[0].int().tolist()
    late = steps * -(-count // steps) - count
    expected = [i % steps + 1 + (late if i // steps == (count - 1) // steps else 0) for i in range(count)]
    assert waited == expected


def test_where_there_is_a_step_for_each_spread_is_random() -> None:
    noise = torch.rand(1, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    group, free = torch.ones(1, 6, dtype=torch.long), torch.ones(1, 6, dtype=torch.bool)
    assert order_of("spread", noise, group, free, steps=6).equal(noise)
    first = order_of("spread", noise, group, free, steps=5).argsort()[0]
    assert abs(first[0] - first[1]) > 1


@pytest.mark.parametrize(("count", "steps"), [(1, 1), (5, 5), (7, 3), (3, 16), (32, 16), (64, 1)])
def test_every_element_leaves_in_one_whole_stride_evenly_filled(count: int, steps: int) -> None:
    turn = torch.arange(count, dtype=torch.float64)[None]
    grid = torch.linspace(1, 0, steps + 1, dtype=torch.float64)
    stride = strides_of(turn, torch.tensor([[float(count)]]), steps)
    own = torch.stack([stride_times(t[None, None], stride, steps)[0] for t in grid])
    assert own[0].all() and not own[-1].any() and set(own.unique().tolist()) <= {0.0, 1.0}
    assert (own[:-1] >= own[1:]).all() and (own[:, :-1] <= own[:, 1:]).all()  # none comes back, the first leave first
    leaving = (own[:-1] - own[1:]).sum(1)
    assert leaving.max() - leaving.min() <= 1
    assert count < steps or leaving.equal(leaving.sort().values)  # one more in the later strides
