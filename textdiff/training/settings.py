"""Settings of a training command: options within limits, and a record of them in the folder of the run.

A command started again goes on with its run only where the record says that the settings are the same.
"""

from __future__ import annotations

import argparse
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

RESUMABLE = ("output_dir", "save_steps", "eval_steps", "logging_steps", "use_cpu", "bf16", "compile")
POSITIVE = (
    "from_steps", "to_steps", "steps_per_round", "max_steps", "batch_size", "learning_rate", "temperature",
    "gradient_accumulation_steps", "save_steps", "eval_steps", "logging_steps",
)  # fmt: skip


def add_run_options(parser: argparse.ArgumentParser, *, every: int = 250, ema_decay: float = 0.998) -> None:
    """Options that every training has: how often it saves, checks and logs, its average, seed and hardware.

    Args:
        parser: gets them.
        every: steps between checkpoints and between validations, if not said.
        ema_decay: of the averaged weights, if not said.
    """
    add = parser.add_argument
    add("--save-steps", type=int, default=every, help=f"steps between checkpoints (default: {every})")
    add("--eval-steps", type=int, default=every, help=f"steps between validations (default: {every})")
    add("--logging-steps", type=int, default=25, help="steps between log lines (default: 25)")
    add("--ema-decay", type=float, default=ema_decay, help="of the averaged weights, which are what is kept")
    add("--seed", type=int, default=0, help="of weights, data order and noise")
    add("--no-bf16", dest="bf16", action="store_false", help="train in float32 throughout")
    add("--use-cpu", action="store_true", help="stay on the CPU even where there is a GPU")


def check_options(args: argparse.Namespace, presets: Mapping[str, Any]) -> None:
    """Look at those options that training commands share; None stands for a preset's own.

    Args:
        args: of the command line.
        presets: those there are, by name.

    Raises:
        ValueError: for an unknown preset, a number out of range, or an output folder that is a file.
    """
    if args.preset is not None and args.preset not in presets:
        raise ValueError(f"Unknown preset {args.preset!r}: choose {', '.join(presets)}.")
    for name in POSITIVE:
        given = getattr(args, name, None)
        if given is not None and not 0 < given < math.inf:
            raise ValueError(f"--{name.replace('_', '-')} is {given}: give a number above zero.")
    if not 0 <= getattr(args, "ema_decay", 0) < 1:
        raise ValueError(f"--ema-decay is {args.ema_decay}: give a number from 0 to below 1.")
    if not 0 <= args.seed < 2**32 - 1:
        raise ValueError(f"--seed is {args.seed}: give a number from 0 to {2**32 - 2}.")
    folder = Path(args.output_dir)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"--output-dir {folder} is a file: name a folder.")


def check_parts(batch_size: int, accumulation_steps: int) -> None:
    """Refuse a batch that does not divide into equal parts, one for each process and accumulation step.

    Raises:
        ValueError: if it does not.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if batch_size % (world * accumulation_steps):
        raise ValueError(
            f"--batch-size is {batch_size}: give a multiple of processes x accumulation steps, "
            f"{world} x {accumulation_steps}."
        )


def claim_record(args: argparse.Namespace, path: Path, *, kind: str) -> dict[str, Any]:
    """Write the command's settings into the record of its folder.

    Args:
        args: of the command line.
        path: of the record, whose "settings" they are.
        kind: what a run is called.

    Returns:
        What the record says already, {} for a new one.

    Raises:
        ValueError: if the folder holds a run with other settings, or a model that has no record.
    """
    before, settings = read_record(path), run_settings(args)
    changed_settings(path.parent, before.get("settings", {}), settings, resuming=True, kind=kind)
    if not before and is_first_process():
        write_record(path, {"settings": settings})
    return before


def run_settings(args: argparse.Namespace) -> dict[str, Any]:
    """The settings with which alone a run may go on."""
    return {name: value for name, value in vars(args).items() if name not in RESUMABLE}


def changed_settings(
    folder: Path, before: dict[str, Any], settings: dict[str, Any], *, resuming: bool, kind: str = "run"
) -> list[str]:
    """Names of the settings that are not as they were.

    Args:
        folder: of the run.
        before: what its record says; empty where there is none.
        settings: of this command.
        resuming: whether it would go on with the run.
        kind: what a run is called.

    Raises:
        ValueError: if it would go on with other settings, or overwrite a model that has no record.
    """
    changed = sorted(k for k in settings if k not in before or before[k] != settings[k])
    if resuming and before and changed:
        raise ValueError(
            f"{folder} holds a {kind} with other settings ({', '.join(changed)}): "
            "repeat its command or name a new folder."
        )
    if not before and (folder / "config.json").is_file():
        raise ValueError(f"{folder} holds a model that no run of this script made: name a new folder.")
    return changed


def read_record(path: Path) -> dict[str, Any]:
    """What `write_record` wrote, or nothing.

    Raises:
        ValueError: if it is damaged.
    """
    if not path.is_file():
        return {}
    advice = "copy it again, or name a new folder"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}): {advice}.") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} is damaged (it is no JSON object): {advice}.")
    return content


def write_record(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON file in one replacement; its folder is made where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.part")
    draft.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    os.replace(draft, path)


def is_first_process() -> bool:
    """Whether this process is the one that writes."""
    return int(os.environ.get("RANK", "0")) == 0
