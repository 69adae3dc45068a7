"""`TextToImage`: captions in, pictures out; needs torch, tokenizers, safetensors and Pillow.

A caption encoder and an `ImageDiffusion` that takes its vectors as condition. They meet in tensors: whatever
else the image wing can do (inpaint, enlarge), it does with a caption too, given `condition(captions)`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack

import torch
from PIL import Image
from torch import nn

from textdiff import storage
from textdiff.cross_modal.caption_words import CaptionWords
from textdiff.cross_modal.encoder import CaptionEncoder, CaptionEncoderConfig
from textdiff.diffusion.scheduler import Scheduler
from textdiff.image.attention import Condition
from textdiff.image.image_diffusion import ImageDiffusion
from textdiff.image.sampling import Options
from textdiff.image.unet import UNet, UNetConfig

DEFAULT_MODEL, MODEL_TYPE, TRAINER = "composed-digits", "textdiff-text-to-image", "scripts/train_image.py"
GUIDANCE_SCALE = 1.5


class TextToImage:
    """A diffusion model of pictures that reads captions.

    Args:
        image: its network takes conditions as wide as the encoder's vectors.
        encoder: of captions.
        words: the encoder's vocabulary.

    Raises:
        ValueError: if the parts do not fit each other.
    """

    def __init__(self, image: ImageDiffusion, encoder: CaptionEncoder, words: CaptionWords) -> None:
        wanted = (image.shape.condition_size, encoder.config.vocab_size, encoder.config.length)
        if wanted != (encoder.config.hidden, words.size, words.length):
            raise ValueError(
                "U-Net, caption encoder and vocabulary do not fit each other: take them from one model."
            )
        self.image, self.words = image, words
        self.encoder = encoder.to(image.device).eval().requires_grad_(False)

    @classmethod
    def from_pretrained(
        cls, name: str | os.PathLike | None = None, *, device: str | torch.device = "cpu"
    ) -> TextToImage:
        """Load the bundled composed digits (None), another bundled model, a folder, or a hub id; float32.

        Raises:
            FileNotFoundError: if there is no such model, or a file of it is missing.
            ValueError: if a file of it is damaged or does not fit the others.
        """
        folder = storage.find_model(name, default=DEFAULT_MODEL, model_type=MODEL_TYPE, trainer=TRAINER)
        unet, encoder = _shapes(folder, storage.typed_config(folder, MODEL_TYPE, TRAINER))
        state = storage.read_state(folder, "", TRAINER)
        with torch.random.fork_rng(devices=[]):
            network, reader = UNet(unet), CaptionEncoder(encoder)
        storage.load_state(nn.ModuleDict({"unet": network, "encoder": reader}), state, folder)
        image = ImageDiffusion(network.to(device), Scheduler.from_pretrained(folder))
        return cls(image, reader, CaptionWords.load(folder, encoder.length))

    def save_pretrained(self, folder: str | os.PathLike) -> None:
        """Write what `from_pretrained` reads; on an error old files stay as they were."""
        config = {
            "model_type": MODEL_TYPE,
            "unet": self.image.shape.to_dict(),
            "encoder": self.encoder.config.to_dict(),
        }
        parts = nn.ModuleDict({"unet": self.image.network, "encoder": self.encoder})
        with storage.Draft(folder) as draft:
            (draft / storage.CONFIG_FILE).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
            storage.write_state(draft, parts, "")
            self.image.scheduler.save_pretrained(draft)
            self.words.save(draft)

    @torch.no_grad()
    def condition(self, captions: str | Sequence[str]) -> Condition:
        """What pictures of captions are told: vectors [B, N, H] and their mask, for any call of `self.image`.

        Raises:
            ValueError: if there is no caption, or one is empty, too long, or has words never learned.
        """
        listed = _listed(captions)
        return self.encoder(self.words.encode(listed).to(self.image.device))

    def generate(
        self, captions: str | Sequence[str], *, num_samples: int = 1, **options: Unpack[Options]
    ) -> list[Image.Image]:
        """Pictures of captions.

        Args:
            captions: one, or a list.
            num_samples: pictures of each, which come one after another.
            **options: how to sample, see `Options`; guidance_scale is 1.5 if none is given.

        Raises:
            ValueError: if a caption cannot be read, or an argument is out of range.
        """
        if num_samples < 1:
            raise ValueError(f"num_samples is {num_samples}: it must be at least 1.")
        if options.get("condition") is not None:
            raise ValueError("The condition is made of the captions: leave condition out.")
        embeddings, mask = self.condition(captions)
        told = Condition(
            embeddings.repeat_interleave(num_samples, 0), mask.repeat_interleave(num_samples, 0)
        )
        chosen: Options = {"guidance_scale": GUIDANCE_SCALE, **options, "condition": told}
        return self.image.generate(len(told.mask), **chosen)


def _listed(captions: str | Sequence[str]) -> list[str]:
    """One caption or several as a list of them."""
    listed = [captions] if isinstance(captions, str) else list(captions)
    if not listed or not all(isinstance(caption, str) for caption in listed):
        raise ValueError("There is no caption, or one that is no text: give a string or a list of them.")
    return listed


def _shapes(folder: Path, config: Mapping[str, Any]) -> tuple[UNetConfig, CaptionEncoderConfig]:
    """Both networks' parts of config.json."""
    try:
        return UNetConfig(**config["unet"]), CaptionEncoderConfig(**config["encoder"])
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"{folder / storage.CONFIG_FILE} does not describe U-Net and encoder ({error}): copy it again."
        ) from error
