"""A classifier's two files: what it tells apart, in JSON, and its weights in safetensors."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from textdiff.text.classifier_config import BagConfig, ClassifierConfig, fingerprint
from textdiff.text.vocabulary import Vocabulary

Config = TypeVar("Config", ClassifierConfig, BagConfig)
Module = TypeVar("Module", bound=nn.Module)


def save_parts(folder: str | os.PathLike, name: str, config: ClassifierConfig | BagConfig, module: nn.Module) -> None:
    """Write NAME.json and NAME.safetensors, each whole or not at all; the folder is made where it is missing."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    state = {key: tensor.detach().cpu().contiguous() for key, tensor in module.state_dict().items()}
    config_file, weights_file = parts_of(folder, name)
    drafts = {path: path.with_name(f"{path.name}.part") for path in (weights_file, config_file)}
    save_file(state, drafts[weights_file])
    content = json.dumps(config.to_dict(), indent=1, ensure_ascii=False)
    drafts[config_file].write_text(content + "\n", encoding="utf-8")
    for path, draft in drafts.items():
        draft.replace(path)


def parts_of(folder: Path, name: str) -> tuple[Path, Path]:
    """Where the labels and the weights of a classifier lie."""
    return folder / f"{name}.json", folder / f"{name}.safetensors"


def load_parts(
    kind: Callable[[Config], Module], folder: str | os.PathLike, name: str, shape: type[Config], vocabulary: Vocabulary
) -> Module:
    """The classifier in a folder, for a model with this vocabulary; float32, frozen.

    Raises:
        FileNotFoundError: if there is none in the folder.
        ValueError: if it is damaged, or was made for another vocabulary.
    """
    config_file, weights_file = parts_of(Path(folder), name)
    for path in (config_file, weights_file):
        if not path.is_file():
            raise FileNotFoundError(f"No classifier at {path}: give a folder of scripts/train_classifier.py.")
    config = _read_config(config_file, shape)
    if config.vocabulary != fingerprint(vocabulary):
        raise ValueError(
            f"The classifier in {folder} was made for another vocabulary than this model's: train one for this "
            "model with scripts/train_classifier.py."
        )
    with torch.random.fork_rng(devices=[]):  # for weights soon replaced
        module = kind(config)
    try:
        module.load_state_dict(load_file(weights_file))
    except (SafetensorError, RuntimeError) as error:
        raise ValueError(
            f"{weights_file} is damaged or not of the same classifier as {config_file.name}: copy both again."
        ) from error
    return module.eval().requires_grad_(False)


def _read_config(path: Path, shape: type[Config]) -> Config:
    """What the classifier tells apart."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return shape.from_dict(content if isinstance(content, dict) else {})
    except ValueError as error:
        reason = str(error).rstrip(".")
        raise ValueError(f"{path} is damaged ({reason}): copy it again.") from error
