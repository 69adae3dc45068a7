"""From files to training rows: texts -> pieces of whole sentences -> packed rows with known positions.

A *piece* is what the model knows as a text: some whole sentences, at most `max_length` tokens. Rows hold several
pieces, numbered in `attention_mask`, and attention stays within a piece. Row j of a run is a function of (seed, j)
alone, so a resumed run, or one on two processes, sees the same data in the same order.
"""

from __future__ import annotations

import gzip
import os
import re
import zlib
from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.utils.data import Dataset

END_OF_TEXT = "<|endoftext|>"
SENTENCE_END = re.compile(r"""(?<=[.!?])["'”’)]*(?=\s)|\n""")
SHORTEST_PIECE = 6  # tokens; the least budget of a piece, whose sentences may be shorter


def read_texts(path: str | os.PathLike) -> list[str]:
    """Texts of a .txt or .txt.gz file: divided by <|endoftext|> lines, else by blank lines, else one a line.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not UTF-8, not gzip although its name ends in .gz, or holds no text.
    """
    content = read_content(path)
    if END_OF_TEXT in content:
        texts = content.split(END_OF_TEXT)
    elif re.search(r"\n[ \t]*\n", content.strip()):
        texts = re.split(r"\n(?:[ \t]*\n)+", content)
    else:
        texts = content.split("\n")
    texts = [text.strip() for text in texts if text.strip()]
    if not texts:
        raise ValueError(f"{path} holds no text: give a file with at least one sentence.")
    return texts


def read_content(path: str | os.PathLike, *, wanted: str = "text file (.txt or .txt.gz)") -> str:
    """The whole of a UTF-8 file, unpacked if its name ends in .gz, with plain line ends and no byte order mark.

    Args:
        path: of the file.
        wanted: what to give where there is none.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not UTF-8, or not gzip although its name ends in .gz.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"No file {path}: give a UTF-8 {wanted}.")
    try:
        packed = path.read_bytes()
        content = (gzip.decompress(packed) if path.suffix == ".gz" else packed).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 (byte {error.start}): convert it, for example with iconv.") from error
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path} is not a whole gzip file ({error}): copy it again.") from error
    return content.replace("\r\n", "\n")


def held_out(text: str, *, percent: int = 1) -> bool:
    """Whether a text belongs to the validation part: a fixed `percent` of all texts, by their checksum."""
    return zlib.crc32(text.encode("utf-8")) % 100 < percent


def sentences(text: str) -> list[str]:
    """A text cut behind sentence ends and line breaks; joined, the parts are the text again."""
    cuts = [0, *(match.end() for match in SENTENCE_END.finditer(text)), len(text)]
    return [text[a:b] for a, b in pairwise(cuts) if b > a]


def pieces(texts: Sequence[str], tokenizer: Tokenizer, max_length: int, *, seed: int = 0) -> list[np.ndarray]:
    """Token ids of pieces of whole sentences, at most `max_length` tokens each, of randomly varied length.

    A sentence longer than `max_length` is cut; nothing else is.
    """
    rng = np.random.default_rng(seed)
    spans = [span for text in texts for span in _spans(sentences(text), tokenizer, max_length, rng)]
    out = []
    for encoding in tokenizer.encode_batch_fast(spans, add_special_tokens=False):
        ids = np.asarray(encoding.ids, dtype=np.int32)
        out += [ids[i : i + max_length] for i in range(0, len(ids), max_length)]
    return out


def _spans(parts: list[str], tokenizer: Tokenizer, max_length: int, rng: np.random.Generator) -> Iterator[str]:
    """Runs of sentences, each within a random budget of tokens (at least one sentence)."""
    if len(parts) == 1:
        yield parts[0].strip()
        return
    lengths = [len(e.ids) for e in tokenizer.encode_batch_fast(parts, add_special_tokens=False)]
    shortest = min(SHORTEST_PIECE, max_length)
    start, used, budget = 0, 0, rng.integers(shortest, max_length, endpoint=True)
    for i, length in enumerate(lengths):
        if i > start and used + length > budget:
            if span := "".join(parts[start:i]).strip():
                yield span
            start, used, budget = i, 0, rng.integers(shortest, max_length, endpoint=True)
        used += length
    if span := "".join(parts[start:]).strip():
        yield span


def pack(lengths: Sequence[int], row_length: int) -> list[list[int]]:
    """Piece numbers for rows of `row_length` tokens, best fit first: few positions stay empty."""
    rows: list[list[int]] = []
    room: list[tuple[int, int]] = []  # (free positions, row), sorted
    for i in sorted(range(len(lengths)), key=lambda k: -lengths[k]):
        at = bisect_left(room, (lengths[i], -1))
        if at == len(room):
            rows.append([i])
            free, row = row_length - lengths[i], len(rows) - 1
        else:
            free, row = room.pop(at)
            rows[row].append(i)
            free -= lengths[i]
        if free > 0:
            insort(room, (free, row))
    return rows


def known_mask(length: int, rng: np.random.Generator) -> np.ndarray:
    """Which positions of a piece are given, bool [length]: nothing, all but spans, a prefix, or scattered tokens.

    Four in ten pieces give nothing (they train the bound); four leave spans blank, a tenth to half of the piece; one
    gives a prefix, one gives each token with a random chance.
    """
    kind = rng.random()
    known = np.zeros(length, dtype=bool)
    if kind < 0.4 or length < 2:
        return known
    if kind < 0.8:
        known[:] = True
        wanted = length * rng.uniform(0.1, 0.5)
        while (~known).sum() < wanted:
            size = min(length, rng.geometric(0.25))
            start = rng.integers(0, length - size, endpoint=True)
            known[start : start + size] = False
    elif kind < 0.9:
        known[: rng.integers(1, length)] = True
    else:
        known = rng.random(length) < rng.random()
        known[rng.integers(length)] = False
    return known


class PackedRows(Dataset):
    """`total` training rows over packed pieces, epoch after epoch, each a function of (seed, index).

    Args:
        pieces: token ids, each no longer than `row_length`.
        row_length: L.
        total: number of rows of the whole run (its length); None = one pass.
        seed: of the order and of the known positions.
        conditional: draw known positions; otherwise nothing is given.
    """

    def __init__(
        self,
        pieces: Sequence[np.ndarray],
        row_length: int,
        *,
        total: int | None,
        seed: int = 0,
        conditional: bool = True,
    ) -> None:
        self.row_length, self.seed, self.conditional = row_length, seed, conditional
        self.pieces = list(pieces)
        self.rows = pack([len(piece) for piece in self.pieces], row_length)
        self.total = len(self.rows) if total is None else total
        self.tokens_per_row = sum(len(piece) for piece in self.pieces) / len(self.rows)
        self._order: tuple[int, np.ndarray] = (-1, np.empty(0))

    def __len__(self) -> int:
        return self.total

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """Row `index`: input_ids, attention_mask (piece numbers) and known, each [L], and sample_index."""
        ids = torch.zeros(self.row_length, dtype=torch.long)
        segments = torch.zeros(self.row_length, dtype=torch.long)
        known = torch.zeros(self.row_length, dtype=torch.bool)
        rng = np.random.default_rng([self.seed, index])  # another stream than the noise of the same row
        at = 0
        for number, i in enumerate(self._row(index), start=1):
            piece, given = self._segment(i, rng)
            span = slice(at, at + len(piece))
            ids[span] = torch.from_numpy(piece.astype(np.int64))
            segments[span] = number
            known[span] = torch.from_numpy(given)
            at = span.stop
        return {
            "input_ids": ids, "attention_mask": segments, "known": known, "sample_index": torch.tensor(index),
        }  # fmt: skip

    def _segment(self, number: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """A piece's tokens and which of them are given, [n] each."""
        piece = self.pieces[number]
        given = known_mask(len(piece), rng) if self.conditional else np.zeros(len(piece), dtype=bool)
        return piece, given

    def _row(self, index: int) -> list[int]:
        epoch, place = divmod(index, len(self.rows))
        if self._order[0] != epoch:
            self._order = (epoch, np.random.default_rng([self.seed, epoch]).permutation(len(self.rows)))
        return self.rows[self._order[1][place]]
