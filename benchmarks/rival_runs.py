"""What the runs of all rivals share: options, the claim of a folder, and the way from data to a model."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from textdiff.text.presets import PRESETS, Preset
from textdiff.text.settings import check_options, read_record, run_settings, write_record

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from textdiff.text.causal_rows import CausalRows
    from textdiff.text.data import PackedRows
    from textdiff.text.run import PresetData

    Rows = CausalRows | PackedRows
    Rival = tuple[PreTrainedModel, Rows, Rows]  # a fresh model, rows to train on and rows to validate with

EMA_DECAY = 0.998  # as scripts/train.py


def rival_parser(description: str | None, *, save_steps: int, logging_steps: int) -> argparse.ArgumentParser:
    """The options that all rivals have.

    Args:
        description: the script's docstring.
        save_steps: steps between checkpoints and validations, unless the command line says another number.
        logging_steps: steps between log lines.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--preset", required=True, help="row of the table that scripts/train.py --help shows")
    add("--output-dir", required=True, help="folder for checkpoints, curves and the final model")
    add("--data-dir", default="../shared/data", help="folder of the preset's sources")
    add("--max-steps", type=int, help="steps of the diffusion model to rival (default: the preset's)")
    add("--learning-rate", type=float, help="peak (default: the preset's)")
    add("--save-steps", type=int, default=save_steps, help="steps between checkpoints (default: %(default)s)")
    add("--seed", type=int, default=0, help="of all that is random (default: 0)")
    parser.set_defaults(logging_steps=logging_steps)
    return parser


def train_rival(
    args: argparse.Namespace,
    make: Callable[[argparse.Namespace, Preset, PresetData], Rival],
    *,
    pairs: bool = False,
) -> None:
    """Train a rival, or go on from its last checkpoint.

    Args:
        args: from `rival_parser`.
        make: builds the rival from the arguments, the preset as they change it, and its data.
        pairs: whether it wants a preset of pairs; others want one of texts.

    Raises:
        ValueError: for an unknown preset, one of the other kind, numbers out of range, or a folder with another run.
        FileNotFoundError: if one of the preset's sources is missing.
    """
    preset = rivalled_preset(args)
    if (preset.pairs is not None) != pairs:
        able = ", ".join(name for name, one in PRESETS.items() if (one.pairs is not None) == pairs)
        raise ValueError(f"This rival does not train on the data of preset {preset.name!r}: choose one of {able}.")
    from transformers import set_seed

    from textdiff.text.run import RUN_FILE, finish_run, preset_data
    from textdiff.text.tokenizer import save_tokenizer
    from textdiff.text.training import DiffusionTrainer, EMACallback, latest_checkpoint, training_arguments

    folder = Path(args.output_dir)
    checkpoint = latest_checkpoint(folder)
    claim_folder(args, folder, resuming=checkpoint is not None)
    data = preset_data(preset, folder, data_dir=args.data_dir, seed=args.seed)
    set_seed(args.seed)
    model, train, validation = make(args, preset, data)
    settings = argparse.Namespace(
        **vars(args), eval_steps=args.save_steps,
        gradient_accumulation_steps=1, bf16=True, use_cpu=False, compile=False,
    )  # fmt: skip
    trainer = DiffusionTrainer(
        model=model, train_dataset=train, eval_dataset=validation, ema=EMACallback(model, EMA_DECAY),
        data_collator=getattr(train, "collate", None),
        args=training_arguments(settings, **{**preset.rates(), "max_steps": train.total // preset.batch_size}),
    )  # fmt: skip
    if trainer.is_world_process_zero():
        save_tokenizer(data.tokenizer, folder)  # which another process may have dropped as a stale one
        write_record(folder / RUN_FILE, run_settings(args))
    finish_run(trainer, preset, folder, checkpoint)


def rivalled_preset(args: argparse.Namespace) -> Preset:
    """The diffusion run to rival: the preset, its steps and its learning rate as the command line says.

    Raises:
        ValueError: for an unknown preset, numbers out of range, or an output folder that is a file.
    """
    check_options(args)
    given = {"max_steps": args.max_steps, "learning_rate": args.learning_rate}
    changes = {name: value for name, value in given.items() if value is not None}
    return replace(PRESETS[args.preset], **changes)


def claim_folder(args: argparse.Namespace, folder: Path, *, resuming: bool) -> None:
    """Drop the tokenizer that another command left before its first checkpoint.

    Raises:
        ValueError: if the folder holds checkpoints or a model of a run with other settings.
    """
    from textdiff.text.run import RUN_FILE
    from textdiff.text.tokenizer import TOKENIZER_FILE
    from textdiff.text.training import drop_half_written

    if read_record(folder / RUN_FILE) == run_settings(args):
        drop_half_written(folder)
    elif resuming or (folder / "config.json").is_file():
        raise ValueError(
            f"{folder} holds a run with other settings: repeat its command or name a new folder."
        )
    else:
        (folder / TOKENIZER_FILE).unlink(missing_ok=True)
