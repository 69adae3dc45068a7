"""The sampling loop and its steps: from noise at t = 1 to data at t = 0 along any grid of times.

A step is a pure function from time t to a lower time s. With c = -expm1(logsnr(t) - logsnr(s)) every one of
them is x_s = A x_t + (alpha_s - A alpha_t) E + noise, where E is x0_hat or an extrapolation of it; where
logsnr(s) is +inf it is x0_hat itself. The loop owns what steps and self-conditioning remember, and renoises
where the grid goes up: RePaint is a grid, not a sampler. Coefficients are float64, states float32 (or wider,
as given).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise

import torch
from torch import Tensor

from textdiff.diffusion.scheduler import Scheduler, expand_left

Denoiser = Callable[[Tensor, Tensor, Tensor | None], Tensor]  # (x_t [B, ...], t [B], x0_prev) -> x0_hat
Correction = Callable[[Tensor, Tensor, Tensor], Tensor]  # (x_s [B, ...], x0_hat, s [B]) -> x_s
Step = Callable[..., Tensor]  # (scheduler, x_t, x0_hat, x0_prev, t, s, t_prev, noise) -> x_s
Generators = torch.Generator | Sequence[torch.Generator] | None


@dataclass(frozen=True)
class State:
    """What `sample` yields after every move.

    Attributes:
        x: The state [B, ...] at time t.
        x0_hat: The last estimate of the data [B, ...], made at the time before t.
        t: The time of x.
        step: Number of moves made so far.
        nfe: Number of denoiser calls made so far; one call of a guided denoiser counts once.
    """

    x: Tensor
    x0_hat: Tensor
    t: float
    step: int
    nfe: int


@dataclass(frozen=True)
class Levels:
    """alpha, sigma (for ratios) and logsnr (for differences) at one time, float64, shaped like the state."""

    alpha: Tensor
    sigma: Tensor
    logsnr: Tensor


def levels_at(scheduler: Scheduler, t: Tensor, x: Tensor) -> Levels:
    """The noise levels at times t [B] (or [B, L]: one per position), shaped to broadcast against x."""
    return levels_of(scheduler.logsnr(expand_left(t, x)).to(x.device))


def levels_of(logsnr: Tensor) -> Levels:
    """alpha and sigma for a logsnr (VDM, arXiv 2107.00630, eq. 4)."""
    return Levels(logsnr.sigmoid().sqrt(), (-logsnr).sigmoid().sqrt(), logsnr)


def draw_noise(x: Tensor, generator: Generators) -> Tensor:
    """Standard normal noise shaped like x [B, ...], from one generator or, row by row, from B of them."""
    if isinstance(generator, Sequence):
        if len(generator) != len(x):
            raise ValueError(f"got {len(generator)} generators for a batch of {len(x)}: give one per sample")
        return torch.stack([draw_noise(row, own) for row, own in zip(x, generator, strict=True)])
    device = x.device if generator is None else generator.device
    return torch.randn(x.shape, generator=generator, dtype=x.dtype, device=device).to(x.device)


def ddpm_step(
    scheduler: Scheduler,
    x_t: Tensor,
    x0_hat: Tensor,
    x0_prev: Tensor | None,
    t: Tensor,
    s: Tensor,
    t_prev: Tensor | None,
    noise: Tensor,
) -> Tensor:
    """One ancestral step, q(x_s | x_t, x0_hat) (DDPM, arXiv 2006.11239, eqs. 6-7; VDM, arXiv 2107.00630, app.
    A.4).

    Args:
        scheduler: The noise curve.
        x_t: State at t, [B, ...].
        x0_hat: Estimate of the data at t, [B, ...].
        x0_prev: Estimate at t_prev, or None; of use to second-order steps only, as is t_prev.
        t: Time of x_t, [B].
        s: Time to go to, s <= t, [B].
        t_prev: Time of x0_prev, [B], or None.
        noise: Standard normal, [B, ...].
    """
    now, then = levels_at(scheduler, t, x_t), levels_at(scheduler, s, x_t)
    kept = (now.logsnr - then.logsnr).exp()
    c = -torch.expm1(now.logsnr - then.logsnr)
    return _mix(
        (kept * then.alpha / now.alpha, x_t), (c * then.alpha, x0_hat), (c.sqrt() * then.sigma, noise)
    )


def ddim_step(
    scheduler: Scheduler,
    x_t: Tensor,
    x0_hat: Tensor,
    x0_prev: Tensor | None,
    t: Tensor,
    s: Tensor,
    t_prev: Tensor | None,
    noise: Tensor,
    eta: float = 0.0,
) -> Tensor:
    """One DDIM step (arXiv 2010.02502, eq. 12 with the sigma of eq. 16); arguments as for `ddpm_step`.

    Args:
        eta: 0 is deterministic and of order 1, 1 is the ancestral step.
    """
    now, then = levels_at(scheduler, t, x_t), levels_at(scheduler, s, x_t)
    variance = -(eta**2) * torch.expm1(now.logsnr - then.logsnr) * then.sigma**2
    a = (then.sigma**2 - variance).clamp_min(0.0).sqrt() / now.sigma
    return _mix((a, x_t), (then.alpha - a * now.alpha, x0_hat), (variance.sqrt(), noise))


def dpmpp_2m_step(
    scheduler: Scheduler,
    x_t: Tensor,
    x0_hat: Tensor,
    x0_prev: Tensor | None,
    t: Tensor,
    s: Tensor,
    t_prev: Tensor | None,
    noise: Tensor,
) -> Tensor:
    """One DPM-Solver++(2M) step (arXiv 2211.01095, algorithm 2); arguments as for `ddpm_step`.

    Order 2 in h = (logsnr(s) - logsnr(t)) / 2. It is the first-order step (DDIM) where there is no history,
    where the stride before had no length, and where s is free of noise, since h is infinite there.
    """
    now, then = levels_at(scheduler, t, x_t), levels_at(scheduler, s, x_t)
    estimate = x0_hat
    if x0_prev is not None and t_prev is not None:
        stride = then.logsnr - now.logsnr
        stride_before = now.logsnr - levels_at(scheduler, t_prev, x_t).logsnr
        usable = (stride_before > 1e-9) & stride.isfinite()
        weight = torch.where(usable, stride / (2.0 * stride_before), 0.0)
        estimate = _mix((1.0 + weight, x0_hat), (-weight, x0_prev))
    gain = -then.alpha * torch.expm1((now.logsnr - then.logsnr) / 2.0)
    return _mix((then.sigma / now.sigma, x_t), (gain, estimate))


def churn_step(
    scheduler: Scheduler,
    x_t: Tensor,
    x0_hat: Tensor,
    x0_prev: Tensor | None,
    t: Tensor,
    s: Tensor,
    t_prev: Tensor | None,
    noise: Tensor,
    churn: float = 2.0,
) -> Tensor:
    """DDIM to below s, then fresh noise back up to s: the churn of EDM (arXiv 2206.00364, algorithm 2).

    EDM renoises at the start of a stride, we at the end of the one before, which is the same walk and leaves
    the last stride (s = 0) without noise. Other arguments as for `ddpm_step`.

    Args:
        churn: How far below s to go, in strides of logsnr: 0 is `ddim_step`, 1 is `ddpm_step`.
    """
    now, then = levels_at(scheduler, t, x_t), levels_at(scheduler, s, x_t)
    stride = torch.where(expand_left(s, x_t).to(x_t.device) > 0, then.logsnr - now.logsnr, 0.0)
    below = levels_of(then.logsnr + churn * stride)
    up = then.alpha / below.alpha
    a = up * below.sigma / now.sigma
    fresh = then.sigma * (-torch.expm1(-churn * stride)).sqrt()
    return _mix((a, x_t), (then.alpha - a * now.alpha, x0_hat), (fresh, noise))


def renoise(scheduler: Scheduler, x_t: Tensor, t: Tensor, s: Tensor, noise: Tensor) -> Tensor:
    """The forward process from t up to s >= t, q(x_s | x_t) (VDM, arXiv 2107.00630, app. A.1)."""
    now, then = levels_at(scheduler, t, x_t), levels_at(scheduler, s, x_t)
    fresh = then.sigma * (-torch.expm1(then.logsnr - now.logsnr)).sqrt()
    return _mix((then.alpha / now.alpha, x_t), (fresh, noise))


SAMPLERS: dict[str, Step] = {
    "ddim": ddim_step,
    "ddpm": ddpm_step,
    "dpmpp_2m": dpmpp_2m_step,
    "churn": churn_step,
}


def repaint_times(times: Tensor, jump: int = 10, repeats: int = 10) -> Tensor:
    """RePaint's walk over a descending grid (arXiv 2201.09865, section 4.2 and appendix B).

    After every `jump` strides (counted from the end, the first jump left out) it goes back up that far and
    down again, until each such stretch has been walked `repeats` times. The way up costs no denoiser call.
    """
    last = len(times) - 1
    path = [0]
    for i in range(1, last + 1):
        path.append(i)
        if (last - i) % jump == 0 and last - i < last - jump:
            path += list(range(i - jump, i + 1)) * (repeats - 1)
    return times[path]


@torch.no_grad()
def sample(
    denoiser: Denoiser,
    x: Tensor,
    times: Tensor,
    scheduler: Scheduler,
    *,
    step: Step = ddim_step,
    correct: Correction | None = None,
    own_times: Callable[[Tensor], Tensor] | None = None,
    generator: Generators = None,
) -> Iterator[State]:
    """Walks x along the grid and yields the state after every move; the caller owns progress, previews and
    stopping.

    A stride down calls the denoiser once and then `step`. A stride up renoises, without a call. A repeated
    time calls the denoiser without moving: a grid that ends in 0, 0 gives an x0_hat made at t = 0.
    Where sigma(0) > 0 the last x keeps that much noise: read the result from x0_hat, or repeat the 0.

    Args:
        denoiser: (x_t [B, ...], t [B] float64, x0_prev or None) -> x0_hat; x0_prev is its previous output.
        x: The start, usually standard normal [B, ...]; half precision is widened to float32.
        times: Grid [n + 1] in [0, 1], the first stride not going up: `Scheduler.times`, `repaint_times`.
        scheduler: The noise curve.
        step: A value of `SAMPLERS`, or functools.partial of one.
        correct: Changes the state after every move; steps then get no history (second order becomes first).
        own_times: From the grid's time [B] to each element's own, in the state's leading axes: `stagger.own_times`.
            Denoiser, step and correction are then given these.
        generator: Source of all noise; a list of B gives every sample its own, so that no result depends on
            the rest of the batch.

    Raises:
        ValueError: If the grid is not as described.
    """
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    x0_hat, nfe = x, 0  # the first move calls the denoiser: the grid does not start upwards
    x0_prev = t_prev = None
    for move, (now, then) in enumerate(pairwise(_checked_grid(times)), start=1):
        t, s = (torch.full((len(x),), time, dtype=torch.float64, device=x.device) for time in (now, then))
        if own_times is not None:
            t, s = own_times(t), own_times(s)
        noise = draw_noise(x, generator)
        if then > now:
            x, t_prev = renoise(scheduler, x, t, s, noise), None
        else:
            x0_hat = denoiser(x, t, x0_prev).to(x.dtype)
            nfe += 1
            if then < now:
                x = step(scheduler, x, x0_hat, None if t_prev is None else x0_prev, t, s, t_prev, noise)
            x0_prev, t_prev = x0_hat, t
        if correct is not None:
            x, t_prev = correct(x, x0_hat, s), None
        yield State(x, x0_hat, then, move, nfe)


def _mix(*terms: tuple[Tensor, Tensor]) -> Tensor:
    """The sum of coefficient * tensor, every coefficient cast to the dtype of its tensor."""
    return reduce(torch.add, (coefficient.to(tensor.dtype) * tensor for coefficient, tensor in terms))


def _checked_grid(times: Tensor) -> list[float]:
    """The grid as numbers."""
    grid = torch.as_tensor(times, dtype=torch.float64)
    if grid.ndim != 1 or len(grid) < 2 or not ((grid >= 0) & (grid <= 1)).all():
        raise ValueError("times must be a list of at least 2 numbers in [0, 1]: use scheduler.times(steps)")
    if grid[1] > grid[0]:
        raise ValueError(f"the grid goes up from its first time, {grid[0]:g}: start at the noisier end")
    return grid.tolist()
