"""Settings of a training command of the text wing: `textdiff.training.settings` with this wing's presets."""

from __future__ import annotations

import argparse

from textdiff.text.presets import PRESETS
from textdiff.training import settings
from textdiff.training.settings import (
    POSITIVE,
    RESUMABLE,
    changed_settings,
    check_parts,
    claim_record,
    is_first_process,
    read_record,
    run_settings,
    write_record,
)

__all__ = [
    "POSITIVE", "RESUMABLE", "changed_settings", "check_options", "check_parts", "claim_record", "is_first_process",
    "read_record", "run_settings", "write_record",
]  # fmt: skip


def check_options(args: argparse.Namespace) -> None:
    """Look at those options that training commands share; None stands for a preset's own.

    Raises:
        ValueError: for an unknown preset, a number out of range, or an output folder that is a file.
    """
    settings.check_options(args, PRESETS)
