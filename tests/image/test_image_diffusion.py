"""Pictures in, pictures out: what is promised of every call, with tiny untrained networks."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from textdiff.image.image_diffusion import ImageDiffusion
from textdiff.image.operators import downsample, gaussian_blur, missing

FEW = {"num_inference_steps": 3, "seed": 0}
MASK = np.zeros((8, 8), dtype=bool)
MASK[2:6, 3:7] = True


def levels(pictures) -> np.ndarray:
    return np.stack([np.asarray(picture) for picture in pictures]).astype(int)


def assert_alike(a, b) -> None:
    """The same pictures, up to one level from sums in another order."""
    assert np.abs(levels(a) - levels(b)).max() <= 1


# Generation.


@pytest.mark.parametrize("sampler", ["ddpm", "ddim", "dpmpp_2m", "churn"])
def test_a_picture_is_the_same_however_many_are_drawn(grey, sampler: str) -> None:
    options = {**FEW, "sampler": sampler, "labels": 1, "guidance_scale": 2.0}
    many = grey.generate(3, **options)
    assert_alike(many[:1], grey.generate(1, **options))
    assert (levels(many)[0] != levels(many)[1]).any()


def test_seeds_labels_and_guidance_matter(grey) -> None:
    plain = levels(grey.generate(1, **FEW))
    for other in ({"seed": 1}, {"labels": 0}, {"labels": 0, "guidance_scale": 3.0}):
        assert (levels(grey.generate(1, **{**FEW, **other})) != plain).any()
    assert (levels(grey.generate(1, **FEW)) == plain).all()


def test_colour_and_sizes_off_the_stride(colour) -> None:
    (picture,) = colour.generate(1, size=(9, 14), **FEW)
    assert picture.mode == "RGB" and picture.size == (14, 9)


def test_the_walk_ends_at_the_result(grey) -> None:
    steps = list(grey.generate_steps(2, **FEW))
    assert [step.t for step in steps] == pytest.approx([2 / 3, 1 / 3, 0.0, 0.0])
    assert_alike(steps[-1].estimate, grey.generate(2, **FEW))
    assert [len(step.noisy) for step in steps] == [2] * 4


def test_parts_of_a_batch_are_the_whole(grey, monkeypatch) -> None:
    whole, told = grey.generate(5, **FEW), []
    monkeypatch.setattr("textdiff.image.drawing.AT_ONCE", 2)
    parts = grey.generate(5, **FEW, progress=lambda made, total: told.append((made, total)))
    assert_alike(whole, parts)
    assert told == [(i, 12) for i in range(1, 13)]


def test_noise_comes_from_the_seed_only(grey) -> None:
    before = torch.get_rng_state()
    grey.generate(1, **FEW)
    assert torch.get_rng_state().equal(before)


# Inpainting.


@pytest.mark.parametrize("size", [(8, 8), (7, 10)])
@pytest.mark.parametrize(
    "way",
    [
        {"conditioning": "guidance"},
        {"conditioning": "anchor"},
        {"conditioning": "replacement", "resample": 1},
        {"conditioning": "replacement", "resample": 2},
    ],
)
def test_what_is_given_comes_back_to_the_level(grey, picture, size, way: dict) -> None:
    image, mask = picture(*size), np.zeros(size, dtype=bool)
    mask[2:5, 1:6] = True
    filled = levels(grey.inpaint(image, mask, num_samples=2, **way, **FEW))
    assert (filled[:, ~mask] == image[~mask]).all()
    assert (filled[0, mask] != filled[1, mask]).any()


def test_a_hole_is_walked_five_times(grey, picture) -> None:
    image, steps = picture(8, 8), {"num_inference_steps": 12, "seed": 0}
    five = grey.inpaint(image, MASK, conditioning="replacement", resample=5, **steps)
    assert_alike(grey.inpaint(image, MASK, **steps), five)
    once = grey.inpaint(image, MASK, resample=1, **steps)
    assert (levels(once) != levels(five)).any()


@pytest.mark.parametrize("way", ["guidance", "anchor", "replacement"])
def test_what_is_lost_is_never_looked_at(grey, picture, way: str) -> None:
    image, other = picture(8, 8), picture(8, 8, seed=1)
    other[~MASK] = image[~MASK]
    options = {"conditioning": way, **FEW}
    assert_alike(grey.inpaint(image, MASK, **options), grey.inpaint(other, MASK, **options))


@pytest.mark.parametrize("way", ["guidance", "anchor", "replacement"])
def test_a_batch_of_one_picture_twice_differs_only_by_noise(grey, picture, way: str) -> None:
    images = [picture(8, 8), picture(8, 8, seed=1)]
    options = {"conditioning": way, **FEW}
    together = grey.inpaint(images, [MASK, MASK.T.copy()], **options)
    assert_alike(together[:1], grey.inpaint(images[0], MASK, **options))
    several = grey.inpaint(images[0], MASK, num_samples=2, **options)
    assert_alike(together[:1], several[:1])


def test_a_colour_picture_for_a_grey_model_is_turned_grey(grey, picture) -> None:
    (filled,) = grey.inpaint(Image.fromarray(picture(8, 8, 3)), MASK, **FEW)
    assert filled.mode == "L"


# Super-resolution and restoration.


@pytest.mark.parametrize("way", ["guidance", "anchor"])
def test_enlarged_pictures_have_the_wanted_size(colour, picture, way: str) -> None:
    drawn = colour.super_resolve([picture(4, 3, 3)] * 2, 2, conditioning=way, **FEW)
    assert [image.size for image in drawn] == [(6, 8)] * 2


def test_an_enlarged_picture_shrinks_to_the_given_one(grey) -> None:
    small = np.full((4, 4), 128, dtype=np.uint8)
    small[1:3, 1:3] = 90
    enlarged = grey.super_resolve(small, 2, conditioning="anchor", **FEW, sampler="ddim")
    blocks = levels(enlarged)[0].reshape(4, 2, 4, 2).mean((1, 3))
    inside = (levels(enlarged)[0] > 0) & (
        levels(enlarged)[0] < 255
    )  # clamping to black and white moves means
    free = inside.reshape(4, 2, 4, 2).all((1, 3))
    assert free.any() and np.abs(blocks - small)[free].max() < 1.5


@pytest.mark.parametrize(
    ("operator", "measured", "size"),
    [
        (gaussian_blur(1.0), (7, 9), None),
        (downsample(2), (4, 4), (8, 8)),
        (missing(torch.eye(8).bool()), (8, 8), None),
    ],
)
def test_restoring_gives_the_clean_pictures_size(grey, picture, operator, measured, size) -> None:
    (drawn,) = grey.restore(picture(*measured), operator, noise=0.05, size=size, **FEW)
    assert drawn.size == (size or measured)[::-1]


def test_restoring_from_noise_alone_is_denoising(grey, picture) -> None:
    image = picture(9, 8)
    assert_alike(grey.restore(image, None, noise=0.2), grey.denoise(image, 0.2))
    assert (
        levels(grey.denoise(image, 0.2)) != levels(grey.denoise(image, 0.2, num_inference_steps=3, seed=0))
    ).any()


def test_one_step_of_denoising_is_tweedies_formula(grey, picture) -> None:
    from textdiff.image.adapters import as_denoiser
    from textdiff.image.pictures import read_picture

    image, noise = picture(8, 8).astype(np.float32) / 255.0 * 1.4 - 0.2, 0.25
    y = read_picture(image, 1)[None]
    t = grey.scheduler.time(torch.tensor([-2.0 * np.log(2 * noise)]))
    x0_hat = as_denoiser(grey.network, grey.scheduler)(grey.scheduler.alpha_sigma(t)[0].float() * y, t, None)
    wanted = ((x0_hat.clamp(-1, 1) + 1) * 127.5).round()[0, 0].numpy()
    assert np.abs(levels(grey.denoise(image, noise))[0] - wanted).max() <= 1


def test_a_way_between_pictures_has_its_ends_at_shallow_depth(grey, picture) -> None:
    first, second = picture(8, 8), picture(8, 8, seed=1)
    near = levels(grey.interpolate(first, second, 3, depth=1e-6, **FEW))
    assert np.abs(near[[0, 2]] - np.stack([first, second])).mean() < 2
    assert np.abs(near[1] - (first.astype(int) + second) / 2).mean() < 2
    frames = levels(grey.interpolate(first, second, 5, depth=0.6, **FEW))
    assert frames.shape == (5, 8, 8)
    assert_alike(frames, grey.interpolate(first, second, 5, depth=0.6, **FEW))
    assert_alike(frames[::-1], grey.interpolate(second, first, 5, depth=0.6, **FEW))


# Refusals.

CALLS = {
    "num_samples is 0": lambda m: m.generate(0),
    "The size is 0 x 8": lambda m: m.generate(1, size=(0, 8)),
    "give numbers from 0 to 2": lambda m: m.generate(1, labels=3),
    "The mask is 4 x 4 pixels": lambda m: m.inpaint(np.zeros((8, 8), np.uint8), np.eye(4, dtype=bool)),
    "marks nothing": lambda m: m.inpaint(np.zeros((8, 8), np.uint8), np.zeros((8, 8), bool)),
    "marks everything": lambda m: m.inpaint(np.zeros((8, 8), np.uint8), np.ones((8, 8), bool)),
    "2 masks for 1 pictures": lambda m: m.inpaint(np.zeros((8, 8), np.uint8), [MASK, MASK]),
    "Unknown conditioning 'magic': choose replacement, guidance, anchor.": lambda m: m.inpaint(
        np.zeros((8, 8), np.uint8), MASK, conditioning="magic"
    ),
    "resample is for conditioning": lambda m: m.inpaint(
        np.zeros((8, 8), np.uint8), MASK, conditioning="anchor", resample=2
    ),
    "resample is 0": lambda m: m.inpaint(
        np.zeros((8, 8), np.uint8), MASK, conditioning="replacement", resample=0
    ),
    "of 2 sizes": lambda m: m.denoise([np.zeros((8, 8), np.uint8), np.zeros((4, 8), np.uint8)], 0.1),
    "The scale is 9, which makes": lambda m: m.super_resolve(np.zeros((4, 4), np.uint8), 9),
    "The scale is 1": lambda m: m.super_resolve(np.zeros((4, 4), np.uint8), 1),
    "The noise is 0 of the range": lambda m: m.denoise(np.zeros((8, 8), np.uint8), 0.0),
    "The noise is 500 of the range": lambda m: m.denoise(np.zeros((8, 8), np.uint8), 500.0),
    "The noise is -1": lambda m: m.restore(np.zeros((8, 8), np.uint8), gaussian_blur(1.0), noise=-1),
    "An anchor takes the measurement as exact": lambda m: m.restore(
        np.zeros((8, 8), np.uint8), gaussian_blur(1.0), noise=0.1, conditioning="anchor"
    ),
    "name the clean picture's size": lambda m: m.restore(np.zeros((4, 4), np.uint8), downsample(2)),
    "The size is -8 x 8": lambda m: m.restore(np.zeros((4, 4), np.uint8), downsample(2), size=(-8, 8)),
    "size and conditioning are for an operator": lambda m: m.restore(
        np.zeros((8, 8), np.uint8), noise=0.1, size=(8, 8)
    ),
    "depth is 0": lambda m: m.interpolate(np.zeros((8, 8), np.uint8), np.zeros((8, 8), np.uint8), depth=0),
    "a way has at least 2": lambda m: m.interpolate(
        np.zeros((8, 8), np.uint8), np.zeros((8, 8), np.uint8), 1
    ),
}


@pytest.mark.parametrize("message", CALLS)
def test_what_cannot_be_is_one_sentence(grey, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        CALLS[message](grey)
    assert str(caught.value).count("\n") == 0 and str(caught.value).endswith(".")


# Folders.


def test_a_saved_model_draws_the_same(grey, tmp_path) -> None:
    grey.save_pretrained(tmp_path / "model")
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == [
        "README.md", "config.json", "model.safetensors", "scheduler_config.json",
    ]  # fmt: skip
    loaded = ImageDiffusion.from_pretrained(tmp_path / "model")
    assert loaded.shape == grey.shape
    assert (levels(loaded.generate(1, **FEW)) == levels(grey.generate(1, **FEW))).all()


def spoil_config(folder, **changes) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def spoil_weights(folder) -> None:
    state = load_file(folder / "model.safetensors")
    save_file({name: tensor * float("nan") for name, tensor in state.items()}, folder / "model.safetensors")


DAMAGES = {
    "is not finite": spoil_weights,
    "truncated or corrupted": lambda f: (f / "model.safetensors").write_bytes(
        (f / "model.safetensors").read_bytes()[:99]
    ),
    "do not fit its config.json": lambda f: spoil_config(f, width=16),
    "says width = '8'": lambda f: spoil_config(f, width="8"),
    "says multiples = 2": lambda f: spoil_config(f, multiples=2),
    "of type 'textdiff'": lambda f: spoil_config(f, model_type="textdiff"),
    "No weights in": lambda f: (f / "model.safetensors").unlink(),
    "scheduler_config.json does not exist": lambda f: (f / "scheduler_config.json").unlink(),
    "config.json does not exist": lambda f: (f / "config.json").unlink(),
}


@pytest.mark.parametrize("message", DAMAGES)
def test_a_damaged_folder_is_refused_in_a_sentence(grey, tmp_path, message: str) -> None:
    grey.save_pretrained(tmp_path / "model")
    DAMAGES[message](tmp_path / "model")
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        ImageDiffusion.from_pretrained(tmp_path / "model")


def test_a_missing_folder_names_the_script_that_makes_one() -> None:
    with pytest.raises(FileNotFoundError, match=r"scripts/train_image\.py"):
        ImageDiffusion.from_pretrained("nowhere")
