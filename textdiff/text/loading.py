"""Model folders of the text wing: found, checked, read and written, with torch, safetensors and tokenizers alone.

A folder holds config.json, model.safetensors (or shards and their index), scheduler_config.json and tokenizer.json.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer

from textdiff import storage
from textdiff.storage import BUNDLED, CONFIG_FILE, INDEX_FILE, WEIGHTS_FILE, Draft, read_json, read_tensors
from textdiff.text.denoiser import DenoiserConfig, TextDenoiser
from textdiff.text.ordered_denoiser import make_denoiser
from textdiff.text.tokenizer import load_tokenizer

__all__ = [
    "BUNDLED", "CLASSIFIERS", "CONFIG_FILE", "INDEX_FILE", "MODEL_TYPE", "WEIGHTS_FILE", "Draft",
    "find_classifiers", "find_model", "read_config", "read_denoiser", "read_json", "read_tensors", "read_tokenizer",
    "write_weights",
]  # fmt: skip

DEFAULT_MODEL, MODEL_TYPE, TRAINER = "english", "textdiff", "scripts/train.py"
PREFIX = "denoiser."
CLASSIFIERS = "classifiers"  # where in a model's folder those made for it lie


def find_model(name: str | os.PathLike | None) -> Path:
    """The folder of a model: None = the bundled one; the name of a bundled one; a folder; a hub id "owner/name".

    Raises:
        FileNotFoundError: if there is no such folder, or the hub cannot be reached or does not have it.
    """
    return storage.find_model(name, default=DEFAULT_MODEL, model_type=MODEL_TYPE, trainer=TRAINER)


def find_classifiers(folder: Path) -> list[Path]:
    """The folders of a model's classifiers, in the order of their names."""
    kinds = ("classifier", "bag")
    return sorted({path.parent for kind in kinds for path in folder.glob(f"{CLASSIFIERS}/*/{kind}.json")})


def read_config(folder: Path) -> dict[str, Any]:
    """config.json, checked.

    Raises:
        FileNotFoundError: if it is missing.
        ValueError: if it is not the JSON of one of our models.
    """
    path, config = folder / CONFIG_FILE, storage.typed_config(folder, MODEL_TYPE, TRAINER)
    for name, value in storage.part_of(config, DenoiserConfig, path).to_dict().items():
        if type(value) is int and value < (name != "reading_layers"):
            raise ValueError(f"{path} says {name} = {value!r}, which cannot be: copy the file again.")
    if config.get("hidden_size", 4) % (2 * config.get("num_attention_heads", 1)):
        raise ValueError(f"{path}: hidden_size is not an even multiple of num_attention_heads: copy the file again.")
    return config


def read_denoiser(folder: Path, config: Mapping[str, Any]) -> TextDenoiser:
    """The denoiser with its weights in float32, in evaluation mode.

    Raises:
        FileNotFoundError: if weights are missing.
        ValueError: if they are damaged or do not fit the config.
    """
    state = storage.read_state(folder, PREFIX, TRAINER)
    with torch.random.fork_rng(devices=[]):  # for weights soon replaced; a meta device costs a second of imports
        denoiser = make_denoiser(storage.part_of(config, DenoiserConfig, folder / CONFIG_FILE))
    storage.load_state(denoiser, state, folder)
    return denoiser.eval().requires_grad_(False)


def read_tokenizer(folder: Path, vocab_size: int) -> Tokenizer:
    """The tokenizer, no larger than the model's vocabulary.

    Raises:
        FileNotFoundError: if it is missing.
        ValueError: if it is damaged or has tokens that the model does not know.
    """
    tokenizer = load_tokenizer(folder)
    if tokenizer.get_vocab_size() > vocab_size:
        raise ValueError(
            f"The tokenizer in {folder} has {tokenizer.get_vocab_size()} tokens, but its model knows {vocab_size}: "
            "tokenizer.json and the weights must come from the same model."
        )
    return tokenizer


def write_weights(folder: Path, denoiser: TextDenoiser) -> None:
    """model.safetensors, in the names that AutoModel reads."""
    storage.write_state(folder, denoiser, PREFIX)
