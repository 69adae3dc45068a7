"""The U-Net: shapes, what it starts as, what it is told, and the size of the bundled one."""

from __future__ import annotations

import pytest
import torch

from textdiff.image.presets import PRESETS
from textdiff.image.unet import UNet, UNetConfig, level_features

SMALL = {"image_size": 8, "width": 8, "heads": 2}


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("patch", [1, 2, 4])
@pytest.mark.parametrize("multiples", [(1,), (1, 2), (1, 2, 2)])
def test_any_multiple_of_the_stride_goes_in_and_comes_out(patch: int, multiples: tuple[int, ...]) -> None:
    config = UNetConfig(**{**SMALL, "patch": patch, "multiples": multiples, "image_channels": 3})
    assert config.stride == patch * 2 ** (len(multiples) - 1)
    x = noise(2, 3, config.stride, 3 * config.stride)
    assert UNet(config)(x, torch.zeros(2)).shape == x.shape


def test_an_untrained_network_predicts_nothing() -> None:
    assert not UNet(UNetConfig(**SMALL))(noise(2, 1, 8, 8), torch.zeros(2)).any()


def test_noise_level_and_class_are_told_and_none_is_the_null_class(grey) -> None:
    x, unet = noise(2, 1, 8, 8), grey.network
    told = unet(x, torch.zeros(2), torch.tensor([0, 1]))
    assert (told - unet(x, torch.ones(2), torch.tensor([0, 1]))).abs().max() > 1e-3
    assert (told - unet(x, torch.zeros(2), torch.tensor([1, 0]))).abs().amax((1, 2, 3)).min() > 1e-3
    torch.testing.assert_close(unet(x, torch.zeros(2)), unet(x, torch.zeros(2), torch.tensor([3, 3])))


def test_rows_do_not_see_each_other(grey) -> None:
    x, logsnr = noise(3, 1, 8, 8), torch.tensor([-5.0, 0.0, 5.0])
    together = grey.network(x, logsnr)
    for i in range(3):
        torch.testing.assert_close(
            grey.network(x[i : i + 1], logsnr[i : i + 1])[0], together[i], rtol=0, atol=1e-5
        )


def test_features_are_finite_and_tell_levels_apart() -> None:
    features = level_features(torch.tensor([-torch.inf, -10.0, -9.9, 0.0, 10.0, torch.inf]))
    assert features.isfinite().all()
    assert torch.cdist(features, features).add(torch.eye(6)).min() > 0.05


def test_the_digit_preset_has_about_1_6_million_parameters() -> None:
    config = UNetConfig(**PRESETS["digits"].model, num_classes=10)
    assert sum(p.numel() for p in UNet(config).parameters()) == pytest.approx(1.6e6, rel=0.05)
    assert config.image_size % config.stride == 0


@pytest.mark.parametrize("name", PRESETS)
def test_presets_fit_their_networks(name: str) -> None:
    config = UNetConfig(**PRESETS[name].model)
    assert config.image_size % config.stride == 0
    assert UNetConfig(**config.to_dict()) == config


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prediction": "noise"}, "choose v, eps, x0"),
        ({"width": 0}, "at least 1"),
        ({"multiples": ()}, "at least 1"),
        ({"heads": 3}, "no multiple of the heads"),
    ],
)
def test_impossible_shapes_are_refused(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        UNetConfig(**{**SMALL, **change})
