"""Figures for sets of texts: likelihood under a judge WITH diversity and copying, never one of them alone.

Perplexity of samples falls when they grow dull, and when they are copied: read it beside entropy, distinct-n,
self-BLEU and the longest copy, and beside the same figures of as many real texts of the same lengths. Words
are those of `textdiff.metrics.diversity`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from torch import nn

from textdiff.metrics import diversity
from textdiff.metrics.copying import longest_copies
from textdiff.metrics.likelihood import likelihood
from textdiff.text.data import held_out, pieces, read_texts
from textdiff.text.vocabulary import Vocabulary

Thing = TypeVar("Thing")


class Charges(Protocol):
    """What evaluation wants of a judge: a name and, for each text, its nats and tokens."""

    name: str

    def nll(self, texts: Sequence[str], batch_size: int = ...) -> list[tuple[float, int]]:
        """(nats, tokens) of each text."""
        ...


def text_metrics(
    texts: Sequence[str],
    *,
    judge: Charges | None = None,
    training: Iterable[str] | None = None,
    batch_size: int = 32,
    seed: int = 0,
) -> dict[str, Any]:
    """Every figure of a set of texts that needs no references.

    Args:
        texts: the set.
        judge: charges the texts; without one, there are no figures of likelihood.
        training: documents that the texts may have been copied from; without them, none of copies.
        batch_size: texts the judge reads at once.
        seed: of the sample of 1,000 that self-BLEU takes from a larger set.

    Returns:
        n, mean_words; entropy_pooled, entropy_per_text (nats); distinct_1 to distinct_4; self_bleu (None for
        one text); judge, judge_left_out, judge_perplexity, judge_nats_per_token, judge_perplexity_per_byte,
        judge_bits_per_byte; longest_copy, mean_longest_copy (words).

    Raises:
        ValueError: if there are no texts, or none that the judge can read.
    """
    if len(texts) == 0:
        raise ValueError("There are no texts to evaluate: give at least one.")
    found: dict[str, Any] = {
        "n": len(texts), "mean_words": sum(len(diversity.words(text)) for text in texts) / len(texts),
    }  # fmt: skip
    if judge is not None:
        found |= judge_metrics(texts, judge, batch_size=batch_size)
    found |= {
        "entropy_pooled": diversity.unigram_entropy(texts),
        "entropy_per_text": diversity.sequence_entropy(texts),
        **{f"distinct_{n}": diversity.distinct_n(texts, n) for n in range(1, 5)},
        "self_bleu": diversity.self_bleu(texts, seed=seed) if len(texts) > 1 else None,
    }  # fmt: skip
    if training is not None:
        found |= copy_metrics({"texts": texts}, training)["texts"]
    return found


def judge_metrics(texts: Sequence[str], judge: Charges, *, batch_size: int = 32) -> dict[str, Any]:
    """Corpus likelihood under a judge, ratios of sums; per byte it can be compared between tokenizers.

    Samples may be a little longer to the judge than to the model that drew them: texts beyond its positions
    are left out and counted.

    Raises:
        ValueError: if there are no texts that the judge can read.
    """
    read, charges = charged(texts, judge, batch_size)
    sums = likelihood(read, charges)
    return {
        "judge": judge.name, "judge_left_out": len(texts) - len(read),
        "judge_perplexity": sums.perplexity, "judge_nats_per_token": sums.nats_per_token,
        "judge_perplexity_per_byte": sums.perplexity_per_byte, "judge_bits_per_byte": sums.bits_per_byte,
    }  # fmt: skip


def charged(
    texts: Sequence[str], judge: Charges, batch_size: int
) -> tuple[Sequence[str], list[tuple[float, int]]]:
    """The texts that a judge can read whole, and its charges; it refuses a list before it charges any."""
    try:
        return texts, judge.nll(texts, batch_size=batch_size)
    except ValueError as error:
        if len(texts) < 2:
            raise
        refusal = error
    read, charges = [], []
    for text in texts:
        try:
            charges += judge.nll([text], batch_size=batch_size)
            read.append(text)
        except ValueError as error:
            refusal = error
    if not read:
        raise refusal
    return read, charges


def copy_metrics(sets: Mapping[str, Sequence[str]], training: Iterable[str]) -> dict[str, dict[str, Any]]:
    """The longest runs of words that each set of texts shares with the training text, which is read once."""
    names = list(sets)
    lengths = longest_copies([text for name in names for text in sets[name]], training).lengths
    found: dict[str, dict[str, Any]] = {}
    at = 0
    for name in names:
        own = lengths[at : at + len(sets[name])]
        at += len(own)
        found[name] = {"longest_copy": max(own), "mean_longest_copy": sum(own) / len(own)}
    return found


@contextmanager
def on_every_call(module: nn.Module, tick: Callable[[], Any]) -> Iterator[None]:
    """While this lasts, every call of the module calls `tick`: progress of work that does not report any."""

    def called(*_: Any) -> None:
        tick()

    hook = module.register_forward_hook(called)
    try:
        yield
    finally:
        hook.remove()


def training_texts(files: Iterable[str | Path]) -> Iterator[str]:
    """The texts of training files, one after another; files are read when their turn comes."""
    return chain.from_iterable(read_texts(file) for file in files)


def token_counts(vocabulary: Vocabulary, texts: Iterable[str]) -> Counter[int]:
    """How often each token stands in texts."""
    counts: Counter[int] = Counter()
    for text in texts:
        counts.update(vocabulary.encode(text))
    return counts


def source_texts(file: str | Path, *, held_out_only: bool = False) -> list[str]:
    """The texts of a file, equal ones once; of a .tsv or .tsv.gz file, those of its first column.

    Args:
        file: .txt, .tsv, plain or .gz.
        held_out_only: only the texts that training on this file holds out, 1 in 100.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not UTF-8 or holds no such text.
    """
    texts = read_texts(file)
    if ".tsv" in Path(file).suffixes:
        texts = [text.split("\t")[0] for text in texts]
    texts = [text for text in dict.fromkeys(texts) if text and (held_out(text) or not held_out_only)]
    if not texts:
        raise ValueError(f"{file} holds no held-out text: give more text, or leave --held-out away.")
    return texts


def cut_texts(
    texts: Sequence[str], vocabulary: Vocabulary, window: int, *, seed: int = 0
) -> list[tuple[str, int]]:
    """Texts cut into pieces of whole sentences as in training, with their numbers of tokens, shuffled."""
    cut = pieces(texts, vocabulary.tokenizer, window, seed=seed)
    found = [(vocabulary.decode(ids.tolist()), len(ids)) for ids in cut]
    return shuffled([(text, length) for text, length in found if text.strip()], seed=seed)


def shuffled(things: Sequence[Thing], *, seed: int = 0) -> list[Thing]:
    """The same things in random order."""
    return [things[i] for i in np.random.default_rng([seed, 1]).permutation(len(things))]


def matched_texts(
    pool: Sequence[tuple[str, int]], length_counts: Sequence[int], count: int, *, seed: int = 0
) -> list[str]:
    """Real texts whose lengths follow the lengths that a model draws: for each drawn length, the nearest one
    left.

    Args:
        pool: texts in random order with their lengths in tokens.
        length_counts: how many training texts have 0, 1, 2, ... tokens; empty = any length.
        count: texts to choose.
        seed: of the drawn lengths.

    Raises:
        ValueError: if the pool has fewer texts than `count`.
    """
    if len(pool) < count:
        raise ValueError(
            f"There are {len(pool)} real texts for {count} samples: give more text, or draw fewer samples."
        )
    if not sum(length_counts):
        return [text for text, _ in pool[:count]]
    by_length: dict[int, list[str]] = {}
    for text, length in reversed(pool):
        by_length.setdefault(length, []).append(text)
    chances = np.asarray(length_counts, dtype=np.float64) / sum(length_counts)
    chosen = []
    for wanted in np.random.default_rng([seed, 2]).choice(len(chances), size=count, p=chances):
        nearest = min(by_length, key=lambda length: (abs(length - wanted), length))
        chosen.append(by_length[nearest].pop())
        if not by_length[nearest]:
            del by_length[nearest]
    return [text.strip(" ") for text in chosen]
