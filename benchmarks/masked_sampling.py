"""Texts and fills from masked diffusion, by MDLM's ancestral sampler (arXiv 2406.07524).

Every text owns its noise, and blanks follow the rules that ours follow. Tokens are drawn in float64: coarser
noise sharpens the distribution unseen (arXiv 2409.02908).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from masked_model import ROWS_AT_ONCE, MaskedModel, check_lengths

from textdiff.text.plans import Plan, barred_tokens, batch, blank_plan
from textdiff.text.sampling import candidate_seeds
from textdiff.text.vocabulary import Vocabulary, draw


def generate(
    model: MaskedModel,
    lengths: Sequence[int],
    vocabulary: Vocabulary,
    *,
    steps: int,
    seed: int,
    temperature: float = 1.0,
) -> list[list[int]]:
    """Token ids of texts of these lengths, from nothing; other arguments and errors as in `infill`."""
    plans = [blank_plan(length) for length in lengths]
    return infill(model, plans, vocabulary, steps=steps, seed=seed, temperature=temperature)


def infill(
    model: MaskedModel,
    plans: Sequence[Plan],
    vocabulary: Vocabulary,
    *,
    steps: int,
    seed: int,
    temperature: float = 1.0,
) -> list[list[int]]:
    """All token ids of every plan: the known ones kept, the others sampled.

    Args:
        model: in eval mode.
        plans: texts with blanks; their rules for a blank's first token hold.
        vocabulary: of the model; its banned tokens are never drawn.
        steps: from t = 1 to t = 0, in each of which the network is called once at most.
        seed: of all noise; a text's depends on its place in the list alone.
        temperature: of the distribution over tokens, 1 = the model's own.

    Raises:
        ValueError: if steps or temperature is not above zero, or a plan is empty or beyond the window.
    """
    if steps < 1:
        raise ValueError(f"steps is {steps}: it must be at least 1.")
    if not temperature > 0:
        raise ValueError(f"temperature is {temperature}: it must be above 0 (1 = off).")
    check_lengths(model, [len(plan.ids) for plan in plans])
    seeds, found = candidate_seeds(seed, len(plans)), []
    for at in range(0, len(plans), ROWS_AT_ONCE):
        part = slice(at, at + ROWS_AT_ONCE)
        found += _unmask(model, plans[part], seeds[part], vocabulary, steps, temperature)
    return found


@torch.inference_mode()
def _unmask(
    model: MaskedModel,
    plans: Sequence[Plan],
    seeds: Sequence[int],
    vocabulary: Vocabulary,
    steps: int,
    temperature: float,
) -> list[list[int]]:
    """One batch: from t to s every masked token is drawn with chance (t - s) / t, and then stays."""
    ids, attention_mask, known = batch(plans)
    masked = (attention_mask > 0) & ~known
    ids[masked] = model.config.vocab_size
    barred = barred_tokens(plans, vocabulary)
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    noise = torch.zeros(2, *ids.shape, dtype=torch.float64)
    for left in range(steps, 0, -1):  # t = left / steps
        for row, (plan, own) in enumerate(zip(plans, generators, strict=True)):
            noise[:, row, : len(plan.ids)] = torch.rand(2, len(plan.ids), generator=own, dtype=torch.float64)
        chosen = masked & (noise[0] * left < 1)
        rows = chosen.any(1)
        if rows.any():
            seen = (part[rows].to(model.device) for part in (ids, attention_mask, chosen))
            logits = model.logits(*seen).cpu().double() / temperature
            ids[chosen] = draw(logits.masked_fill(barred[chosen], -torch.inf), noise[1][chosen])
            masked &= ~chosen
    return [row[: len(plan.ids)].tolist() for row, plan in zip(ids, plans, strict=True)]

