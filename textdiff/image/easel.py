"""What every call of `ImageDiffusion` does with its pictures: read, check, pad to the network's stride, draw, crop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from textdiff.diffusion.limits import check_count
from textdiff.diffusion.scheduler import Scheduler
from textdiff.image.drawing import Plan, draw, measuring
from textdiff.image.operators import Operator
from textdiff.image.pictures import read_mask, read_pictures
from textdiff.image.sampling import Sampling
from textdiff.image.unet import Network

LARGEST = 1024  # pixels a side


class Easel:
    """A network with its noise curve, and pictures of any size."""

    def __init__(self, network: Network, scheduler: Scheduler) -> None:
        self.network, self.scheduler = network.eval().requires_grad_(False), scheduler
        self.shape = network.config

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.network.parameters()).device

    def _measuring(
        self,
        operator: Callable[[slice], Operator],
        measurement: Tensor,
        sampling: Sampling,
        size: tuple[int, int],
        **settings: Any,
    ) -> Plan:
        """A plan whose operator is blind for the padding."""

        def cropped(rows: slice) -> Operator:
            seen = operator(rows)
            return lambda x: seen(x[..., : size[0], : size[1]])

        return measuring(
            self.scheduler, sampling, cropped, measurement, data_std=self.shape.data_std, **settings
        )

    def _drawn(
        self, plan: Plan, sampling: Sampling, count: int, size: tuple[int, int], *, one_noise: bool = False
    ) -> Tensor:
        """Pictures [count, C, *size]."""
        wide = draw(
            self.network, self.scheduler, plan, sampling, count, self._fitted(size), one_noise=one_noise
        )
        return wide[..., : size[0], : size[1]]

    def _fitted(self, size: tuple[int, int]) -> tuple[int, int]:
        """The least multiples of the network's stride that are no smaller."""
        stride = self.shape.stride
        return -(-size[0] // stride) * stride, -(-size[1] // stride) * stride

    def _size(self, num_samples: int, size: tuple[int, int] | None) -> tuple[int, int]:
        check_count(num_samples)
        height, width = size or (self.shape.image_size, self.shape.image_size)
        if not (1 <= height <= LARGEST and 1 <= width <= LARGEST):
            raise ValueError(f"The size is {height} x {width}: give 1 to {LARGEST} pixels a side.")
        return height, width

    def _pictures(self, image: Any, num_samples: int) -> Tensor:
        """Given pictures [N * num_samples, C, H, W], each as often as it has answers."""
        pictures = read_pictures(image, self.shape.image_channels)
        sizes = {tuple(picture.shape[1:]) for picture in pictures}
        if len(sizes) > 1:
            raise ValueError(f"The pictures are of {len(sizes)} sizes: give pictures of one size at a time.")
        self._size(num_samples, (pictures[0].shape[1], pictures[0].shape[2]))
        return torch.stack(pictures).repeat_interleave(num_samples, 0).to(self.device)

    def _masks(self, mask: Any, size: tuple[int, int], count: int, num_samples: int) -> Tensor:
        """What is to be made anew, bool [count, 1, H, W]."""
        listed = list(mask) if isinstance(mask, list | tuple) else [mask]
        if len(listed) not in (1, count // num_samples):
            raise ValueError(
                f"There are {len(listed)} masks for {count // num_samples} pictures: give one, or one for each."
            )
        masks = torch.stack([read_mask(one, size) for one in listed]).to(self.device)
        return (
            masks.expand(count, -1, -1, -1) if len(listed) == 1 else masks.repeat_interleave(num_samples, 0)
        )
