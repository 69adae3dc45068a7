"""Labelled texts: read from files of several formats, and which labels there are.

TSV: a header with the column `text` and one more for every label; an empty cell: the label is not known.
JSON lines: {"text": ..., "labels": {field: value}, "tags": [one a word], "spans": [[i, j, label] ...]}, all
but the text optional; a span's words are i to j - 1, and all spans are there (an empty list: none).
E2E: `field : value | field : value||text`; a field that a line does not name is ABSENT.
Files by class: a text a line, the label in the file's name. Words are what white space divides.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from textdiff.text.data import held_out, read_content

ABSENT = "absent"
HELD_OUT = 5  # per cent of the texts, among them those that a language model's own training holds out

Span = tuple[int, int, str]


@dataclass(frozen=True)
class LabelledText:
    """A text with what is known of it."""

    text: str
    labels: dict[str, str] = field(default_factory=dict)  # of the text, field -> value
    tags: tuple[str, ...] | None = None  # one a word; None = not known
    spans: tuple[Span, ...] | None = None  # all labelled spans of words; None = not known


@dataclass(frozen=True)
class LabelNames:
    """Which labels there are, each list in order."""

    fields: dict[str, list[str]]
    tags: list[str]
    spans: list[str]


def label_names(texts: Iterable[LabelledText]) -> LabelNames:
    """All labels of some texts."""
    fields: dict[str, set[str]] = {}
    tags: set[str] = set()
    spans: set[str] = set()
    for text in texts:
        for name, value in text.labels.items():
            fields.setdefault(name, set()).add(value)
        tags.update(text.tags or ())
        spans.update(label for _, _, label in text.spans or ())
    return LabelNames({name: sorted(values) for name, values in fields.items()}, sorted(tags), sorted(spans))


def split(
    texts: Sequence[LabelledText], *, percent: int = HELD_OUT
) -> tuple[list[LabelledText], list[LabelledText]]:
    """Training and validation part; equal texts are in the same part, unless there are too few to divide."""
    kept = [text for text in texts if not held_out(text.text, percent=percent)]
    out = [text for text in texts if held_out(text.text, percent=percent)]
    return (kept, out) if kept and out else (list(texts), list(texts[-max(1, len(texts) // 20) :]))


def read_labelled(path: str | os.PathLike, kind: str | None = None) -> list[LabelledText]:
    """The texts of a file.

    Args:
        path: UTF-8, plain or .gz.
        kind: one of `FORMATS`; by default what the file's name says.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not UTF-8, holds no text, or a line is not of the format.
    """
    path = Path(path)
    endings = {".tsv": "tsv", ".jsonl": "jsonl", ".json": "jsonl"}
    found = kind or next((endings[suffix] for suffix in path.suffixes if suffix in endings), None)
    if found not in FORMATS:
        raise ValueError(
            f"{path} does not say its format by .tsv or .jsonl: give --format {' or '.join(FORMATS)}."
        )
    texts = FORMATS[found](path, lines_of(path))
    if not any(text.labels or text.tags or text.spans for text in texts):
        raise ValueError(f"{path} has no labels: give texts with some.")
    return texts


def read_classes(paths: Sequence[str | os.PathLike], name: str) -> list[LabelledText]:
    """The texts of files that each hold one class, a text a line: neg.train.txt.gz has the label "neg".

    Args:
        paths: the files, or one folder of them (.txt or .txt.gz).
        name: of the field whose values the classes are.

    Raises:
        FileNotFoundError: if one is missing.
        ValueError: if there is only one class, or a file cannot be read.
    """
    files = [Path(path) for path in paths]
    if len(files) == 1 and files[0].is_dir():
        files = sorted(path for path in files[0].iterdir() if ".txt" in path.suffixes)
    classes = {path.name.split(".")[0] for path in files}
    if len(classes) < 2:
        raise ValueError(
            f"There is only one class ({', '.join(classes) or 'no file'}): give two files or more, named "
            "after their class, such as neg.txt and pos.txt, or a folder of them."
        )
    return [
        LabelledText(line.strip(), {name: path.name.split(".")[0]})
        for path in files
        for line in lines_of(path)
        if line.strip()
    ]


def lines_of(path: Path) -> list[str]:
    """The lines of a text file, plain or .gz.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not UTF-8, not gzip although its name ends in .gz, or empty.
    """
    lines = read_content(path, wanted="file of labelled texts").split("\n")
    if not any(line.strip() for line in lines):
        raise ValueError(f"{path} holds no text: give a file with at least one.")
    return lines


def _read_tsv(path: Path, lines: list[str]) -> list[LabelledText]:
    header = [name.strip() for name in lines[0].split("\t")]
    if "text" not in header or len(set(header)) < max(2, len(header)) or not all(header):
        raise ValueError(
            f"{path} begins with the columns {header}: give a header of different names, `text` and at least "
            "one label."
        )
    texts = []
    for number, line in enumerate(lines[1:], start=2):
        if not line.strip():
            continue
        cells = [cell.strip() for cell in line.split("\t")]
        if len(cells) != len(header):
            raise ValueError(
                f"{path}, line {number} has {len(cells)} columns, but its header has {len(header)}."
            )
        row = dict(zip(header, cells))
        text = row.pop("text")
        if not text:
            raise ValueError(f"{path}, line {number} has no text: fill it in, or drop the line.")
        texts.append(LabelledText(text, {name: value for name, value in row.items() if value}))
    if not texts:
        raise ValueError(f"{path} has a header alone: give at least one text.")
    return texts


def _read_e2e(path: Path, lines: list[str]) -> list[LabelledText]:
    texts = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        meaning, mark, text = line.rpartition("||")
        parts = [part.partition(":") for part in meaning.split(" | ")]
        if not mark or not text.strip() or not all(colon for _, colon, _ in parts):
            raise ValueError(f"{path}, line {number} is not `field : value | field : value||text`.")
        labels = {name.strip(): value.strip() for name, _, value in parts}
        texts.append(LabelledText(text.strip(), labels))
    names = dict.fromkeys(name for text in texts for name in text.labels)
    nothing = dict.fromkeys(names, ABSENT)
    return [replace(text, labels={**nothing, **text.labels}) for text in texts]


def _read_jsonl(path: Path, lines: list[str]) -> list[LabelledText]:
    texts = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            texts.append(_from_json(json.loads(line)))
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path}, line {number}: {str(error).rstrip('.')}.") from error
    return texts


def _from_json(row: Any) -> LabelledText:
    """One line; what is wrong with it is said without its place."""
    if not isinstance(row, dict) or not isinstance(row.get("text"), str) or not row["text"].strip():
        raise ValueError('give an object with a "text" that is not empty')
    strange = sorted(row.keys() - {"text", "labels", "tags", "spans"})
    if strange:
        raise ValueError(f"{strange[0]!r} is not one of text, labels, tags and spans")
    text, labels, tags, spans = (
        row["text"].strip(),
        row.get("labels") or {},
        row.get("tags"),
        row.get("spans"),
    )
    if not isinstance(labels, dict) or not all(
        isinstance(v, str) and v for v in labels.values() if v is not None
    ):
        raise ValueError('"labels" must name a value, a string, for every field')
    words = len(text.split())
    if tags is not None:
        if not isinstance(tags, list) or not all(isinstance(tag, str) and tag for tag in tags):
            raise ValueError('"tags" must be a list of strings')
        if len(tags) != words:
            raise ValueError(f"there are {len(tags)} tags for {words} words (divided by white space)")
    return LabelledText(
        text, {name: value for name, value in labels.items() if value is not None},
        tags if tags is None else tuple(tags), spans if spans is None else _spans(spans, words),
    )  # fmt: skip


def _spans(spans: Any, words: int) -> tuple[Span, ...]:
    """Spans as JSON has them, checked."""
    found: dict[tuple[int, int], str] = {}
    for span in spans if isinstance(spans, list) else [spans]:
        kinds = [type(part) for part in span] if isinstance(span, list) else []
        if kinds != [int, int, str] or not 0 <= span[0] < span[1] <= words or not span[2]:
            raise ValueError(f"{span} is not a span [i, j, label] with 0 <= i < j <= {words} words")
        start, end, label = span
        if found.setdefault((start, end), label) != label:
            raise ValueError(
                f"words {start} to {end} have two labels, {found[start, end]} and {label}: join them"
            )
    return tuple((start, end, label) for (start, end), label in found.items())


FORMATS: dict[str, Callable[[Path, list[str]], list[LabelledText]]] = {
    "tsv": _read_tsv, "jsonl": _read_jsonl, "e2e": _read_e2e,
}  # fmt: skip
