"""Tiny models that draw captions and that write them, and made-up digits of ten classes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from textdiff.cross_modal.caption_words import CaptionWords
from textdiff.cross_modal.captioner import Captioner
from textdiff.cross_modal.composed_digits import every_caption
from textdiff.cross_modal.encoder import CaptionEncoder, CaptionEncoderConfig
from textdiff.cross_modal.picture_encoder import PictureEncoder, PictureEncoderConfig
from textdiff.cross_modal.text_to_image import TextToImage
from textdiff.diffusion.scheduler import Scheduler
from textdiff.image.curve import image_curve
from textdiff.image.data import Pictures
from textdiff.image.image_diffusion import ImageDiffusion
from textdiff.image.unet import UNet, UNetConfig
from textdiff.text.denoiser import DenoiserConfig, TextDenoiser
from textdiff.text.language_model import DiffusionLM


@pytest.fixture(scope="session")
def artist() -> TextToImage:
    """8 x 8 in grey, the words of composed digits, random weights everywhere."""
    words = CaptionWords.of(every_caption())
    shape = {"hidden": 16, "layers": 1, "heads": 2, "intermediate": 32}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = CaptionEncoder(CaptionEncoderConfig(vocab_size=words.size, length=words.length, **shape))
        unet = UNet(UNetConfig(image_size=8, width=8, heads=2, condition_size=16))
        for parameter in unet.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)
    return TextToImage(ImageDiffusion(unet, image_curve()), encoder, words)


@pytest.fixture(scope="session")
def patterns() -> TextToImage:
    """Trained on two captions: "light left" is a white left half, "light right" a white right half; 8 x 8."""
    pytest.importorskip("transformers")
    from textdiff.cross_modal.model import TextToImageModel
    from textdiff.image.model import ImageDiffusionConfig

    words = CaptionWords.of(["light left", "light right"])
    shape = {"hidden": 16, "layers": 1, "heads": 2, "intermediate": 32}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = TextToImageModel(
            ImageDiffusionConfig(image_size=8, width=16, heads=2, condition_size=16),
            CaptionEncoderConfig(vocab_size=words.size, length=words.length, **shape),
        ).train()
    ids, x0 = words.encode(["light left", "light right"]), -torch.ones(2, 1, 8, 8)
    x0[0, :, :, :4], x0[1, :, :, 4:] = 1.0, 1.0
    optimiser = torch.optim.Adam(model.parameters(), lr=4e-3, betas=(0.9, 0.99))
    for step in range(100):
        rows = torch.arange(32) % 2
        loss = model(x0[rows], ids[rows], sample_index=torch.arange(32) + 32 * step).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return TextToImage(ImageDiffusion(model.image.unet, model.image.scheduler), model.encoder, words)


@pytest.fixture(scope="session")
def teller() -> Captioner:
    """Reads 8 x 8 in grey, writes with the words of composed digits, random weights everywhere."""
    words = CaptionWords.of(every_caption())
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = PictureEncoder(
            PictureEncoderConfig(image_size=8, width=8, multiples=(1, 2), hidden=16, length=words.length)
        )
        denoiser = TextDenoiser(
            DenoiserConfig(words.size, 16, 16, 1, 2, 32, max_position_embeddings=words.length)
        )
        for network in (encoder, denoiser):
            for parameter in network.parameters():
                parameter.data += 0.3 * torch.randn_like(parameter)
    return Captioner(encoder, DiffusionLM(denoiser, Scheduler.adaptive([3.0, -6.0]), words.tokenizer))


@pytest.fixture(scope="session")
def digits() -> Pictures:
    """60 pictures of 28 x 28 in ten classes; one of class d is of brightness 20 d + 40 within its margin."""
    pixels, labels = np.zeros((60, 1, 28, 28), dtype=np.uint8), np.arange(60) % 10
    pixels[..., 2:-2, 2:-2] = (20 * labels + 40)[:, None, None, None]
    return Pictures(pixels, labels)


@pytest.fixture(scope="session")
def corpora(tmp_path_factory, digits):
    """Makes digits.npz, and captioned.npz of 40 square pictures in colour, red or blue things."""

    def make(side: int, things: tuple[str, str]):
        place = tmp_path_factory.mktemp("captions")
        x, y = digits.pixels[:, 0], digits.labels
        np.savez(place / "digits.npz", x_train=x, y_train=y, x_test=x[:20], y_test=y[:20])
        pictures = np.random.default_rng(0).integers(0, 256, (40, side, side, 3)).astype(np.uint8)
        captions = [f"{colour} {thing}" for colour in ("red", "blue") for thing in things] * 10
        np.savez(place / "captioned.npz", x=pictures, caption=np.array(captions))
        return place

    return make


@pytest.fixture(scope="session")
def command():
    """Makes the command line of a run of four steps."""

    def make(folder, preset: str, data, size: int, *more: str) -> list[str]:
        return [
            "--preset", preset, "--train-data", str(data), "--image-size", str(size), "--output-dir", str(folder),
            "--batch-size", "4", "--max-steps", "4", "--save-steps", "2", "--eval-steps", "4", "--logging-steps", "1",
            "--use-cpu", "--no-bf16", *more,
        ]  # fmt: skip

    return make
