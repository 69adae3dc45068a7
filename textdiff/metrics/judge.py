"""The judge: a causal language model that charges nats for given text.

nll(text) = - sum_i log p(token_i | start, token_1 .. token_{i-1}). The start is the tokenizer's BOS token,
or its EOS token where it has no BOS, so that the first token is charged too; with neither, the first token
is context only and not charged. The end of the text is not charged. Always name the judge beside its
figures.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_TOKENIZER_FILES = ("tokenizer.json", "vocab.json", "tokenizer.model", "vocab.txt", "spiece.model")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")


class Judge:
    """A causal language model of transformers, with its tokenizer, in evaluation mode."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, name: str = "judge"):
        """Takes a loaded model.

        Raises:
            ValueError: the tokenizer has more tokens than the model.
        """
        rows = model.get_input_embeddings().num_embeddings
        if len(tokenizer) > rows:
            raise ValueError(f"The judge's tokenizer has {len(tokenizer)} tokens and its model {rows}: "
                             "use the tokenizer it was trained with.")
        self.model, self.tokenizer, self.name = model.eval(), tokenizer, name

    @classmethod
    def from_pretrained(cls, folder_or_hub_id: str | Path, device: str | None = None) -> Judge:
        """Loads a judge in float32 from safetensors: a folder, or a hub id (cache first, then network).

        Args:
            folder_or_hub_id: a folder as transformers saves it, "gpt2", "owner/name".
            device: where it computes; a GPU if there is one.

        Raises:
            FileNotFoundError: no such folder or hub model, a file missing in it, or no network.
            ValueError: not a causal language model, damaged weights, or weights that do not fit the config.
        """
        folder = _find(str(folder_or_hub_id))
        _check_files(folder, str(folder_or_hub_id))
        model, tokenizer = _load(folder, str(folder_or_hub_id))
        model.to(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        return cls(model, tokenizer, str(folder_or_hub_id))

    @property
    def start_id(self) -> int | None:
        """The token every text is given to begin with: BOS, else EOS, else none."""
        bos, eos = self.tokenizer.bos_token_id, self.tokenizer.eos_token_id
        return eos if bos is None else bos

    @torch.inference_mode()
    def nll(self, texts: Sequence[str], batch_size: int = 16) -> list[tuple[float, int]]:
        """Charges each text on its own.

        Padding stands on the right and is masked, so the result depends neither on the batch nor on the
        tokenizer's padding side.

        Returns:
            For each text its nats and the number of tokens charged; (0.0, 0) for a text without tokens.

        Raises:
            ValueError: a text is longer than the model's positions, or `batch_size` is below 1.
        """
        if isinstance(texts, str):
            raise ValueError("The judge got one string: give a list of texts.")
        if batch_size < 1:
            raise ValueError(f"The judge got batch_size={batch_size}: give at least 1.")
        rows = self._rows(texts)
        results = [(0.0, 0)] * len(rows)
        order = sorted((i for i in range(len(rows)) if len(rows[i]) > 1), key=lambda i: len(rows[i]))
        for first in range(0, len(order), batch_size):
            batch = order[first:first + batch_size]
            for i, nats in zip(batch, self._charge([rows[i] for i in batch]), strict=True):
                results[i] = (nats, len(rows[i]) - 1)
        return results

    def _rows(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text after the start token, if there is one."""
        start = [] if self.start_id is None else [self.start_id]
        rows = [start + self.tokenizer(text, add_special_tokens=False, truncation=False, padding=False,
                                       verbose=False)["input_ids"] for text in texts]
        limit = getattr(self.model.config, "max_position_embeddings", None)
        for i, row in enumerate(rows):
            if limit and len(row) > limit:
                raise ValueError(f"Text {i} has {len(row)} tokens, the start included, and the judge "
                                 f"{self.name} reads {limit} at most: shorten or split it.")
        return rows

    def _charge(self, rows: list[list[int]]) -> list[float]:
        width, device = max(map(len, rows)), self.model.device
        ids = torch.tensor([row + [0] * (width - len(row)) for row in rows], device=device)
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows], device=device)
        logits = self.model(input_ids=ids, attention_mask=mask, use_cache=False).logits
        return [_nats(logits[i, :len(row) - 1], ids[i, 1:len(row)]) for i, row in enumerate(rows)]


def _nats(logits: torch.Tensor, ids: torch.Tensor) -> float:
    """Sum over tokens of -log softmax(logits)[id]; logits [L, V] in float32 at least, the sum in float64."""
    return functional.cross_entropy(logits.float(), ids, reduction="none").double().sum().item()


def _find(name: str) -> Path:
    """The folder of that name, or the local copy of that hub id."""
    if Path(name).expanduser().is_dir():
        return Path(name).expanduser()
    if not _HUB_ID.fullmatch(name):
        raise FileNotFoundError(f"There is no judge at {name}: give a language model's folder or hub id.")
    from huggingface_hub import snapshot_download
    try:
        folder = Path(snapshot_download(name, local_files_only=True))
        _check_files(folder, name)
        return folder
    except FileNotFoundError:
        return _download(name)


def _download(name: str) -> Path:
    """Fetches a model from the hub; asks quickly first: a download without network retries for long."""
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import RepositoryNotFoundError
    try:
        HfApi().model_info(name, timeout=5)
        return Path(snapshot_download(name, ignore_patterns=["*/*"],
                                      allow_patterns=["*.json", "*.safetensors", "*.txt", "*.model"]))
    except RepositoryNotFoundError as error:
        raise FileNotFoundError(f"There is no folder {name} and no model of that name on the hub: "
                                "give a language model's folder or hub id.") from error
    except Exception as error:  # whatever the network does, the way out is the same
        raise FileNotFoundError(f"There is no folder {name}, and the hub cannot be reached "
                                f"({type(error).__name__}): give a folder, or connect first.") from error


def _check_files(folder: Path, name: str) -> None:
    """Says which part of a saved model is missing."""
    wanted = {"a config.json": ("config.json",), "a tokenizer": _TOKENIZER_FILES,
              "weights in safetensors": ("model.safetensors", "model.safetensors.index.json")}
    for what, files in wanted.items():
        if not any((folder / file).is_file() for file in files):
            raise FileNotFoundError(f"The judge {name} lacks {what}: it wants {' or '.join(files)}.")


def _load(folder: Path, name: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM, AutoTokenizer
    try:
        model, report = AutoModelForCausalLM.from_pretrained(
            folder, use_safetensors=True, trust_remote_code=False, dtype=torch.float32, local_files_only=True,
            output_loading_info=True)
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except SafetensorError as error:
        raise ValueError(f"The weights of the judge {name} are damaged ({error}): get them again.") from error
    except (ValueError, KeyError, RuntimeError, OSError) as error:
        reason = str(error).strip().split("\n")[0]
        raise ValueError(f"The judge {name} does not load as a causal language model: {reason}") from error
    if report["missing_keys"]:
        raise ValueError(f"The weights of the judge {name} lack {len(report['missing_keys'])} tensors, "
                         f"{sorted(report['missing_keys'])[0]} first: they do not fit its config.json.")
    return model, tokenizer
