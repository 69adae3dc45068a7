"""`transformers.Trainer` as both wings use it: rows in order, averaged weights, logs by loss term, one set of settings.

Every row is a function of its index, so the sampler is sequential and a resumed run goes on with the next row.
"""

from __future__ import annotations

import argparse
import json
import os
from collections import defaultdict
from collections.abc import Sequence, Sized
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from torch.utils.data import Dataset, SequentialSampler
from transformers import Trainer, TrainingArguments

from textdiff.training.averaging import EMACallback
from textdiff.training.checkpoints import saving


class AveragedTrainer(Trainer):
    """Trainer for models whose rows carry their own randomness, and whose outputs name their loss terms."""

    def __init__(self, *args: Any, ema: EMACallback, **kwargs: Any) -> None:
        super().__init__(*args, callbacks=[ema, *kwargs.pop("callbacks", [])], **kwargs)
        self.ema = ema
        self._terms: dict[str, list[torch.Tensor]] = defaultdict(
            list
        )  # sums over the rows of a pass, and rows: [2]

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> SequentialSampler:
        return SequentialSampler(
            cast(Sized, train_dataset if train_dataset is not None else self.train_dataset)
        )

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, **kwargs: Any
    ) -> Any:
        """The model's loss; its terms are kept for the next log line."""
        outputs = model(**inputs)
        for name, value in outputs.items():
            if name != "loss" and value is not None and value.ndim == 0:
                mean, rows = value.detach().float(), float(len(inputs[self.args.label_names[0]]))
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


def write_curves(
    history: list[dict[str, float]], folder: str | os.PathLike, *, terms: Sequence[str], unit: str
) -> None:
    """Write the training history as curves.json and draw it as curves.png (loss and its terms against steps)."""
    Path(folder, "curves.json").write_text(json.dumps(history, indent=1) + "\n", encoding="utf-8")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    names = ["loss", "eval_loss", *sorted({k for row in history for k in row} & set(terms))]
    for name in names:
        points = [(row["step"], row[name]) for row in history if name in row]
        if points:
            axes.plot(*zip(*points, strict=True), label=name, marker="o" if name == "eval_loss" else None)
    axes.set(xlabel="step", ylabel=unit, title="Training")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(Path(folder, "curves.png"), dpi=120)


def training_arguments(
    args: argparse.Namespace,
    *,
    label: str,
    max_steps: int,
    batch_size: int,
    learning_rate: float,
    **others: Any,
) -> TrainingArguments:
    """The Trainer's settings, in which all that is trained here is alike.

    Args:
        args: of the command line: folders, intervals, seed, processor and precision.
        label: an input that every row has; it tells Trainer that evaluation has a loss.
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
        "eval_strategy": "steps", "eval_steps": args.eval_steps, "prediction_loss_only": True, "label_names": [label],
        "ddp_find_unused_parameters": False, "bf16": args.bf16, "use_cpu": on_cpu, "torch_compile": args.compile,
        "seed": args.seed, "report_to": [], "dataloader_pin_memory": not on_cpu, "remove_unused_columns": False,
    }  # fmt: skip
    return TrainingArguments(**{**settings, **others})
