"""Progressive distillation: a student takes half of its teacher's steps (Salimans & Ho, arXiv 2202.00512).

Where the teacher takes two DDIM steps, t -> t' -> s, the student takes one. With k = alpha / sigma, the one
estimate whose DDIM step from x_t ends where the teacher's two end (their algorithm 2) is the mean

    x~ = ((k' - k) x0_hat(t) + (k_s - k') x0_hat(t')) / (k_s - k),

so it lies in the hull of the vocabulary, which is all that the student's softmax can say, and nothing is
divided by a small number. The teacher's two distributions over tokens, mixed with the same weights, have x~
as their mean word vector: the squared distance and the divergence that the student pays have one optimum.
"""

from __future__ import annotations

import copy
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from textdiff.diffusion.samplers import Denoiser, ddim_step
from textdiff.diffusion.scheduler import Scheduler
from textdiff.diffusion.stagger import STEPS_OF_A_DRAWN_WAY, order_of, own_times, starts_of, wait_of
from textdiff.text.denoiser import TextDenoiser
from textdiff.text.model import DiffusionLMModel
from textdiff.text.objectives import Rows, draw_rows

CARRIED = 0.75  # share of rows with an estimate from the time before; samplers have one but at the first time


class Times(NamedTuple):
    """One stride of a student's walk, and what of it the teacher's has; float64, each [B, L]."""

    before: Tensor  # the time before t; t itself at the first
    t: Tensor
    middle: Tensor  # the teacher's between t and s
    s: Tensor       # t itself at the last: samplers read the text from one more call there


def draw_clock(scheduler: Scheduler, level: Tensor, steps: int) -> Times:
    """The strides that numbers in [0, 1) pick among a student's `steps` and its last call at t = 0.

    Args:
        scheduler: of the model; its grid of 2 `steps` is the teacher's.
        level: numbers in [0, 1), [B, L].
        steps: of the student.
    """
    grid = scheduler.times(2 * steps).to(level.device)
    t = 2 * (level * (steps + 1)).long().clamp(max=steps)
    return Times(*(grid[(t + move).clamp(0, 2 * steps)] for move in (-2, 0, 1, 2)))


def token_times(rows: Rows, clock: Times, stagger: float, steps: int) -> Times:
    """Every token's own times, on the student's way for both: as the categorical sampler has them in its order."""
    order = order_of("spread", rows.order, rows.attention_mask, rows.counted, steps=steps)
    start, count = starts_of(order, rows.attention_mask, rows.counted)
    wait = wait_of(stagger, count, steps=steps, steps_of_a_way=STEPS_OF_A_DRAWN_WAY)
    return Times(*(own_times(time, start, wait) for time in clock))


def second_share(scheduler: Scheduler, times: Times) -> Tensor:
    """Weight of the teacher's second estimate in x~, float64 [B, L]; 0 where a token does not move."""
    k, k_middle, k_s = (scheduler.logsnr(t).mul(0.5).exp() for t in (times.t, times.middle, times.s))
    return torch.where(k_s > k, 1.0 - (k_middle - k) / (k_s - k), 0.0)


def two_steps(
    denoiser: Denoiser, scheduler: Scheduler, x_t: Tensor, x0_prev: Tensor | None, times: Times
) -> Tensor:
    """x~ [B, L, ...]: one DDIM step from x_t to s with it ends where two with the denoiser end.

    The second call gets the first estimate as its `x0_prev`, as in `sample`.
    """
    first = denoiser(x_t, times.t, x0_prev)
    x_middle = ddim_step(scheduler, x_t, first, None, times.t, times.middle, None, torch.zeros_like(x_t))
    second = denoiser(x_middle, times.middle, first)
    share = second_share(scheduler, times).to(first.dtype)
    return torch.lerp(first, second, share.reshape(share.shape + (1,) * (first.ndim - share.ndim)))


class Reader:
    """A text denoiser as samplers know it, on the counted positions of a batch; it keeps its logits."""

    def __init__(
        self, denoiser: TextDenoiser, scheduler: Scheduler, rows: Rows, x0: Tensor, temperature: float = 1.0
    ) -> None:
        self.denoiser, self.scheduler, self.rows, self.x0 = denoiser, scheduler, rows, x0
        self.temperature = temperature
        self.logits: list[Tensor] = []  # one [N, V] a call

    def __call__(self, x_t: Tensor, t: Tensor, x0_prev: Tensor | None) -> Tensor:
        rows, counted, logsnr = self.rows, self.rows.counted, self.scheduler.logsnr(t)
        hidden = self.denoiser.hidden(x_t, logsnr, rows.attention_mask, rows.known, self.x0, x0_prev)
        logits, estimate = self.denoiser.read_out(hidden[counted], x_t[counted], logsnr[counted])
        if self.temperature != 1.0:
            logits = logits / self.temperature
            estimate = self.denoiser.embedding.mean(logits)
        self.logits.append(logits)
        x0_hat = torch.zeros_like(x_t)
        x0_hat[counted] = estimate
        return x0_hat


def carried_estimate(student: Reader, clock: Times, times: Times) -> Tensor:
    """What a sampler would hand on to time t: the student's estimate at the time before, [B, L, D].

    It is made from the same x0 and eps, which DDIM keeps, and itself starts from nothing. Zeros at the first
    time and on rows that are not self-conditioned. Teacher and student get the same, so that the target is a
    function of what the student sees.
    """
    rows = student.rows
    estimate = student(student.scheduler.add_noise(student.x0, rows.eps, times.before), times.before, None)
    there = rows.self_conditioned[:, None] & (clock.before > clock.t)
    return torch.where(there[..., None], estimate, 0.0)


def distillation_terms(
    student: TextDenoiser,
    teacher: TextDenoiser,
    scheduler: Scheduler,
    rows: Rows,
    steps: int,
    *,
    teacher_temperature: float = 1.0,
) -> dict[str, Tensor]:
    """What the student pays, means over the counted tokens of every row, [B] each.

    "distance": max(snr(t), 1) |x0_hat - x~|^2 over the D axis (truncated SNR, arXiv 2202.00512, section 4).
    "divergence": KL from the teacher's mixed distribution over tokens to the student's, nats.

    Args:
        student: gets the gradient.
        teacher: gets none; shares the student's word vectors.
        scheduler: the noise curve of both.
        rows: the batch.
        steps: of the student; the teacher takes twice as many.
        teacher_temperature: divides the teacher's logits, so that the student learns to walk with it.
    """
    clock, counted = draw_clock(scheduler, rows.level, steps), rows.counted
    times = token_times(rows, clock, teacher.config.stagger, steps)
    with torch.no_grad():
        x0 = teacher.embedding.embed(rows.input_ids)
        x_t = scheduler.add_noise(x0, rows.eps, times.t)
        x0_prev = carried_estimate(Reader(student, scheduler, rows, x0), clock, times)
        read = Reader(teacher, scheduler, rows, x0, teacher_temperature)
        target = two_steps(read, scheduler, x_t, x0_prev, times)[counted]
        first, second = (logits.softmax(-1) for logits in read.logits)
        chances = torch.lerp(first, second, second_share(scheduler, times)[counted, None].float())
    own = Reader(student, scheduler, rows, x0)
    x0_hat = own(x_t, times.t, x0_prev)[counted]
    weight = scheduler.logsnr(times.t)[counted].exp().clamp(min=1.0).float()
    divergence = F.kl_div(own.logits[0].log_softmax(-1), chances, reduction="none").sum(-1)
    return {
        "distance": rows.row_mean(weight * (x0_hat - target).pow(2).sum(-1)),
        "divergence": rows.row_mean(divergence),
    }


class Distillation(nn.Module):
    """One round as Trainer steps it: `forward` is the loss of `student`, which starts as a copy of `teacher`.

    The word vectors stay the teacher's: they are the space in which both walk.

    Args:
        teacher: a categorical model; frozen here.
        steps: of the student; the teacher's grid has twice as many.
        seed: of all noise.
        teacher_temperature: as in `distillation_terms`.

    Raises:
        ValueError: if a number is out of range, or the model has no distribution over tokens.
    """

    def __init__(
        self, teacher: DiffusionLMModel, steps: int, *, seed: int = 0, teacher_temperature: float = 1.0
    ) -> None:
        super().__init__()
        if steps < 1:
            raise ValueError(f"steps is {steps}: it must be at least 1.")
        if not teacher_temperature > 0:
            raise ValueError(f"The temperature is {teacher_temperature}: it must be above 0 (1 = off).")
        if not teacher.config.categorical:
            raise ValueError("This model has the recipe diffusion_lm: give one with a bound to distil.")
        self.steps, self.seed, self.teacher_temperature = steps, seed, teacher_temperature
        self.student = copy.deepcopy(teacher).requires_grad_(True)
        self.student.denoiser.embedding.requires_grad_(False)
        self.student.config.distilled_steps = steps
        self.teacher = teacher.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> Distillation:
        """Set the student's mode; the teacher stays in evaluation."""
        super().train(mode)
        self.teacher.eval()
        return self

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, known: Tensor, sample_index: Tensor
    ) -> dict[str, Tensor]:
        """The loss, the mean over rows, and its terms; arguments as for `DiffusionLMModel`."""
        rows = draw_rows(
            input_ids, attention_mask, known.bool(), sample_index,
            dim=self.teacher.config.embedding_dim, seed=self.seed, self_conditioning_rate=CARRIED,
        )  # fmt: skip
        terms = distillation_terms(
            self.student.denoiser, self.teacher.denoiser, self.teacher.scheduler, rows, self.steps,
            teacher_temperature=self.teacher_temperature,
        )  # fmt: skip
        means = {name: term.mean() for name, term in terms.items()}
        loss = torch.stack(list(means.values())).sum()
        return {"loss": loss, **{name: value.detach() for name, value in means.items()}}
