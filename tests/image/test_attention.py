"""Conditions as tensors: what is masked is not seen, what is not told is the learned null, places differ."""

from __future__ import annotations

import pytest
import torch

from textdiff.image.adapters import as_denoiser
from textdiff.image.attention import Condition, ConditionReader, place_features
from textdiff.image.image_diffusion import ImageDiffusion
from textdiff.image.model import ImageDiffusionConfig, ImageDiffusionModel
from textdiff.image.sampling import Sampling
from textdiff.image.unet import UNet, UNetConfig


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def told(count: int, vectors: int, *, seed: int = 0) -> Condition:
    return Condition(noise(count, vectors, 6, seed=seed), torch.ones(count, vectors, dtype=torch.bool))


@pytest.fixture(scope="module")
def listening(grey) -> ImageDiffusion:
    """8 x 8, one channel, three classes, conditions of 6 numbers; random weights everywhere."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        unet = UNet(UNetConfig(image_size=8, width=8, heads=2, num_classes=3, condition_size=6))
        for parameter in unet.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)
    return ImageDiffusion(unet, grey.scheduler)


@pytest.mark.parametrize("blocks", [1, 2])
def test_the_condition_is_seen_and_changes_the_shape_of_nothing(blocks: int) -> None:
    config = UNetConfig(image_size=8, width=8, heads=2, blocks=blocks, condition_size=6)
    unet, x = UNet(config), noise(2, 1, 8, 12)
    for parameter in unet.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    plain, seen = unet(x, torch.zeros(2)), unet(x, torch.zeros(2), None, told(2, 3))
    assert seen.shape == x.shape
    assert (seen - plain).abs().amax((1, 2, 3)).min() > 1e-3


def test_without_a_condition_the_network_is_the_one_it_was(grey) -> None:
    assert not any("condition" in name for name in grey.network.state_dict())


def test_masked_vectors_are_not_seen_and_an_empty_row_is_not_told(listening) -> None:
    x, logsnr, condition = noise(2, 1, 8, 8), torch.zeros(2), told(2, 3)
    unet, mask = listening.network, torch.tensor([[True, True, False], [False, False, False]])
    seen = unet(x, logsnr, None, Condition(condition.embeddings, mask))
    changed = condition.embeddings.clone()
    changed[~mask] = 100.0
    torch.testing.assert_close(unet(x, logsnr, None, Condition(changed, mask)), seen)
    torch.testing.assert_close(unet(x[1:], logsnr[1:])[0], seen[1], rtol=0, atol=1e-5)
    short = Condition(condition.embeddings[:1, :2], mask[:1, :2])
    torch.testing.assert_close(unet(x[:1], logsnr[:1], None, short)[0], seen[0], rtol=0, atol=1e-5)


def test_the_order_of_vectors_does_not_matter_but_their_values_do(listening) -> None:
    x, logsnr, condition = noise(1, 1, 8, 8), torch.zeros(1), told(1, 3)
    seen = listening.network(x, logsnr, None, condition)
    turned = Condition(condition.embeddings.flip(1), condition.mask)
    torch.testing.assert_close(listening.network(x, logsnr, None, turned), seen, rtol=0, atol=1e-5)
    assert (listening.network(x, logsnr, None, told(1, 3, seed=1)) - seen).abs().max() > 1e-3


def test_the_mean_is_over_what_is_seen() -> None:
    reader = ConditionReader(6, 4)
    condition = told(2, 3)
    mask = torch.tensor([[True, False, True], [False, False, False]])
    joined, mean = reader(Condition(condition.embeddings, mask), 2)
    assert joined.embeddings.shape == (2, 4, 6)
    assert joined.mask.tolist() == [[False, True, False, True], [True, False, False, False]]
    torch.testing.assert_close(mean[0], reader.mean(condition.embeddings[0, [0, 2]].mean(0)))
    torch.testing.assert_close(mean[1], reader(None, 1)[1][0])


def test_places_are_told_apart_and_as_shares_of_the_picture() -> None:
    features = place_features(4, 6, torch.device("cpu"))
    assert torch.cdist(features, features).add(torch.eye(24)).min() > 0.1
    small, large = (place_features(n, 1, torch.device("cpu")) for n in (1, 3))
    torch.testing.assert_close(small[0], large[1])


def test_guidance_1_is_the_conditional_and_0_the_unconditional(listening) -> None:
    options = {"num_inference_steps": 3, "seed": 0}
    condition = told(2, 3)

    def drawn(**more) -> list[bytes]:
        return [picture.tobytes() for picture in listening.generate(2, **options, **more)]

    assert drawn(condition=condition, guidance_scale=1.0) == drawn(condition=condition)
    assert drawn(condition=condition, guidance_scale=0.0) == drawn()
    assert drawn(condition=condition) != drawn() != drawn(condition=condition, guidance_scale=3.0)
    alone = listening.generate(1, **options, condition=condition.rows(slice(0, 1)), guidance_scale=3.0)
    assert alone[0].tobytes() == drawn(condition=condition, guidance_scale=3.0)[0]
    one = condition.rows(slice(0, 1))
    assert drawn(condition=one)[0] == drawn(condition=condition)[0]


def test_other_tasks_take_a_condition_too(listening) -> None:
    small = listening.generate(1, size=(4, 4), num_inference_steps=1, seed=0)[0]
    plain, seen = (
        listening.super_resolve(small, 2, num_inference_steps=3, seed=0, condition=condition)[0].tobytes()
        for condition in (None, told(1, 2))
    )
    assert plain != seen


@pytest.mark.parametrize(
    ("condition", "size", "message"),
    [
        (told(2, 3), 0, "trained without captions"),
        (told(2, 3), 5, "give \\[pictures, vectors, 5\\]"),
        (told(2, 3), 6, "2 conditions for 3 pictures"),
        (Condition(noise(3, 2, 6), torch.ones(3, 1, dtype=torch.bool)), 6, "its mask \\[3, 1\\]"),
        (Condition(noise(3, 6), torch.ones(3, dtype=torch.bool)), 6, "has shape \\[3, 6\\]"),
    ],
)
def test_impossible_conditions(condition: Condition, size: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Sampling(condition=condition).condition_of(3, size)


def test_conditions_are_left_out_at_their_rate_in_training_only() -> None:
    config = ImageDiffusionConfig(image_size=8, width=8, heads=2, condition_size=6, class_dropout=0.25)
    model, seen, x0 = ImageDiffusionModel(config), [], torch.zeros(800, 1, 4, 4)
    model.unet.condition.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    condition = told(800, 2)
    mask = torch.tensor([True, False]).expand(800, -1)
    model.train()(x0, condition=condition.embeddings, condition_mask=mask)
    model.eval()(x0, condition=condition.embeddings)
    assert float((~seen[0].mask[:, 0]).float().mean()) == pytest.approx(0.25, abs=0.05)
    assert not seen[0].mask[:, 1].any() and seen[1].mask.all()


def test_a_denoiser_told_nothing_calls_networks_that_know_no_condition(listening) -> None:
    calls = []
    listening.network.register_forward_pre_hook(
        lambda module, inputs, named: calls.append(named), with_kwargs=True
    )
    x, t = noise(1, 1, 8, 8), torch.full((1,), 0.5, dtype=torch.float64)
    as_denoiser(listening.network, listening.scheduler)(x, t, None)
    as_denoiser(listening.network, listening.scheduler, condition=told(1, 2))(x, t, None)
    assert [sorted(named) for named in calls] == [[], ["condition"]]
