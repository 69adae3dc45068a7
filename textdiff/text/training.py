"""What `transformers.Trainer` needs: data order, optimiser groups, averaged weights, logs by term, resuming.

Every row is a function of its index, so the sampler is sequential and a resumed run goes on with the
next row. A checkpoint counts as whole once its averaged weights, written last, are there.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
from collections import defaultdict
from collections.abc import Iterator, Sized
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_model, save_model
from torch import nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import Dataset, SequentialSampler
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from textdiff.text.model import DiffusionLMModel
from textdiff.text.optimizer import MuonAdamW, parameter_groups

EMA_FILE = "ema.safetensors"


def ema_average(decay: float) -> Any:
    """An averaging rule for `AveragedModel`: exponential with `decay`, at first (n + 1) / (n + 10)."""

    def average(averaged: list[torch.Tensor], current: list[torch.Tensor], updates: torch.Tensor | int) -> None:
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

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Write the average; its presence marks the checkpoint as whole."""
        if state.is_world_process_zero:
            folder = Path(args.output_dir, f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}")
            draft = folder / f"{EMA_FILE}.part"
            with saving(folder):
                save_model(self.average.module, str(draft))
                os.replace(draft, folder / EMA_FILE)


@contextmanager
def saving(folder: str | os.PathLike) -> Iterator[None]:
    """Turn what libraries raise when they cannot write, each its own kind, into an OSError: one sentence."""
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        raise OSError(
            f"Cannot write {folder} ({error}): make room on the disk and give the same command again, "
            "which goes on from the last whole checkpoint."
        ) from error


def checkpoints(output_dir: str | os.PathLike) -> list[Path]:
    """The checkpoint folders of a run, whole or not, oldest first."""
    found = Path(output_dir).glob(f"{PREFIX_CHECKPOINT_DIR}-*")
    numbered = [folder for folder in found if folder.name.rsplit("-", 1)[1].isdigit()]
    return sorted(numbered, key=lambda folder: int(folder.name.rsplit("-", 1)[1]))


def is_whole(checkpoint: Path) -> bool:
    """Whether a checkpoint was written to its end, and its weights are as long as they say."""
    try:
        json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
        for path in [checkpoint / EMA_FILE, *checkpoint.glob("*.safetensors")]:
            with safe_open(str(path), framework="pt"):
                pass
    except (OSError, ValueError, SafetensorError):
        return False
    return True


def latest_checkpoint(output_dir: str | os.PathLike) -> Path | None:
    """The newest whole checkpoint of a run, or None; half-written ones are passed over."""
    return next((folder for folder in reversed(checkpoints(output_dir)) if is_whole(folder)), None)


def drop_half_written(output_dir: str | os.PathLike) -> None:
    """Delete checkpoints that are not whole, so that they do not count among those to keep."""
    for folder in checkpoints(output_dir):
        if not is_whole(folder):
            shutil.rmtree(folder)


class DiffusionTrainer(Trainer):
    """Trainer for models whose rows carry their own randomness, and whose outputs name their loss terms."""

    def __init__(self, *args: Any, ema: EMACallback, **kwargs: Any) -> None:
        super().__init__(*args, callbacks=[ema, *kwargs.pop("callbacks", [])], **kwargs)
        self.ema = ema
        if isinstance(self.model, DiffusionLMModel):
            self.model.accumulation_steps = self.args.gradient_accumulation_steps
        self._terms: dict[str, list[torch.Tensor]] = defaultdict(list)  # sums over the rows of a pass, and rows: [2]

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> SequentialSampler:
        return SequentialSampler(cast(Sized, train_dataset if train_dataset is not None else self.train_dataset))

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """Muon for the blocks' matrices and AdamW for the rest."""
        if self.optimizer is None:  # type: ignore[has-type]
            model = model if model is not None else self.model
            groups = parameter_groups(model, self.args.learning_rate, self.args.weight_decay)
            betas = (self.args.adam_beta1, self.args.adam_beta2)
            self.optimizer = MuonAdamW(groups["muon"], groups["adamw"], betas=betas)
        return self.optimizer

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, **kwargs: Any
    ) -> Any:
        """The model's loss; its terms are kept for the next log line."""
        outputs = model(**inputs)
        for name, value in outputs.items():
            if name != "loss" and value is not None and value.ndim == 0:
                mean, rows = value.detach().float(), float(len(inputs["input_ids"]))
                self._terms[name].append(torch.stack([mean * rows, torch.full_like(mean, rows)]))
        return (outputs["loss"], outputs) if return_outputs else outputs["loss"]

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Add the mean of every loss term over all rows, of all processes, since the last line."""
        prefix = "eval_" if any(key.startswith("eval_") for key in logs) else ""
        for name, values in self._terms.items():
            total, rows = self.accelerator.reduce(torch.stack(values).sum(0), reduction="sum").tolist()
            logs[prefix + name] = round(total / rows, 4)
        self._terms.clear()
        super().log(logs, *args, **kwargs)

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Evaluate the averaged weights; the trained ones come back afterwards."""
        live = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
        pending = dict(self._terms)
        self._terms.clear()
        try:
            self.model.load_state_dict(self.ema.average.module.state_dict())
            return super().evaluate(*args, **kwargs)
        finally:
            self.model.load_state_dict(live)
            self._terms = defaultdict(list, pending)

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        with saving(self.args.output_dir):
            super()._save_checkpoint(model, trial)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model=model)
        loaded = model if model is not None else self.model
        if isinstance(loaded, DiffusionLMModel):
            loaded.load_noise_levels(resume_from_checkpoint)


def write_curves(history: list[dict[str, float]], folder: str | os.PathLike) -> None:
    """Write the training history as curves.json and draw it as curves.png (loss and terms against steps)."""
    Path(folder, "curves.json").write_text(json.dumps(history, indent=1) + "\n", encoding="utf-8")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    names = [
        "loss",
        "eval_loss",
        *sorted({k for row in history for k in row} & {"reconstruction", "diffusion", "mse", "rounding"}),
    ]
    for name in names:
        points = [(row["step"], row[name]) for row in history if name in row]
        if points:
            axes.plot(*zip(*points, strict=True), label=name, marker="o" if name == "eval_loss" else None)
    axes.set(xlabel="step", ylabel="nats per token", title="Training")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(Path(folder, "curves.png"), dpi=120)


def training_arguments(
    args: argparse.Namespace, *, max_steps: int, batch_size: int, learning_rate: float, **others: Any
) -> TrainingArguments:
    """The Trainer's settings, in which all that is trained here is alike.

    Args:
        args: of the command line: folders, intervals, seed, processor and precision.
        max_steps: optimiser steps.
        batch_size: rows a step, over all processes.
        learning_rate: peak.
        **others: settings of `TrainingArguments` that differ.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    on_cpu = args.use_cpu or not torch.cuda.is_available()
    settings: dict[str, Any] = {
        "output_dir": args.output_dir, "max_steps": max_steps,
        "per_device_train_batch_size": batch_size // (world * args.gradient_accumulation_steps),
        "per_device_eval_batch_size": max(1, batch_size // world),
        "gradient_accumulation_steps": args.gradient_accumulation_steps,
        "learning_rate": learning_rate, "weight_decay": 0.05, "adam_beta1": 0.9, "adam_beta2": 0.95,
        "max_grad_norm": 1.0, "warmup_steps": 0.02, "lr_scheduler_type": "cosine",
        "logging_steps": args.logging_steps, "save_steps": args.save_steps, "save_total_limit": 2,
        "eval_strategy": "steps", "eval_steps": args.eval_steps, "prediction_loss_only": True,
        "label_names": ["input_ids"],  # tells Trainer that evaluation has a loss
        "ddp_find_unused_parameters": False, "bf16": args.bf16, "use_cpu": on_cpu, "torch_compile": args.compile,
        "seed": args.seed, "report_to": [], "dataloader_pin_memory": not on_cpu, "remove_unused_columns": False,
    }  # fmt: skip
    return TrainingArguments(**{**settings, **others})
