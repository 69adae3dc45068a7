"""The two training losses, each term by its own name.

`bound_terms`: the likelihood bound of a categorical denoiser (Plaid, arXiv 2305.18619, section 3; VDM, arXiv
2107.00630, eqs. 11-15), estimated with importance-sampled noise levels. `diffusion_lm_terms`: Diffusion-LM's simple
loss (arXiv 2205.14217, eq. 2 and appendix). Both return one number a row, so that no row's loss depends on its
neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from textdiff.diffusion.losses import (
    AdaptiveLevels,
    diffusion_density,
    logsnr_and_slope,
    low_discrepancy_uniform,
    prior_term,
    sample_normal,
    sample_uniform,
)
from textdiff.diffusion.scheduler import Scheduler
from textdiff.diffusion.stagger import own_times, starts_of, wait_of
from textdiff.text.denoiser import Prefix, TextDenoiser

SEGMENT_STRIDE = 2.0**0.5  # irrational, and independent of the golden ratio between rows
BOUND_WEIGHT = 0.03  # of the bound beside the cross-entropy


@dataclass(frozen=True)
class Rows:
    """A batch and its noise: everything a loss needs besides the model."""

    input_ids: Tensor       # [B, L]
    attention_mask: Tensor  # [B, L], 0 = padding, else segment number
    known: Tensor           # bool [B, L]
    eps: Tensor             # standard normal, [B, L, D]
    start_eps: Tensor       # more of it, independent: Diffusion-LM's noise between word vector and x0
    order: Tensor           # more of it, [B, L]: in which order tokens leave the noise
    uniform: Tensor         # [B] in [0, 1): picks the noise levels
    stagger: Tensor         # [B] in [0, 1), independent: picks how staggered the row's segments are
    self_conditioned: Tensor  # bool [B]
    prefix: Prefix | None = None  # what stands before the rows' first segment

    @property
    def counted(self) -> Tensor:
        """Positions that the loss counts, bool [B, L]: real and not given."""
        return (self.attention_mask > 0) & ~self.known

    @property
    def level(self) -> Tensor:
        """A number in [0, 1) for every position, [B, L] float64: one a segment, spread evenly over a row's segments."""
        return (self.uniform[:, None] + (self.attention_mask - 1).clamp(min=0) * SEGMENT_STRIDE) % 1.0

    def clock(self, least: float, most: float) -> tuple[Tensor, Tensor]:
        """For every position its start and its wait (`stagger.own_times`), [B, L] each.

        Segments are staggered by amounts spread evenly between the two: samplers with few steps want less than most.
        """
        start, count = starts_of(self.order, self.attention_mask, self.counted)
        share = (self.stagger[:, None] + (self.attention_mask - 1).clamp(min=0) * SEGMENT_STRIDE) % 1.0
        return start, wait_of(least + share * (most - least), count)

    def segment_share(self, chosen: Tensor) -> Tensor:
        """Weights [B, L] that let a mean over `chosen` positions of each segment count as much as its counted ones."""
        chosen, segment = chosen & self.counted, self.attention_mask
        sums = [
            torch.zeros(part.shape, device=part.device).scatter_add(1, segment, part.float()).gather(1, segment)
            for part in (self.counted, chosen)
        ]
        return torch.where(chosen, sums[0] / sums[1].clamp(min=1), 0.0)

    def row_mean(self, values: Tensor, places: Tensor | None = None) -> Tensor:
        """Mean over the counted positions of every row, [B].

        Args:
            values: [N], in the order of `places`.
            places: bool [B, L], those counted positions that are not zero; all if left out.
        """
        counted = self.counted
        row = (counted if places is None else places).nonzero()[:, 0]
        total = values.new_zeros(len(counted)).index_add(0, row, values)
        return total / counted.sum(1).clamp(min=1)


def draw_rows(
    input_ids: Tensor,
    attention_mask: Tensor,
    known: Tensor,
    sample_index: Tensor,
    *,
    dim: int,
    seed: int,
    self_conditioning_rate: float,
    prefix: Prefix | None = None,
) -> Rows:
    """Attach noise to a batch; each row's noise is a function of (seed, its sample index) alone.

    Args:
        input_ids: [B, L].
        attention_mask: [B, L].
        known: bool [B, L].
        sample_index: integers [B], unique over a training run.
        dim: D.
        seed: of the run.
        self_conditioning_rate: share of rows that get a first, gradient-free estimate.
        prefix: what stands before the rows' first segment.
    """
    noise = sample_normal((2, input_ids.shape[1], dim + 1), sample_index, seed)
    eps, start_eps = noise[..., :dim].unbind(1)
    return Rows(
        input_ids, attention_mask, known, eps, start_eps,
        order=noise[:, 0, :, dim],
        uniform=low_discrepancy_uniform(sample_index, seed),
        stagger=sample_uniform(sample_index, seed + 2),
        self_conditioned=sample_uniform(sample_index, seed + 1) < self_conditioning_rate,
        prefix=prefix,
    )  # fmt: skip


def hidden_states(
    denoiser: TextDenoiser, rows: Rows, x0: Tensor, x_t: Tensor, logsnr: Tensor, noisy: Tensor
) -> Tensor:
    """The denoiser's hidden states [B, L, H], after a first estimate without gradient on self-conditioned rows.

    Where a position is not `noisy`, bool [B, L], that estimate is x0.
    """
    x0_prev = torch.zeros_like(x_t)
    chosen = rows.self_conditioned
    if chosen.any():
        with torch.no_grad():
            known, mask, state = rows.known[chosen], rows.attention_mask[chosen], x_t[chosen]
            before = None if rows.prefix is None else rows.prefix.rows(chosen)
            hidden = denoiser.hidden(state, logsnr[chosen], mask, known, x0[chosen], None, before)
            unsure = (rows.counted & noisy)[chosen]
            first = x0[chosen].detach().to(state.dtype)
            first[unsure] = denoiser.read_out(hidden[unsure], state[unsure], logsnr[chosen][unsure]).x0_hat
        x0_prev[chosen] = first
    return denoiser.hidden(x_t, logsnr, rows.attention_mask, rows.known, x0, x0_prev, rows.prefix)


def bound_terms(
    denoiser: TextDenoiser, scheduler: Scheduler, rows: Rows, reconstruction_share: float
) -> tuple[dict[str, Tensor], tuple[Tensor, Tensor, Tensor]]:
    """Terms of the bound in nats per counted token, [B] each, whose sum's mean is an unbiased estimate of it.

    Segments whose number falls below `reconstruction_share` pay -log p(w | x_0) at t = 0; the others pay the diffusion
    integrand at a time drawn from the scheduler's curve. Both are divided by their chance.

    In training there is a term beside the bound, "cross_entropy", -log p(w | x_t), the mean over a segment's noisy
    positions, for the network: the output prior is held fixed in it. Its optimum, the posterior over tokens, is the
    bound's own, but its gradient is less noisy and does not vanish where the right token was thought impossible. Word
    vectors learn through the network's input too: without that part of the gradient, the squared distance alone pulls
    them together until they collapse.

    Returns:
        the terms, and what `AdaptiveLevels.statistics` wants of the N positions on their way: (logsnr [N], loss [N],
        reconstruction bool [N]).
    """
    level = rows.level
    ends_here = level < reconstruction_share
    clock = ((level - reconstruction_share) / (1 - reconstruction_share)).clamp(min=0.0)
    start, wait = rows.clock(denoiser.config.stagger_least, denoiser.config.stagger)
    t = own_times(clock, start, wait)
    noisy = t > 0
    logsnr, slope = logsnr_and_slope(scheduler, t)
    x0 = denoiser.embedding.embed(rows.input_ids)
    x_t = scheduler.add_noise(x0, rows.eps, t)
    hidden = hidden_states(denoiser, rows, x0, x_t, logsnr, noisy)
    charged = rows.counted & (noisy | ends_here)  # a clean token costs no more
    ids, logsnr, t, ends_here = rows.input_ids[charged], logsnr[charged], t[charged], ends_here[charged]
    moving = (t > 0) & (t < 1)
    weight = (slope * (1 + wait))[charged] / (1 - reconstruction_share)
    network = denoiser.predict(hidden[charged])
    prior = denoiser.prior_logits(x_t[charged], logsnr)
    logits, x0_hat = denoiser.combine(network, prior)
    density = diffusion_density(x0[charged], x0_hat, logsnr)
    nll = torch.zeros_like(density)
    nll[ends_here] = F.cross_entropy(logits[ends_here], ids[ends_here], reduction="none")
    each = {
        "reconstruction": nll / max(reconstruction_share, 1e-9),
        "diffusion": torch.where(moving, density * weight.float(), 0.0),
    }
    terms = {name: rows.row_mean(values, charged) for name, values in each.items()}
    latest = scheduler.logsnr(torch.ones_like(level))[rows.counted]
    terms["prior"] = rows.row_mean(prior_term(x0.detach()[rows.counted], latest).float())
    if denoiser.training:
        own = F.cross_entropy(network.float() + prior.detach(), ids, reduction="none")
        terms["cross_entropy"] = rows.row_mean(own * rows.segment_share(noisy)[charged], charged)
    seen = moving | ends_here
    return terms, (logsnr[seen], torch.where(ends_here, nll, density)[seen], ends_here[seen])


def update_levels(levels: AdaptiveLevels, logsnr: Tensor, loss: Tensor, reconstruction: Tensor) -> None:
    """Let the noise levels learn from a step: added up over all processes, so all keep the same curve."""
    statistics = levels.statistics(logsnr, loss, reconstruction)
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(statistics)
    levels.update(statistics)


def diffusion_lm_terms(denoiser: TextDenoiser, scheduler: Scheduler, rows: Rows) -> dict[str, Tensor]:
    """Diffusion-LM's loss terms, [B] each; means over counted positions and over the D axis (arXiv 2205.14217, eq. 2).

    x0 = E(w) + sigma(0) eps'; "mse" = |x0 - x0_hat|^2, against E(w) itself on the first grid step; "terminal" =
    |alpha(1) x0|^2; "rounding" = -log p(w | x0).
    """
    steps = scheduler.config.num_train_timesteps
    step = (rows.level * steps).long().clamp(max=steps - 1)
    t = step.double() / (steps - 1)
    logsnr = scheduler.logsnr(t)
    clean = denoiser.embedding.embed(rows.input_ids)
    _, sigma_0 = scheduler.alpha_sigma(torch.zeros_like(t))
    x0 = clean + sigma_0.float()[..., None] * rows.start_eps
    x_t = scheduler.add_noise(x0, rows.eps, t)
    hidden = hidden_states(denoiser, rows, clean, x_t, logsnr, torch.ones_like(rows.known))
    counted = rows.counted
    x0_hat = denoiser.read_out(hidden[counted], x_t[counted], logsnr[counted]).x0_hat
    target = torch.where((step == 0)[..., None], clean, x0)[counted]
    alpha_1, _ = scheduler.alpha_sigma(torch.ones(1, device=t.device))
    rounding = F.cross_entropy(denoiser.embedding.logits(x0[counted]), rows.input_ids[counted], reduction="none")
    return {
        "mse": rows.row_mean((target - x0_hat).pow(2).mean(-1)),
        "terminal": rows.row_mean((alpha_1.float() * x0[counted]).pow(2).mean(-1)),
        "rounding": rows.row_mean(rounding),
    }
