"""The likelihood bound of texts, and of fills given their context, in nats.

-log p(text | its length) <= reconstruction + diffusion + prior (VDM, arXiv 2107.00630, eqs. 11-15), the diffusion
integral taken at evenly spread times of the noise curve; where tokens leave the noise one after another
(`diffusion.stagger`), in an order drawn anew for every time. The same noise levels bound it from both sides: the
reconstruction is read at t = 0, the prior at t = 1. Estimates of x0 are self-conditioned on a first one, made from
the same x_t. A model that reads tokens in order (`ordered_denoiser`) needs no such draws: its tokens leave one at a
time, and each costs its cross-entropy given those before it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypedDict, Unpack

import torch
from torch import Tensor
from torch.nn import functional as F

from textdiff.diffusion.losses import diffusion_density, logsnr_and_slope, prior_term, sample_normal
from textdiff.diffusion.scheduler import Scheduler
from textdiff.diffusion.stagger import ORDERS, order_of, own_times, ranks_of, starts_of, wait_of
from textdiff.text.denoiser import TextDenoiser
from textdiff.text.estimate import estimate
from textdiff.text.ordered_denoiser import OrderedDenoiser, usual_order
from textdiff.text.plans import Plan, batch

ROWS_AT_ONCE = 64


@dataclass(frozen=True)
class Bound:
    """An upper bound on -log p of texts given their lengths, with its 95 % confidence interval.

    The interval covers the choice of texts and the noise; for a single text the noise alone.
    """

    nats_per_token: float
    nats_per_token_interval: tuple[float, float]
    bits_per_byte: float
    bits_per_byte_interval: tuple[float, float]
    length_nats_per_token: float  # what the lengths cost on top, -log p(length) under the training data's counts
    tokens: int
    bytes: int
    nats: tuple[float, ...]  # of every text, without its length


class BoundOptions(TypedDict, total=False):
    """How to charge texts: keyword arguments of `bound` and `DiffusionLM.score`.

    Attributes:
        levels: Noise levels each window is estimated at, at least 2 (8 for a fair interval; default 32). Of a model
            that reads tokens in order: orders, where they are random.
        seed: Of the noise (default 0).
        order: In which tokens leave the noise: "left" (to right, the default of models that read in order), "blocks"
            (of four) or "random" (that of others), and others of `stagger.ORDERS`.
    """

    levels: int
    seed: int
    order: str | None


@torch.inference_mode()
def position_nats(
    denoiser: TextDenoiser, scheduler: Scheduler, plans: Sequence[Plan], t: Tensor, noise: Tensor, *,
    two_passes: bool, steps: int | None = None, order: str = "random",
) -> Tensor:  # fmt: skip
    """One draw of every position's bound at clock times t, [B, L] in nats; zero where known or padded.

    At t > 0: the diffusion integrand, whose mean over uniform t is the diffusion term. At t = 0: -log p(w | x_0).

    Args:
        denoiser: of the model.
        scheduler: its noise curve.
        plans: B texts, blanks filled.
        t: [B].
        noise: standard normal, [B, L, D + 1]; its last coordinate orders the tokens.
        two_passes: condition the estimate on a first one.
        steps: clock times that each text is looked at, where they are few: tokens then stay closer together
            (`stagger.wait_of`), a looser bound with less noise in it.
        order: in which they leave the noise, of `stagger.ORDERS`.
    """
    device = denoiser.embedding.weight.device
    ids, mask, known = batch(plans, device)
    x0 = denoiser.embedding.embed(ids)
    counted = (mask > 0) & ~known
    turns = order_of(order, noise[..., -1].to(device), mask, counted)
    start, count = starts_of(turns, mask, counted)
    wait = wait_of(denoiser.config.stagger, count, steps=steps)
    own = own_times(t.to(device)[:, None], start, wait)
    with torch.inference_mode(False):
        logsnr, slope = logsnr_and_slope(scheduler, own.clone())
    x_t = scheduler.add_noise(x0, noise[..., :-1].to(device), own)
    rank = ranks_of(turns, mask, counted)
    given: dict[str, Any] = {"attention_mask": mask, "known": known, "x0_known": x0, "rank": rank}
    first = estimate(denoiser, scheduler, x_t, own, None, **given).x0_hat if two_passes else None
    logits, x0_hat = estimate(denoiser, scheduler, x_t, own, first, **given)
    moving = (own > 0) & (own < 1)
    density = torch.where(moving, diffusion_density(x0, x0_hat, logsnr) * (slope * (1 + wait)).float(), 0.0)
    if not denoiser.config.categorical:
        logits = denoiser.prior_logits(x_t, logsnr)  # regression has no decoder of its own: the best there is
    nll = F.cross_entropy(logits.transpose(1, 2), ids, reduction="none")
    return torch.where(counted, torch.where(t.to(device)[:, None] > 0, density, nll), 0.0).cpu()


def order_nats(denoiser: OrderedDenoiser, plans: Sequence[Plan], noise: Tensor, *, order: str) -> Tensor:
    """-log p(token | those before it in an order) at every position, [B, L] in nats; zero where known or padded.

    With the prior (`prior_nats`) it is no less than the bound of `position_nats`: a token alone on its way costs
    -log p(token | x_1) + KL(q(x_1 | token) || N), of which the first is the cross-entropy given x_1 too.

    Args:
        denoiser: of the model.
        plans: B texts, blanks filled.
        noise: continuous, [B, L], for orders that are random.
        order: of `stagger.ORDERS`.
    """
    return _lesson_nats(denoiser, plans, noise, order, given=False)


def given_nats(denoiser: OrderedDenoiser, plans: Sequence[Plan]) -> Tensor:
    """-log p of the given tokens of plans, each given those to its left and where blanks lie, [B] in nats."""
    found = []
    for at in range(0, len(plans), ROWS_AT_ONCE):
        rows = plans[at : at + ROWS_AT_ONCE]
        noise = torch.zeros(len(rows), max(len(plan.ids) for plan in rows))
        found.append(_lesson_nats(denoiser, rows, noise, "left", given=True).sum(1))
    return torch.cat(found)


@torch.inference_mode()
def _lesson_nats(
    denoiser: OrderedDenoiser, plans: Sequence[Plan], noise: Tensor, order: str, *, given: bool
) -> Tensor:
    """What the given tokens, or the others, cost after those before them, [B, L] in nats; zero elsewhere."""
    ids, mask, known = batch(plans, denoiser.embedding.weight.device)
    free = (mask > 0) & ~known
    rank = ranks_of(order_of(order, noise.to(ids.device), mask, free), mask, free)
    asked = known if given else free
    states = denoiser.lessons(ids, mask, known, rank)[asked]
    nats = torch.zeros(ids.shape, device=ids.device)
    nats[asked] = F.cross_entropy(denoiser.predict(states).float(), ids[asked], reduction="none")
    return nats.cpu()


def prior_nats(denoiser: TextDenoiser, scheduler: Scheduler, plans: Sequence[Plan]) -> Tensor:
    """KL(q(x_1 | x0) || N(0, I)) of every text's unknown positions, [B] in nats."""
    ids, mask, known = batch(plans, denoiser.embedding.weight.device)
    x0 = denoiser.embedding.embed(ids).detach()
    each = prior_term(x0, scheduler.logsnr(torch.ones(1, device=x0.device)))
    return torch.where((mask > 0) & ~known, each, 0.0).sum(1).float().cpu()


def draws_of(denoiser: TextDenoiser, levels: int, order: str | None) -> tuple[int, int]:
    """How often each text is looked at: on its way, and at t = 0."""
    if not isinstance(denoiser, OrderedDenoiser):
        return levels, max(2, levels // 4)
    return (1 if (order or usual_order(denoiser)) == "left" else levels), 0


def calls_of(denoiser: TextDenoiser, texts: int, *, levels: int, order: str | None) -> int:
    """Calls of the denoiser's transformer in `text_nats` of so many texts."""
    passes = 1 if isinstance(denoiser, OrderedDenoiser) else 2
    return passes * math.ceil(texts * sum(draws_of(denoiser, levels, order)) / ROWS_AT_ONCE)


def text_nats(
    denoiser: TextDenoiser, scheduler: Scheduler, plans: Sequence[Plan], *, levels: int, seed: int,
    order: str | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """The bound of every text and the variance of its estimate: [N] in nats, [N] in nats squared (from above).

    Args:
        denoiser: of the model.
        scheduler: its noise curve.
        plans: N texts.
        levels: noise levels of each text, evenly spread from a random start, and a quarter as many reconstructions; of
            a model that reads tokens in order, orders, where they are random.
        seed: of the noise; a text's noise depends on its place in the list alone.
        order: in which tokens leave the noise, of `stagger.ORDERS`; by default `usual_order`.
    """
    order, exact = order or usual_order(denoiser), isinstance(denoiser, OrderedDenoiser)
    levels, ends = draws_of(denoiser, levels, order)
    shifts = torch.rand(len(plans), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    times = torch.cat([(torch.arange(levels) + shifts[:, None]) / levels, torch.zeros(len(plans), ends)], dim=1)
    draws = times.numel()
    nats = torch.zeros(draws)
    by_length = sorted(range(draws), key=lambda i: len(plans[i // (levels + ends)].ids))  # little padding
    for at in range(0, draws, ROWS_AT_ONCE):
        chosen = torch.tensor(by_length[at : at + ROWS_AT_ONCE])
        rows = [plans[i // (levels + ends)] for i in chosen.tolist()]
        shape = (max(len(plan.ids) for plan in rows), 1 if exact else denoiser.config.embedding_dim + 1)
        noise = sample_normal(shape, chosen, seed)
        if isinstance(denoiser, OrderedDenoiser):
            each = order_nats(denoiser, rows, noise[..., -1], order=order)
        else:
            t = times.flatten()[chosen]
            each = position_nats(denoiser, scheduler, rows, t, noise, two_passes=True, order=order)
        nats[chosen] = each.sum(1)
    nats = nats.view(len(plans), levels + ends)
    prior = prior_nats(denoiser, scheduler, plans)
    parts = [part for part in (nats[:, :levels], nats[:, levels:]) if part.shape[1]]
    variance = torch.stack([part.var(1) / part.shape[1] if part.shape[1] > 1 else prior * 0 for part in parts]).sum(0)
    return torch.stack([part.mean(1) for part in parts]).sum(0) + prior, variance


def bound(
    denoiser: TextDenoiser,
    scheduler: Scheduler,
    texts: Sequence[tuple[list[int], int]],
    *,
    length_counts: Sequence[int],
    **options: Unpack[BoundOptions],
) -> Bound:
    """The bound of a corpus, a ratio of sums; texts beyond the model's window are scored in windows.

    Args:
        denoiser: of the model.
        scheduler: its noise curve.
        texts: token ids of every text, at least one token, and its number of bytes.
        length_counts: how many training texts have 0, 1, 2, ... tokens.
        **options: see `BoundOptions`.

    Raises:
        ValueError: if the levels are fewer than 2, or the order is unknown.
    """
    levels, order = options.get("levels", 32), options.get("order")
    if levels < 2:
        raise ValueError(f"levels is {levels}: it must be at least 2.")
    if order not in (None, *ORDERS):
        raise ValueError(f"Unknown order {order!r}: choose {', '.join(ORDERS)}.")
    window = denoiser.config.max_position_embeddings
    owners, plans = [], []
    for i, (ids, _) in enumerate(texts):
        for at in range(0, len(ids), window):
            part = tuple(ids[at : at + window])
            owners.append(i)
            plans.append(Plan(part, (False,) * len(part), (), ()))
    nats, variances = text_nats(
        denoiser, scheduler, plans, levels=levels, seed=options.get("seed", 0), order=order
    )
    zeros = torch.zeros(len(texts), dtype=torch.float64)
    each = zeros.index_add(0, torch.tensor(owners), nats.double())
    tokens = torch.tensor([float(len(ids)) for ids, _ in texts], dtype=torch.float64)
    sizes = torch.tensor([float(size) for _, size in texts], dtype=torch.float64)
    noise = float(variances.sum())
    per_token, per_byte = (_ratio(each, total, noise) for total in (tokens, sizes))
    lengths = sum(length_nats(length_counts, len(plan.ids), window) for plan in plans)
    return Bound(
        nats_per_token=per_token[1], nats_per_token_interval=(per_token[0], per_token[2]),
        bits_per_byte=per_byte[1] / math.log(2),
        bits_per_byte_interval=(per_byte[0] / math.log(2), per_byte[2] / math.log(2)),
        length_nats_per_token=lengths / float(tokens.sum()),
        tokens=int(tokens.sum()), bytes=int(sizes.sum()), nats=tuple(each.tolist()),
    )  # fmt: skip


def _ratio(nats: Tensor, sizes: Tensor, noise_variance: float) -> tuple[float, float, float]:
    """sum(nats) / sum(sizes) between the ends of its 95 % interval."""
    mean = float(nats.sum() / sizes.sum())
    count = len(nats)
    variance = noise_variance
    if count > 1:
        variance = float((nats - mean * sizes).pow(2).sum()) * count / (count - 1)
    half = 1.96 * math.sqrt(variance) / float(sizes.sum())
    return mean - half, mean, mean + half


def length_nats(length_counts: Sequence[int], length: int, window: int) -> float:
    """-log p(length), every length counted once more than seen."""
    counts = [1 + (length_counts[n] if n < len(length_counts) else 0) for n in range(1, window + 1)]
    return math.log(sum(counts) / counts[length - 1])
