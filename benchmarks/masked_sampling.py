"""Texts and fills from masked diffusion, by MDLM's ancestral sampler (arXiv 2406.07524).

Every text owns its noise, and blanks follow the rules that ours follow. Tokens are drawn in float64: coarser
noise sharpens the distribution unseen (arXiv 2409.02908). Tokens appear at times drawn for each ("random"), or,
which MDLM does not do, one after another: at places as far apart as can be ("spread"), or in stretches.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from masked_model import ROWS_AT_ONCE, MaskedModel, check_lengths
from torch import Tensor

from textdiff.diffusion.limits import check_top_p
from textdiff.diffusion.stagger import order_of, strides_of, turns_of
from textdiff.text.own_noise import candidate_seeds
from textdiff.text.plans import Plan, barred_tokens, batch, blank_plan
from textdiff.text.vocabulary import Vocabulary, draw, nucleus


def generate(
    model: MaskedModel,
    lengths: Sequence[int],
    vocabulary: Vocabulary,
    *,
    steps: int,
    seed: int,
    temperature: float = 1.0,
    top_p: float = 1.0,
    order: str = "random",
) -> list[list[int]]:
    """Token ids of texts of these lengths, from nothing; other arguments and errors as in `infill`."""
    plans = [blank_plan(length) for length in lengths]
    return infill(
        model, plans, vocabulary, steps=steps, seed=seed, temperature=temperature, top_p=top_p, order=order
    )


def infill(
    model: MaskedModel,
    plans: Sequence[Plan],
    vocabulary: Vocabulary,
    *,
    steps: int,
    seed: int,
    temperature: float = 1.0,
    top_p: float = 1.0,
    order: str = "random",
) -> list[list[int]]:
    """All token ids of every plan: the known ones kept, the others sampled.

    Args:
        model: in eval mode.
        plans: texts with blanks; their rules for a blank's first token hold.
        vocabulary: of the model; its banned tokens are never drawn.
        steps: from t = 1 to t = 0, in each of which the network is called once at most.
        seed: of all noise; a text's depends on its place in the list alone.
        temperature: of the distribution over tokens, 1 = the model's own.
        top_p: drawn from the likeliest tokens of this chance alone, 1 = off.
        order: in which tokens appear, "random", or one of `stagger.ORDERS`.

    Raises:
        ValueError: if steps, temperature or top_p is out of range, or a plan is empty or beyond the window.
    """
    if steps < 1:
        raise ValueError(f"steps is {steps}: it must be at least 1.")
    if not temperature > 0:
        raise ValueError(f"temperature is {temperature}: it must be above 0 (1 = off).")
    check_top_p(top_p)
    check_lengths(model, [len(plan.ids) for plan in plans])
    seeds, found = candidate_seeds(seed, len(plans)), []
    for at in range(0, len(plans), ROWS_AT_ONCE):
        part = slice(at, at + ROWS_AT_ONCE)
        found += _unmask(model, plans[part], seeds[part], vocabulary, steps, temperature, top_p, order)
    return found


@torch.inference_mode()
def _unmask(
    model: MaskedModel,
    plans: Sequence[Plan],
    seeds: Sequence[int],
    vocabulary: Vocabulary,
    steps: int,
    temperature: float,
    top_p: float,
    order: str,
) -> list[list[int]]:
    """One batch: from t to s every token whose time lies between them is drawn, and then stays."""
    ids, attention_mask, known = batch(plans)
    masked = (attention_mask > 0) & ~known
    ids[masked] = model.config.vocab_size
    barred = barred_tokens(plans, vocabulary)
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    lengths = [len(plan.ids) for plan in plans]
    times = appearances(order, uniform(lengths, generators), masked, steps)
    for left in range(steps, 0, -1):  # t = left / steps
        noise = uniform(lengths, generators)
        chosen = masked & (times * steps >= left - 1)
        rows = chosen.any(1)
        if rows.any():
            seen = (part[rows].to(model.device) for part in (ids, attention_mask, chosen))
            logits = model.logits(*seen).cpu().double() / temperature
            logits = nucleus(logits.masked_fill(barred[chosen], -torch.inf), top_p)
            ids[chosen] = draw(logits, noise[chosen])
            masked &= ~chosen
    return [row[:length].tolist() for row, length in zip(ids, lengths, strict=True)]


def appearances(order: str, noise: Tensor, masked: Tensor, steps: int) -> Tensor:
    """The time in [0, 1) at which each masked token appears, from 1 on down: uniform each, or amid a step. [B, L]."""
    if order == "random":
        return noise
    few = 0 if order == "spread" else steps  # far apart even where there is a step for each
    group = masked.long()
    turns = turns_of(order_of(order, noise, group, masked, steps=few), group, masked)
    return 1 - (strides_of(*turns, steps) + 0.5) / steps


def uniform(lengths: Sequence[int], generators: Sequence[torch.Generator]) -> Tensor:
    """Numbers in [0, 1) from each text's own generator, float64 [B, L]; zero on padding."""
    rows = [torch.rand(n, generator=own, dtype=torch.float64) for n, own in zip(lengths, generators, strict=True)]
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
