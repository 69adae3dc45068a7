"""The trainable model: forward is the training loss, the denoiser inside is what samplers call.

`DiffusionLMModel` wraps the plain `TextDenoiser` for Trainer, Auto classes and the hub. The noise curve is a
float64 `Scheduler` beside the module, in a JSON file of its own: no cast or meta-device loading touches it.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel
from transformers.initialization import guard_torch_init_functions
from transformers.utils import ModelOutput

from textdiff.diffusion.losses import AdaptiveLevels
from textdiff.diffusion.scheduler import Scheduler
from textdiff.text.denoiser import DenoiserConfig, DenoiserOutput, Prefix, init_weights
from textdiff.text.objectives import BOUND_WEIGHT, bound_terms, diffusion_lm_terms, draw_rows, update_levels
from textdiff.text.ordered_denoiser import OrderedDenoiser, make_denoiser
from textdiff.text.ordered_objective import ordered_terms

LEVELS_FILE = "noise_levels.json"
UNIFORM_IN_TRAINING = 0.1  # share of training levels drawn evenly over log-SNR


class DiffusionLMConfig(PreTrainedConfig):
    """Shape of the denoiser (`DenoiserConfig`'s fields) and of its training.

    Args:
        logsnr_min: log-SNR at t = 1, nats.
        logsnr_max: log-SNR at t = 0, nats.
        self_conditioning_rate: share of training rows with a first estimate.
        noise_seed: seed of all training noise.
        length_counts: how many training texts have 0, 1, 2, ... tokens; generation draws lengths from it.
        target_lengths: of a model trained on pairs, `target_lengths.count_lengths` of them.
        **kwargs: any field of `DenoiserConfig`, and what `PreTrainedConfig` takes.
    """

    model_type = "textdiff"

    def __init__(
        self,
        logsnr_min: float = -6.0,
        logsnr_max: float = 5.0,
        self_conditioning_rate: float = 0.5,
        noise_seed: int = 0,
        length_counts: list[int] | None = None,
        target_lengths: list[list[int]] | None = None,
        **kwargs: Any,
    ) -> None:
        for field in fields(DenoiserConfig):
            setattr(self, field.name, kwargs.pop(field.name, field.default))
        self.logsnr_min, self.logsnr_max = logsnr_min, logsnr_max
        self.self_conditioning_rate, self.noise_seed = self_conditioning_rate, noise_seed
        self.length_counts, self.target_lengths = length_counts, target_lengths
        super().__init__(**kwargs)

    @classmethod
    def diffusion_lm(cls, **kwargs: Any) -> DiffusionLMConfig:
        """The namesake's recipe: free embeddings, x0 regression, sqrt curve (arXiv 2205.14217)."""
        return cls(
            **{
                "unit_norm": False,
                "categorical": False,
                "self_conditioning_rate": 0.0,
                "dropout": 0.1,
                **kwargs,
                "stagger": 0.0,
                "stagger_least": 0.0,
                "reading_layers": 0,
            }
        )

    def denoiser_config(self) -> DenoiserConfig:
        """The denoiser's part."""
        return DenoiserConfig(**{field.name: getattr(self, field.name) for field in fields(DenoiserConfig)})

    def initial_scheduler(self) -> Scheduler:
        """The curve before training: uniform in log-SNR for the bound (it adapts), else `sqrt`."""
        if self.categorical:
            return Scheduler.adaptive([self.logsnr_max, self.logsnr_min])
        return Scheduler.sqrt()


@dataclass
class DiffusionLMOutput(ModelOutput):
    """The loss and its terms, nats per token unless said; None where the recipe has no such term."""

    loss: Tensor | None = None
    reconstruction: Tensor | None = None
    diffusion: Tensor | None = None
    prior: Tensor | None = None
    cross_entropy: Tensor | None = None  # in training only, beside the bound
    mse: Tensor | None = None  # squared distance per coordinate
    terminal: Tensor | None = None  # squared length per coordinate
    rounding: Tensor | None = None


class DiffusionLMModel(PreTrainedModel):
    """A continuous-embedding diffusion language model: `forward` is the loss, `denoise` the denoiser."""

    config_class = DiffusionLMConfig
    base_model_prefix = "model"
    main_input_name = "input_ids"
    accepts_loss_kwargs = False
    _no_split_modules = ["Block"]

    def __init__(self, config: DiffusionLMConfig) -> None:
        super().__init__(config)
        self.denoiser = make_denoiser(config.denoiser_config())
        self.scheduler = config.initial_scheduler()
        self.levels = AdaptiveLevels(config.logsnr_min, config.logsnr_max)
        self.accumulation_steps = 1  # forward passes per optimiser step, after which the noise levels move
        self._observed: list[tuple[Tensor, ...]] = []
        self.post_init()

    def _init_weights(self, module: torch.nn.Module) -> None:
        init_weights(module)

    @torch.no_grad()
    @guard_torch_init_functions()
    def initialize_weights(self) -> None:
        """Initialise what is not loaded.

        Transformers 5 passes over modules that own no parameter, such as blocks: gates would not be zero.
        """
        self.denoiser.reset_parameters()

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        known: Tensor | None = None,
        sample_index: Tensor | None = None,
        generator: torch.Generator | None = None,
        prefix: Prefix | None = None,
    ) -> DiffusionLMOutput:
        """One training step's loss, the mean over rows.

        Args:
            input_ids: [B, L].
            attention_mask: [B, L]; 0 = padding, else the number of the segment. All ones if left out.
            known: bool [B, L], True = given: enters clean, is not counted. Nothing is given if left out.
            sample_index: integers [B] that name the rows' noise; if left out, drawn with `generator`,
                others on each process.
            generator: source of `sample_index`.
            prefix: what stands before the rows' first segment.
        """
        device = input_ids.device
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        if known is None:
            known = torch.zeros_like(input_ids, dtype=torch.bool)
        if sample_index is None:
            sample_index = draw_sample_index(len(input_ids), generator).to(device)
        rows = draw_rows(
            input_ids, attention_mask, known.bool(), sample_index,
            dim=self.config.embedding_dim, seed=self.config.noise_seed,
            self_conditioning_rate=self.config.self_conditioning_rate if self.training else 1.0,
            prefix=prefix,
        )  # fmt: skip
        if self.config.categorical:
            curve, share = self._loss_curve(), self.levels.reconstruction_share
            if isinstance(self.denoiser, OrderedDenoiser):
                terms, observed = ordered_terms(self.denoiser, curve, rows, share)
            else:
                terms, observed = bound_terms(self.denoiser, curve, rows, share)
            if self.training:
                self._learn_levels(observed)
        else:
            terms = diffusion_lm_terms(self.denoiser, self.scheduler, rows)
        means = {name: term.mean() for name, term in terms.items()}
        weight = BOUND_WEIGHT if "cross_entropy" in means else 1.0
        loss = torch.stack([mean * (1.0 if name == "cross_entropy" else weight) for name, mean in means.items()]).sum()
        return DiffusionLMOutput(loss=loss, **{name: value.detach() for name, value in means.items()})

    def _loss_curve(self) -> Scheduler:
        """The curve that noise levels are drawn from; in training, part of them evenly over log-SNR."""
        if not self.training:
            return self.scheduler
        return Scheduler.adaptive(self.levels.knots(uniform=UNIFORM_IN_TRAINING))

    def _learn_levels(self, observed: tuple[Tensor, ...]) -> None:
        """Move the noise levels once per optimiser step, by all its rows, however passes split them."""
        self._observed.append(tuple(part.detach() for part in observed))
        if len(self._observed) >= self.accumulation_steps:
            update_levels(self.levels, *map(torch.cat, zip(*self._observed, strict=True)))
            self._observed.clear()
            self.scheduler = Scheduler.adaptive(self.levels.knots())

    def denoise(self, x_t: Tensor, t: Tensor, **conditions: Any) -> DenoiserOutput:
        """The denoiser at times t [B]; `conditions` as in `TextDenoiser.forward`."""
        return self.denoiser(x_t, self.scheduler.logsnr(t), **conditions)

    def save_pretrained(self, save_directory: str | os.PathLike, **kwargs: Any) -> None:
        """Write weights, config, scheduler and the state of the noise levels, from which training goes on."""
        super().save_pretrained(save_directory, **kwargs)
        self.save_noise_levels(save_directory)

    def save_noise_levels(self, folder: str | os.PathLike) -> None:
        """Write what `load_noise_levels` takes."""
        self.scheduler.save_pretrained(folder)
        Path(folder, LEVELS_FILE).write_text(json.dumps(self.levels.state_dict()), encoding="utf-8")

    def load_noise_levels(self, folder: str | os.PathLike) -> None:
        """Take scheduler and noise levels from a folder that `save_noise_levels` wrote into."""
        self.scheduler = Scheduler.from_pretrained(folder)
        levels = Path(folder, LEVELS_FILE)
        if levels.is_file():
            self.levels.load_state_dict(json.loads(levels.read_text(encoding="utf-8")))

    @classmethod
    def from_pretrained(cls, name: str | os.PathLike, *args: Any, **kwargs: Any) -> DiffusionLMModel:
        """Load weights, config and scheduler from a folder or hub id; safetensors only.

        Raises:
            OSError: if the folder or hub id does not hold a model.
        """
        model = super().from_pretrained(name, *args, **{**kwargs, "use_safetensors": True})
        loaded = model[0] if isinstance(model, tuple) else model
        folder = Path(name)
        if not folder.is_dir():
            from huggingface_hub import snapshot_download

            wanted = {k: kwargs[k] for k in ("revision", "cache_dir", "token", "local_files_only") if k in kwargs}
            folder = Path(snapshot_download(str(name), allow_patterns=["*.json"], **wanted))
        loaded.load_noise_levels(folder / kwargs.get("subfolder", ""))
        return model


def draw_sample_index(rows: int, generator: torch.Generator | None = None) -> Tensor:
    """Random names [rows] for the noise of rows that have none.

    Trainer seeds all processes alike, so each takes its own share of one draw for all of them.
    """
    together = torch.distributed.is_available() and torch.distributed.is_initialized()
    world, rank = (torch.distributed.get_world_size(), torch.distributed.get_rank()) if together else (1, 0)
    return torch.randint(2**40, (world, rows), generator=generator)[rank]


AutoConfig.register("textdiff", DiffusionLMConfig, exist_ok=True)
AutoModel.register(DiffusionLMConfig, DiffusionLMModel, exist_ok=True)
