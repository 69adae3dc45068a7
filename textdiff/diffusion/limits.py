"""What sampling may be asked for: numbers beyond these are slips, and would end in garbage or in no end."""

from __future__ import annotations

from numbers import Integral

MOST_STEPS, MOST_SAMPLES, MOST_GUIDANCE = 100_000, 1_000_000, 10_000.0


def check_steps(num_inference_steps: int) -> None:
    """ValueError if it is no number of strides."""
    if not isinstance(num_inference_steps, Integral) or not 1 <= num_inference_steps <= MOST_STEPS:
        raise ValueError(
            f"num_inference_steps is {num_inference_steps}: it must be a whole number from 1 to {MOST_STEPS}."
        )


def check_count(num_samples: int) -> None:
    """ValueError if it is no number of samples."""
    if not isinstance(num_samples, Integral) or not 1 <= num_samples <= MOST_SAMPLES:
        raise ValueError(f"num_samples is {num_samples}: it must be a whole number from 1 to {MOST_SAMPLES}.")


def check_guidance(name: str, scale: float, *, off: int) -> None:
    """ValueError if a strength of that name is out of range; `off`: at which it does nothing, for the message."""
    if not 0 <= scale <= MOST_GUIDANCE:
        raise ValueError(f"{name} is {scale}: it must be 0 to {MOST_GUIDANCE:g} ({off} = off).")


def check_top_p(top_p: float) -> None:
    """ValueError if it is no chance that the likeliest may have together."""
    if not 0 < top_p <= 1:
        raise ValueError(f"top_p is {top_p}: it must be above 0 and at most 1 (1 = off).")


def check_seed(seed: int | None) -> None:
    """ValueError if it is no seed; None is for fresh noise."""
    if seed is not None and not (isinstance(seed, Integral) and 0 <= seed < 2**63):
        raise ValueError(f"The seed is {seed}: it must be at least 0 and below 2**63.")
