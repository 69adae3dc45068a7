"""What `transformers.Trainer` needs from the text wing: its optimiser, its noise levels, its units.

The rest, which pictures need as well, is in `textdiff.training`.
"""

from __future__ import annotations

import argparse
import os
from typing import Any

import torch
from torch import nn
from transformers import TrainingArguments

from textdiff.text.model import DiffusionLMModel
from textdiff.text.optimizer import MuonAdamW, parameter_groups
from textdiff.training import trainer
from textdiff.training.averaging import EMACallback, ema_average
from textdiff.training.checkpoints import EMA_FILE, checkpoints, drop_half_written, is_whole, latest_checkpoint, saving

__all__ = [
    "EMA_FILE", "DiffusionTrainer", "EMACallback", "checkpoints", "drop_half_written", "ema_average", "is_whole",
    "latest_checkpoint", "saving", "training_arguments", "write_curves",
]  # fmt: skip

TERMS = ("reconstruction", "diffusion", "mse", "rounding")


class DiffusionTrainer(trainer.AveragedTrainer):
    """The Trainer of text models: Muon for the blocks, and noise levels that are resumed with the weights."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if isinstance(self.model, DiffusionLMModel):
            self.model.accumulation_steps = self.args.gradient_accumulation_steps

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """Muon for the blocks' matrices and AdamW for the rest."""
        if self.optimizer is None:  # type: ignore[has-type]
            model = model if model is not None else self.model
            groups = parameter_groups(model, self.args.learning_rate, self.args.weight_decay)
            betas = (self.args.adam_beta1, self.args.adam_beta2)
            self.optimizer = MuonAdamW(groups["muon"], groups["adamw"], betas=betas)
        return self.optimizer

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model=model)
        loaded = model if model is not None else self.model
        if isinstance(loaded, DiffusionLMModel):
            loaded.load_noise_levels(resume_from_checkpoint)


def write_curves(history: list[dict[str, float]], folder: str | os.PathLike) -> None:
    """Write the training history as curves.json and draw it as curves.png, in nats per token."""
    trainer.write_curves(history, folder, terms=TERMS, unit="nats per token")


def training_arguments(args: argparse.Namespace, **settings: Any) -> TrainingArguments:
    """The Trainer's settings for rows of token ids: see `textdiff.training.trainer.training_arguments`."""
    return trainer.training_arguments(args, label="input_ids", **settings)
