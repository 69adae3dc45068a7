"""Training that starts from a model's weights: its shape and tokenizer stay, the data are new."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from textdiff.text.loading import read_config, read_denoiser, read_tokenizer
from textdiff.text.model import DiffusionLMConfig, DiffusionLMModel
from textdiff.text.presets import Preset
from textdiff.text.tokenizer import UNKNOWN

OF_THE_DATA = {"length_counts": None, "target_lengths": None, "sides": False, "copies": 0.0}  # of a config
LOOKED_AT, STRANGE = 1000, 0.05  # texts, and the share of their words that may be unknown


def warn_of_strangers(texts: Iterable[str], tokenizer: Tokenizer) -> None:
    """Warn where a model of whole words does not know many of those in the first texts."""
    unknown = tokenizer.token_to_id(UNKNOWN)
    ids = [token for one in tokenizer.encode_batch_fast(list(islice(texts, LOOKED_AT))) for token in one.ids]
    strange = sum(token == unknown for token in ids) / max(1, len(ids))
    if strange > STRANGE:
        warnings.warn(
            f"{strange:.0%} of the words are unknown to the model and will be learned as {UNKNOWN}: start from "
            "one whose tokens are pieces of words, or from none.",
            stacklevel=2,
        )


def shaped_like(preset: Preset, folder: Path, *, recipe: str | None = None) -> Preset:
    """A preset with the shape and the recipe of the model it starts from, in rows that its window fits.

    Args:
        preset: of the run.
        folder: of the model.
        recipe: what the command line asks for.

    Raises:
        FileNotFoundError: if a file of the model is missing.
        ValueError: if the model is damaged, or was trained by another recipe.
    """
    config = DiffusionLMConfig(**read_config(folder))
    shape = config.denoiser_config().to_dict()
    read_tokenizer(folder, shape.pop("vocab_size"))
    own = "bound" if config.categorical else "diffusion_lm"
    if recipe not in (None, own):
        raise ValueError(f"--recipe is {recipe}, but the model in {folder} was trained by {own}: leave it out.")
    row_length = max(preset.row_length, config.max_position_embeddings)
    return replace(preset, model=shape, recipe=own, row_length=row_length)


def load_start(folder: Path, lengths: dict[str, Any], seed: int) -> DiffusionLMModel:
    """The model to start from, in float32, with what the new data say of lengths.

    Args:
        folder: of the model.
        lengths: fields of its config.
        seed: of the noise.

    Raises:
        FileNotFoundError: if weights are missing.
        ValueError: if they are damaged.
    """
    config = read_config(folder)
    own = {**config, **OF_THE_DATA, **lengths, "noise_seed": seed, "dtype": "float32"}
    model = DiffusionLMModel(DiffusionLMConfig(**own))
    # a model of texts that becomes one of pairs gets a copying head, which is silent at first
    wanted, given = model.denoiser.state_dict(), read_denoiser(folder, config).state_dict()
    model.denoiser.load_state_dict({name: given.get(name, fresh) for name, fresh in wanted.items()})
    model.load_noise_levels(folder)
    return model
