"""Pairs of texts, a source and a target, from files to training rows.

A pair is one segment, `source <s> target`: attention runs over all of it, the source and the separator are
given, and the target alone is noised and charged. Part of the segments have no source, `<s> target`, for
classifier-free guidance (Ho & Salimans, arXiv 2207.12598). Partial noising is DiffuSeq's (arXiv 2210.08933).
"""

from __future__ import annotations

import argparse
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tokenizers import Tokenizer

from textdiff.text.data import PackedRows, held_out, read_content
from textdiff.text.presets import Preset
from textdiff.text.sources import check_sources, dataset_columns
from textdiff.text.target_lengths import count_lengths

Pair = tuple[str, str]  # source, target
SOURCE_DROPOUT = 0.1
MANY = 50_000  # pairs of which 1 in 100 is enough to validate with; of fewer, 1 in 20


class TokenPair(NamedTuple):
    """Token ids of a source and its target, [n] and [m]."""

    source: np.ndarray
    target: np.ndarray


def read_pairs(
    path: str | os.PathLike, columns: tuple[int, int] = (1, 2), *, turned: str = ""
) -> list[Pair]:
    """Pairs of a .tsv or .tsv.gz file, one a line; those of which a side is empty are left out.

    Args:
        path: of the file, UTF-8.
        columns: of source and target, counted from 1.
        turned: first cell of the lines that have them the other way round; "" = there are none.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it cannot be read, a line has too few columns, or no pair is left.
    """
    pairs = []
    for number, line in enumerate(read_content(path).split("\n"), start=1):
        cells = line.split("\t")
        if not line.strip():
            continue
        if len(cells) < max(columns):
            raise ValueError(
                f"{path}, line {number}, has {len(cells)} columns, but source and target are columns "
                f"{columns[0]} and {columns[1]}: separate them by tabs, or name others with --pair-columns."
            )
        source, target = (cells[column - 1].strip() for column in columns)
        if source and target:
            pairs.append((target, source) if turned and cells[0] == turned else (source, target))
    if not pairs:
        raise ValueError(
            f"{path} holds no pair: give a source and a target, separated by a tab, on each line."
        )
    return pairs


def wants_pairs(args: argparse.Namespace, preset: Preset) -> bool:
    """Whether a command trains on pairs: its preset has them, or --pairs or --pair-columns is given."""
    given = getattr(args, "pairs", False) or getattr(args, "pair_columns", None) is not None
    return given or preset.pairs is not None


def training_pairs(args: argparse.Namespace, preset: Preset) -> tuple[list[Pair], list[Pair]]:
    """Training and validation pairs, as the command line names them.

    No text stands in both, unless they come from files of their own or are too few to divide.

    Raises:
        ValueError: for no data, an unreadable file, or columns that are not there.
        FileNotFoundError: for a missing file.
        ConnectionError: for a name on the hub without network.
    """
    chosen = getattr(args, "pair_columns", None)
    if args.dataset and args.train_files:
        raise ValueError("Both --dataset and --train-files are given: give one of them.")
    if args.dataset:
        if chosen is None:
            raise ValueError(
                "--dataset wants the names of its columns of source and target: give --pair-columns."
            )
        pairs = _dataset_pairs(args.dataset, chosen)
    elif args.train_files:
        columns = _numbers(chosen)
        pairs = [pair for path in args.train_files for pair in read_pairs(path, columns)]
    elif preset.pairs is not None and chosen is None:
        check_sources(preset, args.data_dir)
        pairs = [
            pair
            for name in preset.sources
            for pair in read_pairs(Path(args.data_dir, name), preset.pairs, turned=preset.turned)
        ]
    else:
        raise ValueError(
            "--pairs and --pair-columns want pairs of your own: give --train-files or --dataset."
        )
    if args.validation_files:
        columns = _numbers(None if args.dataset else chosen)
        kept, out = pairs, [pair for path in args.validation_files for pair in read_pairs(path, columns)]
    else:
        kept, out = divided(pairs)
    return (kept + [(target, source) for source, target in kept] if preset.both_ways else kept), out


def _numbers(chosen: Sequence[str] | None) -> tuple[int, int]:
    """Columns of a file from those of the command line."""
    if chosen is None:
        return 1, 2
    if not all(column.isascii() and column.isdigit() and int(column) > 0 for column in chosen):
        raise ValueError(f"--pair-columns is {' '.join(chosen)}: the columns of a file are numbers from 1.")
    source, target = map(int, chosen)
    return source, target


def _dataset_pairs(name: str, columns: Sequence[str]) -> list[Pair]:
    """Pairs of a `datasets` name; those of which a side is empty are left out."""
    sources, targets = dataset_columns(name, columns, option="--pair-columns")
    cells = ((one or "", other or "") for one, other in zip(sources, targets, strict=True))
    pairs = [(one.strip(), other.strip()) for one, other in cells if one.strip() and other.strip()]
    if not pairs:
        raise ValueError(f"--dataset {name} has no pair in columns {' and '.join(columns)}.")
    return pairs


def divided(pairs: Sequence[Pair]) -> tuple[list[Pair], list[Pair]]:
    """Pairs to train on and to validate with: those of held-out sources, no text of which stands in others.

    Where that leaves nothing to train on, the last twentieth serves both ends.
    """
    percent = 1 if len(pairs) >= MANY else 5
    out = [pair for pair in pairs if held_out(pair[0], percent=percent)]
    seen = {text for pair in out for text in pair}
    kept = [pair for pair in pairs if not seen.intersection(pair)]
    return (kept, out) if kept and out else (list(pairs), list(pairs[-max(1, len(pairs) // 20) :]))


def encode_pairs(pairs: Sequence[Pair], tokenizer: Tokenizer, window: int) -> list[TokenPair]:
    """Pairs in tokens; those that do not fit the window with their separator are left out, with a warning.

    Raises:
        ValueError: if none is left.
    """
    tokenizer.encode_special_tokens = True  # "<s>" in a text is three characters
    sides = [
        [
            np.asarray(one.ids, dtype=np.int32)
            for one in tokenizer.encode_batch_fast(list(side), add_special_tokens=False)
        ]
        for side in zip(*pairs, strict=True)
    ]
    found = [TokenPair(*both) for both in zip(*sides, strict=True)]
    found = [pair for pair in found if len(pair.source) and len(pair.target)]
    fitting = [pair for pair in found if len(pair.source) + 1 + len(pair.target) <= window]
    if not fitting:
        raise ValueError(
            f"None of the {len(pairs)} pairs fits the model's window of {window} tokens: shorten them."
        )
    if len(fitting) < len(found):
        warnings.warn(
            f"{len(found) - len(fitting)} of {len(found)} pairs are longer than the window of {window} tokens"
            " and are left out.",
            stacklevel=2,
        )
    return fitting


def length_table(pairs: Sequence[TokenPair]) -> list[list[int]]:
    """`target_lengths.count_lengths` of pairs."""
    return count_lengths((len(pair.source), len(pair.target)) for pair in pairs)


class PairRows(PackedRows):
    """Packed rows of pairs, a segment each, of which source and separator are known.

    Args:
        pairs: in tokens, each no longer than `row_length` with its separator.
        row_length: L.
        between: the separator's id.
        total: number of rows of the whole run; None = one pass.
        seed: of the order and of the sources left out.
        source_dropout: share of the segments that stand without their source.
    """

    def __init__(
        self,
        pairs: Sequence[TokenPair],
        row_length: int,
        *,
        between: int,
        total: int | None,
        seed: int = 0,
        source_dropout: float = SOURCE_DROPOUT,
    ) -> None:
        whole = [np.concatenate([pair.source, [between], pair.target]) for pair in pairs]
        super().__init__(whole, row_length, total=total, seed=seed)
        self.sources = [len(pair.source) for pair in pairs]
        self.source_dropout = source_dropout
        self.tokens_per_row -= source_dropout * sum(self.sources) / len(self.rows)

    def _segment(self, number: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """A pair's tokens, at times without its source, and which of them are known."""
        start = self.sources[number]
        known = np.arange(len(self.pieces[number])) <= start
        first = start if rng.random() < self.source_dropout else 0
        return self.pieces[number][first:], known[first:]
