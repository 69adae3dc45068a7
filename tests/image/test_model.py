"""The loss in closed form, what a row's noise depends on, saving, and learning a toy by heart of its rule."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from textdiff.image.data import PictureRows, Pictures
from textdiff.image.image_diffusion import ImageDiffusion
from textdiff.image.model import LEAST_SIGMA, ImageDiffusionConfig, ImageDiffusionModel

SMALL = {"image_size": 8, "width": 16, "heads": 2, "num_classes": 2}


def make(**shape) -> ImageDiffusionModel:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return ImageDiffusionModel(ImageDiffusionConfig(**{**SMALL, **shape}))


def test_the_untrained_loss_is_the_mean_square_of_v() -> None:
    x0 = torch.rand(2048, 1, 4, 4, generator=torch.Generator().manual_seed(0)) * 2 - 1
    model = make().eval()
    with torch.no_grad():
        output = model(x0)
    t = torch.linspace(0, 1, 4001, dtype=torch.float64)
    alpha, sigma = model.scheduler.alpha_sigma(t)
    wanted = float((alpha**2 + sigma**2 * x0.square().mean()).mean())  # E v^2 = alpha^2 + sigma^2 E x0^2
    assert float(output.loss) == pytest.approx(wanted, rel=0.02)


def test_the_weight_of_a_predicted_x0_is_bounded() -> None:
    x0 = torch.rand(8192, 1, 4, 4, generator=torch.Generator().manual_seed(0)) * 2 - 1
    model = make(prediction="x0").eval()
    with torch.no_grad():
        output = model(x0)  # x0_hat = 0
    sigma = model.scheduler.alpha_sigma(torch.linspace(0, 1, 4001, dtype=torch.float64))[1]
    wanted = float((x0.square().mean() / sigma.clamp(min=LEAST_SIGMA["x0"]) ** 2).mean())
    assert float(output.loss) == pytest.approx(wanted, rel=0.02)


@pytest.mark.parametrize("prediction", ["v", "eps", "x0"])
def test_a_rows_loss_depends_on_its_index_alone(prediction: str) -> None:
    model = make(prediction=prediction).eval()
    x0 = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    index, labels = torch.tensor([5, 9, 2, 7]), torch.tensor([0, 1, 0, 1])
    with torch.no_grad():
        whole = float(model(x0, labels, index).loss)
        parts = [float(model(x0[i : i + 1], labels[i : i + 1], index[i : i + 1]).loss) for i in (3, 1, 0, 2)]
        other = float(model(x0, labels, index + 1).loss)
    assert sum(parts) / 4 == pytest.approx(whole, rel=1e-4)
    assert other != pytest.approx(whole, rel=1e-4)


def test_classes_are_left_out_at_their_rate_in_training_only() -> None:
    model, seen = make(class_dropout=0.25), []
    model.unet.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[2]))
    x0, labels = torch.zeros(800, 1, 4, 4), torch.ones(800, dtype=torch.long)
    model.train()(x0, labels)
    model.eval()(x0, labels)
    assert float((seen[0] == 2).float().mean()) == pytest.approx(0.25, abs=0.05)
    assert (seen[1] == 1).all()


def test_a_saved_model_loads_in_both_doors(tmp_path) -> None:
    from transformers import AutoModel

    model = make()
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    model.save_pretrained(tmp_path)
    x0, labels = torch.rand(2, 1, 8, 8), torch.tensor([0, 1])
    model.eval().requires_grad_(False)
    wanted = float(model(x0, labels).loss)
    loaded = AutoModel.from_pretrained(tmp_path).eval().requires_grad_(False)
    assert float(loaded(x0, labels).loss) == pytest.approx(wanted, rel=1e-6)
    front = ImageDiffusion.from_pretrained(tmp_path)
    front.save_pretrained(tmp_path / "again")
    again = ImageDiffusionModel.from_pretrained(tmp_path / "again").eval().requires_grad_(False)
    assert float(again(x0, labels).loss) == pytest.approx(wanted, rel=1e-6)
    assert again.scheduler.config == model.scheduler.config


def bars(count: int, seed: int) -> Pictures:
    """Class 0: one black row on white; class 1: one black column."""
    rng, pixels = np.random.default_rng(seed), np.full((count, 1, 8, 8), 255, dtype=np.uint8)
    labels = rng.integers(0, 2, count)
    for i, (label, at) in enumerate(zip(labels, rng.integers(0, 8, count), strict=True)):
        if label:
            pixels[i, 0, :, at] = 0
        else:
            pixels[i, 0, at] = 0
    return Pictures(pixels, labels)


def bar_errors(pictures: np.ndarray, label: int) -> np.ndarray:
    """Wrong pixels of each picture, against the nearest bar of the class."""
    wanted = bars(400, 1)
    of_class = np.unique(wanted.pixels[wanted.labels == label], axis=0)[:, 0] > 127
    return np.stack([(p[None] != of_class).sum((1, 2)).min() for p in pictures > 127])


@pytest.mark.slow
def test_a_tiny_network_learns_bars_and_their_classes() -> None:
    model = make(width=24).train()
    rows = PictureRows(bars(512, 0), total=10**6, seed=0)
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3, betas=(0.9, 0.99))
    losses = []
    for step in range(220):
        batch = [rows[step * 32 + i] for i in range(32)]
        stacked = {name: torch.stack([row[name] for row in batch]) for name in batch[0]}
        for group in optimiser.param_groups:
            group["lr"] = 3e-3 * (1 - step / 240)
        loss = model(**stacked).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert np.mean(losses[-20:]) < 0.4 * np.mean(losses[:3])
    front = ImageDiffusion(model.unet, model.scheduler)
    for label in (0, 1):
        drawn = np.stack(
            [np.asarray(p) for p in front.generate(16, labels=label, num_inference_steps=20, seed=0)]
        )
        assert np.median(bar_errors(drawn, label)) <= 2
    held = bars(16, 5)
    mask = np.zeros((8, 8), dtype=bool)
    mask[2:6, 2:6] = True
    images = [np.where(mask, 0, p).astype(np.uint8) for p in held.pixels[:, 0]]
    filled = front.inpaint(images, mask, num_inference_steps=20, seed=0)
    wrong = [
        int(((np.asarray(f) > 127) != (p > 127)).sum())
        for f, p in zip(filled, held.pixels[:, 0], strict=True)
    ]
    crossing = [bool((p[~mask] == 0).sum() < 8) for p in held.pixels[:, 0]]  # the bar goes through the hole
    through = [w for w, c in zip(wrong, crossing, strict=True) if c]
    assert through and np.median(through) <= 2
