"""Infilling and inpainting run the same lines: one sampler, one correction, one scheduler, through both wings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

from textdiff.diffusion.corrections import keep_known
from textdiff.diffusion.samplers import SAMPLERS, sample
from textdiff.diffusion.scheduler import Scheduler
from textdiff.image.adapters import as_denoiser
from textdiff.image.image_diffusion import ImageDiffusion
from textdiff.image.unet import UNet, UNetConfig
from textdiff.text.denoiser import DenoiserConfig, TextDenoiser
from textdiff.text.estimate import estimate
from textdiff.text.language_model import DiffusionLM
from textdiff.text.tokenizer import train_bpe


@dataclass
class Wing:
    """What a wing brings to the foundation: a denoiser, clean data and what of it is known."""

    denoiser: Callable[[Tensor, Tensor, Tensor | None], Tensor]
    x0: Tensor
    known: Tensor


def text_wing(scheduler: Scheduler) -> Wing:
    """Two texts of six tokens, the middle ones blank."""
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    network = TextDenoiser(
        DenoiserConfig(vocab_size=20, max_position_embeddings=8, embedding_dim=4, **shape)
    ).eval()
    for parameter in network.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    network.requires_grad_(False)
    x0 = network.embedding.embed(torch.arange(12).view(2, 6))
    known = torch.tensor([[True, True, False, False, True, True]] * 2)

    def denoise(x_t: Tensor, t: Tensor, x0_prev: Tensor | None) -> Tensor:
        mask = torch.ones(2, 6, dtype=torch.long)
        return estimate(
            network, scheduler, x_t, t[:, None], x0_prev, attention_mask=mask, known=known, x0_known=x0
        )[1]

    return Wing(denoise, x0, known)


def image_wing(scheduler: Scheduler) -> Wing:
    """Two pictures of 8 x 8, a square lost."""
    torch.manual_seed(0)
    network = UNet(UNetConfig(image_size=8, width=8, heads=2)).eval().requires_grad_(False)
    for parameter in network.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    known = torch.ones(2, 1, 8, 8, dtype=torch.bool)
    known[..., 2:6, 2:6] = False
    return Wing(as_denoiser(network, scheduler), torch.rand(2, 1, 8, 8) * 2 - 1, known)


@pytest.mark.parametrize("wing", [text_wing, image_wing])
@pytest.mark.parametrize("step", SAMPLERS)
def test_infilling_and_inpainting_are_the_same_lines(wing: Callable[[Scheduler], Wing], step: str) -> None:
    scheduler = Scheduler.adaptive([5.0, -6.0])
    mine = wing(scheduler)
    own = [torch.Generator().manual_seed(i) for i in range(2)]
    start = torch.stack([torch.randn(mine.x0.shape[1:], generator=g) for g in own])
    correct = keep_known(mine.x0, mine.known, scheduler)
    states = list(
        sample(
            mine.denoiser, correct(start, start, torch.ones(2)), scheduler.times(4), scheduler,
            step=SAMPLERS[step], correct=correct, generator=own,
        )
    )  # fmt: skip
    given = mine.known.reshape(mine.known.shape + (1,) * (mine.x0.ndim - mine.known.ndim)).expand_as(mine.x0)
    for state in states:
        assert state.x[given].equal(mine.x0[given])
    assert states[-1].nfe == 4 and states[-1].x.isfinite().all()
    assert (states[-1].x[~given] - start[~given]).abs().max() > 0.1


def test_a_scheduler_saved_by_the_text_model_serves_the_image_model(tmp_path) -> None:
    tokenizer = train_bpe(["The little dog ran home."] * 9, 300)
    shape = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    config = DenoiserConfig(vocab_size=tokenizer.get_vocab_size(), max_position_embeddings=8, **shape)
    curve = Scheduler.adaptive([4.0, 1.0, -2.0, -6.0])
    DiffusionLM(TextDenoiser(config), curve, tokenizer).save_pretrained(tmp_path / "text")
    torch.manual_seed(0)
    unet = UNet(UNetConfig(image_size=8, width=8, heads=2))
    model = ImageDiffusion(unet, Scheduler.from_pretrained(tmp_path / "text"))
    model.save_pretrained(tmp_path / "image")
    text, image = (
        DiffusionLM.from_pretrained(tmp_path / "text"),
        ImageDiffusion.from_pretrained(tmp_path / "image"),
    )
    assert text.scheduler.config == image.scheduler.config == curve.config
    wanted = ImageDiffusion(unet, curve).generate(1, num_inference_steps=3, seed=0)
    assert np.array_equal(
        np.asarray(image.generate(1, num_inference_steps=3, seed=0)[0]), np.asarray(wanted[0])
    )
