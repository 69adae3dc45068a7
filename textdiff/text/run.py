"""One training run: texts -> tokenizer -> rows -> Trainer -> a folder that `from_pretrained` loads."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any, cast

import numpy as np
from tokenizers import Tokenizer
from transformers import set_seed

from textdiff.text.data import PackedRows, pieces
from textdiff.text.fine_tuning import load_start, shaped_like, warn_of_strangers
from textdiff.text.loading import find_model
from textdiff.text.model import DiffusionLMConfig, DiffusionLMModel
from textdiff.text.pairs import Pair, PairRows, encode_pairs, length_table, training_pairs, wants_pairs
from textdiff.text.presets import PRESETS, Preset
from textdiff.text.settings import (
    changed_settings,
    check_options,
    check_parts,
    is_first_process,
    read_record,
    run_settings,
    write_record,
)
from textdiff.text.sources import training_texts
from textdiff.text.tokenizer import load_tokenizer, save_tokenizer, separator, train_bpe, train_word_level
from textdiff.text.training import (
    DiffusionTrainer,
    EMACallback,
    drop_half_written,
    latest_checkpoint,
    saving,
    training_arguments,
    write_curves,
)

RUN_FILE = "run.json"
FACTS_FILE = "training.json"
VALIDATION_ROWS = 256


def train(args: argparse.Namespace) -> None:
    """Train, or go on training, as the command line says.

    Raises:
        ValueError: for an unknown preset, an empty file, a folder with another run, or numbers out of range.
        FileNotFoundError: for a missing file.
    """
    folder = Path(args.output_dir)
    preset, start = _preset(args), _start(args)
    if start is not None:
        if start.resolve() == folder.resolve():
            raise ValueError(f"--start-from and --output-dir are both {folder}: name a new folder for what is trained.")
        preset = shaped_like(preset, start, recipe=args.recipe)
    paired = wants_pairs(args, preset)
    found: tuple[list[Any], list[Any]] = training_pairs(args, preset) if paired else training_texts(args, preset)
    arguments = training_arguments(args, **preset.rates())
    with arguments.main_process_first(local=False):
        checkpoint = latest_checkpoint(folder)
        _check_same_run(args, folder, resuming=checkpoint is not None)
        tokenizer = _tokenizer(preset, chain.from_iterable(found[0]) if paired else found[0], folder, start)
    set_seed(args.seed)
    make = _pair_rows if paired else _text_rows
    rows, validation, lengths = make(found, tokenizer, preset, args.seed)
    model = _model(preset, tokenizer, lengths, args.seed) if start is None else load_start(start, lengths, args.seed)
    ema = EMACallback(model, args.ema_decay)
    trainer = DiffusionTrainer(model=model, args=arguments, train_dataset=rows, eval_dataset=validation, ema=ema)
    finish_run(trainer, preset, folder, checkpoint)


def _text_rows(
    texts: tuple[list[str], list[str]], tokenizer: Tokenizer, preset: Preset, seed: int
) -> tuple[PackedRows, PackedRows, dict[str, Any]]:
    """Rows of texts to train on and to validate with, and what the model's config says of lengths."""
    train_pieces, validation_pieces = _cut(texts, tokenizer, preset, seed)
    rows = PackedRows(
        train_pieces, preset.row_length,
        total=preset.max_steps * preset.batch_size, seed=seed, conditional=preset.conditional,
    )  # fmt: skip
    validation = PackedRows(
        validation_pieces, preset.row_length, total=VALIDATION_ROWS, seed=seed + 1, conditional=False
    )
    return rows, validation, {"length_counts": np.bincount([len(piece) for piece in train_pieces]).tolist()}


def _pair_rows(
    pairs: tuple[list[Pair], list[Pair]], tokenizer: Tokenizer, preset: Preset, seed: int
) -> tuple[PackedRows, PackedRows, dict[str, Any]]:
    """Rows of pairs to train on and to validate with, and what the model's config says of lengths."""
    window, between = _window(preset), separator(tokenizer)
    kept, out = (encode_pairs(part, tokenizer, window) for part in pairs)
    total = preset.max_steps * preset.batch_size
    rows = PairRows(kept, preset.row_length, between=between, total=total, seed=seed)
    validation = PairRows(
        out, preset.row_length, between=between, total=VALIDATION_ROWS, seed=seed + 1, source_dropout=0.0
    )
    said = {"target_lengths": length_table(kept), "sides": True, "copies": preset.model.get("copies") or 1.0}
    return rows, validation, said


def finish_run(trainer: DiffusionTrainer, preset: Preset, folder: Path, checkpoint: Path | None) -> None:
    """Train to the end, validate, and leave averaged weights, curves and facts in the folder.

    Args:
        trainer: with its data.
        preset: what the facts name.
        folder: of the run.
        checkpoint: where to go on from.
    """
    trained = trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    metrics = trainer.evaluate()
    if not trainer.is_world_process_zero():
        return
    model, rows = trainer.model, cast(PackedRows, trainer.train_dataset)
    model.load_state_dict(trainer.ema.average.module.state_dict())
    facts = {
        "preset": asdict(preset), "parameters": model.num_parameters(), "validation": metrics,
        "tokens_seen": round(rows.total * rows.tokens_per_row),
        "seconds": None if checkpoint else round(trained.metrics["train_runtime"]),  # of unbroken runs
    }  # fmt: skip
    with saving(folder):
        model.save_pretrained(folder, max_shard_size="15MB")
        write_curves(trainer.state.log_history, folder)
        Path(folder, FACTS_FILE).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def _preset(args: argparse.Namespace) -> Preset:
    """The preset with what the command line changes."""
    check_options(args)
    values = {**PRESETS[args.preset].__dict__}
    for name in ("max_steps", "batch_size", "learning_rate", "recipe"):
        given = getattr(args, name)
        values[name] = given if given is not None else values[name]
    check_parts(values["batch_size"], args.gradient_accumulation_steps)
    return Preset(**values)


def _start(args: argparse.Namespace) -> Path | None:
    """The folder of the model to start from, if one is named."""
    name = getattr(args, "start_from", None)
    return None if name is None else find_model(name)


def _check_same_run(args: argparse.Namespace, folder: Path, *, resuming: bool) -> None:
    """Write the command's settings beside the run; refuse to go on with a run that was started with others.

    What another command left before its first checkpoint, its tokenizer, is dropped.
    """
    record, settings = folder / RUN_FILE, run_settings(args)
    changed = changed_settings(folder, read_record(record), settings, resuming=resuming)
    if not is_first_process():
        return
    with saving(folder):
        drop_half_written(folder)
        if changed and not resuming:
            (folder / "tokenizer.json").unlink(missing_ok=True)
        write_record(record, settings)


@dataclass(frozen=True)
class PresetData:
    """What a preset trains on: its tokenizer, and pieces of token ids, or pairs, to train on and to validate with."""

    tokenizer: Tokenizer
    train: list[Any]
    validation: list[Any]


def preset_data(preset: Preset, folder: str | os.PathLike, *, data_dir: str, seed: int) -> PresetData:
    """The data of a preset, cut as `scripts/train.py` cuts it, for rivals that train on the same.

    Args:
        preset: one with sources of its own.
        folder: of the rival's run; its tokenizer is kept there, so that a resumed run has the same.
        data_dir: folder of the preset's sources.
        seed: of the run.

    Raises:
        FileNotFoundError: if one of the sources is missing.
        ValueError: if the preset has no sources.
    """
    given = argparse.Namespace(
        dataset=None, train_files=None, validation_files=None, data_dir=data_dir
    )
    if preset.pairs is not None:
        pairs = training_pairs(given, preset)
        tokenizer = _tokenizer(preset, chain.from_iterable(pairs[0]), Path(folder))
        return PresetData(tokenizer, *(encode_pairs(part, tokenizer, _window(preset)) for part in pairs))
    texts = training_texts(given, preset)
    tokenizer = _tokenizer(preset, texts[0], Path(folder))
    return PresetData(tokenizer, *_cut(texts, tokenizer, preset, seed))


def _cut(
    texts: tuple[list[str], list[str]], tokenizer: Tokenizer, preset: Preset, seed: int
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Training and validation texts in pieces."""
    length = _window(preset)
    return pieces(texts[0], tokenizer, length, seed=seed), pieces(texts[1], tokenizer, length, seed=seed + 1)


def _window(preset: Preset) -> int:
    """Most tokens that the preset's model takes."""
    return DiffusionLMConfig(**preset.model).max_position_embeddings


def _tokenizer(preset: Preset, texts: Iterable[str], folder: Path, start: Path | None = None) -> Tokenizer:
    """The run's tokenizer: the folder's, so that a resumed run keeps it, else that of its start, else a new one."""
    if (folder / "tokenizer.json").is_file():
        return load_tokenizer(folder)
    if start is not None:
        tokenizer = load_tokenizer(start)
        warn_of_strangers(texts, tokenizer)
    else:
        tokenizer = train_bpe(texts, preset.vocab_size) if preset.tokenizer == "bpe" else train_word_level(texts)
    if is_first_process():
        save_tokenizer(tokenizer, folder)
    return tokenizer


def _model(preset: Preset, tokenizer: Tokenizer, lengths: dict[str, Any], seed: int) -> DiffusionLMModel:
    """A fresh model that knows its vocabulary size and what the training data say of lengths."""
    make = DiffusionLMConfig.diffusion_lm if preset.recipe == "diffusion_lm" else DiffusionLMConfig
    config = make(**{**preset.model, **lengths}, vocab_size=tokenizer.get_vocab_size(), noise_seed=seed)
    return DiffusionLMModel(config)
