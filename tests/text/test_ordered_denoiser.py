"""The denoiser that reads clean tokens once: one pass for all lessons, no leaks, and a memory that changes nothing."""

import math

import pytest
import torch

from textdiff.diffusion.scheduler import Scheduler
from textdiff.diffusion.stagger import ORDERS, order_of, ranks_of
from textdiff.text.denoiser import DenoiserConfig, Prefix, TextDenoiser
from textdiff.text.ordered import Memory
from textdiff.text.ordered_denoiser import OrderedDenoiser, make_denoiser, usual_order
from textdiff.text.plans import Plan
from textdiff.text.scoring import order_nats, position_nats, prior_nats, text_nats

SHAPE = {
    "vocab_size": 40, "embedding_dim": 24, "hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2,
    "intermediate_size": 64, "max_position_embeddings": 16, "stagger": 1.0,
}  # fmt: skip
B, L = 3, 12


@pytest.fixture(scope="module")
def denoiser() -> OrderedDenoiser:
    """Random weights everywhere, the silent ones too; two layers that read and two that ask."""
    torch.manual_seed(0)
    made = make_denoiser(DenoiserConfig(**SHAPE, reading_layers=2))
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    assert isinstance(made, OrderedDenoiser)
    return made.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def rows() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Ids, segments (two texts in the last row, padding in the second) and given positions, [B, L] each."""
    ids = torch.randint(0, 40, (B, L), generator=torch.Generator().manual_seed(1))
    mask, known = torch.ones(B, L, dtype=torch.long), torch.zeros(B, L, dtype=torch.bool)
    mask[1, 9:], mask[2, 5:] = 0, 2
    known[0, 3:6] = known[0, 8] = True
    return ids, mask, known


def ranks(rows: tuple[torch.Tensor, ...], order: str) -> torch.Tensor:
    """The turns of an order, few steps so that "spread" spreads."""
    ids, mask, known = rows
    noise = torch.rand(ids.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    return ranks_of(order_of(order, noise, mask, (mask > 0) & ~known, steps=3), mask, ~known)


@pytest.mark.parametrize("order", ORDERS)
def test_one_pass_teaches_what_calls_one_after_another_say_with_and_without_a_memory(denoiser, rows, order) -> None:
    ids, mask, known = rows
    rank, x0, memory = ranks(rows, order), denoiser.embedding.embed(ids), Memory(L)
    lessons = denoiser.predict(denoiser.lessons(ids, mask, known, rank))
    met = 0
    for turn in range(L + 1):
        clean = (mask > 0) & (known | (rank <= turn))
        logsnr = torch.where(clean, 5.0, -6.0).double()
        x_t = torch.where(clean[..., None], x0, torch.randn(x0.shape, generator=torch.Generator().manual_seed(turn)))
        told = {"attention_mask": mask, "known": known, "x0_known": x0, "rank": rank}
        fresh = denoiser(x_t, logsnr, **told).logits
        torch.testing.assert_close(denoiser(x_t, logsnr, memory=memory, **told).logits, fresh, atol=1e-4, rtol=1e-4)
        for at in ((rank == turn + 1) & ~clean & (mask > 0)).nonzero().tolist():
            row, place = at
            if ((rank[row] < turn + 1) & (mask[row] == mask[row, place]) & ~clean[row]).any():
                continue
            said = (fresh - denoiser.prior_logits(x_t, logsnr))[row, place]
            torch.testing.assert_close(said, lessons[row, place], atol=1e-3, rtol=1e-3)
            met += 1
    assert met == int(((mask > 0) & ~known).sum())


def test_a_lesson_depends_on_nothing_that_is_clean_later_or_elsewhere(denoiser, rows) -> None:
    ids, mask, known = rows
    rank = ranks(rows, "random")
    before = denoiser.lessons(ids, mask, known, rank)
    for row, place in ((rank == 2) & (mask > 0)).nonzero().tolist():
        changed = ids.clone()
        changed[row, place] = (changed[row, place] + 1) % 40
        moved = (denoiser.lessons(changed, mask, known, rank) - before).abs().amax(-1) > 1e-6
        allowed = (mask == mask[row, place]) & (rank > rank[row, place])
        allowed[[r for r in range(B) if r != row]] = False
        assert not (moved & ~allowed).any() and moved.any()


def test_packed_texts_are_read_as_each_alone(denoiser, rows) -> None:
    ids, mask, known = rows
    rank = ranks(rows, "left")
    packed = denoiser.lessons(ids, mask, known, rank)[2, 5:]
    alone = denoiser.lessons(ids[2:, 5:], mask[2:, 5:], known[2:, 5:], rank[2:, 5:])[0]
    torch.testing.assert_close(packed, alone, atol=1e-5, rtol=1e-5)


def test_what_is_asked_for_comes_in_the_order_of_a_mask(denoiser, rows) -> None:
    ids, mask, known = rows
    x0 = denoiser.embedding.embed(ids)
    logsnr = torch.where(torch.arange(L) % 3 == 0, 5.0, -6.0).double().expand(B, L)
    told = {"attention_mask": mask, "known": known, "x0_known": x0}
    wanted = torch.rand(B, L, generator=torch.Generator().manual_seed(3)) < 0.5
    barred = torch.zeros(B, L, 40, dtype=torch.bool)
    barred[..., 7] = True
    full = denoiser(x0, logsnr, barred=barred, temperature=0.5, **told)
    some = denoiser(x0, logsnr, barred=barred[wanted], temperature=0.5, wanted=wanted, **told)
    torch.testing.assert_close(some.logits, full.logits[wanted], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(some.x0_hat, full.x0_hat[wanted], atol=1e-4, rtol=1e-4)
    assert (full.logits[..., 7] == -torch.inf).all()


def test_diffusion_costs_a_lone_token_its_cross_entropy(denoiser) -> None:
    """The Monte Carlo estimate of the bound, noise and all, against the closed form it is replaced by."""
    plan, levels = Plan((5, 9, 5), (False, True, False), (), ()), 6000
    curve = Scheduler.adaptive([5.0, 2.0, -1.0, -6.0])
    exact = order_nats(denoiser, [plan], torch.zeros(1, 3), order="left").sum() + prior_nats(denoiser, curve, [plan])[0]
    plans, means = [plan] * levels, []
    for seed in range(8):
        noise = torch.randn(levels, 3, 25, generator=torch.Generator().manual_seed(seed))
        times = (torch.arange(levels, dtype=torch.float64) + 0.5) / levels
        on_the_way = position_nats(denoiser, curve, plans, times, noise, two_passes=False, order="left")
        at_the_end = position_nats(denoiser, curve, plans, 0 * times, noise, two_passes=False, order="left")
        means.append((on_the_way + at_the_end).sum(1).mean())
    found = torch.stack(means) + prior_nats(denoiser, curve, [plan])[0]
    error = found.std().item() / math.sqrt(len(found))
    assert error < 0.1 and found.mean().item() == pytest.approx(float(exact), abs=3 * error)


def test_texts_are_charged_alike_in_company_and_random_orders_are_averaged(denoiser) -> None:
    curve = Scheduler.adaptive([5.0, -6.0])
    plans = [Plan(ids, (False,) * len(ids), (), ()) for ids in ((1, 2, 3, 4), (7, 8), (9, 9, 9))]
    left, none = text_nats(denoiser, curve, plans, levels=8, seed=0)
    alone = text_nats(denoiser, curve, plans[1:2], levels=8, seed=0)[0]
    assert not none.any() and left[1].item() == pytest.approx(alone.item())
    mean, variance = text_nats(denoiser, curve, plans[1:2], levels=4000, seed=0, order="random")
    both = [order_nats(denoiser, plans[1:2], torch.tensor([noise]), order="random").sum() for noise in ([0, 1], [1, 0])]
    exact = float(torch.stack(both).mean() + prior_nats(denoiser, curve, plans[1:2])[0])
    assert mean[0].item() == pytest.approx(exact, abs=4 * float(variance[0]) ** 0.5)


def test_a_shape_that_cannot_be_is_refused() -> None:
    for wrong in ({"reading_layers": 4}, {"reading_layers": 2, "unit_norm": False}):
        with pytest.raises(ValueError, match=r"reading_layers is \d of 4 layers: give 1 to 3"):
            make_denoiser(DenoiserConfig(**{**SHAPE, **wrong}))
    assert type(make_denoiser(DenoiserConfig(**SHAPE))) is TextDenoiser


def test_it_takes_no_prefix(denoiser, rows) -> None:
    ids, mask, _ = rows
    prefix = Prefix(torch.zeros(B, 1, 32), torch.ones(B, 1, dtype=torch.bool))
    with pytest.raises(ValueError, match="takes no prefix"):
        denoiser(denoiser.embedding.embed(ids), torch.zeros(B), attention_mask=mask, prefix=prefix)


def test_the_usual_order(denoiser) -> None:
    other = TextDenoiser(DenoiserConfig(**SHAPE))
    assert [usual_order(one) for one in (denoiser, other)] == ["left", "random"]
    assert [usual_order(one, drawing=True) for one in (denoiser, other)] == ["stretches", "spread"]
