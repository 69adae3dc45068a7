"""Scheduler: the noise curve, with the conversions and time grids that follow from it.

x_t = alpha(t) x0 + sigma(t) eps with alpha^2 = sigmoid(logsnr(t)), sigma^2 = sigmoid(-logsnr(t)), t in [0,
1]: 0 is data, 1 is noise (VDM, arXiv 2107.00630, eqs. 1-4). Time is continuous; a 2000-step model is a grid
of times. Numbers are float64 until they meet a state. A scheduler is immutable, holds no tensors and is
rebuilt from its `config`, whose keys are diffusers', so a `scheduler_config.json` written by diffusers loads
too.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor

from textdiff.diffusion import conversion, curves

CONFIG_NAME = "scheduler_config.json"
SPACINGS = ("time", "logsnr", "information")
DEFAULTS: dict[str, Any] = {
    "_class_name": "Scheduler",
    "textdiff_curve": None,
    "num_train_timesteps": 1000,
    "beta_schedule": None,
    "beta_start": 1e-4,
    "beta_end": 0.02,
    "trained_betas": None,
    "logsnr_knots": None,
    "set_alpha_to_one": True,
    "prediction_type": "sample",
    "clip_sample": False,
    "timestep_spacing": "trailing",
    "rescale_betas_zero_snr": False,
}


class SchedulerConfig(dict):
    """A read-only dict whose keys are attributes too, as diffusers' pipelines expect."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"the scheduler's config has no {name!r}") from None

    def _refuse(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError("a scheduler's config is read-only: build another Scheduler")

    __setitem__ = __delitem__ = __setattr__ = __delattr__ = __ior__ = _refuse
    update = pop = popitem = clear = setdefault = _refuse

    def __reduce__(self) -> tuple:
        return type(self), (dict(self),)


def expand_left(values: Tensor, like: Tensor, name: str = "t") -> Tensor:
    """Appends axes to `values` [B] or [B, L] until it broadcasts against `like` [B, L, ...].

    Raises:
        ValueError: If an axis of `values` fits neither that of `like` nor, after the first one, 1.
    """
    fits = 1 <= values.ndim <= like.ndim and values.shape[0] == like.shape[0]
    if not fits or any(a not in (1, b) for a, b in zip(values.shape[1:], like.shape[1:], strict=False)):
        raise ValueError(
            f"{name} has shape {list(values.shape)}, but the state has shape {list(like.shape)}: give {name} "
            f"the shape [{like.shape[0]}], or the state's leading axes for one value per position"
        )
    return values.reshape(values.shape + (1,) * (like.ndim - values.ndim))


class Scheduler:
    """A noise curve in continuous time: made by `sqrt`, `cosine`, `linear`, `from_betas` or `adaptive`."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config = _complete(config)
        self._curve = _build_curve(self.config)

    def __repr__(self) -> str:
        ends = self.logsnr(torch.tensor([0.0, 1.0], device="cpu")).tolist()
        return f"Scheduler({self.config.textdiff_curve}, logsnr {ends[0]:.3g} to {ends[1]:.3g})"

    @classmethod
    def sqrt(cls, num_train_timesteps: int = 2000) -> Scheduler:
        """Diffusion-LM's curve (arXiv 2205.14217, appendix A); step i is t = i / (T - 1)."""
        return cls({"textdiff_curve": "sqrt", "num_train_timesteps": num_train_timesteps})

    @classmethod
    def cosine(cls, num_train_timesteps: int = 1000) -> Scheduler:
        """Improved DDPM's curve (arXiv 2102.09672, eq. 17); step i is t = (i + 1) / T."""
        config = {"textdiff_curve": "cosine", "beta_schedule": "squaredcos_cap_v2"}
        return cls({**config, "num_train_timesteps": num_train_timesteps})

    @classmethod
    def linear(
        cls, num_train_timesteps: int = 1000, beta_start: float = 1e-4, beta_end: float = 0.02
    ) -> Scheduler:
        """The linear VP curve (DDPM, arXiv 2006.11239, section 4); step i is t = (i + 1) / T."""
        config = {"textdiff_curve": "linear", "beta_schedule": "linear", "beta_start": beta_start}
        return cls({**config, "beta_end": beta_end, "num_train_timesteps": num_train_timesteps})

    @classmethod
    def from_betas(cls, trained_betas: Sequence[float]) -> Scheduler:
        """The curve of any discrete process, given its T betas; step i is t = (i + 1) / T."""
        betas = [float(beta) for beta in trained_betas]
        return cls({"textdiff_curve": "betas", "trained_betas": betas})

    @classmethod
    def adaptive(cls, logsnr_knots: Sequence[float]) -> Scheduler:
        """The curve through given logsnr values at evenly spaced t = 0 ... 1, straight lines between them.

        With the quantiles of the information density as knots, uniform t gives equal information to every
        interval (CDCD, arXiv 2211.15089, calls this time warping).

        Args:
            logsnr_knots: Two or more finite numbers that fall strictly, from logsnr(0) to logsnr(1).

        Raises:
            ValueError: If they do not.
        """
        return cls({"textdiff_curve": "adaptive", "logsnr_knots": [float(knot) for knot in logsnr_knots]})

    def logsnr(self, t: Tensor) -> Tensor:
        """log(alpha^2 / sigma^2) at times t: same shape and device, float64."""
        return self._curve.logsnr(t)

    def time(self, logsnr: Tensor) -> Tensor:
        """The inverse of `logsnr`, float64; values beyond the curve's ends give the end."""
        return self._curve.time(logsnr)

    def alpha_sigma(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """The factors of signal and of noise at times t, float64: alpha^2 + sigma^2 = 1."""
        logsnr = self.logsnr(t)
        return logsnr.sigmoid().sqrt(), (-logsnr).sigmoid().sqrt()

    def add_noise(self, x0: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        """x_t = alpha x0 + sigma eps, in the dtype of x0.

        Args:
            x0: Clean data [B, ...].
            eps: Standard normal noise of the same shape.
            t: Times [B], or one per position with the leading axes of x0 ([B, L], [B, 1, H, W]).
        """
        alpha, sigma = self._factors(t, x0)
        return (alpha * x0 + sigma * eps).to(x0.dtype)

    def x0_from_eps(self, x_t: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        """x0 = (x_t - sigma eps) / alpha."""
        alpha, sigma = self._factors(t, x_t)
        return ((x_t - sigma * eps) / alpha).to(x_t.dtype)

    def eps_from_x0(self, x_t: Tensor, x0: Tensor, t: Tensor) -> Tensor:
        """eps = (x_t - alpha x0) / sigma; needs sigma(t) > 0."""
        alpha, sigma = self._factors(t, x_t)
        return ((x_t - alpha * x0) / sigma).to(x_t.dtype)

    def x0_from_v(self, x_t: Tensor, v: Tensor, t: Tensor) -> Tensor:
        """x0 = alpha x_t - sigma v, for v = alpha eps - sigma x0 (arXiv 2202.00512, appendix D)."""
        alpha, sigma = self._factors(t, x_t)
        return (alpha * x_t - sigma * v).to(x_t.dtype)

    def v_from_x0(self, x_t: Tensor, x0: Tensor, t: Tensor) -> Tensor:
        """v = (alpha x_t - x0) / sigma; needs sigma(t) > 0."""
        alpha, sigma = self._factors(t, x_t)
        return ((alpha * x_t - x0) / sigma).to(x_t.dtype)

    def _factors(self, t: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Alpha and sigma shaped to broadcast against x, in float32 or in x's wider dtype."""
        dtype = torch.promote_types(x.dtype, torch.float32)
        alpha, sigma = self.alpha_sigma(expand_left(t, x))
        return alpha.to(x.device, dtype), sigma.to(x.device, dtype)

    def times(self, num_inference_steps: int, spacing: str = "time") -> Tensor:
        """A grid of strides from t = 1 down to t = 0: float64 [num_inference_steps + 1], on the CPU.

        Args:
            num_inference_steps: Number of strides, at least 1.
            spacing: "time": even in t (diffusers' "trailing" where the curve ends clean, its "linspace" and
                Diffusion-LM's respacing where not). "logsnr": even in logsnr; where logsnr(0) is infinite,
                the last stride goes from the table's first step to t = 0. "information": even in information,
                which on an adaptive curve is even in t; other curves do not know it.

        Raises:
            ValueError: For a number below 1, an unknown spacing, or "information" without an adaptive curve.
        """
        if num_inference_steps < 1:
            raise ValueError(f"num_inference_steps is {num_inference_steps}: it must be at least 1")
        if spacing not in SPACINGS:
            raise ValueError(f"unknown spacing {spacing!r}: choose {', '.join(SPACINGS)}")
        if spacing == "information" and self.config.textdiff_curve != "adaptive":
            raise ValueError(
                f"the {self.config.textdiff_curve} curve does not know where the information is: "
                "sample under Scheduler.adaptive(logsnr_knots), or choose the spacing time or logsnr"
            )
        if spacing != "logsnr":
            return torch.linspace(1.0, 0.0, num_inference_steps + 1, dtype=torch.float64, device="cpu")
        high, low = self._curve.knots[0], self._curve.knots[-1]
        points = num_inference_steps + (0 if self._curve.clean_end else 1)
        grid = self.time(torch.linspace(low, high, points, dtype=torch.float64, device="cpu"))
        grid[0] = 1.0
        if self._curve.clean_end:
            return torch.cat([grid, grid.new_zeros(1)])
        grid[-1] = 0.0
        return grid

    def to_diffusers(self, cls: type) -> Any:
        """The same curve as a diffusers scheduler of class cls: see `conversion.build_diffusers`."""
        return conversion.build_diffusers(self.config, self._curve, cls)

    @classmethod
    def from_diffusers(cls, scheduler: Any) -> Scheduler:
        """The curve of a diffusers scheduler object: see `conversion.config_from_diffusers`."""
        return cls(conversion.config_from_diffusers(scheduler))

    def to_dict(self) -> dict[str, Any]:
        """A JSON-able copy of the config."""
        return json.loads(json.dumps(self.config))

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Scheduler:
        """Builds a scheduler from our config or from one written by diffusers.

        Raises:
            ValueError: If the config asks for what a noise curve cannot express.
        """
        return cls(config)

    def save_pretrained(self, folder: str | os.PathLike) -> None:
        """Writes `scheduler_config.json` into the folder, made if missing, in one replacement."""
        path = Path(folder) / CONFIG_NAME
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".json.tmp")
        try:
            draft.write_text(json.dumps(self.config, indent=2) + "\n", encoding="utf-8")
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike) -> Scheduler:
        """Reads `scheduler_config.json` from a folder.

        Raises:
            FileNotFoundError: If the folder holds no such file.
            ValueError: If the file is not the JSON of a scheduler.
        """
        path = Path(folder) / CONFIG_NAME
        if not path.is_file():
            raise FileNotFoundError(f"{path} does not exist: give a folder written by save_pretrained")
        try:
            config = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path} is not valid JSON ({error}): save the scheduler again") from error
        if not isinstance(config, dict):
            raise ValueError(f"{path} holds no JSON object: save the scheduler again")
        return cls.from_config(config)


def _complete(config: Mapping[str, Any]) -> SchedulerConfig:
    """Translates a config of diffusers into ours, fills in the defaults and checks the numbers."""
    if config.get("textdiff_curve") is None:
        config = conversion.translate_config(config)
    full = {**DEFAULTS, **config, "_class_name": "Scheduler"}
    if full["textdiff_curve"] in ("sqrt", "adaptive"):
        full["set_alpha_to_one"], full["timestep_spacing"] = False, "linspace"
    for curve, key in (("betas", "trained_betas"), ("adaptive", "logsnr_knots")):
        if full["textdiff_curve"] == curve and not full[key]:
            raise ValueError(f"the scheduler's config names the curve {curve!r} but has no {key}: add them")
    if full["textdiff_curve"] == "betas":
        full["num_train_timesteps"] = len(full["trained_betas"])
    if type(full["num_train_timesteps"]) is not int or full["num_train_timesteps"] < 2:
        raise ValueError(f"num_train_timesteps is {full['num_train_timesteps']}: it must be a whole number, at least 2")
    return SchedulerConfig(full)


def _build_curve(config: SchedulerConfig) -> curves.Curve:
    """The curve that a complete config describes."""
    steps, ends = config.num_train_timesteps, (config.beta_start, config.beta_end)
    makers = {
        "sqrt": lambda: curves.sqrt_betas(steps),
        "cosine": lambda: curves.cosine_betas(steps),
        "linear": lambda: curves.linear_betas(steps, *ends),
        "scaled_linear": lambda: curves.scaled_linear_betas(steps, *ends),
        "betas": lambda: np.asarray(config.trained_betas, dtype=np.float64),
    }
    if config.textdiff_curve == "adaptive":
        return curves.Curve(np.asarray(config.logsnr_knots, dtype=np.float64))
    if config.textdiff_curve not in makers:
        raise ValueError(
            f"unknown curve {config.textdiff_curve!r} (beta_schedule {config.beta_schedule!r}): "
            f"choose {', '.join([*makers, 'adaptive'])}"
        )
    return curves.Curve(curves.logsnr_from_betas(makers[config.textdiff_curve]()), config.set_alpha_to_one)
