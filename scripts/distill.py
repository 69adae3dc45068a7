#!/usr/bin/env python3
"""Teach a model to write in fewer steps: progressive distillation, half of the steps each round.

    python scripts/distill.py --model runs/english --output-dir runs/english-4 --from-steps 64 --to-steps 4
    python scripts/generate.py --model runs/english-4 --steps 4 --temperature 1

A round's student starts as a copy of its teacher and learns to reach in one step what the teacher reaches in
two; then it is the next round's teacher. Texts come from --train-files, else from a --preset's sources, else
from where the model's own run had them. Stopped at any moment and started again with the same command, it
goes on from the last checkpoint.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textdiff.cli import run
from textdiff.text.presets import PRESETS, Preset
from textdiff.text.settings import (
    check_options,
    check_parts,
    claim_record,
    is_first_process,
    read_record,
    write_record,
)
from textdiff.training.settings import add_run_options

if TYPE_CHECKING:
    from textdiff.text.data import PackedRows

RECORD = "distillation.json"


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Command line of the script."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--model", required=True, help="the teacher: model folder, hub id or name of a bundled model")
    add("--output-dir", required=True, help="folder for the student; the rounds are kept in steps-N below it")
    add("--from-steps", type=int, default=64, help="steps of the teacher (default: 64)")
    add("--to-steps", type=int, default=4, help="steps of the last student (default: 4)")
    add("--steps-per-round", type=int, default=300, help="optimiser steps a round (default: 300)")
    add("--train-files", nargs="+", metavar="FILE", help=".txt or .txt.gz, UTF-8; replaces other sources")
    add("--validation-files", nargs="+", metavar="FILE", help="default: one text in a hundred of the others")
    add("--preset", help=f"take its sources and batches: {', '.join(PRESETS)}")
    add("--data-dir", default="../shared/data", help="folder of the preset's sources")
    add("--learning-rate", type=float, default=5e-4, help="peak of every round (default: 5e-4)")
    add("--temperature", type=float, default=1.0, help="of the first teacher (default: 1 = off)")
    add("--batch-size", type=int, help="rows a step, over all processes (default: the preset's)")
    add("--gradient-accumulation-steps", type=int, default=1, help="parts that a process cuts its rows into")
    add_run_options(parser, every=100)
    return parser.parse_args(argv)


def round_steps(from_steps: int, to_steps: int) -> list[int]:
    """Steps of every round's student: 64 to 4 gives 32, 16, 8, 4."""
    steps = from_steps
    found = []
    while steps > to_steps and steps % 2 == 0:
        steps //= 2
        found.append(steps)
    if not found or steps != to_steps:
        raise ValueError(
            f"--from-steps is {from_steps} and --to-steps {to_steps}: every round halves the steps, so give "
            "numbers such as 64 and 4, or 24 and 3."
        )
    return found


def find_teacher(args: argparse.Namespace) -> Path:
    """The teacher's folder, whose files have been checked."""
    from textdiff.text.loading import find_model, read_config, read_denoiser

    folder, output = find_model(args.model), Path(args.output_dir)
    config = read_config(folder)
    if not config.get("categorical", True):
        raise ValueError(f"{folder} has the recipe diffusion_lm: only a model with a bound can be distilled.")
    if config.get("reading_layers"):
        raise ValueError(
            f"The model in {folder} reads clean tokens in order, and one call says all it knows: there is no second "
            "step to learn. Distil a model with reading_layers=0."
        )
    read_denoiser(folder, config)
    if output.resolve() == folder.resolve():
        raise ValueError(f"--output-dir {output} is the teacher's own folder: name another.")
    return folder


def find_sources(args: argparse.Namespace, teacher: Path) -> tuple[argparse.Namespace, Preset]:
    """Where texts come from, as `training_texts` wants it, and the preset whose rows and batches serve."""
    from textdiff.text.run import RUN_FILE

    named = args.train_files or args.preset
    record = teacher / RUN_FILE
    if not named and not record.is_file():
        raise ValueError(
            f"{teacher} does not say what it was trained on ({RUN_FILE} is missing): "
            "give --train-files or --preset."
        )
    settings = read_record(record)
    given = {"train_files": args.train_files, "validation_files": args.validation_files, "dataset": None}
    chosen = argparse.Namespace(**(given if named else settings))
    chosen.data_dir = args.data_dir
    chosen.validation_files = args.validation_files or chosen.validation_files
    preset = PRESETS.get(args.preset or settings.get("preset", "tiny"), PRESETS["tiny"])
    batch = args.batch_size if args.batch_size is not None else preset.batch_size
    check_parts(batch, args.gradient_accumulation_steps)
    rates = {"max_steps": args.steps_per_round, "learning_rate": args.learning_rate, "batch_size": batch}
    return chosen, replace(preset, **rates)


def train_student(
    args: argparse.Namespace, preset: Preset, teacher: Path, steps: int, rows: list[PackedRows]
) -> dict[str, Any]:
    """One round: the teacher's folder -> steps-N with its student, unless it is there. Returns its facts."""
    folder = Path(args.output_dir, f"steps-{steps}")
    if facts := read_record(folder / RECORD):
        return facts
    import torch
    from transformers import set_seed

    from textdiff.text.distillation import Distillation
    from textdiff.text.model import DiffusionLMModel
    from textdiff.text.training import (
        DiffusionTrainer,
        EMACallback,
        drop_half_written,
        latest_checkpoint,
        saving,
        training_arguments,
    )

    set_seed(args.seed)
    if is_first_process():
        drop_half_written(folder)
    settings = argparse.Namespace(**{**vars(args), "output_dir": str(folder), "compile": False})
    temperature = args.temperature if 2 * steps == args.from_steps else 1.0  # others have learned it
    model = DiffusionLMModel.from_pretrained(teacher, dtype=torch.float32)
    pair = Distillation(model, steps, seed=args.seed + steps, teacher_temperature=temperature)
    ema = EMACallback(pair, args.ema_decay)
    arguments = training_arguments(settings, **preset.rates())
    trainer = DiffusionTrainer(
        model=pair, args=arguments, train_dataset=rows[0], eval_dataset=rows[1], ema=ema
    )
    before = trainer.evaluate()
    checkpoint = latest_checkpoint(folder)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    facts = {"steps": steps, "before": terms(before), "after": terms(trainer.evaluate())}
    if is_first_process():
        with saving(folder):
            save_student(ema.average.module.student, teacher, folder)
            write_record(folder / RECORD, facts)
    trainer.accelerator.wait_for_everyone()
    return facts


def terms(metrics: dict[str, float]) -> dict[str, float]:
    """The loss and its terms among the figures of an evaluation."""
    return {name: metrics[f"eval_{name}"] for name in ("loss", "distance", "divergence")}


def save_student(student: Any, teacher: Path, folder: Path) -> None:
    """A folder that `DiffusionLM.from_pretrained` loads."""
    from textdiff.text.tokenizer import load_tokenizer, save_tokenizer

    student.save_pretrained(folder, max_shard_size="15MB")
    save_tokenizer(load_tokenizer(teacher), folder)


def main(argv: list[str] | None = None) -> None:
    """Run all rounds, or those that are not there yet."""
    args = parse_args(argv)
    check_options(args)
    rounds = round_steps(args.from_steps, args.to_steps)
    from textdiff.text.data import PackedRows, pieces
    from textdiff.text.loading import read_config, read_tokenizer
    from textdiff.text.model import DiffusionLMModel
    from textdiff.text.run import VALIDATION_ROWS
    from textdiff.text.sources import training_texts

    teacher = find_teacher(args)
    sources, preset = find_sources(args, teacher)
    texts = training_texts(sources, preset)
    claim_record(args, Path(args.output_dir, RECORD), kind="distillation")
    config = read_config(teacher)
    window, tokenizer = config["max_position_embeddings"], read_tokenizer(teacher, config["vocab_size"])
    parts = [pieces(part, tokenizer, window, seed=args.seed + k) for k, part in enumerate(texts)]
    length, total = max(preset.row_length, window), preset.max_steps * preset.batch_size
    found = []
    for steps in rounds:
        rows = [PackedRows(parts[0], length, total=total, seed=args.seed + steps),
                PackedRows(parts[1], length, total=VALIDATION_ROWS, seed=args.seed)]  # fmt: skip
        found.append(facts := train_student(args, preset, teacher, steps, rows))
        teacher = Path(args.output_dir, f"steps-{steps}")
        before, after = (facts[when]["loss"] for when in ("before", "after"))
        sys.stdout.write(f"{steps:4d} steps: loss {before:.4f} -> {after:.4f}\n")
    output = Path(args.output_dir)
    if is_first_process():
        save_student(DiffusionLMModel.from_pretrained(teacher), teacher, output)
        write_record(output / RECORD, {**read_record(output / RECORD), "rounds": found})


if __name__ == "__main__":
    run(main)
