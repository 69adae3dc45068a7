"""One training run of a captioner: rows -> Trainer -> a folder that `Captioner` loads."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from textdiff.cross_modal.captioner import Captioner
from textdiff.cross_modal.captioner_model import CaptionerModel
from textdiff.cross_modal.picture_encoder import PictureEncoderConfig
from textdiff.cross_modal.presets import CAPTIONERS
from textdiff.cross_modal.run import begin
from textdiff.image.run import finish, preset_of
from textdiff.text.language_model import DiffusionLM
from textdiff.text.model import DiffusionLMConfig
from textdiff.text.training import DiffusionTrainer, EMACallback, training_arguments

TERMS = ("reconstruction", "diffusion", "length")


class CaptionerTrainer(DiffusionTrainer):
    """The Trainer of text models, for one that is part of a captioner."""

    def __init__(self, model: CaptionerModel, **kwargs: Any) -> None:
        super().__init__(model=model, **kwargs)
        self.text = model.text
        self.text.accumulation_steps = self.args.gradient_accumulation_steps

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        super()._save(output_dir, state_dict=state_dict)
        self.text.save_noise_levels(output_dir if output_dir is not None else self.args.output_dir)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model=model)
        self.text.load_noise_levels(resume_from_checkpoint)


def train(args: argparse.Namespace) -> None:
    """Train, or go on training, as the command line says.

    Raises:
        ValueError: for an unknown preset, no pictures, a folder with another run, or numbers out of range.
        FileNotFoundError: for a missing file.
    """
    preset = preset_of(args, CAPTIONERS)
    size = {} if args.image_size is None else {"image_size": args.image_size}
    shape: dict[str, Any] = {**preset.encoder, **size}
    picture = PictureEncoderConfig(**shape)
    corpus, folder, checkpoint = begin(args, preset, picture.image_size, picture.image_channels)
    words = corpus.words
    text = DiffusionLMConfig(
        **preset.model, vocab_size=words.size, max_position_embeddings=words.length, noise_seed=args.seed
    )
    model = CaptionerModel(text, replace(picture, hidden=text.hidden_size, length=words.length))
    trainer = CaptionerTrainer(
        model, ema=EMACallback(model, args.ema_decay), args=training_arguments(args, **preset.rates()),
        train_dataset=corpus.train, eval_dataset=corpus.validation,
    )  # fmt: skip

    def save(folder: Path) -> None:
        language_model = DiffusionLM(model.text.denoiser, model.text.scheduler, words.tokenizer)
        Captioner(model.encoder, language_model).save_pretrained(folder)

    finish(trainer, preset, folder, checkpoint, corpus.pictures, save, terms=TERMS, unit="nats per word")
