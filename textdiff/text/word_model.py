"""What models over words share: an encoder, a list of labels, and a folder to be saved in and loaded from.

A folder holds config.json (kind, sizes, labels), words.json and model.safetensors.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from textdiff.text.loading import CONFIG_FILE, WEIGHTS_FILE, Draft, read_json, read_tensors
from textdiff.text.words import EncoderShape, WordEncoder, WordFeatures, check_sentences, stack

WORDS_FILE = "words.json"
MADE_BY = "scripts/train_oracle.py"
ADVICE = f"give a folder written by {MADE_BY}"


class WordModel(nn.Module):
    """An encoder of words and what it may say; heads are added by those who derive from it.

    Args:
        shape: sizes of the encoder.
        words: those with an embedding of their own.
        labels: what is said of words or spans.
    """

    KIND: ClassVar[str]  # what config.json says the folder holds

    def __init__(self, shape: EncoderShape, words: Sequence[str], labels: Sequence[str]) -> None:
        super().__init__()
        self.shape, self.labels = shape, list(labels)
        self.features = WordFeatures(words, shape.buckets)
        self.encoder = WordEncoder(shape, len(words))

    def save(self, folder: str | os.PathLike) -> None:
        """Write the model's three files.

        Raises:
            OSError: if they cannot be written; old ones then stay.
        """
        with Draft(folder) as draft:
            config = {"model_type": self.KIND, **asdict(self.shape), "labels": self.labels}
            (draft / CONFIG_FILE).write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
            words = json.dumps({"words": self.features.words}, ensure_ascii=False, indent=0)
            (draft / WORDS_FILE).write_text(words + "\n", encoding="utf-8")
            state = {name: tensor.detach().cpu().contiguous() for name, tensor in self.state_dict().items()}
            save_file(state, draft / WEIGHTS_FILE, metadata={"format": "pt"})

    @classmethod
    def load(cls, folder: str | os.PathLike) -> Self:
        """A saved model, ready to be asked.

        Raises:
            FileNotFoundError: if the folder or one of its files is missing.
            ValueError: if a file is damaged, or is not one of such a model.
        """
        path = Path(folder)
        config = read_json(path / CONFIG_FILE, ADVICE)
        if config.get("model_type") != cls.KIND:
            raise ValueError(
                f"{path / CONFIG_FILE} describes a model of type {config.get('model_type')!r}, "
                f"not {cls.KIND!r}: give a folder written by {MADE_BY} --kind {cls.KIND.rpartition('-')[2]}."
            )
        words = _strings(read_json(path / WORDS_FILE, ADVICE), "words", path / WORDS_FILE)
        labels = _strings(config, "labels", path / CONFIG_FILE)
        try:
            sizes: dict[str, Any] = {field.name: config.get(field.name) for field in fields(EncoderShape)}
            shape = EncoderShape(**sizes)
        except ValueError as error:
            raise ValueError(f"{path / CONFIG_FILE}: {error} Copy the file again.") from error
        with torch.random.fork_rng(devices=[]):  # for weights soon replaced
            model = cls(shape, words, labels)
        model.load_state_dict(read_state(path, model.state_dict()))
        return model.eval().requires_grad_(False)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.encoder.words.weight.device

    def batches(
        self, sentences: Sequence[Sequence[str]], *, cells: int, power: int
    ) -> Iterator[tuple[list[int], Tensor, Tensor]]:
        """Batches of sentences of like lengths: indices, features and segments; empty ones are left out.

        Args:
            sentences: lists of words.
            cells: at most so many in a batch of more than one sentence.
            power: a sentence of n words has (n + 2)^power cells.

        Raises:
            ValueError: if one is not a list of words, or is too long.
        """
        check_sentences(sentences)
        waiting = sorted(
            (k for k, words in enumerate(sentences) if words), key=lambda k: (len(sentences[k]), k)
        )
        while waiting:
            size = 1
            while size < len(waiting) and (size + 1) * (len(sentences[waiting[size]]) + 2) ** power <= cells:
                size += 1
            batch, waiting = waiting[:size], waiting[size:]
            features, segments = stack([self.features(sentences[k]) for k in batch])
            yield batch, features.to(self.device), segments.to(self.device)


def read_state(folder: Path, wanted: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a folder, in float32, with the names and shapes wanted.

    Raises:
        FileNotFoundError: if they are missing.
        ValueError: if they are damaged or do not fit.
    """
    path = folder / WEIGHTS_FILE
    if not path.is_file():
        raise FileNotFoundError(f"No weights in {folder} ({WEIGHTS_FILE} is missing): copy them again.")
    state = {name: tensor.to(torch.float32) for name, tensor in read_tensors(path).items()}
    wrong = sorted(wanted.keys() ^ state.keys()) or sorted(
        k for k in wanted if wanted[k].shape != state[k].shape
    )
    if wrong:
        raise ValueError(
            f"The weights in {folder} do not fit its {CONFIG_FILE} and {WORDS_FILE} ({len(wrong)} tensors "
            f"differ, {wrong[0]} first): the files must come from the same model."
        )
    broken = [name for name, tensor in state.items() if not tensor.isfinite().all()]
    if broken:
        raise ValueError(
            f"The weights in {folder} are corrupted ({broken[0]} is not finite): copy them again."
        )
    return state


def _strings(content: dict[str, Any], name: str, path: Path) -> list[str]:
    """A list of different strings."""
    found = content.get(name)
    if not isinstance(found, list) or any(type(x) is not str for x in found) or len(set(found)) < len(found):
        raise ValueError(f"{path} has no list of different {name}: copy it again from its source.")
    return found
