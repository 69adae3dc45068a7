"""Where training texts come from: local files, a preset's sources or a `datasets` name."""

from __future__ import annotations

import argparse
import urllib.error
import urllib.request
import zlib
from collections.abc import Sequence
from pathlib import Path

from textdiff.text.data import held_out, read_texts
from textdiff.text.presets import Preset

DATASET_FILES = {".json": "json", ".jsonl": "json", ".csv": "csv", ".parquet": "parquet"}


def training_texts(args: argparse.Namespace, preset: Preset) -> tuple[list[str], list[str]]:
    """Training and validation texts, as the command line names them.

    Raises:
        ValueError: for no data, an empty or unreadable file, or a dataset without the column.
        FileNotFoundError: for a missing file.
        ConnectionError: for a name on the hub without network.
    """
    if getattr(args, "pairs", False) or getattr(args, "pair_columns", None) or (
        preset.pairs is not None and not (args.dataset or args.train_files)
    ):
        raise ValueError("Texts are wanted here, and these are pairs: only scripts/train.py takes them.")
    if args.dataset and args.train_files:
        raise ValueError("Both --dataset and --train-files are given: give one of them.")
    if args.dataset:
        texts = _dataset_texts(args.dataset, args.text_column)
    elif args.train_files:
        texts = [text for path in args.train_files for text in read_texts(path)]
    elif preset.sources:
        check_sources(preset, args.data_dir)
        texts = [
            _after_mark(text, preset)
            for name, share in preset.sources.items()
            for text in read_texts(Path(args.data_dir, name))
            if zlib.crc32(b"share" + text.encode("utf-8")) % 1000 < share * 1000
        ]
    else:
        raise ValueError(f"Preset {preset.name!r} has no data of its own: give --train-files or --dataset.")
    if args.validation_files:
        return texts, [text for path in args.validation_files for text in read_texts(path)]
    kept, out = [t for t in texts if not held_out(t)], [t for t in texts if held_out(t)]
    return (kept, out) if kept and out else (texts, texts[-max(1, len(texts) // 20) :])


def check_sources(preset: Preset, data_dir: str) -> None:
    """Look for the files of a preset.

    Raises:
        FileNotFoundError: if one is missing.
    """
    missing = [name for name in preset.sources if not Path(data_dir, name).is_file()]
    if missing:
        raise FileNotFoundError(
            f"Preset {preset.name!r} wants {missing[0]} in {data_dir}, where it is not: "
            "name the folder with --data-dir, or give texts of your own with --train-files."
        )


def _after_mark(text: str, preset: Preset) -> str:
    """What stands behind the preset's mark, or the whole line where it has none."""
    return text.rpartition(preset.text_after)[2].strip() if preset.text_after else text


def test_texts(preset: Preset, data_dir: str) -> dict[str, list[str]]:
    """A preset's held-out texts by name, equal ones once; of a .tsv file those of its first column.

    Raises:
        FileNotFoundError: for a missing file.
        ValueError: for a preset without test texts.
    """
    if not preset.tests:
        raise ValueError(f"Preset {preset.name!r} has no test texts: choose another preset.")
    found = {}
    for name, file in preset.tests.items():
        lines = read_texts(Path(data_dir, file))
        columns = [text.split("\t")[0] if ".tsv" in file else _after_mark(text, preset) for text in lines]
        found[name] = list(dict.fromkeys(columns))
    return found


def _dataset_texts(name: str, column: str) -> list[str]:
    """The text column of a `datasets` name or local dataset folder."""
    (values,) = dataset_columns(name, (column,), option="--text-column")
    texts = [text.strip() for text in values if text is not None and text.strip()]
    if not texts:
        raise ValueError(f"--dataset {name} has no text in column {column!r}.")
    return texts


def dataset_columns(name: str, columns: Sequence[str], *, option: str) -> list[list[str | None]]:
    """Columns of text of a `datasets` name, a local dataset folder or file; a nested one is "outer.inner".

    Args:
        name: as --dataset gives it.
        columns: their names.
        option: of the command line, that names them.

    Raises:
        ValueError: if it cannot be read, or has no such column of text.
        FileNotFoundError: for a local file or folder that is not there.
        ConnectionError: for a name on the hub without network.
    """
    path = Path(name)
    if path.is_file() and path.suffix not in DATASET_FILES:
        raise ValueError(f"--dataset {name} is a {path.suffix} file: give .json, .jsonl, .csv or .parquet.")
    if not path.exists():
        _reach_hub(name)
    import datasets

    datasets.disable_progress_bars()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)
    try:
        if path.is_file():
            data = datasets.load_dataset(DATASET_FILES[path.suffix], data_files=str(path), split="train")
        else:
            data = datasets.load_dataset(name, split="train")
    except (datasets.exceptions.DatasetGenerationError, OSError, ValueError) as error:
        reason = str(error.__cause__ or error).rstrip(".")
        raise ValueError(f"--dataset {name} cannot be read ({reason}): check its name and its files.") from error
    data, found = data.flatten(), []
    for column in columns:
        if column not in data.column_names:
            names = ", ".join(data.column_names)
            raise ValueError(f"--dataset {name} has no column {column!r}: choose one of {names}.")
        found.append(list(data[column]))
        if not all(value is None or isinstance(value, str) for value in found[-1]):
            raise ValueError(f"--dataset {name}: column {column!r} does not hold text: name another with {option}.")
    return found


def _reach_hub(name: str) -> None:
    """Fail at once where `datasets` would try to reach the hub for half a minute."""
    from huggingface_hub import constants

    if Path(name).suffix in DATASET_FILES or name.count("/") > 1 or name.startswith((".", "/", "~")):
        raise FileNotFoundError(f"No file or folder {name}: give --dataset a file, a folder, or a name on the hub.")
    if constants.HF_HUB_OFFLINE:
        return  # `datasets` then looks into its cache alone
    try:
        urllib.request.urlopen(urllib.request.Request(constants.ENDPOINT, method="HEAD"), timeout=2).close()
    except urllib.error.HTTPError:
        return  # an answer
    except OSError as error:
        raise ConnectionError(
            f"--dataset {name} is no file or folder here, and the hub cannot be reached ({error}): "
            "check the network, give local files, or set HF_HUB_OFFLINE=1 to use a copy in the cache."
        ) from error
