"""From plans to token ids: drives the samplers with the text denoiser, one batch of candidates at a time.

Every candidate owns its noise: what comes out does not depend on how many others are drawn beside it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypedDict

import torch
from torch import Tensor, nn

from textdiff.diffusion import stagger
from textdiff.diffusion.corrections import keep_known
from textdiff.diffusion.guidance import Energy
from textdiff.diffusion.limits import check_guidance, check_seed, check_steps, check_top_p
from textdiff.diffusion.samplers import SAMPLERS, Step, ddpm_step, sample
from textdiff.diffusion.scheduler import Scheduler
from textdiff.text.denoiser import Prefix, TextDenoiser
from textdiff.text.estimate import source_guided
from textdiff.text.ordered import Memory
from textdiff.text.ordered_denoiser import OrderedDenoiser, usual_order
from textdiff.text.own_noise import OwnNoise
from textdiff.text.plans import Plan, barred_tokens, batch
from textdiff.text.steering import tilted
from textdiff.text.vocabulary import Vocabulary, draw, nucleus

CATEGORICAL = "categorical"
TEXT_SAMPLERS = (CATEGORICAL, *SAMPLERS)
COLDEST, HOTTEST = 1e-6, 1e6  # temperatures

Readings = list[list[list[int]]]  # candidate, blank, token


class Options(TypedDict, total=False):
    """How to sample: keyword arguments of every sampling call, with the defaults of `Sampling`.

    Attributes:
        num_inference_steps: Strides from noise to text; the denoiser is called once more than that.
        sampler: "categorical" draws tokens from the estimated distributions and steps towards them; "ddpm", "ddim",
            "dpmpp_2m" and "churn" step towards x0_hat, their mean. None: the first, or "ddpm" for a model that
            regresses x0_hat.
        temperature: Divides what the network's logits add to the evidence of x_t, which stays as it is: so a lone
            token has its chances to the power 1 / temperature in any number of steps. Below 1 trades diversity for
            likelihood, 1 is off.
        top_p: Draws from the likeliest tokens alone, as few as have this chance together (nucleus sampling, arXiv
            1904.09751, section 3.1); 1 is off. For models that read tokens in order.
        order: In which tokens leave the noise (`stagger.order_of`): "stretches" (from left to right, at several places
            where steps are few), "spread" (at random, or far from each other where steps are few), "left" (to right),
            "blocks" (of four, from left to right, each at random) or "random". None: the first for a model that reads
            tokens in order, the second for others and under control.
        seed: Of all noise; sample k is the same however many are drawn.
        generator: Where the seed comes from, if none is given; with neither, noise is fresh.
        control: An energy (`textdiff.text.energies`): what is drawn leans to where it is low (`steering.tilted`).
        guidance_scale: How strongly; 0 = off, 1 = the posterior, to first order, above 1 exaggerates.
        guidance_rounds: Gradients of the energy taken in every step.
    """

    num_inference_steps: int
    sampler: str | None
    temperature: float
    top_p: float
    order: str | None
    seed: int | None
    generator: torch.Generator | None
    control: Energy | None
    guidance_scale: float
    guidance_rounds: int


@dataclass(frozen=True)
class Sampling:
    """Checked `Options`.

    Raises:
        ValueError: if a value is out of range or the sampler unknown.
    """

    num_inference_steps: int = 32
    sampler: str | None = None
    temperature: float = 0.7
    top_p: float = 1.0
    order: str | None = None
    seed: int | None = None
    generator: torch.Generator | None = None
    control: Energy | None = None
    guidance_scale: float = 1.0
    guidance_rounds: int = 3

    def __post_init__(self) -> None:
        check_steps(self.num_inference_steps)
        if self.sampler is not None and self.sampler not in TEXT_SAMPLERS:
            raise ValueError(f"Unknown sampler {self.sampler!r}: choose {', '.join(TEXT_SAMPLERS)}.")
        if not COLDEST <= self.temperature <= HOTTEST:
            raise ValueError(f"temperature is {self.temperature}: it must be {COLDEST} to {HOTTEST:g} (1 = off).")
        check_top_p(self.top_p)
        if self.order not in (None, *stagger.ORDERS):
            raise ValueError(f"Unknown order {self.order!r}: choose {', '.join(stagger.ORDERS)}.")
        check_guidance("guidance_scale", self.guidance_scale, off=0)
        if self.guidance_rounds < 1:
            raise ValueError(f"guidance_rounds is {self.guidance_rounds}: it must be at least 1.")
        check_seed(self.seed)

    def sampler_for(self, denoiser: TextDenoiser) -> str:
        """The name of the sampler for a denoiser.

        Raises:
            ValueError: if it, or a control, wants distributions over tokens and the denoiser regresses vectors; if
                top_p is below 1 and tokens are not drawn in one stride each.
        """
        if not denoiser.config.categorical:
            if self.sampler == CATEGORICAL:
                raise ValueError(
                    f"This model has no distributions over tokens: choose {', '.join(SAMPLERS)} as its sampler."
                )
            if self.control is not None:
                raise ValueError("This model has no distributions over tokens: it takes no control.")
        name = self.sampler or (CATEGORICAL if denoiser.config.categorical else "ddpm")
        if self.top_p < 1 and not (name == CATEGORICAL and isinstance(denoiser, OrderedDenoiser)):
            raise ValueError(
                f"top_p is {self.top_p}: it is for the sampler {CATEGORICAL!r} of models that read tokens in order, "
                "which draw each once; leave it at 1."
            )
        return name

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
        self,
        denoiser: TextDenoiser,
        scheduler: Scheduler,
        plans: Sequence[Plan],
        vocabulary: Vocabulary,
        sampling: Sampling,
        *,
        source_guidance: float = 1.0,
        prefix: Prefix | None = None,
    ) -> None:
        self.denoiser, self.scheduler, self.sampling = denoiser, scheduler, sampling
        self.source_guidance, self.prefix = source_guidance, prefix
        device = denoiser.embedding.weight.device
        self.ids, self.attention_mask, self.known = batch(plans, device)
        sizes = torch.tensor([plan.source for plan in plans], device=device)
        self.source = torch.arange(self.ids.shape[1], device=device) < sizes[:, None]  # bool [B, L]
        self.barred = barred_tokens(plans, vocabulary, device)
        self.x0_known = denoiser.embedding.embed(self.ids)
        self.free = (self.attention_mask > 0) & ~self.known
        self.settled = torch.zeros_like(self.known)  # read when they were clean: no other call changes them
        self.read = self.x0_known.new_zeros(*self.ids.shape, denoiser.config.vocab_size)  # the model's own logits
        self.logits = self.read  # [B, L, V], tempered and, where there is a control, steered
        self.x0_hat = self.x0_known
        self.rank: Tensor | None = None
        ordered = isinstance(denoiser, OrderedDenoiser)
        self.memory = Memory(self.ids.shape[1]) if ordered and source_guidance == 1.0 else None
        self.later: Iterator[Tensor] | None = None  # own times after each call; None = read all, moving or not
        self.wanted = self.free

    def __call__(self, x_t: Tensor, t: Tensor, x0_prev: Tensor | None) -> Tensor:
        clean = t.expand(self.known.shape) == 0
        wanted = self.free & ~(self.settled & clean)
        if self.later is not None:
            wanted = wanted & (clean | (next(self.later, t) < t))
        logits, x0_hat = source_guided(
            self.denoiser, self.scheduler, x_t, t, x0_prev,
            attention_mask=self.attention_mask, known=self.known, x0_known=self.x0_known,
            source=self.source, source_guidance=self.source_guidance, wanted=wanted, prefix=self.prefix,
            temperature=self.sampling.temperature, barred=None if self.barred is None else self.barred[wanted],
            rank=self.rank, memory=self.memory,
        )  # fmt: skip
        self.settled, self.wanted = clean, wanted
        self.read[wanted], self.x0_hat = logits, self.x0_hat.clone()
        self.x0_hat[wanted] = x0_hat if self.denoiser.config.categorical else self.denoiser.embedding.clamp(x0_hat)
        if self.sampling.control is not None and self.sampling.guidance_scale > 0:
            self.logits = self._steered(self.sampling.control, t)
            self.x0_hat = self.denoiser.embedding.mean(self.logits)
        return self.x0_hat

    def _steered(self, control: Energy, t: Tensor) -> Tensor:
        """The last logits as the control wants them."""
        return tilted(
            self.read, t, control, self.free, self.given,
            guidance_scale=self.sampling.guidance_scale, rounds=self.sampling.guidance_rounds,
        )  # fmt: skip

    @cached_property
    def given(self) -> Tensor:
        """Distributions over tokens where they are given, one token each; zeros elsewhere. [B, L, V]."""
        return nn.functional.one_hot(self.ids, self.denoiser.config.vocab_size).float() * self.known[..., None]

    def drawn(self, uniform: Tensor) -> Tensor:
        """Clean vectors of tokens drawn from the last call's distributions, [B, L, D]; uniform: in [0, 1), [B, L]."""
        below_one = uniform.clamp(max=1 - 1e-6).to(self.logits.dtype)  # in float32 too: the last token may be barred
        moving, clean = self.wanted & ~self.settled, self.x0_hat.clone()
        logits = nucleus(self.logits[moving], self.sampling.top_p)
        clean[moving] = self.denoiser.embedding.embed(draw(logits, below_one[moving]))
        return clean


def walk(
    denoiser: TextDenoiser,
    scheduler: Scheduler,
    vocabulary: Vocabulary,
    plans: Sequence[Plan],
    seeds: Sequence[int],
    sampling: Sampling,
    *,
    last_only: bool = False,
    source_guidance: float = 1.0,
    prefix: Prefix | None = None,
) -> Iterator[Readings]:
    """Denoise plans together and yield what their blanks read after every call of the denoiser; the last is the result.

    Args:
        denoiser: of the model.
        scheduler: its noise curve.
        vocabulary: its tokens.
        plans: B candidates.
        seeds: one number for each candidate's noise.
        sampling: steps, sampler and temperature.
        last_only: yield the result alone.
        source_guidance: how strongly sources and prefix are followed (`estimate.source_guided`); 1 = off.
        prefix: what stands before the plans' texts, B rows of it.
    """
    lengths = [len(plan.ids) for plan in plans]
    reader = Reader(denoiser, scheduler, plans, vocabulary, sampling, source_guidance=source_guidance, prefix=prefix)
    dim, device = denoiser.config.embedding_dim, reader.x0_known.device
    noise = OwnNoise(lengths, seeds, device)
    order = OwnNoise(lengths, [seed + 1 for seed in seeds], device).uniform()
    sampler = sampling.sampler_for(denoiser)
    move: Step = ddpm_step if sampler == CATEGORICAL else SAMPLERS[sampler]

    def step(scheduler: Scheduler, x_t: Tensor, x0_hat: Tensor, *arguments: Tensor | None) -> Tensor:
        goal = reader.drawn(noise.uniform()) if sampler == CATEGORICAL else x0_hat
        return move(scheduler, x_t, goal, *arguments[:-1], noise.normal(dim))

    grid = scheduler.times(sampling.num_inference_steps)
    times = torch.cat([grid, grid.new_zeros(1)])
    own = clock_of(reader, order, sampling, drawn=sampler == CATEGORICAL)
    if isinstance(denoiser, OrderedDenoiser) and last_only and sampling.control is None:
        reader.later = (own(s.expand(len(plans))) for s in times[1:].to(device))
    correct = keep_known(reader.x0_known, reader.known, scheduler) if reader.known.any() else None
    start = noise.normal(dim)
    if correct is not None:
        start = correct(start, start, torch.ones(len(plans), dtype=torch.float64, device=device))
    unused = torch.Generator().manual_seed(0)  # the loop's own noise would depend on the padding
    with torch.inference_mode():
        states = sample(
            reader, start, times, scheduler, step=step, correct=correct, own_times=own, generator=unused,
        )  # fmt: skip
        for state in states:
            if not last_only or state.nfe > sampling.num_inference_steps:
                yield read_blanks(reader.logits, plans, vocabulary)


def clock_of(reader: Reader, noise: Tensor, sampling: Sampling, *, drawn: bool) -> Callable[[Tensor], Tensor]:
    """From clock time t [B] to every token's own time [B, L]: staggered as trained, as far as the steps allow.

    Args:
        reader: of the plans.
        noise: in [0, 1), [B, L].
        sampling: steps and order of the walk.
        drawn: whether tokens step towards tokens, which one step may do, or towards a mean, which no token is.
    """
    steps = sampling.num_inference_steps
    controlled = sampling.control is not None  # what is wished for finds its place where all places are open
    name = sampling.order or ("spread" if controlled else usual_order(reader.denoiser, drawing=True))
    order = stagger.order_of(name, noise, reader.attention_mask, reader.free, steps=steps)
    reader.rank = stagger.ranks_of(order, reader.attention_mask, reader.free)
    if drawn and isinstance(reader.denoiser, OrderedDenoiser):  # one call says all that the clean ones know
        stride = stagger.strides_of(*stagger.turns_of(order, reader.attention_mask, reader.free), steps)
        return lambda t: stagger.stride_times(t[:, None], stride, steps)
    start, count = stagger.starts_of(order, reader.attention_mask, reader.free)
    way = stagger.STEPS_OF_A_DRAWN_WAY if drawn else stagger.STEPS_OF_A_WAY
    wait = stagger.wait_of(reader.denoiser.config.stagger, count, steps=steps, steps_of_a_way=way)
    return lambda t: stagger.own_times(t[:, None], start, wait)


def read_blanks(logits: Tensor, plans: Sequence[Plan], vocabulary: Vocabulary) -> Readings:
    """The likeliest tokens of every blank; logits: [B, L, V]."""
    rows = logits.cpu()
    return [
        [vocabulary.read(row[span], rule=rule) for span, rule in zip(plan.spans, plan.rules, strict=True)]
        for row, plan in zip(rows, plans, strict=True)
    ]
