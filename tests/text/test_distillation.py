"""The target, the times and the loss of distillation against closed forms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from textdiff.diffusion.samplers import Denoiser, ddim_step, levels_at
from textdiff.diffusion.scheduler import Scheduler
from textdiff.text.denoiser import DenoiserOutput, TextDenoiser
from textdiff.text.distillation import (
    Times,
    distillation_terms,
    draw_clock,
    second_share,
    token_times,
    two_steps,
)
from textdiff.text.model import DiffusionLMModel
from textdiff.text.objectives import Rows, draw_rows
from textdiff.text.sampling import Sampling, clock_of

CURVE = Scheduler.adaptive([5.0, 2.5, 1.0, -1.0, -6.0])
HALVES = (slice(0, 2), slice(2, 5))
VOCAB, DIM = 12, 16  # of small_model
Build = Callable[..., DiffusionLMModel]


def normal(*shape: int, seed: int = 0) -> Tensor:
    """Standard normal numbers, float64."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def drawn_times(steps: int, rows: int = 4, length: int = 6) -> Times:
    """Times of random strides, one a position."""
    level = torch.rand(rows, length, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return draw_clock(CURVE, level, steps)


def times_of(rows: Rows, model: TextDenoiser, steps: int) -> tuple[Times, Times]:
    """The clock's and the tokens' times of a batch."""
    clock = draw_clock(CURVE, rows.level, steps)
    return clock, token_times(rows, clock, model.config.stagger, steps)


def single_token(vectors: Tensor) -> Denoiser:
    """The exact denoiser of independent tokens, equally likely, whose unit word vectors are [V, D]."""

    def denoise(x_t: Tensor, t: Tensor, x0_prev: Tensor | None) -> Tensor:
        now = levels_at(CURVE, t, x_t)
        return (now.alpha / now.sigma**2 * x_t @ vectors.T).softmax(-1) @ vectors

    return denoise


@pytest.mark.parametrize("steps", [1, 4, 32])
def test_one_step_with_the_target_ends_where_two_steps_of_the_teacher_end(steps: int) -> None:
    vectors = torch.nn.functional.normalize(normal(9, 5), dim=-1)
    teacher, times, x_t, noise = single_token(vectors), drawn_times(steps), normal(4, 6, 5), normal(4, 6, 5)
    target = two_steps(teacher, CURVE, x_t, None, times)
    first = teacher(x_t, times.t, None)
    middle = ddim_step(CURVE, x_t, first, None, times.t, times.middle, None, noise)
    second = teacher(middle, times.middle, None)
    end = ddim_step(CURVE, middle, second, None, times.middle, times.s, None, noise)
    once = ddim_step(CURVE, x_t, target, None, times.t, times.s, None, noise)
    torch.testing.assert_close(once, end, rtol=0, atol=1e-12)
    now, then = levels_at(CURVE, times.t, x_t), levels_at(CURVE, times.s, x_t)
    ratio, moves = then.sigma / now.sigma, (times.s < times.t)[..., None].expand_as(x_t)
    published = (end - ratio * x_t) / (then.alpha - ratio * now.alpha)
    torch.testing.assert_close(target[moves], published[moves], rtol=0, atol=1e-9)
    assert moves.any() and not moves.all()
    assert target[~moves].equal(first[~moves])


def test_the_target_of_a_linear_denoiser_in_closed_form() -> None:
    """For Gaussian data N(0, v) the estimate is a gain times x_t, and so is the target."""
    variance, times, x_t = 0.3, drawn_times(3), normal(4, 6, 5)

    def gain(t: Tensor) -> Tensor:
        alpha, sigma = CURVE.alpha_sigma(t)
        return alpha * variance / (alpha**2 * variance + sigma**2)

    def kept(t: Tensor, s: Tensor) -> Tensor:
        """What one DDIM step leaves of x_t."""
        (alpha_t, sigma_t), (alpha_s, sigma_s) = CURVE.alpha_sigma(t), CURVE.alpha_sigma(s)
        return sigma_s / sigma_t + (alpha_s - sigma_s / sigma_t * alpha_t) * gain(t)

    (alpha_t, sigma_t), (alpha_s, sigma_s) = CURVE.alpha_sigma(times.t), CURVE.alpha_sigma(times.s)
    ratio = sigma_s / sigma_t
    whole = kept(times.t, times.middle) * kept(times.middle, times.s)
    factor = torch.where(times.s < times.t, (whole - ratio) / (alpha_s - ratio * alpha_t), gain(times.t))
    target = two_steps(lambda x, t, x0_prev: gain(t)[..., None] * x, CURVE, x_t, None, times)
    torch.testing.assert_close(target, factor[..., None] * x_t, rtol=0, atol=1e-10)


def test_the_second_call_is_told_the_first_estimate() -> None:
    told = []

    def denoise(x_t: Tensor, t: Tensor, x0_prev: Tensor | None) -> Tensor:
        told.append(x0_prev)
        return 0.5 * x_t

    before, x_t = normal(4, 6, 5, seed=1), normal(4, 6, 5, seed=2)
    two_steps(denoise, CURVE, x_t, before, drawn_times(4))
    assert told[0] is before
    assert told[1].equal(0.5 * x_t)


def test_a_clean_end_takes_the_second_estimate_alone() -> None:
    times = draw_clock(Scheduler.cosine(), torch.tensor([[0.6, 0.1]], dtype=torch.float64), 2)
    share = second_share(Scheduler.cosine(), times)
    assert share[0, 0] == 1.0 and 0.0 < share[0, 1] < 1.0


def test_times_are_those_of_the_sampler_with_its_last_call() -> None:
    level = torch.arange(5, dtype=torch.float64)[None] / 5 + 0.1
    times = draw_clock(CURVE, level, 4)
    assert times.t[0].tolist() == [1.0, 0.75, 0.5, 0.25, 0.0]
    assert times.before[0].tolist() == [1.0, 1.0, 0.75, 0.5, 0.25]
    assert times.middle[0].tolist() == [0.875, 0.625, 0.375, 0.125, 0.0]
    assert times.s[0].tolist() == [0.75, 0.5, 0.25, 0.0, 0.0]


def test_every_time_is_drawn_equally_often() -> None:
    level = torch.arange(1000, dtype=torch.float64)[None] / 1000
    _, counts = draw_clock(CURVE, level, 7).t.unique(return_counts=True)
    assert counts.tolist() == [125] * 8


@pytest.mark.parametrize("steps", [2, 4, 16, 32])
def test_tokens_leave_the_noise_as_in_the_sampler(small_model: Build, steps: int) -> None:
    model, rows = small_model(stagger=0.9).denoiser, packed()
    mask = rows.attention_mask.clamp(max=1)
    rows = replace(rows, attention_mask=mask)
    clock, times = times_of(rows, model, steps)
    reader = SimpleNamespace(denoiser=model, attention_mask=mask, free=rows.counted)
    sampling = Sampling(num_inference_steps=steps)
    for ours, time in zip(times, clock, strict=True):
        theirs = clock_of(reader, rows.order, sampling, drawn=True)(time[:, 0])
        torch.testing.assert_close(ours[rows.counted], theirs[rows.counted], rtol=0, atol=1e-9)
    assert not (times.t == clock.t).all()


def test_a_token_that_does_not_move_keeps_the_first_estimate() -> None:
    """The middle token waits, then goes; the last one has arrived half-way."""
    ends = torch.tensor([[1.0, 1.0, 0.1]]), torch.tensor([[1.0, 1.0, 0.0]]), torch.tensor([[1.0, 0.4, 0.0]])
    t, middle, s = (end.double() for end in ends)
    assert second_share(CURVE, Times(t, t, middle, s)).tolist() == [[0.0, 1.0, 0.0]]


def packed(rate: float = 1.0) -> Rows:
    """Five rows with padding, two segments and given tokens."""
    source = torch.Generator().manual_seed(0)
    mask = torch.tensor([1, 1, 1, 2, 2, 0, 0]).expand(5, -1)
    known = torch.rand(5, 7, generator=source) < 0.3
    ids = torch.randint(VOCAB, (5, 7), generator=source)
    return draw_rows(ids, mask, known, torch.arange(5), dim=DIM, seed=1, self_conditioning_rate=rate)


def test_the_loss_of_a_copy_vanishes_with_the_stride(small_model: Build) -> None:
    """Without self-conditioning, whose later estimates are better at any stride."""
    model, rows = small_model(spread=0.3, stagger=2.0).denoiser, packed()
    torch.nn.init.zeros_(model.previous_in.weight)
    found = []
    with torch.no_grad():
        for steps in (2, 256, 8192):
            terms = distillation_terms(model, model, CURVE, rows, steps)
            assert all(bool((term > -1e-5).all()) for term in terms.values())
            found.append([float(term.mean()) for term in terms.values()])
    assert min(found[0]) > 1e-2
    assert max(found[1]) < 0.1 * min(found[0])
    assert max(found[2]) < 1e-3 * min(found[0])


class Oracle(TextDenoiser):
    """Keeps what it is asked, and at its second call (a student's own one) answers as it was told."""

    def __init__(self, model: TextDenoiser, answer: Tensor | None = None) -> None:
        super().__init__(model.config)
        self.load_state_dict(model.state_dict())
        self.answer, self.calls, self.seen = answer, 0, []

    def hidden(self, *arguments: Tensor | None) -> Tensor:
        """As the parent's."""
        self.seen.append(arguments)
        return super().hidden(*arguments)

    def read_out(self, hidden: Tensor, x_t: Tensor, logsnr: Tensor) -> DenoiserOutput:
        """As the parent's at the first call."""
        self.calls += 1
        if self.calls == 1 or self.answer is None:
            return super().read_out(hidden, x_t, logsnr)
        return DenoiserOutput(self.answer.clamp(min=1e-30).log(), self.answer @ self.embedding.vectors())


def test_both_terms_are_zero_for_the_teachers_mixed_distribution(small_model: Build) -> None:
    teacher, rows, steps = small_model(spread=0.3, stagger=2.0).denoiser, packed(), 8
    student = Oracle(teacher)
    with torch.no_grad():
        before = distillation_terms(student, teacher, CURVE, rows, steps)
        x_t, _, mask, known, x0, x0_prev = student.seen[1]
        (_, times), counted = times_of(rows, teacher, steps), rows.counted

        def chances(x: Tensor, t: Tensor, told: Tensor) -> tuple[Tensor, Tensor]:
            out = teacher(x, CURVE.logsnr(t), attention_mask=mask, known=known, x0_known=x0, x0_prev=told)
            return out.logits.softmax(-1), out.x0_hat

        first, x0_hat = chances(x_t, times.t, x0_prev)
        middle = ddim_step(CURVE, x_t, x0_hat, None, times.t, times.middle, None, torch.zeros_like(x_t))
        second, _ = chances(middle, times.middle, x0_hat)
        share = second_share(CURVE, times)[..., None].float()
        mixed = ((1 - share) * first + share * second)[counted]
        after = distillation_terms(Oracle(teacher, mixed), teacher, CURVE, rows, steps)
    for name in ("distance", "divergence"):
        assert before[name].mean() > 1e-2
        torch.testing.assert_close(after[name], torch.zeros(5), rtol=0, atol=1e-4)


def test_the_terms_by_hand(small_model: Build) -> None:
    """The last call, t = 0: no stride, so the teacher's own estimate and distribution are the target."""
    teacher, student, rows = small_model(spread=0.3).denoiser, small_model(spread=0.31).denoiser, packed(rate=0.0)
    one_text, late = rows.attention_mask.clamp(max=1), torch.full((5,), 0.99, dtype=torch.float64)
    rows = replace(rows, attention_mask=one_text, uniform=late)
    with torch.no_grad():
        terms = distillation_terms(student, teacher, CURVE, rows, 4)
        x0, zero = teacher.embedding.embed(rows.input_ids), torch.zeros(5, dtype=torch.float64)
        logsnr, x_0 = CURVE.logsnr(zero), CURVE.add_noise(x0, rows.eps, zero)
        asked = {"attention_mask": rows.attention_mask, "known": rows.known, "x0_known": x0}
        ours, theirs = (model(x_0, logsnr, **asked) for model in (student, teacher))
    log_p, log_q = theirs.logits.log_softmax(-1), ours.logits.log_softmax(-1)
    for b, counted in enumerate(rows.counted):
        distance = np.exp(5.0) * (ours.x0_hat - theirs.x0_hat).square().sum(-1)[b, counted].mean()
        torch.testing.assert_close(terms["distance"][b], distance.float(), rtol=1e-4, atol=1e-5)
        divergence = (log_p.exp() * (log_p - log_q)).sum(-1)[b, counted].mean()
        torch.testing.assert_close(terms["divergence"][b], divergence, rtol=1e-4, atol=1e-5)


def test_both_are_told_the_students_estimate_at_the_time_before(small_model: Build) -> None:
    teacher, rows = Oracle(small_model(spread=0.3, stagger=2.0).denoiser), packed(rate=0.5)
    student = Oracle(small_model(spread=0.31, stagger=2.0).denoiser)
    assert 0 < rows.self_conditioned.sum() < 5
    distillation_terms(student, teacher, CURVE, rows, 8)
    clock, times = times_of(rows, teacher, 8)
    (noisier, level, *_, none), (x_t, _, *_, told) = student.seen
    assert none is None and not told.requires_grad
    assert teacher.seen[0][0].equal(x_t) and teacher.seen[0][-1].equal(told)
    assert level.equal(CURVE.logsnr(times.before))
    x0 = teacher.embedding.embed(rows.input_ids)
    torch.testing.assert_close(noisier, CURVE.add_noise(x0, rows.eps, times.before))
    estimate = student.embedding.vectors().new_zeros(x_t.shape)
    hidden = TextDenoiser.hidden(student, *student.seen[0])
    read = TextDenoiser.read_out(student, hidden, noisier, level).x0_hat
    there = rows.self_conditioned[:, None] & (clock.t < 1) & rows.counted
    estimate[there] = read[there].detach()
    assert there.any() and not there[rows.self_conditioned].all()
    torch.testing.assert_close(told, estimate)


def test_a_row_pays_the_same_in_any_batch(small_model: Build) -> None:
    teacher, student, rows = small_model(spread=0.3).denoiser, small_model(spread=0.31).denoiser, packed(rate=0.5)
    with torch.no_grad():
        whole, *parts = (
            distillation_terms(student, teacher, CURVE, some, 4)
            for some in (rows, *(Rows(*(getattr(rows, f.name)[s] for f in fields(Rows)[:-1])) for s in HALVES))
        )
    for name, term in whole.items():
        torch.testing.assert_close(term, torch.cat([part[name] for part in parts]), rtol=1e-4, atol=1e-5)


def test_a_tempered_teachers_target_stays_in_the_ball(small_model: Build) -> None:
    model, rows = small_model(spread=0.3).denoiser, packed()
    with torch.no_grad():
        plain = distillation_terms(model, model, CURVE, rows, 2)
        cold = distillation_terms(model, model, CURVE, rows, 2, teacher_temperature=0.5)
    assert (cold["distance"] - plain["distance"]).abs().max() > 0.1
    counted = rows.counted
    snr = CURVE.logsnr(draw_clock(CURVE, rows.level, 2).t).exp().clamp(min=1.0)[counted].float()
    assert (cold["distance"] <= 4.0 * rows.row_mean(snr)).all()  # two points of the ball are at most 2 apart
