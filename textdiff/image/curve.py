"""The noise curve that image models are trained on by default."""

from __future__ import annotations

import math

from textdiff.diffusion.scheduler import Scheduler

KNOTS = 129


def image_curve(logsnr_max: float = 10.0, logsnr_min: float = -10.0) -> Scheduler:
    """The cosine curve, logsnr = -2 log tan(pi u / 2), between finite ends (arXiv 2301.11093, eq. 3)."""
    ends = [2.0 / math.pi * math.atan(math.exp(-logsnr / 2.0)) for logsnr in (logsnr_max, logsnr_min)]
    times = [ends[0] + (ends[1] - ends[0]) * i / (KNOTS - 1) for i in range(KNOTS)]
    return Scheduler.adaptive([-2.0 * math.log(math.tan(math.pi / 2.0 * time)) for time in times])
