"""Networks as the samplers' denoisers, whatever they predict: our U-Net, or any UNet2DModel of diffusers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from textdiff.diffusion.samplers import Denoiser
from textdiff.diffusion.scheduler import Scheduler
from textdiff.image.attention import Condition
from textdiff.image.unet import Network, UNetConfig

PREDICTION_OF = {"epsilon": "eps", "sample": "x0", "v_prediction": "v"}  # diffusers' words


def to_x0(scheduler: Scheduler, prediction: str, x_t: Tensor, output: Tensor, t: Tensor) -> Tensor:
    """x0_hat from what a network predicts at times t [B]: "v", "eps" or "x0"."""
    if prediction == "v":
        return scheduler.x0_from_v(x_t, output, t)
    return scheduler.x0_from_eps(x_t, output, t) if prediction == "eps" else output


def as_denoiser(
    network: Network, scheduler: Scheduler, labels: Tensor | None = None, condition: Condition | None = None
) -> Denoiser:
    """The denoiser that a network (x_t, logsnr [B], labels) with a `UNetConfig` is under a noise curve."""
    told = {} if condition is None else {"condition": condition}

    def denoise(x_t: Tensor, t: Tensor, x0_prev: Tensor | None) -> Tensor:
        output = network(x_t, scheduler.logsnr(t), labels, **told)
        return to_x0(scheduler, network.config.prediction, x_t, output.to(x_t.dtype), t)

    return denoise


class DiffusersNetwork(Network):
    """A diffusers UNet2DModel in the U-Net's place: told the step of its own table that has the logsnr asked for.

    Args:
        unet: the UNet2DModel.
        noise: the diffusers scheduler that it was trained with.
    """

    def __init__(self, unet: Any, noise: Any) -> None:
        super().__init__()
        self.unet, self.scheduler = unet, Scheduler.from_diffusers(noise)
        classes = unet.config.num_class_embeds
        self.config = UNetConfig(
            image_channels=unet.config.in_channels, image_size=_side(unet.config.sample_size),
            patch=1, multiples=(1,) * len(unet.config.block_out_channels), num_classes=(classes or 1) - 1,
            prediction=PREDICTION_OF[self.scheduler.config.prediction_type],
        )  # fmt: skip

    def forward(self, x_t: Tensor, logsnr: Tensor, labels: Tensor | None = None) -> Tensor:
        """The prediction, shaped like x_t; labels None: the last class, which such models keep for "not told"."""
        steps = self.scheduler.config.num_train_timesteps
        step = (self.scheduler.time(logsnr) * steps - 1.0).clamp(min=0.0).float()
        if self.config.num_classes and labels is None:
            labels = torch.full_like(step, self.config.num_classes, dtype=torch.long)
        return self.unet(x_t, step, class_labels=labels if self.config.num_classes else None).sample


def _side(size: Any) -> int:
    """Height of the pictures a model was made for; 32 where it does not say."""
    return int(size if isinstance(size, int) else size[0] if size else 32)
