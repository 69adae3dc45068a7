"""Pictures in and out: PIL images, files, arrays and tensors to [C, H, W] in [-1, 1] and back to PIL.

Numbers mean what their type says: uint8 is 0 to 255, uint16 is 0 to 65535, bool is black and white, and floating point
is 0 to 1, as in scikit-image and torchvision (a little beyond, where noise was added). Transparency is laid on white.
"""

from __future__ import annotations

import os
import struct
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

MODES = {1: "L", 3: "RGB"}
FURTHEST = 5.0  # a float beyond [-FURTHEST, FURTHEST] is no noisy pixel of a 0-to-1 picture
LUMA = (0.299, 0.587, 0.114)  # grey of red, green and blue (ITU-R BT.601), as PIL has it
MOST_PIXELS = 2**26


def read_pictures(pictures: Any, channels: int) -> list[Tensor]:
    """One picture, or a list or batch of them, as float32 tensors [C, H, W] in [-1, 1].

    Args:
        pictures: PIL image, path, array [H, W], [H, W, C] or [N, H, W, C], tensor [H, W], [C, H, W] or [N, C, H, W],
            or a list of these.
        channels: wanted, 1 (grey) or 3 (red, green, blue); others are converted.

    Raises:
        ValueError: if there is none, or one is no picture, truncated, or of an impossible size.
        FileNotFoundError: if a file does not exist.
    """
    if isinstance(pictures, np.ndarray | Tensor) and pictures.ndim == 4:
        pictures = list(pictures)
    listed = list(pictures) if isinstance(pictures, list | tuple) else [pictures]
    if not listed:
        raise ValueError("There are no pictures: give at least one.")
    return [read_picture(picture, channels) for picture in listed]


def read_picture(picture: Any, channels: int) -> Tensor:
    """One picture as a float32 tensor [C, H, W] in [-1, 1]; see `read_pictures`."""
    if isinstance(picture, str | os.PathLike):
        picture = open_picture(picture)
    if isinstance(picture, Image.Image):
        unit = _unit_from_pil(picture)
    elif isinstance(picture, np.ndarray | Tensor):
        unit = _unit_from_numbers(picture)
    else:
        raise ValueError(
            f"A picture is of type {type(picture).__name__}: give a PIL image, a path, an array or a tensor."
        )
    return _with_channels(unit, channels) * 2.0 - 1.0


def open_picture(path: str | os.PathLike) -> Image.Image:
    """A picture file, read to its end.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no picture, truncated, or would unpack to an enormous one.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            with Image.open(path) as image:
                _check_pixels(image)
                image.load()
                return ImageOps.exif_transpose(image)
        except (FileNotFoundError, IsADirectoryError) as error:
            raise FileNotFoundError(f"{path} is no file: name a picture file.") from error
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise ValueError(f"{path} would unpack to an enormous picture: make it smaller first.") from error
        except UnidentifiedImageError as error:
            raise ValueError(
                f"{path} is no picture that Pillow knows: give PNG, JPEG or the like."
            ) from error
        except (OSError, SyntaxError, EOFError, struct.error) as error:
            raise ValueError(
                f"{path} is truncated or damaged ({error}): copy it again from its source."
            ) from error


def _check_pixels(image: Image.Image) -> None:
    """Refuse sizes that would fill the memory."""
    if image.width * image.height > MOST_PIXELS:
        raise ValueError(
            f"A picture has {image.width} x {image.height} pixels, more than {MOST_PIXELS}: make it smaller first."
        )


def _unit_from_pil(image: Image.Image) -> Tensor:
    """[C, H, W] in [0, 1] with 1 or 3 channels, transparency laid on white."""
    _check_pixels(image)
    try:
        if image.mode.startswith("I;16") or image.mode in ("I", "F"):
            values = np.asarray(image).astype(np.float32)
            return _finite(torch.from_numpy(values / _white(image.mode, float(values.max(initial=0.0))))[None])
        if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
        elif image.mode not in ("L", "RGB"):
            image = image.convert("L" if image.mode == "1" else "RGB")
        return _channels_first(np.asarray(image)).float() / 255.0
    except OSError as error:
        raise ValueError(
            f"A picture is truncated or damaged ({error}): copy it again from its source."
        ) from error


def _white(mode: str, largest: float) -> float:
    """The number that stands for white in a mode of numbers wider than 8 bits."""
    if mode == "F":
        return next((white for white in (1.0, 255.0) if largest <= FURTHEST * white), 65535.0)
    return 65535.0 if mode.startswith("I;16") or largest > 255.0 else 255.0


def _unit_from_numbers(values: np.ndarray | Tensor) -> Tensor:
    """[C, H, W] on the scale of 0 to 1, from an array [H, W(, C)] or a tensor [(C,) H, W]."""
    last = isinstance(values, np.ndarray)
    tensor = (
        values.detach().cpu()
        if isinstance(values, Tensor)
        else torch.from_numpy(np.ascontiguousarray(values))
    )
    if tensor.ndim not in (2, 3):
        raise ValueError(f"A picture has shape {list(tensor.shape)}: give height, width and channels.")
    if tensor.ndim == 3 and last:
        tensor = tensor.movedim(-1, 0)
    tensor = tensor if tensor.ndim == 3 else tensor[None]
    if tensor.shape[0] not in (1, 2, 3, 4) or 0 in tensor.shape:
        order = "[height, width, channels]" if last else "[channels, height, width]"
        raise ValueError(f"A picture has shape {list(values.shape)}: give {order} with 1, 3 or 4 channels.")
    if tensor.dtype == torch.bool:
        return tensor.float()
    if not tensor.dtype.is_floating_point:
        tops = {torch.uint8: 255.0, torch.uint16: 65535.0}
        if tensor.dtype not in tops:
            raise ValueError(
                f"A picture holds {tensor.dtype} numbers: give uint8, uint16 or floats from 0 to 1."
            )
        return _on_white(tensor.float() / tops[tensor.dtype])
    return _on_white(_finite(tensor.float()))


def _finite(unit: Tensor) -> Tensor:
    """Numbers on the scale of 0 to 1, refused where they cannot be a picture's."""
    if not unit.isfinite().all() or (unit.numel() and unit.abs().max() > FURTHEST):
        raise ValueError(
            "A picture of floats has values that are not finite or far outside 0 to 1: divide by its white."
        )
    return unit


def _on_white(unit: Tensor) -> Tensor:
    """Without the alpha channel that a second or a fourth one is."""
    if unit.shape[0] in (1, 3):
        return unit
    colour, alpha = unit[:-1], unit[-1:]
    return colour * alpha + (1.0 - alpha)


def _channels_first(values: np.ndarray) -> Tensor:
    tensor = torch.from_numpy(np.array(values))
    return tensor[None] if tensor.ndim == 2 else tensor.movedim(-1, 0)


def _with_channels(unit: Tensor, channels: int) -> Tensor:
    """Grey to colour or colour to grey where the model wants the other."""
    if unit.shape[0] == channels:
        return unit
    if channels == 1:
        return (unit * torch.tensor(LUMA)[:, None, None]).sum(0, keepdim=True)
    return unit.expand(channels, -1, -1).clone()


def read_mask(mask: Any, size: tuple[int, int]) -> Tensor:
    """Where a picture is to be made anew: bool [1, H, W], True = make, from white (or True, or 1) in `mask`.

    Raises:
        ValueError: if it has another size, or marks nothing or everything.
    """
    drawn = read_picture(mask if not _is_whole_numbers(mask) else mask != 0, 1) > 0.0
    if tuple(drawn.shape[1:]) != size:
        raise ValueError(
            f"The mask is {drawn.shape[2]} x {drawn.shape[1]} pixels, but its picture is {size[1]} x {size[0]}: "
            "give them one size."
        )
    if not drawn.any():
        raise ValueError("The mask marks nothing: paint white what is to be made anew.")
    if drawn.all():
        raise ValueError("The mask marks everything: leave black what is to be kept, or use generate.")
    return drawn


def _is_whole_numbers(mask: Any) -> bool:
    """Whether a mask is an array or tensor of integers other than 0 to 255, such as 0 and 1."""
    if not isinstance(mask, np.ndarray | Tensor) or mask.dtype in (np.bool_, torch.bool):
        return False
    whole = isinstance(mask, np.ndarray) and np.issubdtype(mask.dtype, np.integer)
    whole = whole or (isinstance(mask, Tensor) and not mask.dtype.is_floating_point)
    return bool(whole and 0 not in mask.shape and int(mask.max()) <= 1)


def to_pil(x0: Tensor) -> list[Image.Image]:
    """[B, C, H, W] in [-1, 1] as PIL images; what lies beyond is clamped."""
    levels = ((x0.detach().float().cpu().clamp(-1.0, 1.0) + 1.0) * 127.5).round().byte()
    arrays = [row[0].numpy() if len(row) == 1 else row.movedim(0, -1).numpy() for row in levels]
    return [Image.fromarray(np.ascontiguousarray(array)) for array in arrays]


def padded(x: Tensor, stride: int) -> Tensor:
    """[..., H, W] with its last row and column repeated until both are multiples of the stride."""
    height, width = x.shape[-2:]
    down, right = -height % stride, -width % stride
    if not down and not right:
        return x
    rows = torch.arange(height + down).clamp(max=height - 1)
    columns = torch.arange(width + right).clamp(max=width - 1)
    return x[..., rows, :][..., columns]


def contact_sheet(
    pictures: Sequence[Image.Image], columns: int, *, gap: int = 2, zoom: int = 1
) -> Image.Image:
    """All pictures of one size in rows, with white gaps."""
    width, height = pictures[0].width * zoom, pictures[0].height * zoom
    rows = -(-len(pictures) // columns)
    mode = "RGB" if any(picture.mode == "RGB" for picture in pictures) else "L"
    sheet = Image.new(mode, (columns * (width + gap) + gap, rows * (height + gap) + gap), "white")
    for i, picture in enumerate(pictures):
        place = (gap + i % columns * (width + gap), gap + i // columns * (height + gap))
        sheet.paste(picture.resize((width, height), Image.Resampling.NEAREST), place)
    return sheet
