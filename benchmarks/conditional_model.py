"""The fine-tuned baseline of control: a GPT-2 that reads a control as words, then writes the text.

The control's words are those of the model's vocabulary where it has them, such as a restaurant's name, and
words of their own beyond it where not: tags, labels, numbers. A tree is written with the tag of every word,
"(S (NP DET NOUN ) (VP VERB ) PUNCT )", or a star where its tags are not told.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from textdiff.storage import read_json
from textdiff.text.causal_rows import END, IGNORED, START, CausalRows
from textdiff.text.control_targets import Target
from textdiff.text.tokenizer import load_tokenizer
from textdiff.text.trees import CHAIN, Span
from textdiff.text.vocabulary import Vocabulary

if TYPE_CHECKING:
    from transformers import PreTrainedModel

SEPARATOR, STRANGE = "<control-end>", "<control-unknown>"  # the first of the added words


def control_words(target: Target) -> list[str]:
    """A target's control as words, the text that it was read off left out."""
    words: list[str] = []
    if target.content is not None:
        words += " : ".join(target.content).split()
    if target.tree is not None:
        words += tree_words(target.tree, target.tags or ())
    elif target.tags is not None:
        words += target.tags
    if target.span is not None:
        words += [str(target.span[0]), str(target.span[1]), target.span[2]]
    if target.length is not None:
        words.append(str(target.length))
    return words


def tree_words(spans: Sequence[Span], tags: Sequence[str] = ()) -> list[str]:
    """A tree in brackets, chains taken apart, with a tag or a star for each word that its spans reach."""
    count = max(end for _, end, _ in spans)
    opens: list[list[str]] = [[] for _ in range(count)]
    closes = [0] * (count + 1)
    for start, end, chain in sorted(spans, key=lambda span: -span[1]):
        labels = chain.split(CHAIN)
        opens[start] += [f"({label}" for label in labels]
        closes[end] += len(labels)
    leaves = [*tags[:count], *["*"] * (count - len(tags))]
    return [word for k in range(count) for word in (*opens[k], leaves[k], *[")"] * closes[k + 1])]


class ControlVocabulary:
    """Token ids of control words: those of a tokenizer, and ids beyond it for words that it lacks.

    Args:
        tokenizer: of the texts.
        added: words with ids of their own, the first beyond the tokenizer's; `SEPARATOR` and `STRANGE` lead.
    """

    def __init__(self, tokenizer: Tokenizer, added: Sequence[str]) -> None:
        self.tokenizer, self.added = tokenizer, list(added)
        size = tokenizer.get_vocab_size()
        self._ids = {word: size + k for k, word in enumerate(self.added)}
        self.size = size + len(self.added)

    @classmethod
    def of(cls, tokenizer: Tokenizer, controls: Iterable[Sequence[str]]) -> ControlVocabulary:
        """That of some controls."""
        words = sorted({word for control in controls for word in control})
        return cls(tokenizer, [SEPARATOR, STRANGE, *(w for w in words if tokenizer.token_to_id(w) is None)])

    def prompt(self, words: Sequence[str]) -> list[int]:
        """Ids of a control and the separator; words that were never seen share one id."""
        return [*map(self._id, words), self._ids[SEPARATOR]]

    @property
    def separator(self) -> int:
        """Its id."""
        return self._ids[SEPARATOR]

    def _id(self, word: str) -> int:
        known = self.tokenizer.token_to_id(word)
        return known if known is not None else self._ids.get(word, self._ids[STRANGE])


class ConditionalRows(CausalRows):
    """Packed `<s> control separator text </s>`; the loss is that of the texts and their ends.

    Args:
        pairs: ids of prompts, ended by the separator, and of texts.
        row_length: L, with the special tokens.
        separator: its id.
        total: rows of the run, None = one pass.
        seed: of the order.
    """

    def __init__(
        self, pairs: Sequence[tuple[Sequence[int], Sequence[int]]], row_length: int,
        *, separator: int, total: int | None, seed: int = 0,
    ) -> None:  # fmt: skip
        pieces = [np.array([*prompt, *text], dtype=np.int32) for prompt, text in pairs]
        super().__init__(pieces, row_length, total=total, seed=seed)
        self.separator = separator
        self.tokens_per_row = sum(len(text) for _, text in pairs) / len(self.rows)  # texts' alone

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """As in `CausalRows`; controls and separators are context alone."""
        row = super().__getitem__(index)
        ids = row["input_ids"]
        separators = ids == self.separator
        open_controls = (ids == START).cumsum(0) - separators.cumsum(0)  # 1 inside a control, else 0
        row["labels"] = row["labels"].masked_fill((open_controls > 0) | separators, IGNORED)
        return row


class ConditionalWriter:
    """A trained baseline that writes texts for targets of its kind.

    Raises:
        FileNotFoundError: if the folder holds no model.
        ValueError: if its model was not trained on controls.
    """

    def __init__(self, folder: str | Path) -> None:
        from transformers import AutoModelForCausalLM

        config = read_json(Path(folder, "config.json"), "give a folder that benchmarks/conditional.py wrote")
        if "control_kind" not in config:
            raise ValueError(
                f"The model in {folder} was not trained on controls: train one with benchmarks/conditional.py."
            )
        self.model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
            folder, use_safetensors=True
        ).eval()
        self.folder, self.kind, self.window = str(folder), config["control_kind"], config["control_window"]
        tokenizer = load_tokenizer(folder)
        self.controls = ControlVocabulary(tokenizer, config["control_words"])
        self.vocabulary = Vocabulary(tokenizer, config["vocab_size"])
        barred = self.vocabulary.banned.clone()
        barred[END] = False
        self.barred = barred.nonzero()[:, 0].tolist()

    @torch.inference_mode()
    def texts(self, target: Target, samples: int, *, seed: int, beams: int = 1) -> list[str]:
        """Texts for a target, drawn at temperature 1; or with beams the one best text that they find.

        Args:
            target: of the model's kind.
            samples: texts to draw; not read with beams.
            seed: of the draws.
            beams: 1 = draw.

        Raises:
            ValueError: if the target is of another kind, or has more words than the model can read.
        """
        if target.kind != self.kind:
            raise ValueError(
                f"The model in {self.folder} was trained for {self.kind!r} and not for {target.kind!r}."
            )
        prompt = [START, *self.controls.prompt(control_words(target))]
        room = min(self.window + 1, self.model.config.n_positions - len(prompt))
        if room < 2:
            raise ValueError(f"A control of {len(prompt)} words is too long for the model in {self.folder}.")
        ids = torch.tensor([prompt], device=self.model.device)
        drawing = {"do_sample": False, "num_beams": beams} if beams > 1 else {
            "do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0, "num_return_sequences": samples,
        }  # fmt: skip
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            out = self.model.generate(
                ids, attention_mask=torch.ones_like(ids), max_new_tokens=room, min_new_tokens=1,
                eos_token_id=END, pad_token_id=0, suppress_tokens=self.barred, **drawing,
            )  # fmt: skip
        return [self._read(row[len(prompt) :]) for row in out.tolist()]

    def _read(self, ids: list[int]) -> str:
        """The text before the end token, or as much as the window holds."""
        ids = ids[: ids.index(END)] if END in ids else ids
        return self.vocabulary.decode(ids[: self.window]).strip(" ")
