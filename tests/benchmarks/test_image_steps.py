"""Quality against steps: every figure is that of the pictures drawn, and the plot shows them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from textdiff.image.classifier import DigitClassifier
from textdiff.image.data import read_source
from textdiff.image.image_diffusion import ImageDiffusion


def asked(*more: str) -> list[str]:
    return [
        "--model", "model", "--classifier", "judge", "--data", "digits.npz", "--images", "20",
        "--steps", "3", "1", "--json", "images.json", "--plot", "steps.png", *more,
    ]  # fmt: skip


def test_rows_are_the_figures_of_what_the_model_draws(load, images, monkeypatch, capsys) -> None:
    monkeypatch.chdir(images)
    (images / "images.json").write_text('{"emoji": 1, "digits": {"generation": 2}}')
    load("image_steps").main(asked("--samplers", "ddpm", "dpmpp_2m", "--guidance-scale", "2"))
    made = json.loads((images / "images.json").read_text())
    assert made["emoji"] == 1 and made["digits"]["generation"] == 2
    floor, *rows = made["digits"]["steps"]["rows"]
    wanted = [(sampler, steps, steps + 1) for sampler in ("ddpm", "dpmpp_2m") for steps in (3, 1)]
    assert [(row["sampler"], row["steps"], row["nfe"]) for row in rows] == wanted
    classifier, model = DigitClassifier.from_pretrained("judge"), ImageDiffusion.from_pretrained("model")
    judge = load("digit_tasks").DigitJudge(classifier, *read_source("digits.npz", size=28, channels=1), 20, 0)
    labels = np.arange(20) % 10
    how = {"guidance_scale": 2, "num_inference_steps": 3, "sampler": "dpmpp_2m", "seed": 0}
    drawn = model.generate(20, labels=labels.tolist(), **how)
    assert judge.figures(drawn, labels).items() <= rows[2].items()
    assert judge.training_digits().items() <= floor.items() and floor["sampler"] == "training digits"
    certificate = made["digits"]["steps"]["certificate"]
    assert certificate["classifier"] == classifier.fingerprint() and certificate["guidance_scale"] == 2
    assert "feature_frechet" in capsys.readouterr().out


def test_the_plot_has_a_line_for_each_sampler_and_the_floor(load, tmp_path, monkeypatch) -> None:
    from matplotlib.figure import Figure

    shown = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, target, **_: shown.append(figure))
    points = [("ddim", 9, 0.9, 30.0), ("ddim", 5, 0.8, 60.0), ("ddpm", 5, 0.7, 90.0)]
    columns = ("sampler", "nfe", "class_accuracy", "feature_frechet")
    floor = {"sampler": "training digits", "class_accuracy": 0.99, "feature_frechet": 20.0}
    rows = [floor, *(dict(zip(columns, point, strict=True)) for point in points)]
    load("image_steps").plot(rows, str(tmp_path / "steps.png"))
    accuracy, distance = shown[0].axes
    lines = {line.get_label(): line.get_xydata().tolist() for line in accuracy.lines}
    assert lines["ddim"] == [[5, 0.8], [9, 0.9]] and lines["ddpm"] == [[5, 0.7]]
    assert [y for _, y in lines["training digits"]] == [0.99, 0.99]
    assert {line.get_label() for line in distance.lines} == set(lines) and distance.get_yscale() == "linear"
    assert distance.lines[0].get_xydata().tolist() == [[5, 60.0], [9, 30.0]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--images", "9"], "--images is 9"),
        (["--steps", "0"], "num_inference_steps is 0"),
        (["--samplers", "euler"], "Unknown sampler 'euler'"),
        (["--guidance-scale", "nan"], "guidance_scale is nan"),
        (["--seed", "-1"], "seed is -1"),
        (["--json", "nowhere/images.json"], "Cannot write"),
        (["--plot", "nowhere/steps.png"], "Cannot write"),
        (["--data", "none.npz"], "none.npz does not exist"),
        (["--model", "nowhere"], "No model folder 'nowhere'"),
    ],
)
def test_bad_input_is_a_sentence(load, images, monkeypatch, change: list[str], message: str) -> None:
    monkeypatch.chdir(images)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        load("image_steps").main(asked(*change))
