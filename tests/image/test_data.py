"""Training pictures from every source, and rows that are functions of their index."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from textdiff.image.data import PictureRows, Pictures, pixel_std, read_source


@pytest.fixture
def npz(tmp_path, picture):
    """Writes arrays into an npz and gives its path."""

    def write(**arrays: np.ndarray) -> str:
        np.savez(tmp_path / "data.npz", **arrays)
        return str(tmp_path / "data.npz")

    return write


def test_an_npz_with_two_parts(npz, picture) -> None:
    x, y = picture(6, 8, 8), np.arange(6) % 3
    train, test = read_source(npz(x_train=x, y_train=y, x_test=x[:2], y_test=y[:2]), size=8, channels=1)
    assert (
        np.array_equal(train.pixels[:, 0], x)
        and train.labels.tolist() == y.tolist()
        and train.num_classes == 3
    )
    assert len(test) == 2


def test_an_npz_in_one_part_is_split_evenly_and_fitted(npz, picture) -> None:
    x = picture(40, 12, 10, 3)
    train, held = read_source(npz(x=x), size=8, channels=1)
    assert train.pixels.shape == (38, 1, 8, 8) and held.pixels.shape == (2, 1, 8, 8)
    assert train.labels is None and train.num_classes == 0
    whole, _ = read_source(npz(x=x[:, :8, :8]), size=8, channels=3)
    assert np.array_equal(whole.pixels[0], np.moveaxis(x[0, :8, :8], -1, 0))


def test_a_folder_whose_subfolders_are_classes(tmp_path, picture) -> None:
    for name, level in (("dark", 10), ("light", 240)):
        (tmp_path / name).mkdir()
        for i in range(2):
            Image.new("RGB", (20, 10), (level,) * 3).save(tmp_path / name / f"{i}.png")
    both, _ = read_source(str(tmp_path), size=4, channels=3)
    assert both.pixels.shape == (4, 3, 4, 4) and both.labels.tolist() == [0, 0, 1, 1]
    assert both.pixels[:2].max() == 10 and both.pixels[2:].min() == 240
    Image.new("L", (9, 9)).save(tmp_path / "loose.jpg")
    loose, _ = read_source(str(tmp_path), size=4, channels=3)
    assert len(loose) == 5 and loose.labels is None


def test_pictures_one_pixel_high_are_pictures(npz, picture) -> None:
    read, _ = read_source(npz(x=picture(2, 1, 5, 1)), size=4, channels=1)
    assert read.pixels.shape == (2, 1, 4, 4)
    (same,) = read_source(npz(x=np.full((1, 3, 3), 7, np.uint8)), size=1, channels=1)[0].pixels
    assert same.tolist() == [[[7]]]


def test_a_local_dataset(tmp_path, picture) -> None:
    datasets = pytest.importorskip("datasets")
    rows = {"image": [Image.fromarray(picture(8, 8, seed=i)) for i in range(3)], "label": [2, 0, 1]}
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("int64")})
    (tmp_path / "set").mkdir()
    datasets.Dataset.from_dict(rows, features=features).to_parquet(tmp_path / "set" / "train.parquet")
    found, _ = read_source(str(tmp_path / "set"), size=8, channels=1)
    assert np.array_equal(found.pixels[1, 0], picture(8, 8, seed=1)) and found.labels.tolist() == [2, 0, 1]
    with pytest.raises(ValueError, match="name that of the pictures with --image-column"):
        read_source(str(tmp_path / "set"), size=8, channels=1, image_column="pixels")
    with pytest.raises(ValueError, match="name that of the classes with --label-column"):
        read_source(str(tmp_path / "set"), size=8, channels=1, label_column="animal")
    named = features | {"label": datasets.Value("string")}
    rows["label"] = ["owl", "cat", "dog"]
    (tmp_path / "named").mkdir()
    datasets.Dataset.from_dict(rows, features=datasets.Features(named)).to_parquet(tmp_path / "named" / "train.parquet")
    assert read_source(str(tmp_path / "named"), size=8, channels=1)[0].labels.tolist() == [2, 0, 1]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"pictures": np.zeros((2, 8, 8), np.uint8)}, "neither x_train nor x"),
        ({"x": np.zeros((2, 8, 8))}, "type float64"),
        ({"x": np.zeros((8, 8), np.uint8)}, "give uint8"),
        ({"x": np.zeros((0, 8, 8), np.uint8)}, "give uint8"),
        ({"x": np.zeros((2, 8, 8, 7), np.uint8)}, "1, 3 or 4 channels"),
        ({"x": np.zeros((2, 8, 8), np.uint8), "y": np.zeros(3, np.int64)}, "2 pictures and classes .* \\[3\\]"),
        ({"x": np.zeros((2, 8, 8), np.uint8), "y": np.eye(2, dtype=np.int64)}, "2 pictures and classes .* \\[2, 2\\]"),
        ({"x": np.zeros((2, 8, 8), np.uint8), "y": np.array([0, -1])}, "the classes -1 to 0: count them from 0"),
        ({"x": np.zeros((2, 8, 8), np.uint8), "y": np.array([0, 10**9])}, "at most 10000"),
        ({"x": np.array([{}], dtype=object)}, "no .npz of plain arrays"),
    ],
)
def test_a_bad_npz_is_one_sentence(npz, arrays: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_source(npz(**arrays), size=8, channels=1)


def test_a_source_that_is_not_there(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match="does not exist"):
        read_source(str(tmp_path / "none.npz"), size=8, channels=1)
    (tmp_path / "torn.npz").write_bytes(b"PK\x03\x04 torn")
    with pytest.raises(ValueError, match="damaged"):
        read_source(str(tmp_path / "torn.npz"), size=8, channels=1)
    with pytest.raises(ValueError, match="is no .npz file, folder of pictures or dataset here"):
        read_source(str(tmp_path / "empty"), size=8, channels=1)


def test_every_epoch_shows_every_picture_once_and_a_row_is_its_index(picture) -> None:
    pictures = Pictures(np.arange(7, dtype=np.uint8).reshape(7, 1, 1, 1) * 30, np.arange(7))
    rows = PictureRows(pictures, total=21, seed=0)
    labels = [int(rows[i]["labels"]) for i in range(21)]
    assert [sorted(labels[at : at + 7]) for at in (0, 7, 14)] == [list(range(7))] * 3
    assert labels[:7] != labels[7:14]
    assert [int(rows[i]["labels"]) for i in (20, 3, 11)] == [labels[i] for i in (20, 3, 11)]
    row = rows[5]
    assert float(row["pixel_values"]) == pytest.approx(labels[5] * 30 / 127.5 - 1.0)
    assert int(row["sample_index"]) == 5


def test_a_mirror_shows_about_every_other_picture_turned(picture) -> None:
    pictures = Pictures(np.array([[[[0, 255]]]], dtype=np.uint8))
    rows = PictureRows(pictures, total=200, seed=0, flip=True)
    turned = sum(bool(rows[i]["pixel_values"].flatten().equal(torch.tensor([1.0, -1.0]))) for i in range(200))
    assert 70 < turned < 130


def test_the_spread_of_pixels_is_that_of_their_places() -> None:
    pixels = np.zeros((1000, 1, 1, 2), dtype=np.uint8)
    pixels[::2, ..., 0] = 255  # one place is black or white, the other always black
    assert pixel_std(Pictures(pixels)) == pytest.approx(0.5, abs=0.01)
