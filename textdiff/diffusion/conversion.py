"""Noise curves to and from diffusers' DDPM, DDIM and DPM-Solver++ (multistep) schedulers.

What both sides can say is the table of betas, how the last stride ends, the prediction type and the spacing
of the steps; anything else raises. Step i of diffusers is t = (i + 1) / T of a curve that ends clean and
t = i / (T - 1) of one that ends noisy (`textdiff.diffusion.curves`). Nothing here imports diffusers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from textdiff.diffusion import curves

CLASSES = ("DDPMScheduler", "DDIMScheduler", "DPMSolverMultistepScheduler")
CURVE_OF = {"linear": "linear", "scaled_linear": "scaled_linear", "squaredcos_cap_v2": "cosine"}
SHARED_KEYS = ("num_train_timesteps", "beta_start", "beta_end", "prediction_type", "timestep_spacing")
UNSUPPORTED = {
    "clip_sample": "clamp x0_hat inside the denoiser and set clip_sample to false",
    "thresholding": "threshold x0_hat inside the denoiser and set thresholding to false",
    "rescale_betas_zero_snr": "logsnr would be -inf at t = 1: use the plain betas",
    "use_flow_sigmas": "use one of the variance-preserving schedules",
}


def translate_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Our config from one that diffusers wrote.

    Raises:
        ValueError: If it asks for what a variance-preserving noise curve cannot express, naming the way out.
    """
    for key, advice in UNSUPPORTED.items():
        if config.get(key):
            raise ValueError(f"the diffusers config sets {key}, which a noise curve cannot express: {advice}")
    ours = {key: config[key] for key in SHARED_KEYS if key in config}
    clean_end = config.get("set_alpha_to_one", True) and config.get("final_sigmas_type") != "sigma_min"
    ours["set_alpha_to_one"] = clean_end
    if config.get("trained_betas") is not None:
        betas = [float(beta) for beta in config["trained_betas"]]
        return {**ours, "textdiff_curve": "betas", "trained_betas": betas}
    schedule = config.get("beta_schedule")
    if schedule not in CURVE_OF:
        raise ValueError(f"unknown beta_schedule {schedule!r}: choose {', '.join(CURVE_OF)} or trained_betas")
    return {**ours, "textdiff_curve": CURVE_OF[schedule], "beta_schedule": schedule}


def config_from_diffusers(scheduler: Any) -> dict[str, Any]:
    """Our config for the curve of a diffusers scheduler object (DDPM, DDIM or DPM-Solver++ multistep)."""
    name = type(scheduler).__name__
    if name not in CLASSES:
        raise ValueError(f"cannot read a {name}: give one of {', '.join(CLASSES)}")
    config = dict(scheduler.config)
    if config.get("beta_schedule") not in CURVE_OF and config.get("trained_betas") is None:
        config["trained_betas"] = scheduler.betas.tolist()
    return translate_config(config)


def build_diffusers(config: Mapping[str, Any], curve: curves.Curve, cls: type) -> Any:
    """A diffusers scheduler with this curve, sampled at its num_train_timesteps steps.

    DDPM always makes a last stride to clean data, also where our curve ends noisy.

    Args:
        config: Our scheduler's config.
        curve: Its curve.
        cls: DDPMScheduler, DDIMScheduler or DPMSolverMultistepScheduler.

    Raises:
        ValueError: For another class.
    """
    name = getattr(cls, "__name__", repr(cls))
    if name not in CLASSES:
        raise ValueError(f"cannot build a {name}: choose one of {', '.join(CLASSES)}")
    options = {key: config[key] for key in SHARED_KEYS}
    if config["beta_schedule"] in CURVE_OF:
        options["beta_schedule"] = config["beta_schedule"]
    else:
        options["trained_betas"] = curves.betas_from_logsnr(_steps(config, curve)).tolist()
    if name == "DPMSolverMultistepScheduler":
        final = "zero" if curve.clean_end else "sigma_min"
        return cls(**options, final_sigmas_type=final, solver_order=2, lower_order_final=False)
    if name == "DDIMScheduler":
        options["set_alpha_to_one"] = curve.clean_end
    return cls(**options, clip_sample=False)


def _steps(config: Mapping[str, Any], curve: curves.Curve) -> np.ndarray:
    """The curve's logsnr at num_train_timesteps even steps: the table itself unless the curve is adaptive."""
    count = config["num_train_timesteps"]
    if len(curve.knots) == count:
        return curve.knots
    return np.interp(np.linspace(0.0, 1.0, count), np.linspace(0.0, 1.0, len(curve.knots)), curve.knots)
