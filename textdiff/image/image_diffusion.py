"""`ImageDiffusion`: pictures in, pictures out.

Generates, completes, enlarges, restores and blends pictures with a trained network; needs torch, safetensors and
Pillow, not transformers. Outside the ecosystem's words (`num_inference_steps`, `generator`), inside the papers'
letters.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Unpack

import torch
from PIL import Image

from textdiff import storage
from textdiff.diffusion.scheduler import Scheduler
from textdiff.image import loading
from textdiff.image.adapters import DiffusersNetwork
from textdiff.image.card import write_card
from textdiff.image.drawing import INPAINTINGS, RESAMPLE, Plan, blending, denoising, replacing, states
from textdiff.image.easel import Easel
from textdiff.image.operators import MOST_NOISE, Operator, check_scale, downsample, missing
from textdiff.image.pictures import padded, to_pil
from textdiff.image.sampling import Options, Sampling, grid_of
from textdiff.image.unet import Network, UNet


@dataclass(frozen=True)
class Step:
    """Pictures on their way: the noisy state, and what the network takes it for."""

    t: float
    noisy: list[Image.Image]
    estimate: list[Image.Image]


class ImageDiffusion(Easel):
    """A diffusion model of pictures with its noise curve.

    Args:
        network: a `UNet`, or anything with a `UNetConfig` as `config` that is called like one, such as
            `DiffusersNetwork`.
        scheduler: the noise curve.
        config: further keys of config.json.
    """

    def __init__(
        self, network: Network, scheduler: Scheduler, *, config: dict[str, Any] | None = None
    ) -> None:
        super().__init__(network, scheduler)
        self.config = {**(config or {}), **self.shape.to_dict()}

    @classmethod
    def from_pretrained(
        cls, name: str | os.PathLike | None = None, *, device: str | torch.device = "cpu"
    ) -> ImageDiffusion:
        """Load the bundled digits (None), another bundled model by name, a folder, or a hub id; float32.

        Raises:
            FileNotFoundError: if there is no such model, or a file of it is missing.
            ValueError: if a file of it is damaged or does not fit the others.
        """
        folder = loading.find_model(name)
        config = loading.read_config(folder)
        return cls(
            loading.read_unet(folder, config).to(device), Scheduler.from_pretrained(folder), config=config
        )

    @classmethod
    def from_diffusers(cls, unet: Any, scheduler: Any) -> ImageDiffusion:
        """Any UNet2DModel of diffusers under the curve of the diffusers scheduler it was trained with."""
        network = DiffusersNetwork(unet, scheduler)
        return cls(network, network.scheduler)

    def save_pretrained(self, folder: str | os.PathLike, *, facts: dict[str, Any] | None = None) -> None:
        """Write what `from_pretrained` and transformers' AutoModel read, and a model card.

        Args:
            folder: made if missing; on an error its old files stay as they were.
            facts: of the model card.

        Raises:
            ValueError: if the network is not a `UNet`.
        """
        if not isinstance(self.network, UNet):
            raise ValueError(
                "Only this package's own U-Net is saved here: save a diffusers model with diffusers."
            )
        config = {**self.config, "model_type": loading.MODEL_TYPE, "architectures": ["ImageDiffusionModel"]}
        config["dtype"] = "float32"
        with storage.Draft(folder) as draft:
            (draft / storage.CONFIG_FILE).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
            storage.write_state(draft, self.network, loading.PREFIX)
            self.scheduler.save_pretrained(draft)
            write_card(draft, facts or {})

    def generate(
        self, num_samples: int = 1, *, size: tuple[int, int] | None = None, **options: Unpack[Options]
    ) -> list[Image.Image]:
        """Pictures from noise.

        Args:
            num_samples: pictures to draw.
            size: height and width; by default as in training.
            **options: how to sample, see `Options`.

        Raises:
            ValueError: if an argument is out of range.
        """
        sampling, size = Sampling(**options), self._size(num_samples, size)
        plan = Plan(grid_of(self.scheduler, sampling.num_inference_steps))
        return to_pil(self._drawn(plan, sampling, num_samples, size))

    def generate_steps(
        self, num_samples: int = 1, *, size: tuple[int, int] | None = None, **options: Unpack[Options]
    ) -> Iterator[Step]:
        """What `generate`'s pictures look like after every move, from noise; the last estimate is the result."""
        sampling, size = Sampling(**options), self._size(num_samples, size)
        plan, rows = Plan(grid_of(self.scheduler, sampling.num_inference_steps)), slice(0, num_samples)
        names = list(range(num_samples))
        for state in states(
            self.network, self.scheduler, plan, sampling, sampling.pick_seed(), rows, names, num_samples,
            self._fitted(size),
        ):  # fmt: skip
            noisy, estimate = (x[..., : size[0], : size[1]] for x in (state.x, state.x0_hat))
            yield Step(state.t, to_pil(noisy), to_pil(estimate))

    def inpaint(
        self,
        image: Any,
        mask: Any,
        *,
        num_samples: int = 1,
        conditioning: str = "replacement",
        resample: int | None = None,
        **options: Unpack[Options],
    ) -> list[Image.Image]:
        """Make part of a picture anew; the rest comes back unchanged.

        Args:
            image: a picture, or a list of them of one size.
            mask: white (True, 1) where the picture is to be made anew; of the picture's size. One for all, or a list.
            num_samples: answers for each picture.
            conditioning: "replacement", "guidance" (pseudo-inverse guidance) or "anchor".
            resample: with "replacement", how often RePaint walks every stretch: 5 if left out, 1 = off.
            **options: how to sample, see `Options`.

        Raises:
            ValueError: if a picture or mask is not as said, or an argument is out of range.
        """
        if conditioning not in INPAINTINGS:
            raise ValueError(f"Unknown conditioning {conditioning!r}: choose {', '.join(INPAINTINGS)}.")
        sampling, x0 = Sampling(**options), self._pictures(image, num_samples)
        size = (x0.shape[-2], x0.shape[-1])
        known = ~self._masks(mask, size, len(x0), num_samples)
        if resample is not None and conditioning != "replacement":
            raise ValueError('resample is for conditioning="replacement": leave one of them out.')
        if conditioning == "replacement":
            room = torch.zeros(len(x0), 1, *self._fitted(size), dtype=torch.bool, device=x0.device)
            room[..., : size[0], : size[1]] = known
            wide = padded(x0, self.shape.stride)
            plan = replacing(self.scheduler, sampling, wide, room, resample=RESAMPLE if resample is None else resample)
        else:
            plan = self._measuring(
                lambda rows: missing(known[rows]),
                x0 * known,
                sampling,
                size,
                noise=0.0,
                conditioning=conditioning,
            )
        return to_pil(torch.where(known, x0, self._drawn(plan, sampling, len(x0), size)))

    def super_resolve(
        self,
        image: Any,
        scale: int,
        *,
        num_samples: int = 1,
        conditioning: str = "guidance",
        **options: Unpack[Options],
    ) -> list[Image.Image]:
        """Larger pictures whose blocks of scale x scale pixels have the given pixels as their means.

        Args:
            image: a picture, or a list of them of one size.
            scale: 2 or more; the result may be up to twice as large as the model's training pictures.
            num_samples: answers for each picture.
            conditioning: "guidance" or "anchor".
            **options: how to sample, see `Options`.

        Raises:
            ValueError: if the scale is not one the model was made for, or an argument is out of range.
        """
        sampling, y = Sampling(**options), self._pictures(image, num_samples)
        size = check_scale(scale, (y.shape[-2], y.shape[-1]), limit=2 * self.shape.image_size)
        plan = self._measuring(
            lambda rows: downsample(scale), y, sampling, size, noise=0.0, conditioning=conditioning
        )
        return to_pil(self._drawn(plan, sampling, len(y), size))

    def restore(
        self,
        image: Any,
        operator: Operator | None = None,
        *,
        noise: float = 0.0,
        num_samples: int = 1,
        size: tuple[int, int] | None = None,
        conditioning: str = "guidance",
        **options: Unpack[Options],
    ) -> list[Image.Image]:
        """Undo a blur, a loss of pixels or of resolution, or any linear operator, under noise.

        Args:
            image: what was measured: a picture, or a list of them of one size.
            operator: what was done to the clean picture (`textdiff.image.operators`), a function of pictures
                [B, C, H, W] in [-1, 1]; None: nothing but noise was added, see `denoise`.
            noise: standard deviation of the noise, as a share of the range from black to white.
            num_samples: answers for each picture.
            size: height and width of the clean picture; by default those of the measured one.
            conditioning: "guidance" or, without noise, "anchor".
            **options: how to sample, see `Options`.

        Raises:
            ValueError: if the operator's result is not of the picture's size, or an argument is out of range.
        """
        if operator is None:
            if size is not None or conditioning != "guidance":
                raise ValueError("size and conditioning are for an operator: give one, or leave them out.")
            return self.denoise(image, noise, num_samples=num_samples, **options)
        if not 0 <= noise <= MOST_NOISE:
            raise ValueError(f"The noise is {noise}: give its standard deviation, 0 to {MOST_NOISE:g}.")
        given = operator
        sampling, y = Sampling(**options), self._pictures(image, num_samples)
        size = self._size(num_samples, size or (y.shape[-2], y.shape[-1]))
        made = given(torch.zeros(1, y.shape[1], *size, device=y.device)).shape[1:]
        if made != y.shape[1:]:
            raise ValueError(
                f"The operator makes {list(made)} of a picture of {size[0]} x {size[1]}, but the given one is "
                f"{list(y.shape[1:])}: name the clean picture's size."
            )
        plan = self._measuring(
            lambda rows: given, y, sampling, size, noise=2.0 * noise, conditioning=conditioning
        )
        return to_pil(self._drawn(plan, sampling, len(y), size))

    def denoise(
        self, image: Any, noise: float, *, num_samples: int = 1, **options: Unpack[Options]
    ) -> list[Image.Image]:
        """Take white noise off a picture.

        Args:
            image: a picture, or a list of them of one size; floats may lie a little outside 0 to 1.
            noise: standard deviation of the noise, as a share of the range from black to white.
            num_samples: answers for each picture.
            **options: how to sample, see `Options`. One step, the default here, gives the mean of all clean pictures
                that it may have been, which is nearest in squares; more give one of them, which is sharper.

        Raises:
            ValueError: if the noise is none, or more than the model has seen.
        """
        sampling = Sampling(**{"num_inference_steps": 1, **options})  # type: ignore[arg-type]
        y = self._pictures(image, num_samples)
        plan = denoising(self.scheduler, sampling, padded(y, self.shape.stride), 2.0 * noise)
        return to_pil(self._drawn(plan, sampling, len(y), (y.shape[-2], y.shape[-1])))

    def interpolate(
        self, first: Any, second: Any, num_samples: int = 8, *, depth: float = 0.6, **options: Unpack[Options]
    ) -> list[Image.Image]:
        """Pictures on the way from one to another (DDPM, arXiv 2006.11239, section 4.3).

        Args:
            first: a picture.
            second: another of its size.
            num_samples: pictures, the two ends included.
            depth: time up to which mixtures are noised: near 0 a cross-fade, near 1 pictures of their own.
            **options: how to sample, see `Options`.

        Raises:
            ValueError: if the sizes differ or an argument is out of range.
        """
        sampling = Sampling(**options)
        if num_samples < 2:
            raise ValueError(f"num_samples is {num_samples}: a way has at least 2 pictures.")
        ends = self._pictures([first, second], 1)
        share = torch.linspace(0.0, 1.0, num_samples, device=ends.device).view(-1, 1, 1, 1)
        mixed = torch.lerp(ends[:1], ends[1:], share)
        plan = blending(self.scheduler, sampling, padded(mixed, self.shape.stride), depth)
        return to_pil(
            self._drawn(plan, sampling, num_samples, (ends.shape[-2], ends.shape[-1]), one_noise=True)
        )
