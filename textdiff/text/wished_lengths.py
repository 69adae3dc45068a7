"""How long texts shall be that meet some wishes: by Bayes' rule, as lengths are drawn before the first token.

    p(length | wishes) is proportional to p(length) p(wishes | length)

The first factor is the training data's, the second what the wishes' energies say of pure noise of that length: a verb
phrase up to the last word but one is likely where a full stop would follow it, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from textdiff.text.language_model import DiffusionLM
from textdiff.text.plans import blank_plan, length_chances
from textdiff.text.sampling import OwnNoise, Reader, Sampling, candidate_seeds
from textdiff.text.wish import WEIGHTS, Wish


def wished_lengths(
    lm: DiffusionLM, wishes: Sequence[Wish], bounds: tuple[int, int] | None, num_samples: int, *, seed: int
) -> list[int]:
    """A length for each of some texts, in tokens.

    Args:
        lm: the model.
        wishes: of it; those of a number of tokens alone have their say in the bounds.
        bounds: least and most tokens; None: 1 and the window.
        num_samples: texts.
        seed: of the draws, and of the noise that the wishes are read from.
    """
    low, high = bounds or (1, lm.window)
    sizes, chances = length_chances(lm.length_counts, low, high)
    sizes, chances = sizes[chances > 0], chances[chances > 0]
    nats = wish_nats(lm, wishes, sizes.tolist(), seed=seed)
    chances = chances * np.exp(nats.min() - nats)
    draws = [np.random.default_rng([seed, 2, k]).choice(sizes, p=chances / chances.sum()) for k in range(num_samples)]
    return [int(size) for size in draws]


@torch.inference_mode()
def wish_nats(lm: DiffusionLM, wishes: Sequence[Wish], sizes: Sequence[int], *, seed: int) -> np.ndarray:
    """-log p(wishes | length) of every length, in nats; the weights by which their kinds are steered are left out."""
    energies = [(wish.energy, WEIGHTS[wish.kind]) for wish in wishes if wish.energy is not None]
    if not energies or len(sizes) < 2:
        return np.zeros(len(sizes))
    p, t = at_the_start(lm, sizes, seed=seed)
    total = torch.stack([energy(p, t) / weight for energy, weight in energies]).sum(0)
    return total.double().cpu().numpy()


def at_the_start(lm: DiffusionLM, sizes: Sequence[int], *, seed: int) -> tuple[Tensor, Tensor]:
    """What the model thinks of pure noise: p [B, L, V], zeros on padding, and times [B, L], all 1."""
    plans = [blank_plan(size) for size in sizes]
    reader = Reader(lm.denoiser, lm.scheduler, plans, lm.vocabulary, Sampling())
    noise = OwnNoise(sizes, candidate_seeds(seed, len(sizes)), reader.x0_known.device)
    t = torch.ones(reader.known.shape, dtype=torch.float64, device=reader.known.device)
    reader(noise.normal(lm.denoiser.config.embedding_dim), t, None)
    return torch.softmax(reader.read, dim=-1) * reader.free[..., None], t
