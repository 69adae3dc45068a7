"""Tokenizers: trained with the `tokenizers` library, stored as a fast tokenizer that any AutoTokenizer loads.

Two kinds: byte-level BPE, cased, for which every text of every script comes back to the byte; and a word-level
vocabulary for corpora such as E2E, which are tokenised text already. Ids 0, 1, 2 are <pad>, <s> and </s>; the diffusion
model uses padding and, in pairs, <s> between source and target; an autoregressive judge or rival all three.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

SPECIAL_TOKENS = ["<pad>", "<s>", "</s>"]
UNKNOWN = "<unk>"
TOKENIZER_FILE = "tokenizer.json"


def train_bpe(texts: Iterable[str], vocab_size: int) -> Tokenizer:
    """A cased byte-level BPE tokenizer with single digits; any text round-trips.

    Raises:
        ValueError: if vocab_size has no room for the 256 bytes and the special tokens.
    """
    smallest = 256 + len(SPECIAL_TOKENS)
    if vocab_size < smallest:
        raise ValueError(f"vocab_size is {vocab_size}, but bytes and special tokens need {smallest}: ask for more.")
    tokenizer = Tokenizer(models.BPE())
    digits = pre_tokenizers.Digits(individual_digits=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=SPECIAL_TOKENS, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def train_word_level(texts: Iterable[str], *, min_count: int = 10) -> Tokenizer:
    """A word-level tokenizer on white space; words seen less than `min_count` times become <unk>."""
    tokenizer = Tokenizer(models.WordLevel(unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.WordLevelTrainer(
        special_tokens=[*SPECIAL_TOKENS, UNKNOWN], min_frequency=min_count, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def separator(tokenizer: Tokenizer) -> int:
    """The id of the token that parts a pair's source from its target, <s>.

    Raises:
        ValueError: if the tokenizer has none.
    """
    start = SPECIAL_TOKENS[1]
    found = tokenizer.token_to_id(start)
    if found is None:
        raise ValueError(f"The tokenizer has no token {start}, which parts sources from targets: train another.")
    return found


def save_tokenizer(tokenizer: Tokenizer, folder: str | os.PathLike) -> None:
    """Write tokenizer.json and the configuration that AutoTokenizer of transformers 4 and 5 reads."""
    pad, start, end = SPECIAL_TOKENS
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "pad_token": pad, "bos_token": start, "eos_token": end,
        "clean_up_tokenization_spaces": False,
    }  # fmt: skip
    if tokenizer.token_to_id(UNKNOWN) is not None:
        config["unk_token"] = UNKNOWN
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    draft = folder / f"{TOKENIZER_FILE}.part"
    tokenizer.save(str(draft))
    os.replace(draft, folder / TOKENIZER_FILE)
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def load_tokenizer(folder: str | os.PathLike) -> Tokenizer:
    """Read tokenizer.json.

    Raises:
        FileNotFoundError: if the folder has none.
        ValueError: if the file is not a tokenizer.
    """
    path = Path(folder) / TOKENIZER_FILE
    if not path.is_file():
        raise FileNotFoundError(
            f"No tokenizer at {path}: give a folder written by save_pretrained or scripts/train.py."
        )
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare Exception
        raise ValueError(f"{path} is not a tokenizer ({error}): copy it again from its source.") from error
