"""Checkpoints of a run: which are whole, which to go on from, and what to say when the disk is full.

A checkpoint counts as whole once its averaged weights, written last, are there.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError, safe_open
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

EMA_FILE = "ema.safetensors"


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
