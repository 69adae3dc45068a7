"""How much of a text was copied from the training text: the longest run of words they share.

Exact, no hashing: one word more each time, the places of the training text that still match some place of
the texts are kept (runs are numbered by np.unique and looked up by binary search), until none is left.
Memory: 45 bytes for each word of the training text; 65 MB of text (15 million words) take 0.6 GB and 12 s.
"""

from __future__ import annotations

import gzip
from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, repeat
from pathlib import Path
from typing import NamedTuple

import numpy as np

from textdiff.metrics.diversity import words


class Copies(NamedTuple):
    """Words of the longest copied run of each text, and the longest of all, its words joined by spaces."""

    lengths: list[int]
    longest: str


def longest_copies(texts: Sequence[str], training: Iterable[str]) -> Copies:
    """Finds each text's longest run of words that also stands in one document of the training text.

    Words are those of `textdiff.metrics.diversity.words`, case kept, white space ignored. Formulaic text
    shares long runs with any text of its kind: give the figure of held-out text beside a model's.

    Args:
        texts: what the model wrote.
        training: the documents it was trained on; no run crosses from one into the next.

    Raises:
        ValueError: no texts, or no words in the training text.
    """
    if isinstance(texts, str) or isinstance(training, str):
        raise ValueError("The longest copy wants lists of texts and got one string.")
    if len(texts) == 0:
        raise ValueError("The longest copy got no texts: give at least one.")
    split = [words(text) for text in texts]
    flat = list(chain.from_iterable(split))
    vocabulary = {word: i for i, word in enumerate(dict.fromkeys(flat))}
    stream = _encode(training, vocabulary)
    lengths, start = _match(np.array([vocabulary[word] for word in flat], dtype=np.int64),
                            np.array([len(text) for text in split]), stream, len(vocabulary))
    return Copies(lengths.tolist(), " ".join(flat[start:start + int(lengths.max())]))


def _encode(documents: Iterable[str], vocabulary: dict[str, int]) -> np.ndarray:
    """Word numbers of the documents, int32; -1 is a word that no text has, and the end of each document."""
    stream, total = array("i"), 0
    for document in documents:
        found = words(document)
        total += len(found)
        stream.extend(map(vocabulary.get, found, repeat(-1)))
        stream.append(-1)
    if total == 0:
        raise ValueError("The training text has no words: give the text the model was trained on.")
    return np.frombuffer(stream, dtype=np.int32)


def _match(ids: np.ndarray, sizes: np.ndarray, stream: np.ndarray, vocabulary: int) -> tuple[np.ndarray, int]:
    """Longest shared run of each text, and where in `ids` one of the longest begins."""
    owner = np.repeat(np.arange(len(sizes)), sizes)
    end = np.cumsum(sizes)[owner]
    lengths, start, n = np.zeros(len(sizes), dtype=np.int64), 0, 1
    spots = np.flatnonzero(stream >= 0)                    # training places whose n words some text has
    there = stream[spots]                                  # the number of those n words
    here = np.flatnonzero(np.isin(ids, there))             # text places whose n words the training text has
    kind = ids[here]
    while len(here):
        lengths[owner[here]], start = n, int(here[0])
        longer = here + n < end[here]
        here, kind = here[longer], kind[longer]
        table, kind = np.unique(kind * vocabulary + ids[here + n], return_inverse=True)
        spots, there = _extend(spots, there, stream, n, table, vocabulary)
        present = np.zeros(len(table), dtype=bool)
        present[there] = True
        here, kind, n = here[present[kind]], kind[present[kind]], n + 1
    return lengths, start


def _extend(spots: np.ndarray, there: np.ndarray, stream: np.ndarray, n: int, table: np.ndarray,
            vocabulary: int) -> tuple[np.ndarray, np.ndarray]:
    """The training places, and their numbers in `table`, that still match with one word more than n."""
    if len(table) == 0:
        return spots[:0], there[:0]
    following = stream[spots + n]
    known = following >= 0
    spots = spots[known]
    codes = there[known].astype(np.int64) * vocabulary + following[known]
    index = np.searchsorted(table, codes)
    index[index == len(table)] = 0
    same = table[index] == codes
    return spots[same], index[same]


def read_documents(path: str | Path) -> Iterator[str]:
    """Reads the documents of a UTF-8 text file, plain or .gz: blank lines or `<|endoftext|>` part them.

    A file of one sentence a line without blank lines is thus one document, and runs may cross its lines.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not UTF-8 text, or not gzip although its name says so.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no training text at {path}: give the path of a text file.")
    lines: list[str] = []
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8") as file:
            for line in file:
                if line.strip() not in ("", "<|endoftext|>"):
                    lines.append(line)
                elif lines:
                    yield "".join(lines)
                    lines = []
    except (UnicodeDecodeError, gzip.BadGzipFile, EOFError) as error:
        raise ValueError(f"{path} is not UTF-8 text ({error}): convert it first.") from error
    if lines:
        yield "".join(lines)
