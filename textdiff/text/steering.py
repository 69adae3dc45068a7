"""Steering: distributions over tokens moved towards low energy, no further from the model's than it pays.

Classifier guidance (Dhariwal & Nichol, arXiv 2105.05233) shifts x0_hat by sigma^2 / alpha times the gradient of
log p(y | x_t). Where p(y | x_t) is f(E[x0 | x_t]), that gradient is alpha / sigma^2 Cov[x0 | x_t] grad log f, so the
shift is Cov grad log f: to first order what tilting the distribution over tokens by exp(<grad log f, e_w>) does. The
tilt keeps x0_hat in the hull of the vocabulary, at any strength, and needs no gradient through the denoiser.
"""

from __future__ import annotations

import torch
from torch import Tensor

from textdiff.diffusion.guidance import Energy


def tilted(
    logits: Tensor, t: Tensor, energy: Energy, free: Tensor, given: Tensor,
    *, guidance_scale: float, rounds: int,
) -> Tensor:  # fmt: skip
    """Logits of the p near the minimum of guidance_scale * energy(p) + KL(p | softmax(logits)).

    By dual averaging (Nesterov 2009, mirror descent's lazy form): in round k the logits are the given ones less the
    mean gradient of the rounds before. An energy linear in p is minimised in the first.

    Args:
        logits: [B, L, V], -inf where a token may not stand.
        t: times, [B, L].
        energy: (p [B, L, V], t [B, L]) -> [B], in nats.
        free: bool [B, L], True where a token is still to be chosen.
        given: p where it is not, [B, L, V]: one token, or zeros on padding.
        guidance_scale: 0 = off; 1 = the posterior, to first order, if the energy is -log p(y | text).
        rounds: gradients of the energy taken, at least 1.

    Raises:
        ValueError: if the energy does not give one number for each text.
    """
    base, total = logits.float(), torch.zeros_like(logits, dtype=torch.float32)
    current = base
    for k in range(1, rounds + 1):
        with torch.inference_mode(False), torch.enable_grad():
            p = torch.where(free[..., None], torch.softmax(current, dim=-1), given).clone().requires_grad_()
            energies = energy(p, t.clone())
            if energies.shape != p.shape[:1]:
                raise ValueError(
                    f"The energy has shape {list(energies.shape)}: give one number for each text, [{len(p)}]."
                )
            (gradient,) = torch.autograd.grad(energies.sum(), p)
        total = total + gradient
        current = base - guidance_scale * total / k
    return torch.where(free[..., None], current, base)
