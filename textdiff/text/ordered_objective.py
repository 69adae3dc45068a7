"""The training loss of a denoiser that reads tokens in order: every token of a text is a lesson, given those before it.

A token alone on its way costs the bound its cross-entropy given the clean ones (`estimate`), so that is what the
network is taught. The bound's own terms are taken at one noise level a token, on part of them while training: they move
the noise levels and the word vectors.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from textdiff.diffusion.losses import GOLDEN_RATIO, diffusion_density, logsnr_and_slope, prior_term
from textdiff.diffusion.scheduler import Scheduler
from textdiff.diffusion.stagger import order_of, ranks_of
from textdiff.text.objectives import SEGMENT_STRIDE, Rows
from textdiff.text.ordered_denoiser import OrderedDenoiser

TRAINED_ORDERS = {"left": 0.4, "blocks": 0.3, "random": 0.3}  # shares of texts
LOOKED_AT = 1.15  # standard normal noise beyond which a token has its noise level looked at in training: one in eight
LOOKED_WEIGHT = 7.996  # one over the chance of that
GIVEN_WEIGHT = 0.5  # of a given token's lesson, which is read after those given to its left


def training_ranks(rows: Rows) -> Tensor:
    """An order for every segment, of a kind drawn by `TRAINED_ORDERS`; [B, L] as `ranks_of`."""
    group, free = rows.attention_mask, rows.counted
    share = (rows.stagger[:, None] + (group - 1).clamp(min=0) * SEGMENT_STRIDE) % 1.0
    order, least = torch.zeros_like(share), 0.0
    for name, part in TRAINED_ORDERS.items():
        order = torch.where(share >= least, order_of(name, rows.order, group, free), order)
        least += part
    return ranks_of(order, group, free)


def ordered_terms(
    denoiser: OrderedDenoiser, scheduler: Scheduler, rows: Rows, reconstruction_share: float
) -> tuple[dict[str, Tensor], tuple[Tensor, Tensor, Tensor]]:
    """Terms in nats per counted token, [B] each, and what `AdaptiveLevels.statistics` wants: as `bound_terms`.

    "cross_entropy", in training only, is what the network learns from; the others, whose sum's mean is the bound over
    the orders of training, hold the network fixed.
    """
    counted, terms = rows.counted, {}
    states = denoiser.lessons(rows.input_ids, rows.attention_mask, rows.known, training_ranks(rows))
    asked = rows.attention_mask > 0 if denoiser.training else counted
    network = denoiser.predict(states[asked])
    looked, times = counted, 1.0
    if denoiser.training:
        nats = F.cross_entropy(network.float(), rows.input_ids[asked], reduction="none")
        weight = torch.where(counted, 1.0, GIVEN_WEIGHT)[asked]
        terms["cross_entropy"] = rows.row_mean(nats * weight, asked)
        looked, times = counted & (rows.start_eps[..., 0] > LOOKED_AT), LOOKED_WEIGHT
    place = torch.arange(counted.shape[1], device=counted.device)
    level = ((rows.uniform[:, None] + place * GOLDEN_RATIO) % 1.0)[looked]
    ends_here = level < reconstruction_share
    t = ((level - reconstruction_share) / (1 - reconstruction_share)).clamp(min=0.0)
    logsnr, slope = logsnr_and_slope(scheduler, t)
    ids, x0 = rows.input_ids[looked], denoiser.embedding.embed(rows.input_ids[looked])
    x_t = scheduler.add_noise(x0, rows.eps[looked], t)
    evidence = denoiser.prior_logits(x_t, logsnr)
    x0_hat = denoiser.combine(network.detach()[looked[asked]], evidence).x0_hat
    density = diffusion_density(x0, x0_hat, logsnr)
    nll = F.cross_entropy(evidence, ids, reduction="none")
    each = {
        "reconstruction": torch.where(ends_here, nll / reconstruction_share, 0.0),
        "diffusion": torch.where(ends_here, 0.0, density * (slope / (1 - reconstruction_share)).float()),
        "prior": prior_term(x0.detach(), scheduler.logsnr(torch.ones_like(t))).float(),
    }
    terms |= {name: rows.row_mean(values * times, looked) for name, values in each.items()}
    return terms, (logsnr, torch.where(ends_here, nll, density), ends_here)
