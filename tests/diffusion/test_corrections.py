"""keep_known through the same lines for sequences (infilling) and pictures (inpainting); langevin finds minima."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from textdiff.diffusion.corrections import in_turn, keep_known, langevin
from textdiff.diffusion.samplers import SAMPLERS, repaint_times, sample
from textdiff.diffusion.scheduler import Scheduler

CASES = {
    "BLD": ((2, 6, 4), torch.tensor([[True, False, True, True, False, False], [False] * 5 + [True]])),
    "BCHW": ((2, 3, 4, 4), (torch.arange(32).reshape(2, 1, 4, 4) % 3 == 0)),
}
SCHEDULERS = {"noisy end": Scheduler.sqrt(), "clean end": Scheduler.linear()}
cases = pytest.mark.parametrize("case", CASES)
curves = pytest.mark.parametrize("curve", SCHEDULERS)
modes = pytest.mark.parametrize("renoise", [False, True])


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def spread(known: Tensor, shape: tuple[int, ...]) -> Tensor:
    return known.reshape(known.shape + (1,) * (len(shape) - known.ndim)).expand(shape)


@cases
@curves
@modes
@pytest.mark.parametrize("step", SAMPLERS)
@pytest.mark.parametrize("repaint", [False, True])
def test_known_elements_end_exact(case: str, curve: str, renoise: bool, step: str, repaint: bool) -> None:
    shape, known = CASES[case]
    scheduler, x0 = SCHEDULERS[curve], normal(*shape, seed=1)
    grid = repaint_times(scheduler.times(12), 3, 2) if repaint else scheduler.times(12)
    own = torch.Generator().manual_seed(2)
    correct = keep_known(x0, known, scheduler, renoise=renoise, generator=own)
    *_, final = sample(
        lambda x, t, x0_prev: 0.3 * x,
        normal(*shape),
        grid,
        scheduler,
        step=SAMPLERS[step],
        correct=correct,
        generator=own,
    )
    given = spread(known, shape)
    assert final.x[given].equal(x0[given])
    assert final.x.isfinite().all()
    assert (final.x[~given] != x0[~given]).all()


@cases
@modes
def test_the_unknown_part_of_the_state_is_left_alone(case: str, renoise: bool) -> None:
    shape, known = CASES[case]
    x, x0 = normal(*shape), normal(*shape, seed=1)
    correct = keep_known(
        x0, known, SCHEDULERS["noisy end"], renoise=renoise, generator=torch.Generator().manual_seed(0)
    )
    after = correct(x, x, torch.full((2,), 0.5))
    given = spread(known, shape)
    assert after[~given].equal(x[~given])
    assert after[given].equal(x0[given]) != renoise


def test_renoised_elements_have_the_level_of_the_rest() -> None:
    scheduler, x0 = SCHEDULERS["clean end"], normal(2, 300, 40, seed=1)
    own = torch.Generator().manual_seed(0)
    correct = keep_known(x0, torch.ones(2, 300, dtype=torch.bool), scheduler, renoise=True, generator=own)
    s = torch.tensor([0.3, 0.8])
    eps = [scheduler.eps_from_x0(correct(x0, x0, s), x0, s) for _ in range(2)]
    for row in torch.cat(eps):
        assert float(row.mean()) == pytest.approx(0, abs=0.04)
        assert float(row.std()) == pytest.approx(1, abs=0.03)
    assert abs(float((eps[0] * eps[1]).mean())) < 0.03  # fresh noise every time


def test_samples_of_a_batch_may_be_at_different_times() -> None:
    x0, own = normal(2, 6, 4), torch.Generator().manual_seed(0)
    correct = keep_known(
        x0, torch.ones(2, 6, dtype=torch.bool), SCHEDULERS["noisy end"], renoise=True, generator=own
    )
    after = correct(torch.zeros_like(x0), x0, torch.tensor([0.0, 0.5]))
    assert after[0].equal(x0[0])
    assert (after[1] != x0[1]).all()


@pytest.mark.parametrize(
    ("known", "message"),
    [
        (torch.ones(2, 6), "give torch.bool, True where the value is given"),
        (torch.ones(1, 6, dtype=torch.bool), r"known has shape \[1, 6\]"),
        (torch.ones(2, 4, dtype=torch.bool), r"known has shape \[2, 4\]"),
    ],
)
def test_a_wrong_mask_is_named(known: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        keep_known(normal(2, 6, 4), known, SCHEDULERS["noisy end"])


def bowl(target: Tensor):
    """The energy whose minimum is the target."""
    return lambda x, t: ((x - target) ** 2).flatten(1).sum(1)


def test_langevin_ends_between_the_move_and_the_minimum_as_the_weights_say() -> None:
    scheduler, x_s, target = SCHEDULERS["clean end"], normal(3, 4, 2), normal(3, 4, 2, seed=1)
    s = torch.tensor([0.3, 0.6, 1.0], dtype=torch.float64)
    correct = langevin(bowl(target), scheduler, steps=400, learning_rate=1.0, fluency=0.5)
    pull = 0.5 / torch.sigmoid(-scheduler.logsnr(s)).float()[:, None, None]
    torch.testing.assert_close(correct(x_s, x_s, s), (target + pull * x_s) / (1 + pull), atol=1e-3, rtol=0)


def test_the_first_langevin_step_has_the_learning_rate_in_every_coordinate() -> None:
    x_s, target = normal(2, 5, 3), normal(2, 5, 3, seed=1)
    s = torch.full((2,), 0.5, dtype=torch.float64)
    moved = langevin(bowl(target), SCHEDULERS["noisy end"], steps=1, learning_rate=0.1)(x_s, x_s, s) - x_s
    torch.testing.assert_close(moved, 0.1 * (target - x_s).sign(), atol=1e-6, rtol=0)


def test_langevin_treats_samples_apart_and_leaves_clean_states_alone() -> None:
    scheduler, x_s, target = SCHEDULERS["clean end"], normal(3, 4, 2), normal(4, 2, seed=1)
    s = torch.tensor([0.0, 0.4, 0.9], dtype=torch.float64)
    correct = langevin(bowl(target), scheduler)
    together = correct(x_s, x_s, s)
    assert together[0].equal(x_s[0])
    for row in (1, 2):
        torch.testing.assert_close(correct(x_s[row:][:1], x_s, s[row:][:1])[0], together[row])


def test_langevin_works_inside_a_sampler() -> None:
    scheduler, target = SCHEDULERS["clean end"], torch.ones(2, 3)
    walk = [
        sample(lambda x, t, x0_prev: 0.5 * x, normal(4, 2, 3), scheduler.times(10), scheduler, correct=correct)
        for correct in (None, langevin(bowl(target), scheduler, learning_rate=0.3))
    ]
    free, steered = (list(states)[-1].x for states in walk)
    assert (steered - target).abs().mean() < 0.8 * (free - target).abs().mean()


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"learning_rate": 0.0}, {"fluency": -1.0}, {"fluency": float("nan")}])
def test_langevin_refuses_numbers_out_of_range(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="at least 1, above 0 and at least 0"):
        langevin(bowl(torch.zeros(1)), SCHEDULERS["clean end"], **wrong)


def test_corrections_work_in_turn() -> None:
    scheduler, x0 = SCHEDULERS["clean end"], normal(2, 6, 4, seed=1)
    known = CASES["BLD"][1]
    keep = keep_known(x0, known, scheduler)
    both = in_turn(langevin(bowl(torch.zeros(6, 4)), scheduler), keep)
    x_s, s = normal(2, 6, 4), torch.full((2,), 0.5, dtype=torch.float64)
    found = both(x_s, x_s, s)
    assert found[known].equal(x0[known])
    assert (found[~known].abs() < x_s[~known].abs()).float().mean() > 0.9
