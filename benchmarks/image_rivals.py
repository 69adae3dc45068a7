"""Image models that are trained side by side: ours, and two well-known packages' with as many parameters.

Each has its own network, noise curve, loss and sampler, with its package's defaults. Pictures are tensors
[B, 1, 28, 28] in [-1, 1].
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE = 28
APART = 0.05  # how far two networks' numbers of parameters may be apart


class Contender(Protocol):
    """A model that can be trained and sampled.

    Attributes:
        classes: 10 where it is told them, else 0.
        network: what is trained.
        facts: its shape and settings, for the certificate.
    """

    classes: int
    network: nn.Module
    facts: list[str]

    def loss(self, x0: Tensor, labels: Tensor | None, index: Tensor) -> Tensor:
        """The training loss of a batch; labels [B] or None, index [B] numbers all pictures in training."""

    def draw(
        self, network: nn.Module, labels: Tensor | None, count: int, calls: int, seed: int
    ) -> list[Image]:
        """Pictures by a network, such as one of averaged weights, each in so many calls of it."""


class Textdiff:
    """Ours: the U-Net of the preset `digits`, v on the cosine curve, ancestral sampling.

    Args:
        classes: 0 = none.
        width: of the network's first level.
    """

    def __init__(self, classes: int, width: int) -> None:
        from textdiff.image.model import ImageDiffusionConfig, ImageDiffusionModel
        from textdiff.image.presets import PRESETS

        shape = {**PRESETS["digits"].model, "width": width, "num_classes": classes}
        self.model = ImageDiffusionModel(ImageDiffusionConfig(**shape, class_dropout=0.0))
        self.classes, self.network = classes, self.model.unet
        self.facts = [f"width {width}", "v", "cosine curve", "ddpm"]

    def loss(self, x0: Tensor, labels: Tensor | None, index: Tensor) -> Tensor:
        """As `ImageDiffusionModel` has it."""
        return self.model(x0, labels, index).loss

    def draw(self, network: Any, labels: Tensor | None, count: int, calls: int, seed: int) -> list[Image]:
        """The curve ends noisy, so that one call is the last estimate's."""
        from textdiff.image.image_diffusion import ImageDiffusion

        own = None if labels is None else labels.tolist()
        model = ImageDiffusion(network, self.model.scheduler)
        return model.generate(count, labels=own, num_inference_steps=calls - 1, seed=seed)


class Diffusers:
    """A UNet2DModel of diffusers: eps on DDPMScheduler's linear curve of 1,000 steps, ancestral sampling.

    Args:
        parameters: of the network that is to be matched.
    """

    classes = 10

    def __init__(self, parameters: int) -> None:
        from diffusers import DDPMScheduler

        scale = _scale(unet2d((16, 32, 32)), 16, parameters)
        shapes = product(*(_around(scale * multiple, 4) for multiple in (1, 2, 2)))
        channels, self.network = nearest(unet2d, shapes, parameters)
        self.noise = DDPMScheduler()
        self.facts = [f"channels {list(channels)}", "eps", "linear curve", "DDPMScheduler"]

    def loss(self, x0: Tensor, labels: Tensor | None, index: Tensor) -> Tensor:
        """The squared error of eps, as in the package's examples."""
        eps = torch.randn_like(x0)
        step = torch.randint(0, self.noise.config.num_train_timesteps, (len(x0),))
        found = self.network(self.noise.add_noise(x0, eps, step), step, class_labels=labels).sample
        return nn.functional.mse_loss(found, eps)

    @torch.no_grad()
    def draw(
        self, network: nn.Module, labels: Tensor | None, count: int, calls: int, seed: int
    ) -> list[Image]:
        """The package's pipeline, which takes no classes, written out."""
        from textdiff.image.pictures import to_pil

        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(count, 1, SIDE, SIDE, generator=generator)
        self.noise.set_timesteps(calls)
        for step in self.noise.timesteps:
            found = network.eval()(x, step, class_labels=labels).sample
            x = self.noise.step(found, step, x, generator=generator).prev_sample
        return to_pil(x)


class DenoisingDiffusion:
    """denoising-diffusion-pytorch's Unet and GaussianDiffusion: v on its sigmoid curve of 1,000 steps, DDIM.

    Without classes: its model with classes fails where it is sampled without guidance.

    Args:
        parameters: of the network that is to be matched.
    """

    classes = 0

    def __init__(self, parameters: int) -> None:
        from denoising_diffusion_pytorch import Unet

        def build(shape: tuple[int, tuple[int, ...]]) -> nn.Module:
            return Unet(shape[0], dim_mults=shape[1], channels=1)

        shapes = [
            (width, multiples)
            for multiples in ((1, 2, 4), (1, 2, 3), (1, 2, 2), (1, 2))
            for width in _around(_scale(build((16, multiples)), 16, parameters), 2)
        ]
        shape, self.network = nearest(build, shapes, parameters)
        self.process = self._process(self.network)
        self.facts = [f"width {shape[0]}", f"multiples {list(shape[1])}", "v", "sigmoid curve", "DDIM"]

    @staticmethod
    def _process(network: nn.Module, **settings: Any) -> Any:
        from denoising_diffusion_pytorch import GaussianDiffusion

        return GaussianDiffusion(network, image_size=SIDE, **settings)

    def loss(self, x0: Tensor, labels: Tensor | None, index: Tensor) -> Tensor:
        """The package's own, which takes pictures from 0 to 1."""
        return self.process((x0 + 1.0) / 2.0)

    def draw(
        self, network: nn.Module, labels: Tensor | None, count: int, calls: int, seed: int
    ) -> list[Image]:
        """The package's own, from torch's one generator."""
        from textdiff.image.pictures import to_pil

        process = self._process(network.eval(), sampling_timesteps=calls)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return to_pil(2.0 * process.sample(batch_size=count) - 1.0)


RIVALS: dict[str, Any] = {
    "diffusers": Diffusers,
    "denoising-diffusion-pytorch": DenoisingDiffusion,
}  # by package


def pair(name: str, width: int) -> tuple[Contender, Contender]:
    """Ours and a rival of the same size; with ten classes both, or without both.

    Args:
        name: the rival's package.
        width: of our network's first level.

    Raises:
        ValueError: if there is no such rival, it cannot be imported, or no shape of it is of this size.
    """
    if name not in RIVALS:
        raise ValueError(f"Unknown rival {name!r}: choose {', '.join(RIVALS)}.")
    try:
        importlib.import_module(name.replace("-", "_"))
    except (ImportError, RuntimeError) as error:  # a torchvision of another torch raises the latter
        raise ValueError(f"The rival {name} cannot be imported ({error}): pip install {name}.") from error
    ours = Textdiff(RIVALS[name].classes, width)
    return ours, RIVALS[name](size(ours.network))


def size(network: nn.Module) -> int:
    """Number of parameters."""
    return sum(parameter.numel() for parameter in network.parameters())


def unet2d(channels: Sequence[int]) -> nn.Module:
    """A UNet2DModel of ten classes with attention below its first level."""
    from diffusers import UNet2DModel

    lower = len(channels) - 1
    return UNet2DModel(
        sample_size=SIDE, in_channels=1, out_channels=1, layers_per_block=2,
        block_out_channels=tuple(channels),
        down_block_types=("DownBlock2D", *["AttnDownBlock2D"] * lower),
        up_block_types=(*["AttnUpBlock2D"] * lower, "UpBlock2D"),
        norm_num_groups=4, num_class_embeds=Diffusers.classes,
    )  # fmt: skip


def nearest(
    build: Callable[[Any], nn.Module], shapes: Iterable[Any], parameters: int
) -> tuple[Any, nn.Module]:
    """Of all shapes the one whose network comes nearest in size, and that network.

    Raises:
        ValueError: if it is not within 5 %.
    """
    with torch.device("meta"):
        sizes = {shape: size(build(shape)) for shape in dict.fromkeys(shapes)}
    shape = min(sizes, key=lambda shape: abs(sizes[shape] - parameters))
    if abs(sizes[shape] - parameters) > APART * parameters:
        raise ValueError(
            f"The rival has {sizes[shape]} parameters where it comes nearest to {parameters}: "
            "give another --width."
        )
    return shape, build(shape)


def _scale(network: nn.Module, width: int, parameters: int) -> float:
    """About the width at which a network, of this width now, has so many parameters."""
    return width * (parameters / size(network)) ** 0.5


def _around(value: float, step: int) -> list[int]:
    """The multiples of a step below and above a value."""
    below = max(1, int(value // step)) * step
    return [below, below + step]
