"""Training pictures: read from an npz, a folder or a `datasets` name; rows that are functions of their index."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import Dataset

from textdiff.image.pictures import open_picture, read_picture

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
NPZ_NAMES = ("x_train", "y_train", "x_test", "y_test", "x", "y")
LABEL_COLUMN = "label"  # the one read unasked, where a dataset has it
MOST_CLASSES = 10_000
HELD_OUT = 20  # one picture in so many, where the source has no test part


@dataclass(frozen=True)
class Pictures:
    """Pictures uint8 [N, C, H, W] and their classes int64 [N], or None where they have none."""

    pixels: np.ndarray
    labels: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def num_classes(self) -> int:
        """How many classes there are."""
        return 0 if self.labels is None else int(self.labels.max()) + 1

    def part(self, rows: Any) -> Pictures:
        """Some of them."""
        return Pictures(self.pixels[rows], None if self.labels is None else self.labels[rows])


def read_source(
    source: str, *, size: int, channels: int, image_column: str = "image", label_column: str = LABEL_COLUMN
) -> tuple[Pictures, Pictures]:
    """Training and validation pictures of an .npz file, a folder of pictures, or a `datasets` name.

    An npz has x_train (and y_train, x_test, y_test) or x (and y): uint8 [N, H, W] or [N, H, W, C]. In a folder the
    names of its subfolders are the classes, if every picture is in one. Pictures are cut square and resized.

    Raises:
        FileNotFoundError: if there is no such file or folder.
        ValueError: if it holds no pictures, or not as said.
    """
    path = Path(source).expanduser()
    if path.suffix == ".npz":
        return _read_npz(path, size, channels)
    if path.is_dir() and any(item.suffix.lower() in SUFFIXES for item in path.rglob("*")):
        return _split(_read_folder(path, size, channels))
    return _split(_read_dataset(source, size, channels, image_column, label_column))


def load_arrays(path: str | os.PathLike, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Those of the named arrays that an .npz holds.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged, or not of plain arrays.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(
            f"{path} does not exist: name an .npz file, a folder of pictures or a dataset."
        )
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in names if name in file}
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path} is damaged or no .npz of plain arrays ({error}): copy it again.") from error


def _read_npz(path: Path, size: int, channels: int) -> tuple[Pictures, Pictures]:
    """Both parts of an npz."""
    arrays = load_arrays(path, NPZ_NAMES)
    name = "x_train" if "x_train" in arrays else "x"
    if name not in arrays:
        raise ValueError(f"{path} holds neither x_train nor x: put the pictures there, uint8 [N, H, W(, C)].")
    train = fitted(arrays[name], arrays.get(name.replace("x", "y")), path, size, channels)
    if "x_test" in arrays:
        return train, fitted(arrays["x_test"], arrays.get("y_test"), path, size, channels)
    return _split(train)


def fitted(
    pixels: np.ndarray, labels: np.ndarray | None, path: str | os.PathLike, size: int, channels: int
) -> Pictures:
    """Arrays of a file as `Pictures` of the wanted size and channels.

    Raises:
        ValueError: if they are no pictures, or the labels not theirs.
    """
    plain = pixels.ndim == 3 or (pixels.ndim == 4 and pixels.shape[3] in (1, 3, 4))
    if pixels.dtype != np.uint8 or not plain or 0 in pixels.shape:
        raise ValueError(
            f"{path} holds pictures of type {pixels.dtype} and shape {list(pixels.shape)}: "
            "give uint8 [N, H, W] or [N, H, W, C] with 1, 3 or 4 channels."
        )
    labels = None if labels is None else _classes(labels, len(pixels), str(path))
    wanted = pixels.shape[1:3] == (size, size) and (1 if pixels.ndim == 3 else pixels.shape[3]) == channels
    if wanted:
        pixels = pixels[:, None] if pixels.ndim == 3 else np.moveaxis(pixels, -1, 1)
    else:
        flat = pixels[..., 0] if pixels.ndim == 4 and pixels.shape[3] == 1 else pixels
        pixels = np.stack([_square(Image.fromarray(one), size, channels) for one in flat])
    return Pictures(np.ascontiguousarray(pixels), labels)


def _classes(labels: np.ndarray, count: int, source: str) -> np.ndarray:
    """Classes int64 [count], checked."""
    if labels.shape != (count,) or labels.dtype.kind not in "iu":
        raise ValueError(
            f"{source} has {count} pictures and classes of type {labels.dtype} and shape {list(labels.shape)}: "
            "give a whole number for each."
        )
    if labels.min() < 0 or labels.max() >= MOST_CLASSES:
        raise ValueError(
            f"{source} has the classes {labels.min()} to {labels.max()}: count them from 0, at most {MOST_CLASSES}."
        )
    return labels.astype(np.int64)


def _read_folder(folder: Path, size: int, channels: int) -> Pictures:
    """All pictures below a folder."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    pixels = np.stack([_square(open_picture(path), size, channels) for path in paths])
    names = [path.parent.name if path.parent != folder else None for path in paths]
    classes = sorted({name for name in names if name is not None})
    labelled = None not in names and len(classes) > 1
    return Pictures(pixels, np.array([classes.index(str(name)) for name in names]) if labelled else None)


def _read_dataset(name: str, size: int, channels: int, image_column: str, label_column: str) -> Pictures:
    """The training part of a `datasets` name or local dataset folder."""
    import datasets

    try:
        rows = datasets.load_dataset(name, split="train")
    except Exception as error:  # the library raises errors of many kinds
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise ValueError(
            f"{name!r} is no .npz file, folder of pictures or dataset here ({reason}): correct it."
        ) from error
    if image_column not in rows.column_names or not len(rows):
        raise ValueError(
            f"{name!r} has the columns {', '.join(rows.column_names)}: name that of the pictures with --image-column."
        )
    pixels = np.stack([_square(row, size, channels) for row in rows[image_column]])
    return Pictures(pixels, _dataset_classes(rows, name, label_column))


def _dataset_classes(rows: Any, name: str, column: str) -> np.ndarray | None:
    """Classes of a dataset's rows, names as numbers in the order of the alphabet; None where there is no column."""
    if column not in rows.column_names:
        if column == LABEL_COLUMN:
            return None
        raise ValueError(
            f"{name!r} has the columns {', '.join(rows.column_names)}: name that of the classes with --label-column."
        )
    labels = np.array(rows[column])
    return _classes(np.unique(labels, return_inverse=True)[1] if labels.dtype.kind == "U" else labels, len(rows), name)


def _square(image: Image.Image, size: int, channels: int) -> np.ndarray:
    """The middle of a picture, resized: uint8 [C, size, size]."""
    unit = read_picture(image, channels)
    levels = ((unit + 1.0) * 127.5).round().byte().movedim(0, -1).numpy()
    image = Image.fromarray(levels[..., 0] if channels == 1 else levels)
    fitted = ImageOps.fit(image, (size, size), Image.Resampling.LANCZOS)
    array = np.asarray(fitted)
    return array[None] if array.ndim == 2 else np.moveaxis(array, -1, 0)


def _split(pictures: Pictures) -> tuple[Pictures, Pictures]:
    """One in `HELD_OUT` apart, evenly over the source, which may be sorted by class; fewer pictures are in both."""
    if len(pictures) < HELD_OUT:
        return pictures, pictures
    held = np.arange(len(pictures)) % HELD_OUT == HELD_OUT - 1
    return pictures.part(~held), pictures.part(held)


class PictureRows(Dataset):
    """Rows of a training run: the pictures in a new order every epoch, each row a function of its index.

    Args:
        pictures: to draw from.
        total: rows of the run.
        seed: of the order and of the mirror.
        flip: show about every other picture as in a mirror.
    """

    def __init__(self, pictures: Pictures, *, total: int, seed: int, flip: bool = False) -> None:
        self.pictures, self.total, self.seed, self.flip = pictures, total, seed, flip
        self._epoch, self._order = -1, np.zeros(0, dtype=np.int64)

    def __len__(self) -> int:
        return self.total

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        epoch, place = divmod(index, len(self.pictures))
        if epoch != self._epoch:
            self._epoch, self._order = (
                epoch,
                np.random.default_rng([self.seed, epoch]).permutation(len(self.pictures)),
            )
        chosen = int(self._order[place])
        pixels = torch.from_numpy(self.pictures.pixels[chosen]).float() / 127.5 - 1.0
        if self.flip and np.random.default_rng([self.seed, 1, index]).random() < 0.5:
            pixels = pixels.flip(-1)
        row = {"pixel_values": pixels, "sample_index": torch.tensor(index)}
        if self.pictures.labels is not None:
            row["labels"] = torch.tensor(int(self.pictures.labels[chosen]))
        return row


def pixel_std(pictures: Pictures) -> float:
    """Standard deviation of training pixels in [-1, 1] at a place, the mean over places: the prior of guidance."""
    levels = pictures.pixels[:: max(1, len(pictures) // 2000)].astype(np.float64) / 127.5
    return float(max(levels.std(0).mean() if len(levels) > 1 else levels.std(), 0.05))
