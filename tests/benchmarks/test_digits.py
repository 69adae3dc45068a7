"""The digit benchmark: its tasks do what they say, its baselines restore, its file has the promised keys."""

from __future__ import annotations

import json

import numpy as np
import pytest

from textdiff.image.classifier import DigitClassifier, judged
from textdiff.image.data import Pictures


def test_masks_lose_what_they_say(load) -> None:
    tasks = load("digit_tasks")
    square = tasks.centre_square(2)
    assert square.sum() == 2 * 14**2 and square[0, 7, 7] and not square[0, 6, 7]
    lines = tasks.strokes(5, seed=0)
    assert ((lines.mean((1, 2)) > 0.05) & (lines.mean((1, 2)) < 0.8)).all()
    assert (lines == tasks.strokes(5, seed=0)).all() and (lines != tasks.strokes(5, seed=1)).any()


def test_hole_fillers_keep_what_is_known_and_do_not_look_at_what_is_lost(load, blobs) -> None:
    tasks = load("digit_tasks")
    truths, train, masks = blobs(3, 2), blobs(40, 3), tasks.centre_square(3)
    answers = tasks.fill_holes(truths, masks, train)
    blind = tasks.fill_holes(np.where(masks, 77, truths).astype(np.uint8), masks, train)
    for name, answer in answers.items():
        assert (answer[~masks] == truths[~masks]).all(), name
        assert (answer == blind[name]).all(), name
    assert (tasks.fill_holes(train[:2], masks[:2], train)["nearest training digit"] == train[:2]).all()


def test_small_pictures_are_block_means_and_grow_back(load, blobs) -> None:
    tasks, truths = load("digit_tasks"), blobs(2, 0)
    small = tasks.small_pictures(truths, 4)
    assert small.shape == (2, 7, 7) and abs(float(small[1, 2, 3]) - truths[1, 8:12, 12:16].mean()) <= 0.5
    for answer in tasks.enlarge(small, 4).values():
        assert np.abs(answer.astype(float) - truths).mean() < 12


def test_classical_denoisers_denoise(load, blobs) -> None:
    tasks, truths = load("digit_tasks"), blobs(2, 0)
    noisy = truths / 255.0 + 0.25 * np.random.default_rng(0).standard_normal(truths.shape)
    errors = {
        name: np.square(a.astype(float) - truths).mean() for name, a in tasks.quiet(noisy, 0.25).items()
    }
    assert max(errors["non-local means"], errors["total variation"]) < 0.5 * errors["input"]


def test_a_judge_finds_no_distance_between_equal_sets(load, blobs) -> None:
    pictures = Pictures(blobs(30, 0)[:, None], np.arange(30) % 10)
    classifier = DigitClassifier(4)
    judge = load("digit_tasks").DigitJudge(classifier, pictures, pictures, 30)
    _, classes = judged(classifier, list(pictures.pixels[:, 0]))
    same, blank = judge.training_digits(), judge.figures([np.zeros((28, 28), np.uint8)] * 30)
    assert same["class_accuracy"] == judge.test_accuracy == (classes == pictures.labels).mean()
    assert same["feature_frechet"] == pytest.approx(0.0, abs=1e-6) and same["coverage"] == 1.0
    assert blank["feature_frechet"] > 1e3 * abs(same["feature_frechet"]) and blank["coverage"] < 1.0
    assert "class_accuracy" not in blank


def test_figures_are_recorded_beside_the_others(load, tmp_path) -> None:
    file, record = tmp_path / "figures.json", load("digit_tasks").record
    file.write_text('{"a": {"b": 1, "c": {"d": 2}}, "e": 3}')
    record(str(file), ["a", "c"], {"f": 4})
    record(str(file), ["e", "g"], {"h": 5})
    assert json.loads(file.read_text()) == {"a": {"b": 1, "c": {"d": 2, "f": 4}}, "e": {"g": {"h": 5}}}


def test_one_command_makes_the_tables(load, images, monkeypatch, capsys) -> None:
    monkeypatch.chdir(images)
    (images / "images.json").write_text('{"emoji": 1, "digits": {"steps": 2}}')
    load("digits").main([
        "--model", "model", "--classifier", "judge", "--data", "digits.npz", "--generated", "12", "--images", "2",
        "--samples", "2", "--steps", "2", "--json", "images.json",
    ])  # fmt: skip
    made = json.loads((images / "images.json").read_text())
    digits = made["digits"]
    assert made["emoji"] == 1 and digits["steps"] == 2
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
