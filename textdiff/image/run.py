"""One training run of the image wing: pictures -> rows -> Trainer -> a folder that `from_pretrained` loads."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TypeVar

from transformers import set_seed

from textdiff.image.data import PictureRows, Pictures, pixel_std, read_source
from textdiff.image.model import ImageDiffusionConfig, ImageDiffusionModel
from textdiff.image.presets import PRESETS, Preset
from textdiff.image.unet import UNetConfig
from textdiff.training.averaging import EMACallback
from textdiff.training.checkpoints import drop_half_written, latest_checkpoint, saving
from textdiff.training.settings import (
    changed_settings,
    check_options,
    check_parts,
    is_first_process,
    read_record,
    run_settings,
    write_record,
)
from textdiff.training.trainer import AveragedTrainer, training_arguments, write_curves

OwnPreset = TypeVar("OwnPreset", bound=Preset)

RUN_FILE, FACTS_FILE = "run.json", "training.json"
VALIDATION_ROWS = 1024


def train(args: argparse.Namespace) -> None:
    """Train, or go on training, as the command line says.

    Raises:
        ValueError: for an unknown preset, no pictures, a folder with another run, or numbers out of range.
        FileNotFoundError: for a missing file.
    """
    preset, folder = preset_of(args, PRESETS), Path(args.output_dir)
    shape = {**preset.model, **({} if args.image_size is None else {"image_size": args.image_size})}
    config = UNetConfig(**shape)
    if config.image_size % config.stride:
        raise ValueError(f"--image-size is {config.image_size}: give a multiple of {config.stride}.")
    pictures, validation = read_source(
        source_of(args, preset), size=config.image_size, channels=config.image_channels,
        image_column=args.image_column, label_column=args.label_column,
    )  # fmt: skip
    if not preset.classes:
        pictures, validation = Pictures(pictures.pixels), Pictures(validation.pixels)
    checkpoint = latest_checkpoint(folder)
    claim(args, folder, resuming=checkpoint is not None)
    set_seed(args.seed)
    classes = max(pictures.num_classes, validation.num_classes) if pictures.num_classes else 0
    made = {**shape, "num_classes": classes, "data_std": round(pixel_std(pictures), 3)}
    model = ImageDiffusionModel(ImageDiffusionConfig(**made, noise_seed=args.seed))
    trainer = AveragedTrainer(
        model=model, ema=EMACallback(model, args.ema_decay),
        args=training_arguments(args, label="pixel_values", weight_decay=0.0, adam_beta2=0.99, **preset.rates()),
        train_dataset=PictureRows(
            pictures, total=preset.max_steps * preset.batch_size, seed=args.seed, flip=preset.flip
        ),
        eval_dataset=PictureRows(validation, total=min(VALIDATION_ROWS, 4 * len(validation)), seed=args.seed + 1),
    )  # fmt: skip
    finish(
        trainer, preset, folder, checkpoint, len(pictures),
        lambda folder: model.save_pretrained(folder, max_shard_size="15MB"),
    )  # fmt: skip


def finish(
    trainer: AveragedTrainer,
    preset: Preset,
    folder: Path,
    checkpoint: Path | None,
    pictures: int,
    save: Callable[[Path], object],
    *,
    terms: Sequence[str] = ("mse",),
    unit: str = "squared error per pixel value",
) -> None:
    """Train to the end, validate, and leave averaged weights, curves and facts in the folder.

    Args:
        trainer: with the model to train.
        preset: for the facts.
        folder: of the run.
        checkpoint: to go on from.
        pictures: that the run learns from.
        save: writes the model, which has the averaged weights by then.
        terms: of the loss, that the curves show.
        unit: of all of them.
    """
    trained = trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    metrics = trainer.evaluate()
    if not trainer.is_world_process_zero():
        return
    model = trainer.model
    model.load_state_dict(trainer.ema.average.module.state_dict())
    facts = {
        "preset": asdict(preset), "parameters": sum(p.numel() for p in model.parameters()),
        "validation": metrics, "pictures": pictures,
        "pictures_seen": preset.max_steps * preset.batch_size,
        "seconds": None if checkpoint else round(trained.metrics["train_runtime"]),  # of unbroken runs
    }  # fmt: skip
    with saving(folder):
        save(folder)
        write_curves(trainer.state.log_history, folder, terms=terms, unit=unit)
        Path(folder, FACTS_FILE).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def preset_of(args: argparse.Namespace, presets: Mapping[str, OwnPreset]) -> OwnPreset:
    """The preset with what the command line changes.

    Raises:
        ValueError: if there is no such preset, or a number is out of range.
    """
    check_options(args, presets)
    given = {name: getattr(args, name) for name in ("max_steps", "batch_size", "learning_rate")}
    preset = replace(presets[args.preset], **{name: one for name, one in given.items() if one is not None})
    check_parts(preset.batch_size, args.gradient_accumulation_steps)
    return preset


def source_of(args: argparse.Namespace, preset: Preset) -> str:
    """Where the pictures are: what the command names, else the preset's file.

    Raises:
        ValueError: if neither names any.
        FileNotFoundError: if the preset's file is not there.
    """
    if args.train_data:
        return args.train_data
    if not preset.source:
        raise ValueError(f"Preset {preset.name!r} has no pictures of its own: give --train-data.")
    path = Path(args.data_dir, preset.source)
    if not path.is_file():
        raise FileNotFoundError(
            f"Preset {preset.name!r} wants {preset.source} in {args.data_dir}, where it is not: "
            "name the folder with --data-dir, or give pictures of your own with --train-data."
        )
    return str(path)


def claim(args: argparse.Namespace, folder: Path, *, resuming: bool) -> None:
    """Write the command's settings beside the run.

    Raises:
        ValueError: if it would go on with a run that was started with others.
    """
    record, settings = folder / RUN_FILE, run_settings(args)
    changed_settings(folder, read_record(record), settings, resuming=resuming)
    if not is_first_process():
        return
    with saving(folder):
        drop_half_written(folder)
        write_record(record, settings)
