"""Averaged weights: an exponential moving average that is saved with every checkpoint and taken back on resume."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_model, save_model
from torch import nn
from torch.optim.swa_utils import AveragedModel
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from textdiff.training.checkpoints import EMA_FILE, saving


def ema_average(decay: float) -> Any:
    """An averaging rule for `AveragedModel`: exponential with `decay`, at first (n + 1) / (n + 10)."""

    def average(
        averaged: list[torch.Tensor], current: list[torch.Tensor], updates: torch.Tensor | int
    ) -> None:
        n = int(updates)
        weight = 1.0 - min(decay, (n + 1) / (n + 10))
        torch._foreach_lerp_(averaged, current, weight)

    return average


class EMACallback(TrainerCallback):
    """An exponential moving average of the weights: saved last in every checkpoint, taken back on resume."""

    def __init__(self, model: nn.Module, decay: float = 0.999) -> None:
        self.average = AveragedModel(model, multi_avg_fn=ema_average(decay))

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Resume the average when the run resumes."""
        if state.global_step > 0:
            folder = Path(args.output_dir, f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}")
            load_model(self.average.module, str(folder / EMA_FILE), strict=True)
            self.average.n_averaged.fill_(state.global_step)

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: nn.Module | None = None,
        **kwargs: Any,
    ) -> None:
        """Fold in the weights after an optimiser step."""
        if model is not None:
            self.average.update_parameters(getattr(model, "module", model))

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Write the average; its presence marks the checkpoint as whole."""
        if state.is_world_process_zero:
            folder = Path(args.output_dir, f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}")
            draft = folder / f"{EMA_FILE}.part"
            with saving(folder):
                save_model(self.average.module, str(draft))
                os.replace(draft, folder / EMA_FILE)
