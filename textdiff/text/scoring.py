"""The likelihood bound of texts, and of fills given their context, in nats.

-log p(text | its length) <= reconstruction + diffusion + prior (VDM, arXiv 2107.00630, eqs. 11-15), the diffusion
integral taken at evenly spread times of the noise curve; where tokens leave the noise one after another
(`diffusion.stagger`), in an order drawn anew for every time. The same noise levels bound it from both sides: the
reconstruction is read at t = 0, the prior at t = 1. Estimates of x0 are self-conditioned on a first one, made from
the same x_t.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from textdiff.diffusion.losses import diffusion_density, logsnr_and_slope, prior_term, sample_normal
from textdiff.diffusion.scheduler import Scheduler
from textdiff.diffusion.stagger import own_times, starts_of, wait_of
from textdiff.text.denoiser import TextDenoiser
from textdiff.text.estimate import estimate
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


@torch.inference_mode()
def position_nats(
    denoiser: TextDenoiser, scheduler: Scheduler, plans: Sequence[Plan], t: Tensor, noise: Tensor, *,
    two_passes: bool, steps: int | None = None,
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
    """
    device = denoiser.embedding.weight.device
    ids, mask, known = batch(plans, device)
    x0 = denoiser.embedding.embed(ids)
    counted = (mask > 0) & ~known
    start, count = starts_of(noise[..., -1].to(device), mask, counted)
    wait = wait_of(denoiser.config.stagger, count, steps=steps)
    own = own_times(t.to(device)[:, None], start, wait)
    with torch.inference_mode(False):
        logsnr, slope = logsnr_and_slope(scheduler, own.clone())
    x_t = scheduler.add_noise(x0, noise[..., :-1].to(device), own)
    given: dict[str, Any] = {"attention_mask": mask, "known": known, "x0_known": x0}
    first = estimate(denoiser, scheduler, x_t, own, None, **given).x0_hat if two_passes else None
    logits, x0_hat = estimate(denoiser, scheduler, x_t, own, first, **given)
    moving = (own > 0) & (own < 1)
    density = torch.where(moving, diffusion_density(x0, x0_hat, logsnr) * (slope * (1 + wait)).float(), 0.0)
    if not denoiser.config.categorical:
        logits = denoiser.prior_logits(x_t, logsnr)  # regression has no decoder of its own: the best there is
    nll = F.cross_entropy(logits.transpose(1, 2), ids, reduction="none")
    return torch.where(counted, torch.where(t.to(device)[:, None] > 0, density, nll), 0.0).cpu()


def prior_nats(denoiser: TextDenoiser, scheduler: Scheduler, plans: Sequence[Plan]) -> Tensor:
    """KL(q(x_1 | x0) || N(0, I)) of every text's unknown positions, [B] in nats."""
    ids, mask, known = batch(plans, denoiser.embedding.weight.device)
    x0 = denoiser.embedding.embed(ids).detach()
    each = prior_term(x0, scheduler.logsnr(torch.ones(1, device=x0.device)))
    return torch.where((mask > 0) & ~known, each, 0.0).sum(1).float().cpu()


def text_nats(
    denoiser: TextDenoiser, scheduler: Scheduler, plans: Sequence[Plan], *, levels: int, seed: int
) -> tuple[Tensor, Tensor]:
    """The bound of every text and the variance of its estimate: [N] in nats, [N] in nats squared (from above).

    Args:
        denoiser: of the model.
        scheduler: its noise curve.
        plans: N texts.
        levels: noise levels of each text, evenly spread from a random start; a quarter as many reconstructions.
        seed: of the noise; a text's noise depends on its place in the list alone.
    """
    ends = max(2, levels // 4)
    shifts = torch.rand(len(plans), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    times = torch.cat([(torch.arange(levels) + shifts[:, None]) / levels, torch.zeros(len(plans), ends)], dim=1)
    draws = times.numel()
    nats = torch.zeros(draws)
    order = sorted(range(draws), key=lambda i: len(plans[i // (levels + ends)].ids))  # little padding
    for at in range(0, draws, ROWS_AT_ONCE):
        chosen = torch.tensor(order[at : at + ROWS_AT_ONCE])
        rows = [plans[i // (levels + ends)] for i in chosen.tolist()]
        shape = (max(len(plan.ids) for plan in rows), denoiser.config.embedding_dim + 1)
        noise = sample_normal(shape, chosen, seed)
        each = position_nats(denoiser, scheduler, rows, times.flatten()[chosen], noise, two_passes=True)
        nats[chosen] = each.sum(1)
    nats = nats.view(len(plans), levels + ends)
    inside, reconstruction = nats[:, :levels], nats[:, levels:]
    mean = inside.mean(1) + reconstruction.mean(1) + prior_nats(denoiser, scheduler, plans)
    return mean, inside.var(1) / levels + reconstruction.var(1) / ends


def bound(
    denoiser: TextDenoiser,
    scheduler: Scheduler,
    texts: Sequence[tuple[list[int], int]],
    *,
    length_counts: Sequence[int],
    levels: int = 16,
    seed: int = 0,
) -> Bound:
    """The bound of a corpus, a ratio of sums; texts beyond the model's window are scored in windows.

    Args:
        denoiser: of the model.
        scheduler: its noise curve.
        texts: token ids of every text, at least one token, and its number of bytes.
        length_counts: how many training texts have 0, 1, 2, ... tokens.
        levels: noise levels of each window, at least 8 for a fair interval.
        seed: of the noise.
    """
    window = denoiser.config.max_position_embeddings
    owners, plans = [], []
    for i, (ids, _) in enumerate(texts):
        for at in range(0, len(ids), window):
            part = tuple(ids[at : at + window])
            owners.append(i)
            plans.append(Plan(part, (False,) * len(part), (), ()))
    nats, variances = text_nats(denoiser, scheduler, plans, levels=levels, seed=seed)
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
