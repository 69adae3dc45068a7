"""How pictures are drawn: checked options, noise of each picture's own, and the walk over the sampler's grid."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
import torch
from torch import Tensor

from textdiff.diffusion.limits import check_guidance, check_seed, check_steps
from textdiff.diffusion.samplers import SAMPLERS, Correction, Denoiser, State, draw_noise, sample
from textdiff.diffusion.scheduler import Scheduler
from textdiff.image.attention import Condition


class Options(TypedDict, total=False):
    """How to sample: keyword arguments of every sampling call, with the defaults of `Sampling`.

    Attributes:
        labels: Class of every picture, or one number for all; None: not told.
        condition: Vectors of every picture, such as its encoded caption, or of one picture for all; None: not told.
        guidance_scale: Classifier-free guidance: 1 = class and condition as learned, above 1 exaggerates them.
        num_inference_steps: Strides from noise to picture; a curve that ends noisy costs one call of the network more.
        sampler: "ddpm" (ancestral: the best pictures of a network that is not perfect), "ddim", "dpmpp_2m" or "churn".
        seed: Of all noise; picture k is the same however many are drawn.
        generator: Where the seed comes from, if none is given; with neither, noise is fresh.
        progress: Called after every move with the number of moves made and of all there are.
    """

    labels: int | Sequence[int] | Tensor | None
    condition: Condition | None
    guidance_scale: float
    num_inference_steps: int
    sampler: str
    seed: int | None
    generator: torch.Generator | None
    progress: Callable[[int, int], object] | None


@dataclass(frozen=True)
class Sampling:
    """Checked `Options`.

    Raises:
        ValueError: if a value is out of range or the sampler unknown.
    """

    labels: int | Sequence[int] | Tensor | None = None
    guidance_scale: float = 1.0
    num_inference_steps: int = 50
    sampler: str = "ddpm"
    seed: int | None = None
    generator: torch.Generator | None = None
    progress: Callable[[int, int], object] | None = None
    condition: Condition | None = None

    def __post_init__(self) -> None:
        check_steps(self.num_inference_steps)
        if self.sampler not in SAMPLERS:
            raise ValueError(f"Unknown sampler {self.sampler!r}: choose {', '.join(SAMPLERS)}.")
        check_guidance("guidance_scale", self.guidance_scale, off=1)
        if self.guidance_scale != 1.0 and self.labels is None and self.condition is None:
            raise ValueError(
                f"guidance_scale is {self.guidance_scale} without labels or condition: say what to guide to."
            )
        check_seed(self.seed)

    def pick_seed(self) -> int:
        """The seed given, or one drawn from the generator, or a fresh one."""
        if self.seed is not None:
            return self.seed
        if self.generator is not None:
            return int(torch.randint(2**62, (1,), generator=self.generator, device=self.generator.device))
        return secrets.randbits(62)

    def labels_of(self, count: int, num_classes: int) -> Tensor | None:
        """Classes [count], or None where none is told.

        Raises:
            ValueError: if the model has no classes, or not these, or their number is another.
        """
        if self.labels is None:
            return None
        if not num_classes:
            raise ValueError("This model was trained without classes: leave labels out.")
        refusal = "labels must be a whole number or a list of them, one for each picture."
        try:
            labels = torch.as_tensor(self.labels)
        except (RuntimeError, TypeError, ValueError, OverflowError) as error:
            raise ValueError(refusal) from error
        if labels.dtype.is_floating_point or labels.dtype == torch.bool or labels.ndim > 1:
            raise ValueError(refusal)
        labels = labels.long().expand(count) if labels.ndim == 0 else labels.long()
        if len(labels) != count:
            raise ValueError(
                f"There are {len(labels)} labels for {count} pictures: give one for each, or one for all."
            )
        if not ((labels >= 0) & (labels < num_classes)).all():
            raise ValueError(
                f"labels are {sorted(set(labels.tolist()))}: give numbers from 0 to {num_classes - 1}."
            )
        return labels

    def condition_of(self, count: int, size: int) -> Condition | None:
        """Vectors [count, N, size] with their mask, or None where nothing is told.

        Raises:
            ValueError: if the model takes none, or not these, or their number is another.
        """
        if self.condition is None:
            return None
        if not size:
            raise ValueError("This model was trained without captions or other conditions: leave condition out.")
        embeddings, mask = self.condition
        if embeddings.ndim != 3 or embeddings.shape[-1] != size or mask.shape != embeddings.shape[:2]:
            raise ValueError(
                f"The condition has shape {list(embeddings.shape)} and its mask {list(mask.shape)}: "
                f"give [pictures, vectors, {size}] and [pictures, vectors]."
            )
        if len(embeddings) not in (1, count):
            raise ValueError(
                f"There are {len(embeddings)} conditions for {count} pictures: give one for each, or one for all."
            )
        return Condition(embeddings.expand(count, -1, -1), mask.bool().expand(count, -1))


def own_generators(seed: int, rows: Sequence[int], device: torch.device) -> list[torch.Generator]:
    """A stream of noise for each of the numbered pictures, whichever others are drawn beside it."""
    states = [np.random.SeedSequence([seed, row]).generate_state(1, np.uint64)[0] for row in rows]
    return [torch.Generator(device).manual_seed(int(state >> np.uint64(1))) for state in states]


def grid_of(scheduler: Scheduler, steps: int) -> Tensor:
    """Times from 1 to 0; 0 twice where the curve ends noisy, so that the last x0_hat is made there."""
    return closed(scheduler, scheduler.times(steps))


def closed(scheduler: Scheduler, times: Tensor) -> Tensor:
    """A grid that ends in 0, with the 0 repeated where the curve ends noisy."""
    noisy = bool(scheduler.logsnr(times[-1:]).isfinite())
    return torch.cat([times, times[-1:]]) if noisy else times


def walk(
    denoiser: Denoiser,
    scheduler: Scheduler,
    shape: tuple[int, ...],
    generators: list[torch.Generator],
    *,
    sampler: str,
    times: Tensor,
    start: Tensor | None = None,
    correct: Correction | None = None,
) -> Iterator[State]:
    """Denoise a batch and yield every state; the result is the last one's x0_hat.

    Args:
        denoiser: told all conditions.
        scheduler: the noise curve.
        shape: [B, C, H, W].
        generators: one for each picture; the start, the steps and the correction draw from them.
        sampler: a key of `SAMPLERS`.
        times: the grid, from `grid_of` or renoising on its way.
        start: the state at the first time; by default pure noise.
        correct: made with the same generators.
    """
    device = generators[0].device
    x = draw_noise(torch.empty(shape, device=device), generators) if start is None else start
    if correct is not None:
        x = correct(x, x, times[:1].to(device).expand(len(x)))
    return sample(
        denoiser, x, times, scheduler, step=SAMPLERS[sampler], correct=correct, generator=generators
    )
