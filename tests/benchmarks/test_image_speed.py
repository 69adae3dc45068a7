"""Side by side with a package: the same batches, sizes and calls for both, and the figures of one run."""

from __future__ import annotations

import json
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch

from textdiff.image.data import Pictures


@pytest.fixture(scope="module")
def rivals(imported):
    return imported("image_rivals")


@pytest.fixture(scope="module")
def toys(rivals):
    """Ours and diffusers', of width 16."""
    torch.manual_seed(0)
    return rivals.pair("diffusers", 16)


def asked(*more: str) -> list[str]:
    return [
        "--classifier", "judge", "--data", "digits.npz", "--width", "16", "--train-steps", "3",
        "--batch-size", "4", "--images", "10", "--calls", "2", "--json", "images.json", *more,
    ]  # fmt: skip


def test_both_tables_of_one_run(load, images, monkeypatch, capsys) -> None:
    monkeypatch.chdir(images)
    (images / "images.json").write_text('{"digits": {"steps": 1, "side_by_side": {"another": 2}}}')
    load("image_speed").main(asked())
    digits = json.loads((images / "images.json").read_text())["digits"]
    assert digits["steps"] == 1 and digits["side_by_side"]["another"] == 2
    made = digits["side_by_side"]["diffusers"]
    certificate = made["certificate"]
    assert certificate["rival_parameters"] == pytest.approx(certificate["parameters"], rel=0.05)
    training, drawing = made["speed"]
    assert training["turns"] == 3 and drawing["turns"] == 1 and drawing["what"] == "drawing in 2 calls"
    assert training["ratio_low"] <= training["ratio"] <= training["ratio_high"]
    assert training["seconds_each"] * training["images_per_second"] == pytest.approx(1)
    ratio = drawing["images_per_second"] / drawing["rival_images_per_second"]
    assert drawing["ratio"] == pytest.approx(ratio)
    floor, ours, theirs, longer = made["quality"]
    assert [row["method"] for row in (floor, ours, theirs)] == [
        "training digits", "textdiff, equal steps", "diffusers, equal steps",
    ]  # fmt: skip
    assert ours["steps"] == theirs["steps"] == 3 and longer["steps"] > 3
    assert longer["method"].endswith(", equal seconds")
    assert longer["train_seconds"] >= max(ours["train_seconds"], theirs["train_seconds"])
    assert all(0 <= row["class_accuracy"] <= 1 and row["feature_frechet"] > 0 for row in made["quality"])
    assert "equal seconds" in capsys.readouterr().out


def test_both_see_the_same_batches_and_every_picture_once_an_epoch(load, toys, blobs) -> None:
    speed, seen = load("image_speed"), []

    class Contender:
        classes = 10
        network = torch.nn.Linear(1, 1)

        def loss(self, x0, labels, index):
            seen.append((x0, labels, index))
            return self.network.weight.sum()

    pictures = Pictures(blobs(12, 0)[:, None], np.arange(12) % 10)
    args = speed.parse_args(["--batch-size", "4", "--train-steps", "30", "--learning-rate", "0.6"])
    pupils = [speed.Pupil("a", Contender(), pictures, args) for _ in range(2)]
    rates = []
    for _ in range(3):
        rates.append(pupils[0].plan.get_last_lr()[0])
        for pupil in pupils:
            pupil.step()
    for one, other in zip(seen[::2], seen[1::2], strict=True):
        assert all(a.equal(b) for a, b in zip(one, other, strict=True))
    shown = ((torch.cat([x0 for x0, _, _ in seen[::2]]) + 1) * 127.5).round().byte().numpy()
    assert shown.shape == pictures.pixels.shape
    assert sorted(map(bytes, shown)) == sorted(map(bytes, pictures.pixels))
    assert torch.cat([index for _, _, index in seen[::2]]).equal(torch.arange(12))
    first = (shown[0] == pictures.pixels).all((1, 2, 3)).argmax()
    assert int(seen[0][1][0]) == pictures.labels[first]
    assert rates == pytest.approx([0.2, 0.4, 0.6])  # a tenth of 30 steps is the warm-up


@pytest.mark.parametrize("calls", [2, 5])
def test_both_draw_in_equally_many_calls(toys, calls: int) -> None:
    for contender in toys:
        made = []
        hook = contender.network.register_forward_hook(lambda *_, made=made: made.append(1))
        drawn = contender.draw(contender.network, torch.tensor([3, 7]), 2, calls, seed=0)
        hook.remove()
        contender.network.requires_grad_(True)
        assert len(made) == calls and [picture.size for picture in drawn] == [(28, 28)] * 2


def test_diffusers_learns_noise_and_draws_what_its_network_knows(toys) -> None:
    rival, shade = toys[1], 0.5
    curve = rival.noise.alphas_cumprod

    class Sure(torch.nn.Module):
        """Knows that every pixel is of one shade."""

        def forward(self, x_t, step, class_labels=None):
            kept = curve[torch.as_tensor(step).reshape(-1, 1, 1, 1)]
            return SimpleNamespace(sample=(x_t - kept.sqrt() * shade) / (1 - kept).sqrt())

    learning = SimpleNamespace(noise=rival.noise, network=Sure())
    x0, labels = torch.full((6, 1, 28, 28), shade), torch.zeros(6, dtype=torch.long)
    assert type(rival).loss(learning, x0, labels, torch.arange(6)) < 1e-6
    assert type(rival).loss(learning, -x0, labels, torch.arange(6)) > 0.1
    drawn = rival.draw(Sure(), labels, 6, 4, seed=0)
    assert all(np.abs(np.asarray(picture).astype(int) - 191).max() <= 1 for picture in drawn)


def test_a_shape_of_the_same_size_is_found(rivals) -> None:
    for width in (32, 48):
        wanted = rivals.size(rivals.Textdiff(10, width).network)
        assert rivals.size(rivals.Diffusers(wanted).network) == pytest.approx(wanted, rel=0.05)
    shape, network = rivals.nearest(lambda n: torch.nn.Linear(n, 1, bias=False), [90, 98, 103, 120], 100)
    assert shape == 98 and network.weight.device.type == "cpu"
    with pytest.raises(ValueError, match="comes nearest to 100"):
        rivals.nearest(lambda n: torch.nn.Linear(n, 1, bias=False), [90, 120], 100)


def test_the_package_of_pictures_from_0_to_1_gets_and_gives_them(rivals, monkeypatch) -> None:
    got, package = [], ModuleType("denoising_diffusion_pytorch")

    class Unet(torch.nn.Module):
        def __init__(self, dim, dim_mults, channels):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(channels, len(dim_mults) * dim**2))

    class GaussianDiffusion:
        def __init__(self, network, *, image_size, sampling_timesteps=None):
            self.calls = sampling_timesteps

        def __call__(self, pixels):
            got.append(pixels)
            return pixels.sum()

        def sample(self, batch_size):
            got.append(self.calls)
            return 0.75 + 0.001 * torch.rand(batch_size, 1, 28, 28)

    package.Unet, package.GaussianDiffusion = Unet, GaussianDiffusion
    monkeypatch.setitem(sys.modules, "denoising_diffusion_pytorch", package)
    ours, rival = rivals.pair("denoising-diffusion-pytorch", 16)
    assert ours.classes == rival.classes == 0 and ours.network.config.num_classes == 0
    assert rivals.size(rival.network) == pytest.approx(rivals.size(ours.network), rel=0.05)
    rival.loss(torch.tensor([-1.0, 0.0, 1.0]), None, torch.arange(3))
    assert got.pop().tolist() == [0.0, 0.5, 1.0]
    state = torch.get_rng_state()
    drawn = rival.draw(rival.network, None, 2, 7, seed=1)
    assert got == [7] and len(drawn) == 2 and abs(int(np.asarray(drawn[0])[0, 0]) - 191) <= 1
    assert torch.get_rng_state().equal(state)


def test_the_faster_one_trains_on_to_equal_seconds(load, monkeypatch) -> None:
    speed, steps = load("image_speed"), []
    monkeypatch.setattr(speed, "take_turns", lambda calls, repeats: ([[calls[0]() or 1.5]], [[0.0]]))
    pupil = SimpleNamespace(name="textdiff", seconds=2.0, step=lambda: steps.append(1))
    speed.catch_up(pupil, 6.0)
    assert len(steps) == 3 and pupil.seconds == 6.5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--rival", "another"], "Unknown rival 'another': choose diffusers"),
        (["--train-steps", "1"], "--train-steps is 1"),
        (["--batch-size", "0"], "--batch-size is 0"),
        (["--images", "9"], "--images is 9"),
        (["--calls", "1"], "--calls is 1: give at least 2"),
        (["--calls", "1001"], "--calls is 1001: give at most 1000"),
        (["--learning-rate", "nan"], "--learning-rate is nan"),
        (["--seed", "-1"], "--seed is -1"),
        (["--json", "nowhere/images.json"], "Cannot write"),
        (["--data", "none.npz"], "none.npz does not exist"),
    ],
)
def test_bad_input_is_a_sentence(load, images, monkeypatch, change: list[str], message: str) -> None:
    monkeypatch.chdir(images)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        load("image_speed").main(asked(*change))


@pytest.mark.parametrize("reason", ["absent", "operator torchvision::nms does not exist"])
def test_a_package_that_cannot_be_imported_is_named(rivals, monkeypatch, reason: str) -> None:
    def refuse(name):
        raise ImportError(reason) if reason == "absent" else RuntimeError(reason)

    monkeypatch.setattr(rivals.importlib, "import_module", refuse)
    with pytest.raises(ValueError, match=f"{reason}.*pip install denoising-diffusion-pytorch"):
        rivals.pair("denoising-diffusion-pytorch", 16)
