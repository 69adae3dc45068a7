"""A classifier's two files: what it tells apart, in JSON, and its weights in safetensors."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TypeVar

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


def read_config(folder: str | os.PathLike, name: str, kind: type[Config], vocabulary: Vocabulary) -> Config:
    """What the classifier in a folder tells apart.

    Raises:
        FileNotFoundError: if there is none in the folder.
        ValueError: if it is damaged, or was made for another vocabulary.
    """
    for path in parts_of(Path(folder), name):
        if not path.is_file():
            raise FileNotFoundError(f"No classifier at {path}: give a folder of scripts/train_classifier.py.")
    config_file, _ = parts_of(Path(folder), name)
    try:
        content = json.loads(config_file.read_text(encoding="utf-8"))
        config = kind.from_dict(content if isinstance(content, dict) else {})
    except ValueError as error:
        reason = str(error).rstrip(".")
        raise ValueError(f"{config_file} is damaged ({reason}): copy it again.") from error
    if config.vocabulary != fingerprint(vocabulary):
        raise ValueError(
            f"The classifier in {folder} was made for another vocabulary than this model's: train one for this "
            "model with scripts/train_classifier.py."
        )
    return config


def load_weights(module: Module, folder: str | os.PathLike, name: str) -> Module:
    """A module with the weights of a folder, frozen.

    Raises:
        ValueError: if they are damaged, or another module's.
    """
    config_file, weights_file = parts_of(Path(folder), name)
    try:
        module.load_state_dict(load_file(weights_file))
    except (SafetensorError, RuntimeError) as error:
        raise ValueError(
            f"{weights_file} is damaged or not of the same classifier as {config_file.name}: copy both again."
        ) from error
    return module.eval().requires_grad_(False)
