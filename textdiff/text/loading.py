"""Model folders: found, checked, read and written, with torch, safetensors and tokenizers alone.

A folder holds config.json, model.safetensors (or shards and their index), scheduler_config.json and tokenizer.json.
What is wrong with one is said in a sentence. Files are written beside the folder first, so a full disk leaves the old
ones.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor

from textdiff.text.denoiser import DenoiserConfig, TextDenoiser
from textdiff.text.tokenizer import load_tokenizer

BUNDLED = Path(__file__).resolve().parents[1] / "weights"
DEFAULT_MODEL = "english"
CONFIG_FILE, WEIGHTS_FILE, INDEX_FILE = "config.json", "model.safetensors", "model.safetensors.index.json"
MODEL_TYPE = "textdiff"


def find_model(name: str | os.PathLike | None) -> Path:
    """The folder of a model: None = the bundled one; the name of a bundled one; a folder; a hub id "owner/name".

    Raises:
        FileNotFoundError: if there is no such folder, or the hub cannot be reached or does not have it.
    """
    text = DEFAULT_MODEL if name is None else os.fspath(name)
    folder = Path(text).expanduser()
    if folder.is_dir() and name is not None:
        return folder
    if text and "/" not in text and (BUNDLED / text / CONFIG_FILE).is_file():
        return BUNDLED / text
    if text.count("/") == 1 and not text.startswith((".", "/", "~")) and not text.endswith("/"):
        return _download(text)
    bundled = sorted(path.parent.name for path in BUNDLED.glob(f"*/{CONFIG_FILE}"))
    raise FileNotFoundError(
        f"No model folder {text!r}: give a folder written by scripts/train.py, a hub id owner/name, or "
        f"the name of a bundled model ({', '.join(bundled) or 'none is installed'})."
    )


def _download(hub_id: str) -> Path:
    """The local copy of a hub repository."""
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(hub_id, allow_patterns=["*.json", "*.safetensors", "*.md"], etag_timeout=5))
    except Exception as error:  # the library raises errors of many kinds, those of its HTTP client among them
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise FileNotFoundError(
            f"There is no folder {hub_id!r} here, and the hub gave no such model ({reason}): check the name and the "
            "network, or give a folder."
        ) from error


def read_config(folder: Path) -> dict[str, Any]:
    """config.json, checked.

    Raises:
        FileNotFoundError: if it is missing.
        ValueError: if it is not the JSON of one of our models.
    """
    path = folder / CONFIG_FILE
    config = read_json(path, "give a folder written by save_pretrained or scripts/train.py")
    if config.get("model_type") != MODEL_TYPE:
        raise ValueError(
            f"{path} describes a model of type {config.get('model_type')!r}, not {MODEL_TYPE!r}: give another."
        )
    for field in fields(DenoiserConfig):
        value, kind = config.get(field.name, field.default), type(field.default)
        right = isinstance(value, int | float) if kind is float else type(value) is kind
        if not right or (kind is int and value < 1):
            raise ValueError(
                f"{path} says {field.name} = {value!r}, which cannot be: copy the file again."
            )
    if config.get("hidden_size", 4) % (2 * config.get("num_attention_heads", 1)):
        raise ValueError(f"{path}: hidden_size is not an even multiple of num_attention_heads: copy the file again.")
    return config


def denoiser_config(config: Mapping[str, Any]) -> DenoiserConfig:
    """The denoiser's part of a config."""
    return DenoiserConfig(**{field.name: config.get(field.name, field.default) for field in fields(DenoiserConfig)})


def read_denoiser(folder: Path, config: Mapping[str, Any]) -> TextDenoiser:
    """The denoiser with its weights in float32, in evaluation mode.

    Raises:
        FileNotFoundError: if weights are missing.
        ValueError: if they are damaged or do not fit the config.
    """
    prefix = "denoiser."
    state = {
        name.removeprefix(prefix): tensor.to(torch.float32, copy=True)
        for path in _weight_files(folder)
        for name, tensor in read_tensors(path).items()
    }
    with torch.random.fork_rng(devices=[]):  # for weights soon replaced; a meta device costs a second of imports
        denoiser = TextDenoiser(denoiser_config(config))
    wanted = denoiser.state_dict()
    wrong = sorted(wanted.keys() ^ state.keys()) or sorted(k for k in wanted if wanted[k].shape != state[k].shape)
    if wrong:
        raise ValueError(
            f"The weights in {folder} do not fit its {CONFIG_FILE} ({len(wrong)} tensors differ, {wrong[0]} first): "
            "the two files must come from the same model."
        )
    broken = [name for name, tensor in state.items() if not tensor.isfinite().all()]
    if broken:
        raise ValueError(f"The weights in {folder} are corrupted ({broken[0]} is not finite): copy them again.")
    denoiser.load_state_dict(state, assign=True)
    return denoiser.eval().requires_grad_(False)


def _weight_files(folder: Path) -> list[Path]:
    """The file or shards that hold the weights."""
    if (folder / WEIGHTS_FILE).is_file():
        return [folder / WEIGHTS_FILE]
    if not (folder / INDEX_FILE).is_file():
        raise FileNotFoundError(
            f"No weights in {folder} ({WEIGHTS_FILE} is missing): copy them, or train with scripts/train.py."
        )
    names = read_json(folder / INDEX_FILE, "copy it again").get("weight_map")
    if not isinstance(names, dict) or not names:
        raise ValueError(f"{folder / INDEX_FILE} names no weights: copy it again from its source.")
    files = [folder / Path(str(name)).name for name in sorted(set(names.values()))]
    for path in files:
        if not path.is_file():
            raise FileNotFoundError(f"A part of the weights, {path}, is missing: copy it again from its source.")
    return files


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file.

    Raises:
        ValueError: if it is damaged.
    """
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path} is truncated or corrupted ({error}): copy it again from its source.") from error


def read_json(path: Path, advice: str) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        FileNotFoundError: if it is missing; `advice` says what to do.
        ValueError: if it is no JSON object.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: {advice}.")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not valid JSON ({error}): copy it again from its source.") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds no JSON object: copy it again from its source.")
    return content


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
    state = {f"denoiser.{name}": tensor.detach().cpu().contiguous() for name, tensor in denoiser.state_dict().items()}
    save_file(state, folder / WEIGHTS_FILE, metadata={"format": "pt"})


class Draft:
    """A folder's new files, written beside it and moved in at the end; on an error the old files stay."""

    def __init__(self, folder: str | os.PathLike) -> None:
        self.folder = Path(folder)

    def __enter__(self) -> Path:
        if self.folder.exists() and not self.folder.is_dir():
            raise ValueError(f"{self.folder} is a file: give a folder to save into.")
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        self.draft = Path(tempfile.mkdtemp(prefix=f".{self.folder.name}.", dir=self.folder.parent))
        return self.draft

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._move()
        finally:
            shutil.rmtree(self.draft, ignore_errors=True)

    def _move(self) -> None:
        self.folder.mkdir(exist_ok=True)
        for path in self.draft.iterdir():
            path.replace(self.folder / path.name)
        for stale in [self.folder / INDEX_FILE, *self.folder.glob("model-*-of-*.safetensors")]:
            stale.unlink(missing_ok=True)
