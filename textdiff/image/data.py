"""Training pictures: read from an npz, a folder or a `datasets` name; rows that are functions of their index."""

from __future__ import annotations

import zipfile
import zlib
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
    source: str, *, size: int, channels: int, image_column: str = "image", label_column: str = "label"
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


def _read_npz(path: Path, size: int, channels: int) -> tuple[Pictures, Pictures]:
    """Both parts of an npz."""
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} does not exist: name an .npz file, a folder of pictures or a dataset."
        )
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in NPZ_NAMES if name in file}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path} is damaged or no .npz of plain arrays ({error}): copy it again.") from error
    name = "x_train" if "x_train" in arrays else "x"
    if name not in arrays:
        raise ValueError(f"{path} holds neither x_train nor x: put the pictures there, uint8 [N, H, W(, C)].")
    train = _fitted(arrays[name], arrays.get(name.replace("x", "y")), path, size, channels)
    if "x_test" in arrays:
        return train, _fitted(arrays["x_test"], arrays.get("y_test"), path, size, channels)
    return _split(train)


def _fitted(pixels: np.ndarray, labels: np.ndarray | None, path: Path, size: int, channels: int) -> Pictures:
    """Arrays of a file as `Pictures` of the wanted size and channels."""
    if pixels.dtype != np.uint8 or pixels.ndim not in (3, 4) or not len(pixels):
        raise ValueError(
            f"{path} holds pictures of type {pixels.dtype} and shape {list(pixels.shape)}: "
            "give uint8 [N, H, W] or [N, H, W, C]."
        )
    if labels is not None and (len(labels) != len(pixels) or not np.issubdtype(labels.dtype, np.integer)):
        raise ValueError(
            f"{path} has {len(pixels)} pictures and {len(labels)} classes: give a whole number for each."
        )
    wanted = pixels.shape[1:3] == (size, size) and (1 if pixels.ndim == 3 else pixels.shape[3]) == channels
    if wanted:
        pixels = pixels[:, None] if pixels.ndim == 3 else np.moveaxis(pixels, -1, 1)
    else:
        pixels = np.stack([_square(Image.fromarray(one.squeeze()), size, channels) for one in pixels])
    return Pictures(np.ascontiguousarray(pixels), None if labels is None else labels.astype(np.int64))


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
    labels = np.array(rows[label_column]) if label_column in rows.column_names else None
    return Pictures(
        pixels, labels.astype(np.int64) if labels is not None and labels.dtype.kind in "iu" else None
    )


def _square(image: Image.Image, size: int, channels: int) -> np.ndarray:
    """The middle of a picture, resized: uint8 [C, size, size]."""
    unit = read_picture(image, channels)
    levels = ((unit + 1.0) * 127.5).round().byte().movedim(0, -1).numpy()
    fitted = ImageOps.fit(Image.fromarray(levels.squeeze()), (size, size), Image.Resampling.LANCZOS)
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
    """Root mean square distance of training pixels in [-1, 1] from their place's mean: the prior of guidance."""
    levels = pictures.pixels[:: max(1, len(pictures) // 2000)].astype(np.float64) / 127.5
    return float(max(levels.std(0).mean() if len(levels) > 1 else levels.std(), 0.05))
