"""What networks predict becomes x0_hat, and a diffusers network draws what diffusers draws with it."""

from __future__ import annotations

import pytest
import torch

from textdiff.diffusion.scheduler import Scheduler
from textdiff.image.adapters import DiffusersNetwork, as_denoiser, to_x0
from textdiff.image.curve import image_curve
from textdiff.image.image_diffusion import ImageDiffusion


@pytest.mark.parametrize("prediction", ["v", "eps", "x0"])
def test_a_perfect_prediction_gives_the_picture_back(prediction: str) -> None:
    scheduler, source = image_curve(), torch.Generator().manual_seed(0)
    x0, eps = (torch.randn(3, 1, 4, 4, generator=source, dtype=torch.float64) for _ in range(2))
    t = torch.tensor([0.1, 0.5, 0.9])
    x_t = scheduler.add_noise(x0, eps, t)
    output = {"v": scheduler.v_from_x0(x_t, x0, t), "eps": eps, "x0": x0}[prediction]
    torch.testing.assert_close(to_x0(scheduler, prediction, x_t, output, t), x0, rtol=0, atol=1e-9)


@pytest.fixture(scope="module")
def theirs():
    """A small UNet2DModel of diffusers with random weights."""
    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(0)
    return diffusers.UNet2DModel(
        sample_size=8, in_channels=1, out_channels=1, block_out_channels=(8, 16), layers_per_block=1,
        norm_num_groups=4, down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"), num_class_embeds=4,
    ).eval()  # fmt: skip


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_a_diffusers_network_draws_what_diffusers_draws(theirs, prediction: str) -> None:
    from diffusers import DDIMScheduler

    noise = DDIMScheduler(clip_sample=False, timestep_spacing="trailing", prediction_type=prediction)
    model = ImageDiffusion.from_diffusers(theirs, noise)
    x = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    labels = torch.tensor([0, 2])
    noise.set_timesteps(5)
    state = x
    for step in noise.timesteps:
        with torch.no_grad():
            state = noise.step(theirs(state, step, class_labels=labels).sample, step, state).prev_sample
    from textdiff.diffusion.samplers import sample

    *_, last = sample(
        as_denoiser(model.network, model.scheduler, labels), x, model.scheduler.times(5), model.scheduler
    )
    torch.testing.assert_close(last.x, state, rtol=1e-3, atol=1e-3)


def test_a_diffusers_network_paints_and_is_saved_by_diffusers(theirs, picture, tmp_path) -> None:
    from diffusers import DDPMScheduler

    model = ImageDiffusion.from_diffusers(theirs, DDPMScheduler(clip_sample=False))
    assert (
        isinstance(model.network, DiffusersNetwork)
        and model.shape.stride == 2
        and model.shape.num_classes == 3
    )
    assert isinstance(model.scheduler, Scheduler)
    drawn = model.generate(2, labels=[0, 1], num_inference_steps=2, seed=0)
    assert [image.size for image in drawn] == [(8, 8)] * 2
    with pytest.raises(ValueError, match="save a diffusers model with diffusers"):
        model.save_pretrained(tmp_path / "model")
