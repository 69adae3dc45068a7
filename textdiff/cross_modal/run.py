"""One training run of pictures with captions: rows -> Trainer -> a folder that `TextToImage` loads."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import Dataset
from transformers import set_seed

from textdiff.cross_modal.caption_words import CaptionWords
from textdiff.cross_modal.captioned import CaptionedRows, read_captioned
from textdiff.cross_modal.composed_digits import ComposedDigits, every_caption
from textdiff.cross_modal.encoder import CaptionEncoderConfig
from textdiff.cross_modal.model import TextToImageModel
from textdiff.cross_modal.presets import PRESETS, CaptionPreset
from textdiff.cross_modal.text_to_image import TextToImage
from textdiff.image.data import Pictures, pixel_std, read_source
from textdiff.image.image_diffusion import ImageDiffusion
from textdiff.image.model import ImageDiffusionConfig
from textdiff.image.run import VALIDATION_ROWS, claim, finish, preset_of, source_of
from textdiff.image.unet import UNetConfig
from textdiff.training.averaging import EMACallback
from textdiff.training.checkpoints import latest_checkpoint
from textdiff.training.trainer import AveragedTrainer, training_arguments

SIZED_BY = 500  # canvases whose pixels give the data's spread


@dataclass(frozen=True)
class Corpus:
    """What a run learns from: rows, the words of their captions, and facts of the pictures."""

    words: CaptionWords
    train: Dataset
    validation: Dataset
    data_std: float
    pictures: int


def train(args: argparse.Namespace) -> None:
    """Train, or go on training, as the command line says.

    Raises:
        ValueError: for an unknown preset, no pictures, a folder with another run, or numbers out of range.
        FileNotFoundError: for a missing file.
    """
    preset = preset_of(args, PRESETS)
    size = {} if args.image_size is None else {"image_size": args.image_size}
    shape: dict[str, Any] = {**preset.model, **size}
    config = UNetConfig(**shape)
    if config.image_size % config.stride:
        raise ValueError(f"--image-size is {config.image_size}: give a multiple of {config.stride}.")
    corpus, folder, checkpoint = begin(args, preset, config.image_size, config.image_channels)
    encoder = CaptionEncoderConfig(
        vocab_size=corpus.words.size, length=corpus.words.length, **preset.encoder
    )
    made = {**shape, "condition_size": encoder.hidden, "data_std": corpus.data_std}
    model = TextToImageModel(ImageDiffusionConfig(**made, noise_seed=args.seed), encoder)
    trainer = AveragedTrainer(
        model=model, ema=EMACallback(model, args.ema_decay),
        args=training_arguments(
            args, label="pixel_values", weight_decay=0.0, adam_beta2=0.99, **preset.rates()
        ),
        train_dataset=corpus.train, eval_dataset=corpus.validation,
    )  # fmt: skip

    def save(folder: Path) -> None:
        image = ImageDiffusion(model.image.unet, model.image.scheduler)
        TextToImage(image, model.encoder, corpus.words).save_pretrained(folder)

    finish(trainer, preset, folder, checkpoint, corpus.pictures, save)


def begin(
    args: argparse.Namespace, preset: CaptionPreset, size: int, channels: int
) -> tuple[Corpus, Path, Path | None]:
    """A run's corpus in pictures of size x size, its folder, claimed, and the checkpoint to go on from; seeds all."""
    folder = Path(args.output_dir)
    make = composed if preset.composed else captioned
    corpus = make(preset, source_of(args, preset), size, channels, args.seed)
    checkpoint = latest_checkpoint(folder)
    claim(args, folder, resuming=checkpoint is not None)
    set_seed(args.seed)
    return corpus, folder, checkpoint


def composed(preset: CaptionPreset, source: str, size: int, channels: int, seed: int) -> Corpus:
    """Canvases of training digits; validation canvases are of test digits, without held-out pairs either."""
    if channels != 1:
        raise ValueError("Composed digits are grey: give their preset one channel.")
    digits, test = read_source(source, size=28, channels=1)
    words = CaptionWords.of(every_caption())
    total = preset.max_steps * preset.batch_size
    train = ComposedDigits(digits, total=total, seed=seed, size=size, words=words)
    validation = ComposedDigits(test, total=VALIDATION_ROWS, seed=seed + 1, size=size, words=words)
    shown = np.stack([train.canvas(i).pixels for i in range(min(SIZED_BY, total))])
    return Corpus(words, train, validation, round(pixel_std(Pictures(shown)), 3), len(digits))


def captioned(preset: CaptionPreset, source: str, size: int, channels: int, seed: int) -> Corpus:
    """Pictures with a caption each; validation pictures are those of held-out captions."""
    train, held_out = read_captioned(source, size=size, channels=channels)
    words = CaptionWords.of([*train.captions, *held_out.captions])
    return Corpus(
        words,
        CaptionedRows(train, words, total=preset.max_steps * preset.batch_size, seed=seed),
        CaptionedRows(held_out, words, total=min(VALIDATION_ROWS, 4 * len(held_out)), seed=seed + 1),
        round(pixel_std(train.pictures), 3),
        len(train),
    )
