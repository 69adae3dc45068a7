"""From plans to token ids: drives the samplers with the text denoiser, one batch of candidates at a time.

Every candidate owns its noise: what comes out does not depend on how many others are drawn beside it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
import torch
from torch import Tensor

from textdiff.diffusion.corrections import keep_known
from textdiff.diffusion.samplers import SAMPLERS, sample
from textdiff.diffusion.scheduler import Scheduler
from textdiff.diffusion.stagger import own_times, random_starts, spread_of
from textdiff.text.denoiser import TextDenoiser
from textdiff.text.plans import Plan, batch
from textdiff.text.vocabulary import Vocabulary

Readings = list[list[list[int]]]  # candidate, blank, token


class Options(TypedDict, total=False):
    """How to sample: keyword arguments of every sampling call, with the defaults of `Sampling`.

    Attributes:
        num_inference_steps: Strides from noise to text; the denoiser is called once more than that.
        sampler: "ddpm", "ddim", "dpmpp_2m" or "churn".
        temperature: Divides the logits of every call; below 1 trades diversity for likelihood, 1 is off.
        seed: Of all noise; sample k is the same however many are drawn.
        generator: Where the seed comes from, if none is given; with neither, noise is fresh.
    """

    num_inference_steps: int
    sampler: str
    temperature: float
    seed: int | None
    generator: torch.Generator | None


@dataclass(frozen=True)
class Sampling:
    """Checked `Options`.

    Raises:
        ValueError: if a value is out of range or the sampler unknown.
    """

    num_inference_steps: int = 32
    sampler: str = "ddpm"
    temperature: float = 0.7
    seed: int | None = None
    generator: torch.Generator | None = None

    def __post_init__(self) -> None:
        if self.num_inference_steps < 1:
            raise ValueError(f"num_inference_steps is {self.num_inference_steps}: it must be at least 1.")
        if self.sampler not in SAMPLERS:
            raise ValueError(f"Unknown sampler {self.sampler!r}: choose {', '.join(sorted(SAMPLERS))}.")
        if not self.temperature > 0:
            raise ValueError(f"temperature is {self.temperature}: it must be above 0 (1 = off).")
        if self.seed is not None and self.seed < 0:
            raise ValueError(f"The seed is {self.seed}: it must be at least 0.")

    def pick_seed(self) -> int:
        """The seed given, or one drawn from the generator, or a fresh one."""
        if self.seed is not None:
            return self.seed
        if self.generator is not None:
            drawn = torch.randint(2**62, (1,), generator=self.generator, device=self.generator.device)
            return int(drawn)
        return secrets.randbits(62)


class Reader:
    """The text denoiser as samplers know it, under fixed conditions; it keeps the logits of its last call."""

    def __init__(
        self, denoiser: TextDenoiser, scheduler: Scheduler, plans: Sequence[Plan], temperature: float = 1.0
    ) -> None:
        self.denoiser, self.scheduler, self.temperature = denoiser, scheduler, temperature
        ids, self.attention_mask, self.known = batch(plans, denoiser.embedding.weight.device)
        self.x0_known = denoiser.embedding.embed(ids)
        self.logits = self.x0_known.new_empty(0)  # [B, L, V] after a call

    def __call__(self, x_t: Tensor, t: Tensor, x0_prev: Tensor | None) -> Tensor:
        self.logits, x0_hat = self.denoiser(
            x_t, self.scheduler.logsnr(t),
            attention_mask=self.attention_mask, known=self.known, x0_known=self.x0_known, x0_prev=x0_prev,
        )  # fmt: skip
        if not self.denoiser.config.categorical:
            return self.denoiser.embedding.clamp(x0_hat)
        return x0_hat if self.temperature == 1.0 else self.denoiser.embedding.mean(self.logits / self.temperature)


def walk(
    denoiser: TextDenoiser,
    scheduler: Scheduler,
    vocabulary: Vocabulary,
    plans: Sequence[Plan],
    seeds: Sequence[int],
    sampling: Sampling,
) -> Iterator[Readings]:
    """Denoise plans together and yield what their blanks read after every call of the denoiser; the last is the result.

    Args:
        denoiser: of the model.
        scheduler: its noise curve.
        vocabulary: its tokens.
        plans: B candidates.
        seeds: one number for each candidate's noise.
        sampling: steps, sampler and temperature.
    """
    lengths = [len(plan.ids) for plan in plans]
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    reader = Reader(denoiser, scheduler, plans, sampling.temperature)
    shape = reader.x0_known.shape
    device = reader.x0_known.device

    def own_noise() -> Tensor:
        noise = torch.zeros(shape)
        for row, (length, generator) in enumerate(zip(lengths, generators, strict=True)):
            noise[row, :length] = torch.randn(length, shape[-1], generator=generator)
        return noise.to(device)

    def step(scheduler: Scheduler, x_t: Tensor, *arguments: Tensor | None) -> Tensor:
        return SAMPLERS[sampling.sampler](scheduler, x_t, *arguments[:-1], own_noise())

    order = torch.zeros(shape[:2])
    for row, (length, seed) in enumerate(zip(lengths, seeds, strict=True)):
        order[row, :length] = torch.randn(length, generator=torch.Generator().manual_seed(seed + 1))
    clock = clock_of(reader, order.to(device), sampling.num_inference_steps)
    grid = scheduler.times(sampling.num_inference_steps)
    correct = keep_known(reader.x0_known, reader.known, scheduler) if reader.known.any() else None
    start = own_noise()
    if correct is not None:
        start = correct(start, start, torch.ones(len(plans), dtype=torch.float64, device=device))
    unused = torch.Generator().manual_seed(0)  # the loop's own noise would depend on the padding
    with torch.inference_mode():
        states = sample(
            reader, start, torch.cat([grid, grid.new_zeros(1)]), scheduler,
            step=step, correct=correct, own_times=clock, generator=unused,
        )  # fmt: skip
        for _ in states:
            yield read_blanks(reader.logits, plans, vocabulary)


def clock_of(reader: Reader, order: Tensor, steps: int) -> Callable[[Tensor], Tensor]:
    """From clock time t [B] to every token's own time [B, L]: staggered as trained, as far as the steps allow.

    Args:
        reader: of the plans.
        order: random numbers, [B, L].
        steps: of the walk.
    """
    start, count = random_starts(order, reader.attention_mask, (reader.attention_mask > 0) & ~reader.known)
    spread = spread_of(reader.denoiser.config.stagger, count, steps=steps)
    return lambda t: own_times(t[:, None], start, spread)


def read_blanks(logits: Tensor, plans: Sequence[Plan], vocabulary: Vocabulary) -> Readings:
    """The likeliest tokens of every blank; logits: [B, L, V]."""
    rows = logits.cpu()
    return [
        [vocabulary.read(row[span], rule=rule) for span, rule in zip(plan.spans, plan.rules, strict=True)]
        for row, plan in zip(rows, plans, strict=True)
    ]


def candidate_seeds(seed: int, count: int) -> list[int]:
    """A number for each candidate's noise, which does not depend on how many there are."""
    return [int(np.random.SeedSequence([seed, k]).generate_state(1, np.uint64)[0] >> 1) for k in range(count)]
