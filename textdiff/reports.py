"""What every figure carries with it: how it came about, and its way into a table or a JSON file."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

CHECKOUT = Path(__file__).resolve().parents[1]
FIGURES = "benchmarks/results"  # which other benchmarks write beside


def birth_certificate(*, version: str, **facts: Any) -> dict[str, Any]:
    """How a result came about: the facts given, then the package, its commit, and the machine.

    Args:
        version: of this package.
        **facts: model, data, seed and the like; those that are None are left out.
    """
    given = {name: value for name, value in facts.items() if value is not None}
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        **given,
        "textdiff": version, "commit": commit_of(CHECKOUT), "torch": torch.__version__,
        "python": platform.python_version(), "platform": f"{platform.system()} {platform.machine()}",
        "cpus": os.cpu_count(), "threads": torch.get_num_threads(), "gpu": gpu,
    }  # fmt: skip


def commit_of(checkout: Path) -> str | None:
    """Short git commit of the checkout, with + where files but for figures differ from it; None where there is none."""
    if not (checkout / ".git").exists():
        return None
    name, changes = (
        _git(checkout, "rev-parse", "--short", "HEAD"),
        _git(checkout, "status", "--porcelain", "--untracked-files=no", "--", ".", f":!{FIGURES}"),
    )
    return name and (f"{name}+" if changes else name)


def _git(checkout: Path, *command: str) -> str | None:
    """What git prints; None where it cannot."""
    try:
        done = subprocess.run(["git", "-C", str(checkout), *command], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as a Markdown table that is also readable as it stands; columns in the order they first appear.

    Numbers are right-aligned; figures that a row lacks are "-".
    """
    columns = list(dict.fromkeys(name for row in rows for name in row))
    cells = [columns, *([_cell(row.get(name)) for name in columns] for row in rows)]
    numeric = [all(not isinstance(row.get(name), str) for row in rows) for name in columns]
    widths = [max(3, *(len(line[i]) for line in cells)) for i in range(len(columns))]

    def line(values: Sequence[str]) -> str:
        padded = [v.rjust(w) if n else v.ljust(w) for v, w, n in zip(values, widths, numeric, strict=True)]
        return f"| {' | '.join(padded)} |"

    rule = ["-" * (w - 1) + ":" if n else "-" * w for w, n in zip(widths, numeric, strict=True)]
    return "\n".join([line(cells[0]), line(rule), *map(line, cells[1:])])


def listing(figures: Mapping[str, Any]) -> str:
    """One result, a figure a line."""
    width = max(map(len, figures))
    return "\n".join(f"{name:<{width}}  {_cell(value)}" for name, value in figures.items())


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.3g}" if 0 < abs(value) < 0.001 else f"{value:.3f}"
    if isinstance(value, list | tuple):
        return ", ".join(map(_cell, value))
    return str(value)


def write_json(content: Any, target: str | os.PathLike) -> None:
    """Write JSON to a file, whole or not at all, or to standard output ("-").

    Raises:
        OSError: if the file cannot be written.
    """
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    if os.fspath(target) == "-":
        sys.stdout.write(text)
        return
    path = Path(target).resolve()  # a link stays a link
    if path.exists() and not path.is_file():  # a pipe or a device
        path.write_text(text, encoding="utf-8")
        return
    draft = _draft_of(path)
    try:
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _draft_of(path: Path) -> Path:
    """What a file is written to before it takes its place."""
    return path.with_name(f".{path.name}.part")


def read_figures(target: str | os.PathLike) -> dict[str, Any]:
    """What a file holds that new figures will stand beside; {} for a new file, and for standard output.

    Asked before the work too, for its refusals.

    Raises:
        ValueError: if it could not be written, or holds no JSON object.
    """
    check_target(target)
    path = Path(target)
    if os.fspath(target) == "-" or not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error}): mend it, or name another file.") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds no JSON object: mend it, or name another file.")
    return content


def earlier_figures(file: str | os.PathLike) -> dict[str, Any]:
    """What an earlier run of the same script wrote.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it holds no JSON object.
    """
    if not Path(file).is_file():
        raise FileNotFoundError(f"No file {os.fspath(file)}: give one that this script wrote.")
    return read_figures(file)


def check_target(target: str | os.PathLike | None) -> None:
    """Refuse a file that could not be written, before an hour of work and not after it.

    Raises:
        ValueError: if its folder does not exist or cannot be written to, or it is a folder itself.
    """
    if target is None or os.fspath(target) == "-":
        return
    path = Path(target).resolve()
    if path.is_dir() or not path.parent.is_dir():
        raise ValueError(f"Cannot write {target}: give a file in a folder that exists.")
    if path.exists() and not path.is_file():
        return
    draft = _draft_of(path)
    try:
        draft.touch()
        draft.unlink()
    except OSError as error:
        raise ValueError(f"Cannot write {target} ({error.strerror}): give a file in a folder of yours.") from error
