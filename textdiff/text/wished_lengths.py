"""How long texts shall be that have some spans: by Bayes' rule, as lengths are drawn before the first token.

    p(length | spans) is proportional to p(length) p(spans | length)

The first factor is the training data's, the second what the classifier says of pure noise of that length: a verb phrase
up to the last word but one is likely where a full stop would follow it, and nowhere else. Wishes of other kinds say
little of the length, or all of it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from textdiff.text.language_model import CANDIDATES_AT_ONCE, DiffusionLM
from textdiff.text.own_noise import OwnNoise, candidate_seeds
from textdiff.text.plans import blank_plan, length_chances
from textdiff.text.sampling import Reader, Sampling
from textdiff.text.wish import WEIGHTS, Wish


def wished_lengths(
    lm: DiffusionLM,
    wishes: Sequence[Wish],
    bounds: tuple[int, int] | None,
    num_samples: int,
    *,
    seed: int,
    temperature: float = 1.0,
) -> list[int]:
    """A length for each of some texts, in tokens.

    Args:
        lm: the model.
        wishes: of it, of which spans are read.
        bounds: least and most tokens; None: 1 and the window.
        num_samples: texts.
        seed: of the draws, and of the noise that the spans are read from.
        temperature: of the texts.
    """
    low, high = bounds or (1, lm.window)
    sizes, chances = length_chances(lm.length_counts, low, high)
    sizes, chances = sizes[chances > 0], chances[chances > 0]
    nats = span_nats(lm, wishes, sizes.tolist(), seed=seed, temperature=temperature)
    chances = chances * np.exp(nats.min() - nats)
    draws = [np.random.default_rng([seed, 2, k]).choice(sizes, p=chances / chances.sum()) for k in range(num_samples)]
    return [int(size) for size in draws]


@torch.inference_mode()
def span_nats(
    lm: DiffusionLM, wishes: Sequence[Wish], sizes: Sequence[int], *, seed: int, temperature: float = 1.0
) -> np.ndarray:
    """-log p(spans | length) of every length, in nats, without the weight that steers towards them."""
    energies = [wish.energy for wish in wishes if wish.kind == "span" and wish.energy is not None]
    nats = np.zeros(len(sizes))
    if not energies or len(sizes) < 2:
        return nats
    for at in range(0, len(sizes), CANDIDATES_AT_ONCE):
        part = slice(at, at + CANDIDATES_AT_ONCE)
        p, t = at_the_start(lm, sizes[part], seed=seed, temperature=temperature)
        total = torch.stack([energy(p, t) for energy in energies]).sum(0) / WEIGHTS["span"]
        nats[part] = total.double().cpu().numpy()
    return nats


def at_the_start(
    lm: DiffusionLM, sizes: Sequence[int], *, seed: int, temperature: float = 1.0
) -> tuple[Tensor, Tensor]:
    """What the model thinks of pure noise: p [B, L, V], zeros on padding, and times [B, L], all 1."""
    plans = [blank_plan(size) for size in sizes]
    reader = Reader(lm.denoiser, lm.scheduler, plans, lm.vocabulary, Sampling(temperature=temperature))
    noise = OwnNoise(sizes, candidate_seeds(seed, len(sizes)), reader.x0_known.device)
    t = torch.ones(reader.known.shape, dtype=torch.float64, device=reader.known.device)
    reader(noise.normal(lm.denoiser.config.embedding_dim), t, None)
    return torch.softmax(reader.read, dim=-1) * reader.free[..., None], t
