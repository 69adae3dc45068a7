"""A training run from the command line: its folder, resuming, refusals."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from scripts.train_image import main
from textdiff.image.image_diffusion import ImageDiffusion
from textdiff.training import trainer


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """bars.npz: 60 pictures of 8 x 8 in two classes."""
    place = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    x, y = np.zeros((60, 8, 8), dtype=np.uint8), rng.integers(0, 2, 60)
    for i in range(60):
        x[(i, slice(None), i % 8) if y[i] else (i, i % 8)] = 255
    np.savez(place / "bars.npz", x=x, y=y)
    return place


def command(place, folder, *more: str) -> list[str]:
    return [
        "--preset", "digits", "--train-data", str(place / "bars.npz"), "--image-size", "8",
        "--output-dir", str(folder), "--batch-size", "4", "--max-steps", "4", "--save-steps", "2",
        "--eval-steps", "2", "--logging-steps", "1", "--use-cpu", *more,
    ]  # fmt: skip


@pytest.fixture(scope="module")
def unbroken(place):
    main(command(place, place / "run"))
    return place / "run"


def test_the_folder_of_a_run(unbroken) -> None:
    names = {path.name for path in unbroken.iterdir()}
    assert {"config.json", "model.safetensors", "scheduler_config.json", "run.json"} <= names
    assert {"curves.json", "curves.png"} <= names
    facts = json.loads((unbroken / "training.json").read_text())
    assert facts["pictures"] == 57 and facts["pictures_seen"] == 16 and facts["seconds"] is not None
    assert facts["validation"]["eval_loss"] > 0
    model = ImageDiffusion.from_pretrained(unbroken)
    assert model.shape.num_classes == 2 and 0.3 < model.shape.data_std < 1
    assert model.generate(1, labels=1, num_inference_steps=2, seed=0)[0].size == (8, 8)


def test_a_stopped_run_goes_on_as_if_nothing_had_been(unbroken, place, monkeypatch) -> None:
    step, made = trainer.AveragedTrainer.training_step, []

    def stopping(self, *args, **kwargs):
        made.append(1)
        if len(made) == 4:
            raise KeyboardInterrupt
        return step(self, *args, **kwargs)

    monkeypatch.setattr(trainer.AveragedTrainer, "training_step", stopping)
    with pytest.raises(KeyboardInterrupt):
        main(command(place, place / "stopped"))
    monkeypatch.undo()
    main(command(place, place / "stopped"))
    mine, wanted = (load_file(folder / "model.safetensors") for folder in (place / "stopped", unbroken))
    for name, tensor in wanted.items():
        torch.testing.assert_close(mine[name], tensor, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--preset", "enormous"], "Unknown preset 'enormous': choose digits, tiny-image, composed-digits, emoji"),
        (["--max-steps", "0"], "--max-steps is 0"),
        (["--ema-decay", "1"], "--ema-decay is 1.0"),
        (["--image-size", "10"], "--image-size is 10: give a multiple of 4"),
        (["--batch-size", "3", "--gradient-accumulation-steps", "2"], "--batch-size is 3"),
    ],
)
def test_impossible_options(place, tmp_path, change: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        main(command(place, tmp_path / "new", *change))
    assert not (tmp_path / "new").exists()


def test_a_class_that_only_validation_has_is_a_class(place) -> None:
    x = np.zeros((4, 8, 8), dtype=np.uint8)
    np.savez(place / "late.npz", x_train=x, y_train=np.arange(4) % 2, x_test=x, y_test=np.arange(4))
    main([*command(place, place / "late"), "--train-data", str(place / "late.npz"), "--max-steps", "1"])
    assert ImageDiffusion.from_pretrained(place / "late").shape.num_classes == 4


def test_a_folder_with_another_run_is_refused(unbroken, place) -> None:
    with pytest.raises(ValueError, match="other settings \\(learning_rate\\)"):
        main(command(place, unbroken, "--learning-rate", "0.1"))


def test_pictures_are_named_or_found(place, tmp_path) -> None:
    with pytest.raises(ValueError, match="'tiny-image' has no pictures of its own: give --train-data"):
        main(["--output-dir", str(tmp_path / "new")])
    with pytest.raises(FileNotFoundError, match="wants images/mnist.npz"):
        main(["--preset", "digits", "--data-dir", str(tmp_path), "--output-dir", str(tmp_path / "new")])


def test_a_folder_of_photographs_trains(tmp_path) -> None:
    for i in range(3):
        Image.new("RGB", (12, 9), (80 * i, 10, 200)).save(tmp_path / f"{i}.png")
    run = tmp_path / "run"
    main(["--train-data", str(tmp_path), "--image-size", "8", "--output-dir", str(run), "--max-steps", "1",
          "--batch-size", "2", "--use-cpu"])  # fmt: skip
    assert ImageDiffusion.from_pretrained(run).generate(1, num_inference_steps=1, seed=0)[0].mode == "RGB"
