"""Pictures in and out: every kind converted as a person expects, everything else refused in a sentence."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from textdiff.image.pictures import contact_sheet, padded, read_mask, read_picture, read_pictures, to_pil


def grey(*rows: list[int]) -> Image.Image:
    return Image.fromarray(np.array(rows, dtype=np.uint8))


RAMP = grey([0, 64, 128, 255])
WANTED = torch.tensor([[[0.0, 64.0, 128.0, 255.0]]]) / 127.5 - 1.0


@pytest.mark.parametrize(
    "picture",
    [
        RAMP,
        RAMP.convert("RGB"),
        RAMP.convert("RGBA"),
        RAMP.convert("P"),
        RAMP.convert("LA"),
        Image.fromarray(np.array([[0, 64, 128, 255]], dtype=np.uint16) * 257),
        np.array([[0, 64, 128, 255]], dtype=np.uint8),
        np.array([[0, 64, 128, 255]], dtype=np.uint16) * 257,
        np.array([[0, 64, 128, 255]], dtype=np.float64) / 255.0,
        torch.tensor([[[0, 64, 128, 255]]], dtype=torch.uint8),
        torch.tensor([[0.0, 64.0, 128.0, 255.0]]) / 255.0,
    ],
    ids="L RGB RGBA P LA I;16 uint8 uint16 float64 tensor float-tensor".split(),
)
def test_every_kind_of_grey_is_the_same_picture(picture) -> None:
    torch.testing.assert_close(read_picture(picture, 1), WANTED, rtol=0, atol=1e-5)


def test_cmyk_and_one_bit_are_what_they_look_like() -> None:
    red = Image.new("RGB", (2, 2), (255, 0, 0))
    torch.testing.assert_close(read_picture(red.convert("CMYK"), 3), read_picture(red, 3), rtol=0, atol=0.02)
    assert read_picture(Image.new("1", (2, 2), 1), 1).eq(1.0).all()


def test_a_float_image_is_0_to_1_with_its_noise_or_0_to_255() -> None:
    noisy = np.array([[-0.3, 0.5, 1.4]], dtype=np.float32)
    wanted = torch.from_numpy(noisy[None] * 2 - 1)
    torch.testing.assert_close(read_picture(Image.fromarray(noisy), 1), wanted)
    torch.testing.assert_close(read_picture(Image.fromarray(noisy * 255), 1), wanted)


@pytest.mark.parametrize("level", [float("nan"), -1e9])
def test_a_float_image_that_is_no_picture_is_refused(level: float) -> None:
    with pytest.raises(ValueError, match="not finite or far outside"):
        read_picture(Image.fromarray(np.full((2, 2), level, dtype=np.float32)), 1)


def test_transparency_is_white_paper() -> None:
    ink = Image.new("RGBA", (2, 1), (0, 0, 0, 0))
    ink.putpixel((0, 0), (0, 0, 0, 255))
    assert read_picture(ink, 1).flatten().tolist() == [-1.0, 1.0]
    array = np.zeros((1, 2, 4), dtype=np.uint8)
    array[0, 0, 3] = 255
    assert read_picture(array, 3)[:, 0].tolist() == [[-1.0, 1.0]] * 3


def test_colour_to_grey_is_pillows_and_grey_to_colour_has_no_colour() -> None:
    colours = np.random.default_rng(0).integers(0, 256, (5, 6, 3)).astype(np.uint8)
    wanted = torch.from_numpy(np.array(Image.fromarray(colours).convert("L"))).float() / 127.5 - 1.0
    torch.testing.assert_close(read_picture(colours, 1)[0], wanted, rtol=0, atol=0.01)
    wide = read_picture(RAMP, 3)
    assert wide.shape == (3, 1, 4) and wide[0].equal(wide[2])


def test_pictures_survive_the_round_trip_to_the_level() -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    (back,) = to_pil(torch.stack(read_pictures(levels, 1)))
    assert back.mode == "L" and np.array_equal(np.asarray(back), levels)
    colours = np.random.default_rng(0).integers(0, 256, (2, 5, 6, 3)).astype(np.uint8)
    for image, wanted in zip(to_pil(torch.stack(read_pictures(colours, 3))), colours, strict=True):
        assert np.array_equal(np.asarray(image), wanted)


def test_a_turned_photograph_is_turned_back(tmp_path) -> None:
    image, exif = Image.new("L", (4, 2)), Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "turned.jpg", exif=exif)
    assert read_picture(tmp_path / "turned.jpg", 1).shape == (1, 4, 2)


def bomb() -> bytes:
    """A PNG whose header claims 60,000 x 60,000 pixels."""
    import struct
    import zlib

    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 0, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 100)), (b"IEND", b"")]
    chunks = [struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in parts]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def png() -> bytes:
    stream = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (64, 64)).astype(np.uint8)
    Image.fromarray(noise).save(stream, "PNG")
    return stream.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (bomb(), "enormous picture"),
        (png()[:-500], "truncated or damaged"),
        (png()[:20], "truncated|no picture that Pillow knows"),
        (b"GIF89a not really", "truncated|no picture that Pillow knows"),
        (b"", "no picture that Pillow knows"),
    ],
    ids=["bomb", "truncated", "header", "gif", "empty"],
)
def test_a_bad_file_is_one_sentence(content: bytes, message: str, tmp_path) -> None:
    path = tmp_path / "bad.png"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_picture(path, 1)


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (np.zeros((2, 2, 7), np.uint8), "with 1, 3 or 4 channels"),
        (np.zeros(4, np.uint8), "give height, width and channels"),
        (np.zeros((0, 4), np.uint8), "give .height, width, channels."),
        (np.zeros((2, 2), np.int64), "give uint8, uint16 or floats"),
        (np.full((2, 2), 200.0), "far outside 0 to 1"),
        (np.full((2, 2), np.nan), "not finite"),
        (7, "is of type int"),
        ([], "There are no pictures"),
    ],
)
def test_what_is_no_picture_is_refused(picture, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_pictures(picture, 1)


def test_a_missing_file() -> None:
    with pytest.raises(FileNotFoundError, match="nowhere.png is no file"):
        read_picture("nowhere.png", 1)


@pytest.mark.parametrize(
    "mask",
    [
        grey([0, 255], [0, 0]),
        np.array([[0, 1], [0, 0]]),
        np.array([[False, True], [False, False]]),
        np.array([[0.0, 1.0], [0.0, 0.0]]),
        torch.tensor([[0, 255], [0, 0]], dtype=torch.uint8),
        torch.tensor([[[0, 1], [0, 0]]]),
    ],
)
def test_white_is_made_anew(mask) -> None:
    assert read_mask(mask, (2, 2)).tolist() == [[[False, True], [False, False]]]


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (grey([0, 0], [0, 0]), "marks nothing"),
        (grey([255, 255], [255, 255]), "marks everything"),
        (grey([0, 255, 0], [0, 0, 0]), "The mask is 3 x 2 pixels, but its picture is 2 x 2"),
    ],
)
def test_a_bad_mask_is_refused(mask, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_mask(mask, (2, 2))


def test_padding_repeats_the_edge() -> None:
    x = torch.arange(6.0).reshape(1, 2, 3)
    wide = padded(x, 4)
    assert wide.shape == (1, 4, 4) and wide[:, :2, :3].equal(x)
    assert wide[0, 3].tolist() == [3.0, 4.0, 5.0, 5.0]
    assert padded(x, 1) is x


def test_a_contact_sheet_shows_every_picture_in_its_place() -> None:
    sheet = contact_sheet([Image.new("L", (2, 2), level) for level in (10, 20, 30)], 2, gap=1, zoom=2)
    assert sheet.size == (11, 11)
    assert [sheet.getpixel(place) for place in ((2, 2), (7, 2), (2, 7), (7, 7))] == [10, 20, 30, 255]
