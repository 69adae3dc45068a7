"""`DiffusionLM`: strings in, strings out.

Generates, fills blanks, completes and scores text with a trained denoiser; needs torch, safetensors and tokenizers, not
transformers. Outside the ecosystem's words (`num_inference_steps`, `generator`), inside the papers' letters.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import torch
from tokenizers import Tokenizer

from textdiff.diffusion.limits import check_count
from textdiff.diffusion.scheduler import Scheduler
from textdiff.text import loading, ranking
from textdiff.text.blank_lengths import blank_lengths
from textdiff.text.blanks import Blank, Template, checked, parse
from textdiff.text.denoiser import TextDenoiser
from textdiff.text.own_noise import candidate_seeds
from textdiff.text.plans import Plan, Planner, blank_plan, length_chances, length_counts_of
from textdiff.text.rewriting import Rewrite, RewriteOptions, Rewriter
from textdiff.text.sampling import Options, Readings, Sampling, walk
from textdiff.text.scoring import Bound, BoundOptions, bound
from textdiff.text.tokenizer import save_tokenizer
from textdiff.text.vocabulary import Vocabulary

CANDIDATES_AT_ONCE = 32
Length = int | tuple[int, int]  # tokens, or the least and the most of them


@dataclass(frozen=True)
class Infill:
    """A filled text: the whole of it, its fills in order, and how well they fit."""

    text: str
    fills: tuple[str, ...]
    score: float  # mean log-likelihood of a blank's token given the context (a bound), nats; higher is better


class DiffusionLM:
    """A diffusion language model with its noise curve and tokenizer."""

    def __init__(
        self,
        denoiser: TextDenoiser,
        scheduler: Scheduler,
        tokenizer: Tokenizer,
        *,
        config: dict[str, Any] | None = None,
    ) -> None:
        self.denoiser, self.scheduler = denoiser.eval(), scheduler
        self.vocabulary = Vocabulary(tokenizer, denoiser.config.vocab_size)
        self.config = {**(config or {}), **denoiser.config.to_dict()}
        self.window = denoiser.config.max_position_embeddings
        self.length_counts: list[int] = length_counts_of(self.config)
        self.folder: Path | None = None  # that it was loaded from

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer."""
        return self.vocabulary.tokenizer

    @classmethod
    def from_pretrained(
        cls, name: str | os.PathLike | None = None, *, device: str | torch.device = "cpu"
    ) -> DiffusionLM:
        """Load the bundled model (None), another bundled one by name, a folder, or a hub id; float32.

        Raises:
            FileNotFoundError: if there is no such model, or a file of it is missing.
            ValueError: if a file of it is damaged or does not fit the others.
        """
        folder = loading.find_model(name)
        config = loading.read_config(folder)
        denoiser = loading.read_denoiser(folder, config).to(device)
        tokenizer = loading.read_tokenizer(folder, denoiser.config.vocab_size)
        model = cls(denoiser, Scheduler.from_pretrained(folder), tokenizer, config=config)
        model.folder = folder
        return model

    def save_pretrained(self, folder: str | os.PathLike, *, facts: dict[str, Any] | None = None) -> None:
        """Write what `from_pretrained` and transformers' AutoModel and AutoTokenizer read, and a model card.

        Args:
            folder: made if missing; on an error its old files stay as they were.
            facts: of the model card.
        """
        from textdiff.text.card import write_card

        config = {**self.config, "model_type": loading.MODEL_TYPE, "architectures": ["DiffusionLMModel"]}
        config["dtype"] = "float32"
        with loading.Draft(folder) as draft:
            (draft / loading.CONFIG_FILE).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
            loading.write_weights(draft, self.denoiser)
            self.scheduler.save_pretrained(draft)
            save_tokenizer(self.tokenizer, draft)
            write_card(draft, facts or {}, paired=bool(self.config.get("target_lengths")))

    def generate(
        self, num_samples: int = 1, *, length: Length | list[int] | None = None, **options: Unpack[Options]
    ) -> list[str]:
        """Texts from noise.

        Args:
            num_samples: texts to draw.
            length: tokens of a text, or the least and the most, or a list with those of each; by default drawn as
                in the training data.
            **options: how to sample, see `Options`.

        Raises:
            ValueError: if an argument is out of range.
        """
        sampling = Sampling(**options)
        plans, seeds = self._blank_plans(num_samples, length, sampling.pick_seed())
        return [self._text(reading) for reading in self._denoise(plans, seeds, sampling)]

    def generate_steps(
        self, num_samples: int = 1, *, length: Length | list[int] | None = None, **options: Unpack[Options]
    ) -> Iterator[list[str]]:
        """What `generate`'s texts read after every call of the denoiser; the last are the result."""
        sampling = Sampling(**options)
        plans, seeds = self._blank_plans(num_samples, length, sampling.pick_seed())
        for readings in self._walk(plans, seeds, sampling):
            yield [self._text(reading) for reading in readings]

    def infill(
        self, text: str, *, num_samples: int = 16, rank: str = "bound", **options: Unpack[Options]
    ) -> list[Infill]:
        """Fill the blanks of a text: distinct candidates, best first, the given text unchanged to the byte.

        Args:
            text: with `[MASK]` or `___` (the model chooses the length), `[MASK:3]` or `[MASK:2-6]` (tokens).
            num_samples: candidates to draw.
            rank: "bound" (likelihood) or "mbr" (minimum Bayes risk: most like the other candidates).
            **options: how to sample, see `Options`.

        Raises:
            ValueError: if the text has no blank, its blanks do not fit the window, or an argument is out of
                range.
        """
        return self._fill(parse(text), num_samples, rank, Sampling(**options))

    def infill_steps(self, text: str, *, num_samples: int = 1, **options: Unpack[Options]) -> Iterator[list[str]]:
        """What `infill`'s candidates read after every call of the denoiser, in the order they were drawn."""
        sampling, template = Sampling(**options), parse(text)
        plans, seeds = self._plans(template, num_samples, sampling.pick_seed(), sampling.temperature)
        for readings in self._walk(plans, seeds, sampling):
            yield [template.join(self._fills(template, reading)) for reading in readings]

    def complete(
        self,
        prompt: str,
        *,
        length: Length | None = None,
        num_samples: int = 1,
        rank: str = "bound",
        **options: Unpack[Options],
    ) -> list[Infill]:
        """Go on from a prompt: `infill` with one blank at its end. Marks of blanks in it are plain text.

        Args:
            prompt: the given beginning.
            length: tokens to add, or the least and the most; by default up to half of the window.
            num_samples: candidates to draw.
            rank: as in `infill`.
            **options: how to sample, see `Options`.
        """
        low, high = self._length_range((1, max(1, self.window // 2)) if length is None else length)
        template = Template((checked(prompt), ""), (Blank(low, high),))
        return self._fill(template, num_samples, rank, Sampling(**options))

    def rewrite(self, texts: str | Sequence[str], **options: Unpack[RewriteOptions]) -> list[str]:
        """The target of every text, for models trained on pairs: the best of some candidates.

        Args:
            texts: one or more sources.
            **options: candidates, ranking, guidance, lengths (`RewriteOptions`), and how to sample (`Options`).

        Raises:
            ValueError: as `rewrite_candidates`.
        """
        return [found[0].text for found in self.rewrite_candidates(texts, **options)]

    def rewrite_candidates(self, texts: str | Sequence[str], **options: Unpack[RewriteOptions]) -> list[list[Rewrite]]:
        """What `rewrite` chooses from: distinct candidates of every text, best first.

        Raises:
            ValueError: if the model was not trained on pairs, a text is empty or too long, or an option is out of
                range.
        """
        return self.rewriter().candidates(texts, options)

    def rewriter(self) -> Rewriter:
        """What makes targets from sources; ValueError for a model that was not trained on pairs."""
        return Rewriter(self.denoiser, self.scheduler, self.vocabulary, self.config.get("target_lengths"))

    def score(self, texts: str | Sequence[str], **options: Unpack[BoundOptions]) -> Bound:
        """Bound the negative log-likelihood of texts: nats per token, bits per byte, with a 95 % interval.

        Args:
            texts: one or more, none empty; beyond the window they are scored in windows.
            **options: noise levels, their seed, and the order that is charged (`scoring.BoundOptions`).

        Raises:
            ValueError: if there is no text, or one is empty, the order is unknown, or the model has no bound.
        """
        self._refuse_pairs()
        texts = [texts] if isinstance(texts, str) else list(texts)
        if not texts or not all(texts):
            raise ValueError("There is an empty text, or none at all: give texts of at least one character.")
        if not self.denoiser.config.categorical:
            raise ValueError(
                "This model was trained without a likelihood bound (recipe diffusion_lm): it cannot score."
            )
        encoded = [(self.vocabulary.encode(text), len(text.encode("utf-8"))) for text in texts]
        if not all(ids for ids, _ in encoded):
            raise ValueError("A text has no tokens (white space alone, to this vocabulary): leave it out.")
        return bound(self.denoiser, self.scheduler, encoded, length_counts=self.length_counts, **options)

    def _fill(self, template: Template, num_samples: int, rank: str, sampling: Sampling) -> list[Infill]:
        if rank not in ranking.RANKS:
            raise ValueError(f"Unknown rank {rank!r}: choose {' or '.join(ranking.RANKS)}.")
        seed = sampling.pick_seed()
        plans, seeds = self._plans(template, num_samples, seed, sampling.temperature)
        readings = self._denoise(plans, seeds, sampling)
        fills = [tuple(self._fills(template, reading)) for reading in readings]
        filled = [plan.filled(reading) for plan, reading in zip(plans, readings, strict=True)]
        nats = ranking.fill_nats(self.denoiser, self.scheduler, filled, seed=seed).tolist()
        sizes = [plan.known.count(False) for plan in plans]
        mbr = rank == "mbr"
        keys = ranking.agreement(fills) if mbr else ranking.whole_text_scores(self.denoiser, plans, nats)
        found: dict[str, Infill] = {}
        for i in sorted(range(len(plans)), key=lambda i: -keys[i]):
            text = template.join(fills[i])
            found.setdefault(text, Infill(text, fills[i], -nats[i] / sizes[i]))
        return list(found.values())

    def _text(self, reading: Sequence[Sequence[int]]) -> str:
        return self.vocabulary.decode(reading[0]).strip(" ")

    def _fills(self, template: Template, reading: Sequence[Sequence[int]]) -> list[str]:
        words, decode = self.vocabulary.words, self.vocabulary.decode
        return [template.trim(i, decode(ids), words=words) for i, ids in enumerate(reading)]

    def _plans(
        self, template: Template, num_samples: int, seed: int, temperature: float
    ) -> tuple[list[Plan], list[int]]:
        check_count(num_samples)
        planner = Planner(template, self.vocabulary, self.window, self.length_counts)
        lengths = blank_lengths(self.denoiser, planner, num_samples, seed=seed, temperature=temperature)
        return [planner.plan(own) for own in lengths], candidate_seeds(seed, num_samples)

    def _blank_plans(
        self, num_samples: int, length: Length | list[int] | None, seed: int
    ) -> tuple[list[Plan], list[int]]:
        check_count(num_samples)
        if isinstance(length, list):
            if len(length) != num_samples or not all(isinstance(size, int) for size in length):
                raise ValueError(f"{len(length)} lengths {length} are for {num_samples} texts: give a number for each.")
            return [blank_plan(self._length_range(size)[0]) for size in length], candidate_seeds(seed, num_samples)
        low, high = self._length_range((1, self.window) if length is None else length)
        sizes, chances = length_chances(self.length_counts, low, high)
        drawn = [np.random.default_rng([seed, 2, k]).choice(sizes, p=chances) for k in range(num_samples)]
        return [blank_plan(int(size)) for size in drawn], candidate_seeds(seed, num_samples)

    def _length_range(self, length: Length) -> tuple[int, int]:
        low, high = (length, length) if isinstance(length, int) else length
        if not 1 <= low <= high <= self.window:
            raise ValueError(f"length is {length}: it must be 1 to {self.window} tokens, or a rising range of that.")
        return low, high

    def _walk(
        self, plans: list[Plan], seeds: list[int], sampling: Sampling, *, last_only: bool = False
    ) -> Iterator[Readings]:
        self._refuse_pairs()
        return walk(self.denoiser, self.scheduler, self.vocabulary, plans, seeds, sampling, last_only=last_only)

    def _refuse_pairs(self) -> None:
        if self.config.get("target_lengths"):
            raise ValueError("This model was trained on pairs, not on texts alone: ask it to rewrite.")

    def _denoise(self, plans: list[Plan], seeds: list[int], sampling: Sampling) -> Readings:
        """The last readings of all plans, some at a time."""
        found: Readings = []
        for at in range(0, len(plans), CANDIDATES_AT_ONCE):
            part = slice(at, at + CANDIDATES_AT_ONCE)
            (last,) = self._walk(plans[part], seeds[part], sampling, last_only=True)
            found += last
        return found
