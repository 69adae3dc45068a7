"""Folders that hold a model: bundled, named or on the hub; JSON and safetensors read and written with torch alone.

What is wrong with a file is said in a sentence. Files are written beside the folder first, so a full disk leaves the
old ones.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from sys import float_info
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

BUNDLED = Path(__file__).resolve().parent / "weights"
CONFIG_FILE, WEIGHTS_FILE, INDEX_FILE = "config.json", "model.safetensors", "model.safetensors.index.json"

Shape = TypeVar("Shape")  # a dataclass


def find_model(name: str | os.PathLike | None, *, default: str, model_type: str, trainer: str) -> Path:
    """The folder of a model: None = the bundled one; the name of a bundled one; a folder; a hub id "owner/name".

    Args:
        name: as above.
        default: the bundled one that None stands for.
        model_type: of the wanted model's config.
        trainer: the script that writes such folders.

    Raises:
        FileNotFoundError: if there is no such folder, or the hub cannot be reached or does not have it.
    """
    text = default if name is None else os.fspath(name)
    folder = Path(text).expanduser()
    if text.strip() and folder.is_dir() and name is not None:
        return folder
    if text and "/" not in text and (BUNDLED / text / CONFIG_FILE).is_file():
        return BUNDLED / text
    if text.count("/") == 1 and not text.startswith((".", "/", "~")) and not text.endswith("/"):
        return download(text)
    raise FileNotFoundError(
        f"No model folder {text!r}: give a folder written by {trainer}, a hub id owner/name, or "
        f"the name of a bundled model ({', '.join(bundled_models(model_type)) or 'none is installed'})."
    )


def bundled_models(model_type: str) -> list[str]:
    """Names of the bundled models of a type."""
    configs = {
        path.parent.name: read_json(path, "install it again") for path in BUNDLED.glob(f"*/{CONFIG_FILE}")
    }
    return sorted(name for name, config in configs.items() if config.get("model_type") == model_type)


def typed_config(folder: Path, model_type: str, trainer: str) -> dict[str, Any]:
    """config.json of a model of this type.

    Raises:
        FileNotFoundError: if it is missing.
        ValueError: if it is not the JSON of such a model.
    """
    path = folder / CONFIG_FILE
    config = read_json(path, f"give a folder written by save_pretrained or {trainer}")
    if config.get("model_type") != model_type:
        raise ValueError(
            f"{path} describes a model of type {config.get('model_type')!r}, not {model_type!r}: give another."
        )
    return config


def part_of(config: Mapping[str, Any], kind: type[Shape], path: Path) -> Shape:
    """The part of a model's config that one dataclass of numbers holds; defaults where an entry is missing.

    Args:
        config: of the model.
        kind: the dataclass.
        path: of the config, for the message.

    Raises:
        ValueError: if an entry is of another kind than its default.
    """
    found = {}
    for field in fields(kind):  # type: ignore[arg-type]
        value, wanted = config.get(field.name, field.default), type(field.default)
        if wanted is tuple:
            right = isinstance(value, list | tuple) and all(type(one) is int for one in value)
        else:
            right = type(value) is wanted
        if wanted is float:
            right = isinstance(value, int | float) and abs(value) <= float_info.max
        if not right:
            raise ValueError(f"{path} says {field.name} = {value!r}, which cannot be: copy the file again.")
        found[field.name] = value
    return kind(**found)


def download(hub_id: str) -> Path:
    """The local copy of a hub repository."""
    from huggingface_hub import snapshot_download

    try:
        return Path(
            snapshot_download(hub_id, allow_patterns=["*.json", "*.safetensors", "*.md"], etag_timeout=5)
        )
    except Exception as error:  # the library raises errors of many kinds, those of its HTTP client among them
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise FileNotFoundError(
            f"There is no folder {hub_id!r} here, and the hub gave no such model ({reason}): check the name and the "
            "network, or give a folder."
        ) from error


def read_state(folder: Path, prefix: str, trainer: str) -> dict[str, Tensor]:
    """The weights of a folder in float32, the prefix taken off their names; read in full before any is used.

    Raises:
        FileNotFoundError: if weights are missing.
        ValueError: if they are damaged.
    """
    return {
        name.removeprefix(prefix): tensor.to(torch.float32, copy=True)
        for path in weight_files(folder, trainer)
        for name, tensor in read_tensors(path).items()
    }


def load_state(module: nn.Module, state: dict[str, Tensor], folder: Path) -> None:
    """Give a module the weights read from a folder.

    Raises:
        ValueError: if they do not fit it, or are not finite.
    """
    wanted = module.state_dict()
    wrong = sorted(wanted.keys() ^ state.keys()) or sorted(
        k for k in wanted if wanted[k].shape != state[k].shape
    )
    if wrong:
        raise ValueError(
            f"The weights in {folder} do not fit its {CONFIG_FILE} ({len(wrong)} tensors differ, {wrong[0]} first): "
            "the two files must come from the same model."
        )
    broken = [name for name, tensor in state.items() if not tensor.isfinite().all()]
    if broken:
        raise ValueError(
            f"The weights in {folder} are corrupted ({broken[0]} is not finite): copy them again."
        )
    module.load_state_dict(state, assign=True)


def write_state(folder: Path, module: nn.Module, prefix: str) -> None:
    """model.safetensors, with a prefix before every name, as AutoModel reads it."""
    state = {
        f"{prefix}{name}": tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()
    }
    save_file(state, folder / WEIGHTS_FILE, metadata={"format": "pt"})


def weight_files(folder: Path, trainer: str) -> list[Path]:
    """The file or shards that hold the weights."""
    if (folder / WEIGHTS_FILE).is_file():
        return [folder / WEIGHTS_FILE]
    if not (folder / INDEX_FILE).is_file():
        raise FileNotFoundError(
            f"No weights in {folder} ({WEIGHTS_FILE} is missing): copy them, or train with {trainer}."
        )
    names = read_json(folder / INDEX_FILE, "copy it again").get("weight_map")
    if not isinstance(names, dict) or not names:
        raise ValueError(f"{folder / INDEX_FILE} names no weights: copy it again from its source.")
    files = [folder / Path(str(name)).name for name in sorted(set(names.values()))]
    for path in files:
        if not path.is_file():
            raise FileNotFoundError(
                f"A part of the weights, {path}, is missing: copy it again from its source."
            )
    return files


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file.

    Raises:
        ValueError: if it is damaged.
    """
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(
            f"{path} is truncated or corrupted ({error}): copy it again from its source."
        ) from error


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
