"""Readers of tagged text and of trees: CoNLL-U, MASC's word_TAG text, the Penn treebank's brackets.

Words come out as a text has them. A word's tags are those that it may have: one where the source says which.
"""

from __future__ import annotations

import gzip
import os
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from textdiff.text.penn_tags import UNIVERSAL_TAGS, universal_tags
from textdiff.text.trees import Tree, read_trees

CONLLU_COLUMNS = 10
ROOT_HEAD = -1


class Tagged(NamedTuple):
    """A sentence: its words, and for each the universal tags that it may have."""

    words: list[str]
    tags: list[frozenset[str]]


class Dependencies(NamedTuple):
    """A sentence: its words, a universal tag for each, and what it depends on.

    heads[k] is the place of word k's head, ROOT_HEAD for the root; relations[k] says how it depends on it,
    features[k] how it is inflected, "VerbForm=Fin|..." or "_".
    """

    words: list[str]
    tags: list[str]
    heads: list[int]
    relations: list[str]
    features: list[str]


def read_conllu(path: str | os.PathLike) -> list[Tagged]:
    """Sentences of a CoNLL-U file (.conllu or .conllu.gz) with their universal tags.

    Of a multiword token ("29-30 didn't") the words count (did, n't); empty nodes ("8.1") do not.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged, is not CoNLL-U, or has no sentence.
    """
    return [
        Tagged([columns[1] for _, columns in rows], [frozenset((columns[3],)) for _, columns in rows])
        for rows in _conllu_rows(Path(path))
    ]


def read_dependencies(path: str | os.PathLike) -> list[Dependencies]:
    """Sentences of a CoNLL-U file with their universal tags and dependency trees; words as of `read_conllu`.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged, is not CoNLL-U, has no sentence, or a sentence's heads are no tree.
    """
    found = []
    for rows in _conllu_rows(Path(path)):
        place = f"The sentence at line {rows[0][0]} of {path}"
        ids = [columns[0] for _, columns in rows]
        heads = [columns[6] for _, columns in rows]
        if ids != [str(k) for k in range(1, len(ids) + 1)] or not {"0", *ids} >= set(heads):
            raise ValueError(
                f"{place} has the heads {' '.join(heads)[:60]}: every word must name 0 or another word, "
                "and words must be numbered from 1: give a treebank with dependencies."
            )
        above = [int(head) - 1 for head in heads]
        if not _is_tree(above):
            raise ValueError(
                f"{place} has heads that are no tree: give one root, and no word below itself."
            )
        words, tags, features, relations = ([columns[k] for _, columns in rows] for k in (1, 3, 5, 7))
        found.append(Dependencies(words, tags, above, relations, features))
    return found


def _is_tree(heads: list[int]) -> bool:
    """Whether every word comes to the one root."""
    reached = {ROOT_HEAD}
    for word in range(len(heads)):
        path = []
        while word not in reached and word not in path:
            path.append(word)
            word = heads[word]
        if word not in reached:
            return False
        reached.update(path)
    return heads.count(ROOT_HEAD) == 1


def _conllu_rows(path: Path) -> list[list[tuple[int, list[str]]]]:
    """The sentences of a CoNLL-U file: of every word its line's number and columns."""
    sentences: list[list[tuple[int, list[str]]]] = [[]]
    for number, line in enumerate(_text(path).splitlines(), 1):
        if not line.strip():
            sentences += [[]] if sentences[-1] else []
        elif not line.startswith("#"):
            columns = line.split("\t")
            if len(columns) != CONLLU_COLUMNS or not columns[1]:
                raise ValueError(
                    f"Line {number} of {path} has {len(columns)} columns where CoNLL-U has {CONLLU_COLUMNS}: "
                    "give a treebank of universaldependencies.org."
                )
            if columns[0].isdigit():
                _check_tag(columns[3], f"line {number} of {path}")
                sentences[-1].append((number, columns))
    found = [rows for rows in sentences if rows]
    if not found:
        raise ValueError(f"{path} has no sentence: give a treebank of universaldependencies.org.")
    return found


def read_masc(path: str | os.PathLike) -> list[Tagged]:
    """Sentences of MASC's tagged text (a .zip of .txt files, a sentence a line), their tags made universal.

    What stands there without a tag may have any.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged, or has no sentence.
    """
    sentences = []
    for name, text in _members(Path(path), ".txt"):
        if PurePosixPath(name).name == "categories.txt":
            continue
        lines = ([_masc_word(part) for part in line.split()] for line in text.splitlines())
        sentences += [
            Tagged(*map(list, zip(*found))) for line in lines if (found := [pair for pair in line if pair])
        ]
    if not sentences:
        raise ValueError(f"{path} has no tagged text: give the archive of the MASC corpus, masc_tagged.zip.")
    return sentences


def read_penn_trees(path: str | os.PathLike) -> dict[str, list[Tree]]:
    """Trees of the Penn treebank by file (a .zip of .mrg files), in the order of the files' names.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged, or has no tree.
    """
    found = {}
    for name, text in _members(Path(path), ".mrg"):
        try:
            found[name] = read_trees(text)
        except ValueError as error:
            raise ValueError(f"{name} in {path}: {error}") from error
    if not any(found.values()):
        raise ValueError(
            f"{path} has no tree (*.mrg): give the archive of the Penn treebank sample, treebank.zip."
        )
    return found


def _masc_word(part: str) -> tuple[str, frozenset[str]] | None:
    """A word and its tags from "word_TAG"; without a tag, a word that may have any; None for no word."""
    word, _, tag = part.rpartition("_")
    if not word:  # "U.", or "_-" for an underscore's tag
        return None if part.startswith("_") else (part, frozenset(UNIVERSAL_TAGS))
    return word, universal_tags(tag, word)


def _check_tag(tag: str, place: str) -> None:
    if tag not in UNIVERSAL_TAGS:
        raise ValueError(
            f"The tag {tag!r} in {place} is not universal: it must be one of {', '.join(UNIVERSAL_TAGS)}."
        )


def _text(path: Path) -> str:
    """A text file's content, unpacked where its name ends in .gz."""
    _check_there(path)
    try:
        raw = path.read_bytes()
        return (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode("utf-8")
    except (gzip.BadGzipFile, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is damaged or is not UTF-8 text ({error}): copy it again.") from error


def _members(path: Path, ending: str) -> Iterator[tuple[str, str]]:
    """Names and texts of an archive's files with an ending, in the order of their names."""
    _check_there(path)
    try:
        with zipfile.ZipFile(path) as archive:
            for name in sorted(archive.namelist()):
                if name.endswith(ending):
                    yield name, archive.read(name).decode("utf-8")
    except (zipfile.BadZipFile, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path} is not a whole .zip archive of UTF-8 text ({error}): copy it again."
        ) from error


def _check_there(path: Path) -> None:
    if not path.is_file():
        raise FileNotFoundError(f"No file {path}: name the folder of the treebanks, or copy it there.")
