"""How well captions and pictures agree, by the model's own loss: the caption of a picture denoises it best.

A diffusion model is a classifier over whatever it is told (arXiv 2303.16203): no second network is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from textdiff.cross_modal.text_to_image import TextToImage
from textdiff.diffusion.samplers import draw_noise
from textdiff.image.adapters import as_denoiser
from textdiff.image.attention import Condition
from textdiff.image.pictures import read_pictures
from textdiff.image.sampling import own_generators

AT_ONCE = 64  # captions tried together
NOISIEST, CLEANEST = 0.85, 0.35  # times between which a picture is half told: there captions matter


@torch.no_grad()
def caption_losses(
    model: TextToImage,
    pictures: Any,
    captions: Sequence[str],
    *,
    draws: int = 8,
    seed: int = 0,
    progress: Callable[[], object] | None = None,
) -> Tensor:
    """Squared errors of v told each caption [pictures, captions]; a picture's noise is one for all captions.

    Args:
        model: that reads the captions.
        pictures: of the model's size, anything that `read_pictures` takes.
        captions: to try on every picture.
        draws: noisy versions of each picture, at evenly spaced times.
        seed: of the noise; picture k has its own.
        progress: called after every picture.

    Raises:
        ValueError: if a caption cannot be read, a picture is of another size, or there are no draws.
    """
    if draws < 1:
        raise ValueError(f"draws is {draws}: it must be at least 1.")
    shape, image = model.image.shape, model.image
    x0 = read_pictures(pictures, shape.image_channels)
    side = (shape.image_channels, shape.image_size, shape.image_size)
    if any(tuple(one.shape) != side for one in x0):
        raise ValueError(f"A picture is not of the model's size, {side[1]} x {side[2]}: resize it.")
    told, losses = model.condition(captions), torch.zeros(len(x0), len(captions))
    share = (torch.arange(draws, dtype=torch.float64) + 0.5) / draws
    times = CLEANEST + (NOISIEST - CLEANEST) * share
    for row, generator in enumerate(own_generators(seed, range(len(x0)), image.device)):
        clean = x0[row].to(image.device)[None].expand(draws, -1, -1, -1)
        noise = draw_noise(clean[:1].expand(draws, -1, -1, -1).contiguous(), [generator] * draws)
        for t, eps in zip(times.to(image.device), noise, strict=True):
            losses[row] += _errors(model, clean[0], eps, t, told).cpu() / draws
        if progress is not None:
            progress()
    return losses


def _errors(model: TextToImage, x0: Tensor, eps: Tensor, t: Tensor, told: Condition) -> Tensor:
    """Of one noisy picture, told each caption in turn: [captions]."""
    scheduler, found = model.image.scheduler, []
    for at in range(0, len(told.mask), AT_ONCE):
        part = told.rows(slice(at, at + AT_ONCE))
        count = len(part.mask)
        now = t.expand(count)
        clean = x0.expand(count, -1, -1, -1)
        x_t = scheduler.add_noise(clean, eps.expand_as(clean), now)
        x0_hat = as_denoiser(model.image.network, scheduler, condition=part)(x_t, now, None)
        sigma = scheduler.alpha_sigma(t[None])[1].to(x0.dtype)
        found.append(((x0_hat - clean) / sigma).square().mean((1, 2, 3)))
    return torch.cat(found)


def top_share(losses: Tensor, k: int) -> float:
    """Share of rows i whose column i is among the k least, equals half counted: [N, N] -> share."""
    own = losses.diagonal()[:, None]
    before = (losses < own).sum(1) + ((losses == own).sum(1) - 1) / 2
    return float((before < k).double().mean())
