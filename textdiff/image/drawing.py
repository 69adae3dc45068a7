"""Plans for a batch of pictures (what is given, what was measured, where to start) and the drawing of them.

Every picture has noise of its own, so parts of a batch can be drawn apart with the same result.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from textdiff.diffusion.corrections import keep_known
from textdiff.diffusion.guidance import classifier_free
from textdiff.diffusion.samplers import Correction, Denoiser, State, draw_noise, repaint_times
from textdiff.diffusion.scheduler import Scheduler
from textdiff.image.adapters import as_denoiser
from textdiff.image.operators import Operator
from textdiff.image.restoration import anchored, measured
from textdiff.image.sampling import Sampling, closed, grid_of, own_generators, walk
from textdiff.image.unet import Network

AT_ONCE = 64  # pictures denoised together
REPAINT_JUMP = 5  # strides that RePaint goes back up
RESAMPLE = 5  # times that it walks every stretch, if nothing else is said
CONDITIONINGS = ("guidance", "anchor")
INPAINTINGS = ("replacement", *CONDITIONINGS)

Generators = list[torch.Generator]


@dataclass(frozen=True)
class Plan:
    """How a batch is drawn; functions are given the slice of the batch whose turn it is.

    Attributes:
        times: the grid.
        wrap: from the plain denoiser to the one told what is known.
        correct: the sampler's correction.
        start: the state at the first time; None = pure noise.
    """

    times: Tensor
    wrap: Callable[[Denoiser, slice], Denoiser] | None = None
    correct: Callable[[slice, Generators], Correction] | None = None
    start: Callable[[slice, Generators], Tensor] | None = None


def replacing(
    scheduler: Scheduler, sampling: Sampling, x0_known: Tensor, known: Tensor, *, resample: int = 1
) -> Plan:
    """Known pixels are put back after every step; resample > 1 is RePaint (arXiv 2201.09865).

    Args:
        scheduler: the noise curve.
        sampling: steps.
        x0_known: pictures [B, C, H, W].
        known: bool [B, 1, H, W], True = given.
        resample: how often every stretch of the way is walked.

    Raises:
        ValueError: if resample is below 1.
    """
    if resample < 1:
        raise ValueError(f"resample is {resample}: it must be at least 1 (1 = off).")
    times = scheduler.times(sampling.num_inference_steps)
    if resample > 1:
        times = repaint_times(times, min(REPAINT_JUMP, sampling.num_inference_steps), resample)

    def correct(rows: slice, generators: Generators) -> Correction:
        return keep_known(x0_known[rows], known[rows], scheduler, renoise=True, generator=generators)

    return Plan(closed(scheduler, times), correct=correct)


def measuring(
    scheduler: Scheduler,
    sampling: Sampling,
    operator: Callable[[slice], Operator],
    measurement: Tensor,
    *,
    noise: float,
    data_std: float,
    conditioning: str = "guidance",
) -> Plan:
    """Pictures that agree with a measurement [B, ...].

    Args:
        scheduler: the noise curve.
        sampling: steps.
        operator: what was measured, of a slice of the batch.
        measurement: [B, ...].
        noise: its standard deviation, in [-1, 1] units.
        data_std: of the model's training pixels.
        conditioning: "guidance" (`restoration.measured`) or "anchor" (`restoration.anchored`).

    Raises:
        ValueError: if the conditioning is unknown, or anchors are asked for a noisy measurement.
    """
    if conditioning not in CONDITIONINGS:
        raise ValueError(f"Unknown conditioning {conditioning!r}: choose {', '.join(CONDITIONINGS)}.")
    if conditioning == "anchor" and noise:
        raise ValueError("An anchor takes the measurement as exact: choose guidance where there is noise.")

    def wrap(denoiser: Denoiser, rows: slice) -> Denoiser:
        if conditioning == "anchor":
            return anchored(denoiser, operator(rows), measurement[rows])
        return measured(
            denoiser, operator(rows), measurement[rows], scheduler, noise=noise, data_std=data_std
        )

    return Plan(grid_of(scheduler, sampling.num_inference_steps), wrap=wrap)


def denoising(scheduler: Scheduler, sampling: Sampling, noisy: Tensor, noise: float) -> Plan:
    """From pictures [B, C, H, W] with white noise down: one step gives the mean of the posterior, more a sample of it.

    A picture plus noise of standard deviation sigma / alpha, times alpha, is a state of the sampler.

    Raises:
        ValueError: if the noise is not above 0, or more than the model has seen.
    """
    most = math.exp(-float(scheduler.logsnr(torch.ones(1))) / 2.0)
    if not 0 < noise <= most:
        raise ValueError(
            f"The noise is {noise / 2:g} of the range from black to white: give 0 to {most / 2:.3g}."
        )
    start = scheduler.time(torch.tensor([-2.0 * math.log(noise)]))
    if sampling.num_inference_steps == 1:
        times = start.expand(2)
    else:
        times = closed(scheduler, start * scheduler.times(sampling.num_inference_steps))
    alpha = float(scheduler.alpha_sigma(start)[0])
    return Plan(times, start=lambda rows, generators: alpha * noisy[rows])


def blending(scheduler: Scheduler, sampling: Sampling, x0: Tensor, depth: float) -> Plan:
    """From pictures [B, C, H, W] with one and the same noise of time `depth` down to pictures like them.

    Raises:
        ValueError: if the depth is not in (0, 1].
    """
    if not 0 < depth <= 1:
        raise ValueError(
            f"depth is {depth}: give more than 0 (nothing changes) and at most 1 (nothing is kept)."
        )
    t = torch.tensor([depth], dtype=torch.float64)

    def start(rows: slice, generators: Generators) -> Tensor:
        return scheduler.add_noise(
            x0[rows], draw_noise(x0[rows], generators), t.to(x0.device).expand(len(x0[rows]))
        )

    return Plan(closed(scheduler, depth * scheduler.times(sampling.num_inference_steps)), start=start)


def draw(
    network: Network,
    scheduler: Scheduler,
    plan: Plan,
    sampling: Sampling,
    count: int,
    size: tuple[int, int],
    *,
    one_noise: bool = False,
) -> Tensor:
    """All pictures of a plan, [count, C, height, width] in about [-1, 1].

    Args:
        network: that draws.
        scheduler: the noise curve.
        plan: for `count` pictures.
        sampling: classes, sampler, seed.
        count: pictures.
        size: height and width, multiples of the network's stride.
        one_noise: all pictures have the same noise.
    """
    seed, parts = (
        sampling.pick_seed(),
        [slice(at, min(at + AT_ONCE, count)) for at in range(0, count, AT_ONCE)],
    )
    moves, drawn = len(plan.times) - 1, []
    for number, rows in enumerate(parts):
        names = [0 if one_noise else row for row in range(rows.start, rows.stop)]
        for state in states(network, scheduler, plan, sampling, seed, rows, names, count, size):
            last = state
            if sampling.progress is not None:
                sampling.progress(number * moves + state.step, len(parts) * moves)
        drawn.append(last.x0_hat)
    return torch.cat(drawn)


def states(
    network: Network,
    scheduler: Scheduler,
    plan: Plan,
    sampling: Sampling,
    seed: int,
    rows: slice,
    names: list[int],
    count: int,
    size: tuple[int, int],
) -> Iterator[State]:
    """The states of one part of a batch; `names` number its pictures' noise.

    Estimates are clamped to black and white after all guidance, which can lead beyond.
    """
    device = next(network.parameters()).device
    generators = own_generators(seed, names, device)
    labels = sampling.labels_of(count, network.config.num_classes)
    condition = sampling.condition_of(count, network.config.condition_size)
    own = None if labels is None else labels[rows].to(device)
    seen = None if condition is None else condition.rows(rows).to(device)
    plain = as_denoiser(network, scheduler)
    told = plain if own is None and seen is None else as_denoiser(network, scheduler, own, seen)
    denoiser = classifier_free(told, plain, sampling.guidance_scale)
    conditioned = denoiser if plan.wrap is None else plan.wrap(denoiser, rows)
    return walk(
        lambda x_t, t, x0_prev: conditioned(x_t, t, x0_prev).clamp(-1.0, 1.0), scheduler,
        (len(names), network.config.image_channels, *size), generators,
        sampler=sampling.sampler, times=plan.times,
        start=None if plan.start is None else plan.start(rows, generators),
        correct=None if plan.correct is None else plan.correct(rows, generators),
    )  # fmt: skip
