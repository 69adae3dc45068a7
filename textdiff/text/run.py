"""One training run, start to finish: files -> tokenizer -> rows -> Trainer -> a folder that `from_pretrained` loads."""

from __future__ import annotations

import argparse
import json
import os
import zlib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from transformers import TrainingArguments, set_seed

from textdiff.text.data import PackedRows, held_out, pieces, read_texts
from textdiff.text.model import DiffusionLMConfig, DiffusionLMModel
from textdiff.text.presets import PRESETS, Preset
from textdiff.text.tokenizer import load_tokenizer, save_tokenizer, train_bpe, train_word_level
from textdiff.text.training import DiffusionTrainer, EMACallback, latest_checkpoint, write_curves

RUN_FILE = "run.json"
FACTS_FILE = "training.json"
VALIDATION_ROWS = 256
RESUMABLE = ("output_dir", "save_steps", "eval_steps", "logging_steps", "use_cpu", "bf16", "compile", "fsdp")


def train(args: argparse.Namespace) -> None:
    """Train, or go on training, as the command line says.

    Raises:
        ValueError: for an unknown preset, an empty file, a folder that holds another run, or numbers out of range.
        FileNotFoundError: for a missing file.
    """
    preset = _preset(args)
    folder = Path(args.output_dir)
    checkpoint = latest_checkpoint(folder)
    _check_same_run(args, folder, resuming=checkpoint is not None)
    texts = _texts(args, preset)
    set_seed(args.seed)
    tokenizer = _tokenizer(preset, texts[0], folder)
    train_pieces, validation_pieces = _cut(texts, tokenizer, preset, args.seed)
    model = _model(preset, tokenizer, train_pieces, args.seed)
    rows = PackedRows(train_pieces, preset.row_length, total=preset.max_steps * preset.batch_size, seed=args.seed)
    validation = PackedRows(validation_pieces, preset.row_length, total=None, seed=args.seed + 1, conditional=False)
    validation.total = min(validation.total, VALIDATION_ROWS)
    ema = EMACallback(model, args.ema_decay)
    trainer = DiffusionTrainer(
        model=model, args=training_arguments(args, preset), train_dataset=rows, eval_dataset=validation, ema=ema
    )
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    metrics = trainer.evaluate()
    if trainer.is_world_process_zero():
        model.load_state_dict(ema.average.module.state_dict())
        model.save_pretrained(folder, max_shard_size="15MB")
        write_curves(trainer.state.log_history, folder)
        facts = {"preset": asdict(preset), "parameters": model.num_parameters(), "validation": metrics}
        Path(folder, FACTS_FILE).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def _preset(args: argparse.Namespace) -> Preset:
    """The preset with what the command line changes."""
    if args.preset not in PRESETS:
        raise ValueError(f"Unknown preset {args.preset!r}: choose {', '.join(PRESETS)}.")
    values = {**PRESETS[args.preset].__dict__}
    for name in ("max_steps", "batch_size", "learning_rate"):
        given = getattr(args, name)
        if given is not None and given <= 0:
            raise ValueError(f"--{name.replace('_', '-')} is {given}: give a number above zero.")
        values[name] = given if given is not None else values[name]
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if values["batch_size"] % (world * args.gradient_accumulation_steps):
        raise ValueError(
            f"--batch-size is {values['batch_size']}: give a multiple of processes x accumulation steps, "
            f"{world} x {args.gradient_accumulation_steps}."
        )
    return Preset(**values)


def _check_same_run(args: argparse.Namespace, folder: Path, *, resuming: bool) -> None:
    """Write the command's settings beside the run; refuse to go on with a run that was started with others."""
    settings = {k: v for k, v in vars(args).items() if k not in RESUMABLE}
    record = folder / RUN_FILE
    if resuming and record.is_file():
        before = json.loads(record.read_text(encoding="utf-8"))
        changed = sorted(k for k in settings if before.get(k) != settings[k])
        if changed:
            raise ValueError(
                f"{folder} holds a run with other settings ({', '.join(changed)}): repeat its command or name a new folder."
            )
    if int(os.environ.get("RANK", "0")) == 0:
        folder.mkdir(parents=True, exist_ok=True)
        record.write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")


def run_pieces(folder: str | os.PathLike, *, data_dir: str) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Training and validation pieces of a finished run, cut again from its sources.

    Args:
        folder: of the run.
        data_dir: folder of the preset's sources.

    Raises:
        FileNotFoundError: if a record of the run or one of its sources is missing.
    """
    settings = argparse.Namespace(**json.loads(Path(folder, RUN_FILE).read_text(encoding="utf-8")))
    settings.data_dir = data_dir
    preset = run_preset(folder)
    return _cut(_texts(settings, preset), load_tokenizer(folder), preset, settings.seed)


def run_preset(folder: str | os.PathLike) -> Preset:
    """The preset of a finished run, with what its command line changed."""
    return Preset(**json.loads(Path(folder, FACTS_FILE).read_text(encoding="utf-8"))["preset"])


def _cut(
    texts: tuple[list[str], list[str]], tokenizer: Tokenizer, preset: Preset, seed: int
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Training and validation texts in pieces."""
    length = DiffusionLMConfig(**preset.model).max_position_embeddings
    return pieces(texts[0], tokenizer, length, seed=seed), pieces(texts[1], tokenizer, length, seed=seed + 1)


def _texts(args: argparse.Namespace, preset: Preset) -> tuple[list[str], list[str]]:
    """Training and validation texts."""
    if args.dataset:
        texts = _dataset_texts(args.dataset, args.text_column)
    elif args.train_files:
        texts = [text for path in args.train_files for text in read_texts(path)]
    elif preset.sources:
        texts = [
            text
            for name, share in preset.sources.items()
            for text in read_texts(Path(args.data_dir, name))
            if zlib.crc32(b"share" + text.encode("utf-8")) % 1000 < share * 1000
        ]
    else:
        raise ValueError(f"Preset {args.preset!r} has no data of its own: give --train-files or --dataset.")
    if args.validation_files:
        return texts, [text for path in args.validation_files for text in read_texts(path)]
    kept, out = [t for t in texts if not held_out(t)], [t for t in texts if held_out(t)]
    return (kept, out) if kept and out else (texts, texts[-max(1, len(texts) // 20) :])


def _dataset_texts(name: str, column: str) -> list[str]:
    """The text column of a `datasets` name or local dataset folder."""
    import datasets

    path = Path(name)
    if path.is_file():
        kinds = {".json": "json", ".jsonl": "json", ".csv": "csv", ".parquet": "parquet"}
        if path.suffix not in kinds:
            raise ValueError(f"--dataset {name} is a {path.suffix} file: give .json, .jsonl, .csv or .parquet.")
        data = datasets.load_dataset(kinds[path.suffix], data_files=str(path), split="train")
    else:
        data = datasets.load_dataset(name, split="train")
    if column not in data.column_names:
        raise ValueError(f"--dataset {name} has no column {column!r}: choose one of {', '.join(data.column_names)}.")
    texts = [text.strip() for text in data[column] if text and text.strip()]
    if not texts:
        raise ValueError(f"--dataset {name} has no text in column {column!r}.")
    return texts


def _tokenizer(preset: Preset, texts: Sequence[str], folder: Path) -> Tokenizer:
    """The run's tokenizer: the folder's, so that a resumed run keeps it, else a new one."""
    if (folder / "tokenizer.json").is_file():
        return load_tokenizer(folder)
    tokenizer = train_bpe(texts, preset.vocab_size) if preset.tokenizer == "bpe" else train_word_level(texts)
    if int(os.environ.get("RANK", "0")) == 0:
        save_tokenizer(tokenizer, folder)
    return tokenizer


def _model(preset: Preset, tokenizer: Tokenizer, train_pieces: Sequence[np.ndarray], seed: int) -> DiffusionLMModel:
    """A fresh model that knows its vocabulary size and the lengths of the training pieces."""
    make = DiffusionLMConfig.diffusion_lm if preset.recipe == "diffusion_lm" else DiffusionLMConfig
    counts = np.bincount([len(piece) for piece in train_pieces]).tolist()
    config = make(**preset.model, vocab_size=tokenizer.get_vocab_size(), length_counts=counts, noise_seed=seed)
    return DiffusionLMModel(config)


def training_arguments(args: argparse.Namespace, preset: Preset) -> TrainingArguments:
    """The Trainer's settings for a run of this preset."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    on_cpu = args.use_cpu or not torch.cuda.is_available()
    return TrainingArguments(
        output_dir=args.output_dir,
        max_steps=preset.max_steps,
        per_device_train_batch_size=preset.batch_size // (world * args.gradient_accumulation_steps),
        per_device_eval_batch_size=max(1, preset.batch_size // world),
        gradient_accumulation_steps=args.gradient_accumulation_steps,
        learning_rate=preset.learning_rate,
        weight_decay=0.05,
        adam_beta1=0.9,
        adam_beta2=0.95,
        max_grad_norm=1.0,
        warmup_steps=0.02,
        lr_scheduler_type="cosine",
        logging_steps=args.logging_steps,
        save_steps=args.save_steps,
        save_total_limit=2,
        eval_strategy="steps",
        eval_steps=args.eval_steps,
        prediction_loss_only=True,
        label_names=["input_ids"],  # tells Trainer that evaluation has a loss
        ddp_find_unused_parameters=False,
        bf16=args.bf16,
        use_cpu=on_cpu,
        torch_compile=args.compile,
        fsdp=args.fsdp,
        seed=args.seed,
        report_to=[],
        dataloader_pin_memory=not on_cpu,
        remove_unused_columns=False,
    )
