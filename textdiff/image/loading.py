"""Model folders of the image wing: config.json, model.safetensors and scheduler_config.json, read with torch alone."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from textdiff import storage
from textdiff.image.unet import UNet, UNetConfig

DEFAULT_MODEL, MODEL_TYPE, TRAINER = "digits", "textdiff-image", "scripts/train_image.py"
PREFIX = "unet."


def find_model(name: str | os.PathLike | None) -> Path:
    """The folder of a model: None = the bundled digits; the name of a bundled one; a folder; a hub id "owner/name".

    Raises:
        FileNotFoundError: if there is no such folder, or the hub cannot be reached or does not have it.
    """
    return storage.find_model(name, default=DEFAULT_MODEL, model_type=MODEL_TYPE, trainer=TRAINER)


def read_config(folder: Path) -> dict[str, Any]:
    """config.json, checked.

    Raises:
        FileNotFoundError: if it is missing.
        ValueError: if it is not the JSON of one of our image models.
    """
    config = storage.typed_config(folder, MODEL_TYPE, TRAINER)
    storage.part_of(config, UNetConfig, folder / storage.CONFIG_FILE)
    return config


def read_unet(folder: Path, config: Mapping[str, Any]) -> UNet:
    """The network with its weights in float32, in evaluation mode.

    Raises:
        FileNotFoundError: if weights are missing.
        ValueError: if they are damaged or do not fit the config.
    """
    state = storage.read_state(folder, PREFIX, TRAINER)
    with torch.random.fork_rng(devices=[]):
        unet = UNet(storage.part_of(config, UNetConfig, folder / storage.CONFIG_FILE))
    storage.load_state(unet, state, folder)
    return unet.eval().requires_grad_(False)
