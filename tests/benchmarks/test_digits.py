"""The digit benchmark: its tasks do what they say, its baselines restore, its file has the promised keys."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from textdiff.image.classifier import DigitClassifier
from textdiff.image.curve import image_curve
from textdiff.image.image_diffusion import ImageDiffusion
from textdiff.image.unet import UNet, UNetConfig


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """model/, judge/ and digits.npz: smooth blobs in ten classes."""
    images = tmp_path_factory.mktemp("digits")
    torch.manual_seed(0)
    unet = UNet(UNetConfig(width=8, heads=1, num_classes=10))
    ImageDiffusion(unet, image_curve()).save_pretrained(images / "model")
    DigitClassifier(4).save_pretrained(images / "judge")
    np.savez(images / "digits.npz", x_train=blobs(60, 0), y_train=np.arange(60) % 10,
             x_test=blobs(20, 1), y_test=np.arange(20) % 10)  # fmt: skip
    return images


def blobs(count: int, seed: int) -> np.ndarray:
    rng, (y, x) = np.random.default_rng(seed), np.mgrid[:28, :28]
    places = rng.uniform(9, 19, (count, 2))
    return np.stack([255 * np.exp(-((y - a) ** 2 + (x - b) ** 2) / 20) for a, b in places]).astype(np.uint8)


def test_masks_lose_what_they_say(load) -> None:
    tasks = load("digit_tasks")
    square = tasks.centre_square(2)
    assert square.sum() == 2 * 14**2 and square[0, 7, 7] and not square[0, 6, 7]
    lines = tasks.strokes(5, seed=0)
    assert ((lines.mean((1, 2)) > 0.05) & (lines.mean((1, 2)) < 0.8)).all()
    assert (lines == tasks.strokes(5, seed=0)).all() and (lines != tasks.strokes(5, seed=1)).any()


def test_hole_fillers_keep_what_is_known_and_do_not_look_at_what_is_lost(load) -> None:
    tasks = load("digit_tasks")
    truths, train, masks = blobs(3, 2), blobs(40, 3), tasks.centre_square(3)
    answers = tasks.fill_holes(truths, masks, train)
    blind = tasks.fill_holes(np.where(masks, 77, truths).astype(np.uint8), masks, train)
    for name, answer in answers.items():
        assert (answer[~masks] == truths[~masks]).all(), name
        assert (answer == blind[name]).all(), name
    assert (tasks.fill_holes(train[:2], masks[:2], train)["nearest training digit"] == train[:2]).all()


def test_small_pictures_are_block_means_and_grow_back(load) -> None:
    tasks, truths = load("digit_tasks"), blobs(2, 0)
    small = tasks.small_pictures(truths, 4)
    assert small.shape == (2, 7, 7) and abs(float(small[1, 2, 3]) - truths[1, 8:12, 12:16].mean()) <= 0.5
    for answer in tasks.enlarge(small, 4).values():
        assert np.abs(answer.astype(float) - truths).mean() < 12


def test_classical_denoisers_denoise(load) -> None:
    tasks, truths = load("digit_tasks"), blobs(2, 0)
    noisy = truths / 255.0 + 0.25 * np.random.default_rng(0).standard_normal(truths.shape)
    errors = {
        name: np.square(a.astype(float) - truths).mean() for name, a in tasks.quiet(noisy, 0.25).items()
    }
    assert max(errors["non-local means"], errors["total variation"]) < 0.5 * errors["input"]


def test_one_command_makes_the_tables(load, images, monkeypatch, capsys) -> None:
    monkeypatch.chdir(images)
    (images / "images.json").write_text('{"emoji": 1, "digits": 2}')
    load("digits").main([
        "--model", "model", "--classifier", "judge", "--data", "digits.npz", "--generated", "12", "--images", "2",
        "--samples", "2", "--steps", "2", "--json", "images.json",
    ])  # fmt: skip
    made = json.loads((images / "images.json").read_text())
    assert made["emoji"] == 1
    digits = made["digits"]
    assert {"textdiff", "training digits", "test digits"} <= set(digits["generation"]["class_accuracy"])
    assert {"textdiff", "mean fill", "nearest training digit", "biharmonic"} <= set(
        digits["inpainting"]["ssim"]
    )
    assert {"textdiff", "bicubic"} <= set(digits["super_resolution_4x"]["ssim"])
    assert {"textdiff", "non-local means"} <= set(digits["denoising_heavy"]["psnr"])
    assert digits["generation"]["feature_frechet"]["training digits"] >= 0
    assert (
        digits["certificate"]["classifier"] == DigitClassifier.from_pretrained(images / "judge").fingerprint()
    )
    assert "inpainting_strokes" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--images", "0"], "--images is 0"),
        (["--images", "200"], "too few test digits"),
        (["--data", "none.npz"], "none.npz does not exist"),
        (["--json", "nowhere/images.json"], "Cannot write"),
        (["--json", "digits.npz"], "is not JSON"),
        (["--guidance-scale", "nan"], "guidance_scale is nan"),
        (["--sampler", "euler"], "Unknown sampler 'euler'"),
    ],
)
def test_bad_input_is_a_sentence(load, images, monkeypatch, change: list[str], message: str) -> None:
    monkeypatch.chdir(images)
    asked = [
        "--model",
        "model",
        "--classifier",
        "judge",
        "--data",
        "digits.npz",
        "--json",
        "images.json",
        *change,
    ]
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        load("digits").main(asked)
