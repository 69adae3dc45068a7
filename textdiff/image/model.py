"""The trainable image model: forward is the training loss, the U-Net inside is what samplers call.

`ImageDiffusionModel` wraps the plain `UNet` for Trainer, Auto classes and the hub. The noise curve is a float64
`Scheduler` beside the module, in a JSON file of its own.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel
from transformers.utils import ModelOutput

from textdiff.diffusion.losses import low_discrepancy_uniform, sample_normal, sample_uniform
from textdiff.diffusion.samplers import levels_at
from textdiff.diffusion.scheduler import Scheduler
from textdiff.image.adapters import as_denoiser
from textdiff.image.attention import Condition
from textdiff.image.curve import image_curve
from textdiff.image.loading import MODEL_TYPE
from textdiff.image.unet import UNet, UNetConfig

# The loss divides by sigma^2, by this one's at least. A predicted x0 keeps some error at any level, and fine grain
# would be all it learns: its weight is min(SNR, 5.25) + 1, truncated as in arXiv 2303.09556.
LEAST_SIGMA = {"v": 1e-4, "eps": 1e-4, "x0": 0.4}


class ImageDiffusionConfig(PreTrainedConfig):
    """Shape of the network (`UNetConfig`'s fields) and of its training.

    Args:
        class_dropout: share of training rows whose class and condition are not told, for classifier-free guidance.
        noise_seed: seed of all training noise.
        **kwargs: any field of `UNetConfig`, and what `PreTrainedConfig` takes.
    """

    model_type = MODEL_TYPE

    def __init__(self, class_dropout: float = 0.1, noise_seed: int = 0, **kwargs: Any) -> None:
        for field in fields(UNetConfig):
            value = kwargs.pop(field.name, field.default)
            setattr(self, field.name, list(value) if isinstance(value, tuple) else value)
        self.class_dropout, self.noise_seed = class_dropout, noise_seed
        super().__init__(**kwargs)

    def unet_config(self) -> UNetConfig:
        """The network's part."""
        return UNetConfig(**{field.name: getattr(self, field.name) for field in fields(UNetConfig)})


@dataclass
class ImageDiffusionOutput(ModelOutput):
    """The loss, and the squared distance of x0_hat, both per pixel value."""

    loss: Tensor | None = None
    mse: Tensor | None = None


class ImageDiffusionModel(PreTrainedModel):
    """A diffusion model of pictures: `forward` is the loss."""

    config_class = ImageDiffusionConfig
    base_model_prefix = "model"
    main_input_name = "pixel_values"
    accepts_loss_kwargs = False
    _no_split_modules = ["ResidualBlock"]

    def __init__(self, config: ImageDiffusionConfig, scheduler: Scheduler | None = None) -> None:
        super().__init__(config)
        self.unet = UNet(config.unet_config())
        self.scheduler = scheduler if scheduler is not None else image_curve()
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """The modules of `UNet` initialise themselves."""

    def forward(
        self,
        pixel_values: Tensor,
        labels: Tensor | None = None,
        sample_index: Tensor | None = None,
        condition: Tensor | None = None,
        condition_mask: Tensor | None = None,
    ) -> ImageDiffusionOutput:
        """One training step's loss: the squared error of v, whatever is predicted (arXiv 2202.00512, section 4).

        Args:
            pixel_values: [B, C, H, W] in [-1, 1].
            labels: classes [B].
            sample_index: integers [B] that name the rows' noise; 0 to B - 1 if left out.
            condition: vectors [B, N, config.condition_size].
            condition_mask: bool [B, N], True = told; all are if left out.
        """
        device, seed = pixel_values.device, self.config.noise_seed
        index = torch.arange(len(pixel_values), device=device) if sample_index is None else sample_index
        t = low_discrepancy_uniform(index, seed)
        eps = sample_normal(tuple(pixel_values.shape[1:]), index, seed)
        dropped = torch.zeros_like(index, dtype=torch.bool)
        if self.training:
            dropped = sample_uniform(index, seed + 1) < self.config.class_dropout
        labels = None if labels is None else torch.where(dropped, self.config.num_classes, labels)
        seen = None
        if condition is not None:
            given = torch.ones_like(condition[..., 0]) if condition_mask is None else condition_mask
            seen = Condition(condition, given.bool() & ~dropped[:, None])
        x_t = self.scheduler.add_noise(pixel_values, eps, t)
        told = labels if self.config.num_classes else None
        x0_hat = as_denoiser(self.unet, self.scheduler, told, seen)(x_t, t, None)
        square = (x0_hat - pixel_values).pow(2)
        least = LEAST_SIGMA[self.config.prediction]
        variance = levels_at(self.scheduler, t, x_t).sigma.clamp(min=least).pow(2)
        loss = (square / variance.to(square.dtype)).mean()  # |v - v_hat| = |x0 - x0_hat| / sigma
        return ImageDiffusionOutput(loss=loss, mse=square.mean().detach())

    def save_pretrained(self, save_directory: str | os.PathLike, **kwargs: Any) -> None:
        """Write weights, config and scheduler."""
        super().save_pretrained(save_directory, **kwargs)
        self.scheduler.save_pretrained(save_directory)

    @classmethod
    def from_pretrained(cls, name: str | os.PathLike, *args: Any, **kwargs: Any) -> ImageDiffusionModel:
        """Load weights, config and scheduler from a folder; safetensors only.

        Raises:
            OSError: if the folder does not hold a model.
        """
        model = super().from_pretrained(name, *args, **{**kwargs, "use_safetensors": True})
        loaded = model[0] if isinstance(model, tuple) else model
        loaded.scheduler = Scheduler.from_pretrained(Path(name))
        return model


AutoConfig.register(MODEL_TYPE, ImageDiffusionConfig, exist_ok=True)
AutoModel.register(ImageDiffusionConfig, ImageDiffusionModel, exist_ok=True)
