"""`Captioner`: pictures in, captions out; needs torch, tokenizers, safetensors and Pillow.

The way back from `TextToImage`: a `DiffusionLM` of captions before whose words stand the vectors that an encoder
reads in a picture. The number of words is drawn first, then the words, as the text wing does it.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import torch
from torch import Tensor, nn

from textdiff import storage
from textdiff.cross_modal.picture_encoder import PictureEncoder, PictureEncoderConfig, Read
from textdiff.diffusion.scheduler import Scheduler
from textdiff.image.pictures import read_pictures
from textdiff.text.denoiser import DenoiserConfig, TextDenoiser
from textdiff.text.language_model import DiffusionLM
from textdiff.text.loading import read_tokenizer
from textdiff.text.own_noise import candidate_seeds
from textdiff.text.plans import blank_plan
from textdiff.text.sampling import Options, Sampling, walk
from textdiff.text.tokenizer import save_tokenizer

DEFAULT_MODEL, MODEL_TYPE, TRAINER = "caption-digits", "textdiff-captioner", "scripts/train_image.py"
CAPTIONS_AT_ONCE = 64


class CaptionOptions(Options, total=False):
    """How to caption: keyword arguments of `Captioner.caption`.

    Attributes:
        num_samples: Captions of every picture, which come one after another; 1 if left out.
        picture_guidance: Classifier-free guidance by the picture: 1 = off, which is what is left out; above 1
            follows it closer, away from what captions are likely without it, at two calls of the denoiser a step.
        progress: Called with the captions written and those there will be, some at a time.
    """

    num_samples: int
    picture_guidance: float
    progress: Callable[[int, int], object] | None


class Captioner:
    """A diffusion model of captions that looks at pictures.

    Args:
        encoder: of pictures.
        language_model: whose hidden vectors and window are as wide and as long as the encoder says.

    Raises:
        ValueError: if the parts do not fit each other.
    """

    def __init__(self, encoder: PictureEncoder, language_model: DiffusionLM) -> None:
        text, picture = language_model.denoiser.config, encoder.config
        if (picture.hidden, picture.length) != (text.hidden_size, text.max_position_embeddings):
            raise ValueError("Picture encoder and text model do not fit each other: take them from one model.")
        self.encoder, self.language_model = encoder.eval().requires_grad_(False), language_model

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.language_model.denoiser.embedding.weight.device

    @classmethod
    def from_pretrained(
        cls, name: str | os.PathLike | None = None, *, device: str | torch.device = "cpu"
    ) -> Captioner:
        """Load the bundled captioner of composed digits (None), another bundled model, a folder or a hub id; float32.

        Raises:
            FileNotFoundError: if there is no such model, or a file of it is missing.
            ValueError: if a file of it is damaged or does not fit the others.
        """
        folder = storage.find_model(name, default=DEFAULT_MODEL, model_type=MODEL_TYPE, trainer=TRAINER)
        picture, text = _shapes(folder, storage.typed_config(folder, MODEL_TYPE, TRAINER))
        state = storage.read_state(folder, "", TRAINER)
        with torch.random.fork_rng(devices=[]):
            encoder, denoiser = PictureEncoder(picture), TextDenoiser(text)
        parts = nn.ModuleDict({"encoder": encoder, "denoiser": denoiser})
        storage.load_state(parts, state, folder)
        parts.to(device).requires_grad_(False)
        tokenizer = read_tokenizer(folder, text.vocab_size)
        return cls(encoder, DiffusionLM(denoiser, Scheduler.from_pretrained(folder), tokenizer))

    def save_pretrained(self, folder: str | os.PathLike) -> None:
        """Write what `from_pretrained` reads; on an error old files stay as they were."""
        denoiser = self.language_model.denoiser
        config = {
            "model_type": MODEL_TYPE, "picture": self.encoder.config.to_dict(), "text": denoiser.config.to_dict(),
        }  # fmt: skip
        with storage.Draft(folder) as draft:
            (draft / storage.CONFIG_FILE).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
            storage.write_state(draft, nn.ModuleDict({"encoder": self.encoder, "denoiser": denoiser}), "")
            self.language_model.scheduler.save_pretrained(draft)
            save_tokenizer(self.language_model.tokenizer, draft)

    @torch.no_grad()
    def read(self, pictures: Any) -> Read:
        """What the encoder reads in pictures, anything that `read_pictures` takes: P vectors each, and lengths.

        Raises:
            ValueError: if there is none, one is none, or one is of another size than the model's.
            FileNotFoundError: if a file does not exist.
        """
        config = self.encoder.config
        x0, side = read_pictures(pictures, config.image_channels), config.image_size
        for picture in x0:
            height, width = picture.shape[1:]
            if (height, width) != (side, side):
                raise ValueError(
                    f"A picture is {width} x {height} pixels, but the model reads {side} x {side}: resize it first."
                )
        return self.encoder(torch.stack(x0).to(self.device))

    def caption(self, pictures: Any, **options: Unpack[CaptionOptions]) -> list[str]:
        """Captions of pictures; what is written of a picture does not depend on the others.

        Args:
            pictures: one, or a list: PIL images, files, arrays or tensors.
            **options: how many, how strongly the picture is followed (`CaptionOptions`), and how to sample
                (`textdiff.text.sampling.Options`); the temperature is that of lengths too.

        Raises:
            ValueError: if a picture cannot be read or is of another size, or an argument is out of range.
            FileNotFoundError: if a file does not exist.
        """
        own, sampling = _checked(options)
        count, seed = own["num_samples"], sampling.pick_seed()
        lm = self.language_model
        prefix, length_logits = self.read(pictures)
        plans = [blank_plan(size) for size in self._lengths(length_logits, count, sampling.temperature, seed)]
        seeds, found = candidate_seeds(seed, count) * len(length_logits), list[str]()
        for at in range(0, len(plans), CAPTIONS_AT_ONCE):
            part = slice(at, at + CAPTIONS_AT_ONCE)
            rows = torch.arange(len(plans), device=self.device)[part] // count
            (readings,) = walk(
                lm.denoiser, lm.scheduler, lm.vocabulary, plans[part], seeds[part], sampling,
                last_only=True, source_guidance=own["picture_guidance"], prefix=prefix.rows(rows),
            )  # fmt: skip
            found += [lm.vocabulary.decode(reading[0]) for reading in readings]
            if own["progress"] is not None:
                own["progress"](len(found), len(plans))
        return found

    def _lengths(self, logits: Tensor, count: int, temperature: float, seed: int) -> list[int]:
        """Words of every picture's captions, `count` each, drawn from the chances of 1 to N; logits: [B, N]."""
        passed = (logits.double().cpu() / temperature).softmax(1).cumsum(1).numpy()
        drawn = [np.random.default_rng([seed, 4, k]).random() for k in range(count)]
        return [min(int((row <= u).sum()), len(row) - 1) + 1 for row in passed for u in drawn]


def _checked(options: CaptionOptions) -> tuple[dict[str, Any], Sampling]:
    """A captioner's own options, with their defaults, and those of sampling."""
    given: dict[str, Any] = dict(options)
    defaults: dict[str, Any] = {"num_samples": 1, "picture_guidance": 1.0, "progress": None}
    own = {name: given.pop(name, default) for name, default in defaults.items()}
    if own["num_samples"] < 1:
        raise ValueError(f"num_samples is {own['num_samples']}: it must be at least 1.")
    if not 0 <= own["picture_guidance"] < math.inf:
        raise ValueError(f"picture_guidance is {own['picture_guidance']}: it must be at least 0 (1 = off).")
    return own, Sampling(**given)


def _shapes(folder: Path, config: dict[str, Any]) -> tuple[PictureEncoderConfig, DenoiserConfig]:
    """Both networks' parts of config.json."""
    path = folder / storage.CONFIG_FILE
    picture, text = config.get("picture"), config.get("text")
    if not isinstance(picture, dict) or not isinstance(text, dict):
        raise ValueError(f"{path} does not describe picture encoder and text model: copy it again.")
    return storage.part_of(picture, PictureEncoderConfig, path), storage.part_of(text, DenoiserConfig, path)
