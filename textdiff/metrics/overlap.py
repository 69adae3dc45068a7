"""How close texts come to their references: BLEU and chrF by sacrebleu, ROUGE-L by rouge-score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

References = Sequence[str] | Sequence[Sequence[str]]


class Chrf(NamedTuple):
    """Corpus chrF, 0-100, and the signature that says how it was computed."""

    score: float
    signature: str


class Bleu(NamedTuple):
    """Corpus BLEU, 0-100, and the signature that says how it was computed."""

    score: float
    signature: str


def bleu(
    predictions: Sequence[str], references: References, *, lowercase: bool = False, tokenize: str = "13a"
) -> Bleu:
    """Corpus BLEU (Papineni et al. 2002) as sacrebleu computes it (Post 2018, arXiv 1804.08771).

    Args:
        predictions: the texts to judge.
        references: for each text one reference, or a list of one or more of its own.
        lowercase: ignore case, as the E2E challenge's script does.
        tokenize: one of sacrebleu's tokenizers.

    Raises:
        ValueError: no texts, another number of references, or a text without a reference.
    """
    from sacrebleu.metrics import BLEU

    streams = _streams(_lists(predictions, references))
    metric = BLEU(lowercase=lowercase, tokenize=tokenize)
    score = metric.corpus_score(list(predictions), streams).score
    return Bleu(score, str(metric.get_signature()))


def chrf(predictions: Sequence[str], references: References, *, word_order: int = 0) -> Chrf:
    """Corpus chrF (Popovic 2015), the F2 score of character 1- to 6-grams, as sacrebleu computes it.

    Args:
        predictions: the texts to judge.
        references: for each text one reference, or a list of one or more of its own.
        word_order: longest word n-grams that count too; 2 is chrF++.

    Raises:
        ValueError: no texts, another number of references, or a text without a reference, or word_order below 0.
    """
    from sacrebleu.metrics import CHRF

    if word_order < 0:
        raise ValueError(f"chrF got word_order={word_order}: give 0, or 2 for chrF++.")
    streams = _streams(_lists(predictions, references))
    metric = CHRF(word_order=word_order)
    score = metric.corpus_score(list(predictions), streams).score
    return Chrf(score, str(metric.get_signature()))


def rouge_l(predictions: Sequence[str], references: References) -> float:
    """Mean F1, 0-1, of the longest common subsequence of words (Lin 2004), the best reference of each text.

    The words are rouge-score's: lower case, a-z and 0-9 only, no stemming; other scripts count as empty.

    Raises:
        ValueError: no texts, another number of references, or a text without a reference.
        ImportError: the package rouge-score is absent.
    """
    try:
        from rouge_score.rouge_scorer import RougeScorer
    except ImportError as error:
        raise ImportError("ROUGE-L needs the package rouge-score: pip install rouge-score.") from error
    own = _lists(predictions, references)
    scorer = RougeScorer(["rougeL"])
    scores = [scorer.score_multi(refs, text) for text, refs in zip(predictions, own, strict=True)]
    return sum(score["rougeL"].fmeasure for score in scores) / len(scores)


def _streams(own: list[list[str]]) -> list[list[Any]]:
    """First references, second ones, ...: None where a text has fewer."""
    width = max(map(len, own))
    return [[refs[i] if i < len(refs) else None for refs in own] for i in range(width)]


def _lists(predictions: Sequence[str], references: References) -> list[list[str]]:
    """Each text's own references, checked."""
    if isinstance(predictions, str) or isinstance(references, str):
        raise ValueError("Got one string: give a list of texts and a list with each text's references.")
    if len(predictions) == 0:
        raise ValueError("Got no texts to compare with references: give at least one.")
    if len(predictions) != len(references):
        raise ValueError(f"Got {len(predictions)} texts and references for {len(references)}: give as many.")
    own = [[refs] if isinstance(refs, str) else list(refs) for refs in references]
    if not all(own):
        raise ValueError(f"Text {own.index([])} has no reference: give at least one for each text.")
    return own
