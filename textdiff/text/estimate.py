"""One call of the denoiser where every token has its own time.

A token that is on its way alone, all others of its text being clean or still pure noise, has nothing to tell them that
they could use: they do not move. So the network is shown it as one that waits, and its evidence enters by the output
prior alone. The logits are then what context says plus the exact evidence, by Bayes' rule; the integral of the
diffusion term over the token's way is its cross-entropy given context (I-MMSE, arXiv cs/0412108), and nothing is lost
to evidence that the network counted twice (docs/log.md has what that cost).
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from textdiff.diffusion.guidance import classifier_free
from textdiff.diffusion.samplers import Denoiser
from textdiff.diffusion.scheduler import Scheduler
from textdiff.text.denoiser import DenoiserOutput, Prefix, TextDenoiser
from textdiff.text.ordered import Memory
from textdiff.text.ordered_denoiser import OrderedDenoiser


def estimate(
    denoiser: TextDenoiser,
    scheduler: Scheduler,
    x_t: Tensor,
    own: Tensor,
    x0_prev: Tensor | None,
    *,
    attention_mask: Tensor,
    known: Tensor,
    x0_known: Tensor,
    wanted: Tensor | None = None,
    temperature: float = 1.0,
    barred: Tensor | None = None,
    prefix: Prefix | None = None,
    rank: Tensor | None = None,
    memory: Memory | None = None,
) -> DenoiserOutput:
    """Logits [B, L, V] and x0_hat [B, L, D] at every token's own time.

    Args:
        denoiser: of the model.
        scheduler: its noise curve.
        x_t: noisy word vectors, [B, L, D].
        own: times in [0, 1], [B, L], or [B, 1] where all move together.
        x0_prev: an earlier estimate, [B, L, D], for self-conditioning; not read where a token is alone on its way.
        attention_mask: [B, L], 0 = padding, otherwise the number of the segment.
        known: bool [B, L], True = given.
        x0_known: clean vectors, [B, L, D], read only where `known`.
        wanted: bool [B, L], the N positions that are asked for; the output is [N, V] and [N, D] then.
        temperature: divides the transformer's logits, not the evidence of x_t.
        barred: bool like the logits, tokens that may not stand there.
        prefix: what stands before the text.
        rank: [B, L], the order in which tokens leave the noise, for a model that reads them in order.
        memory: of such a model, of the calls before.
    """
    logsnr = scheduler.logsnr(own)
    call = partial(
        denoiser, x_t, logsnr, attention_mask=attention_mask, known=known, x0_known=x0_known,
        wanted=wanted, temperature=temperature, barred=barred, prefix=prefix,
    )  # fmt: skip
    if isinstance(denoiser, OrderedDenoiser):
        return call(rank=rank, memory=memory)
    if not denoiser.config.categorical:
        return call(x0_prev=x0_prev)
    alone = alone_on_its_way(own.expand(attention_mask.shape), attention_mask, known)
    waiting = torch.where(alone, scheduler.logsnr(torch.ones_like(own)), logsnr)
    x_seen = x_t.masked_fill(alone[..., None], 0.0)
    x0_prev = x0_prev if x0_prev is None else x0_prev.masked_fill(alone[..., None], 0.0)
    return call(shown=(x_seen, waiting), x0_prev=x0_prev)


def source_guided(
    denoiser: TextDenoiser,
    scheduler: Scheduler,
    x_t: Tensor,
    own: Tensor,
    x0_prev: Tensor | None,
    *,
    attention_mask: Tensor,
    source: Tensor,
    source_guidance: float,
    barred: Tensor | None = None,
    prefix: Prefix | None = None,
    **given: Any,
) -> DenoiserOutput:
    """`estimate` under classifier-free guidance by the source: logits without it + source_guidance * (with - without).

    A source is what stands in the text, or a prefix before it; where there are both, they go together. The evidence of
    x_t is the same in both calls and so stays as it is. A model that regresses x0_hat mixes that instead.

    Args:
        denoiser: one that was trained with sources left out.
        scheduler: its noise curve.
        x_t: as in `estimate`.
        own: as in `estimate`.
        x0_prev: as in `estimate`.
        attention_mask: as in `estimate`.
        source: bool [B, L], True where the source stands; not looked at in the second call.
        source_guidance: 0 = no source, 1 = off (and one call alone), above 1 exaggerates the source.
        barred: as in `estimate`.
        prefix: as in `estimate`.
        **given: the other conditions of `estimate`.
    """
    if source_guidance == 1.0:
        return estimate(
            denoiser, scheduler, x_t, own, x0_prev,
            attention_mask=attention_mask, barred=barred, prefix=prefix, **given,
        )  # fmt: skip
    categorical = denoiser.config.categorical

    def told(mask: Tensor, before: Prefix | None) -> Denoiser:
        def call(x_t: Tensor, own: Tensor, x0_prev: Tensor | None) -> Tensor:
            logits, x0_hat = estimate(
                denoiser, scheduler, x_t, own, x0_prev, attention_mask=mask, prefix=before, **given
            )
            return logits if categorical else x0_hat

        return call

    without = told(attention_mask.masked_fill(source, 0), None)
    mixed = classifier_free(told(attention_mask, prefix), without, source_guidance)(x_t, own, x0_prev)
    logits = mixed if categorical else denoiser.embedding.logits(mixed)
    if barred is not None:
        logits = logits.masked_fill(barred, -torch.inf)
    return DenoiserOutput(logits, denoiser.embedding.mean(logits) if categorical else mixed)


def alone_on_its_way(own: Tensor, attention_mask: Tensor, known: Tensor) -> Tensor:
    """Which tokens are neither noise nor clean, and the only ones of their segment; all [B, L], bool."""
    moving = (own > 0) & (own < 1) & (attention_mask > 0) & ~known
    peers = attention_mask[:, :, None] == attention_mask[:, None, :]
    return moving & ((peers & moving[:, None, :]).sum(-1) == 1)
