"""How varied a set of texts is: distinct n-grams, unigram entropy, self-BLEU.

Words are runs of letters and digits, apostrophes inside them included, and single punctuation marks; case
is kept. A text may also be given as a sequence of tokens, which is then counted as it stands. distinct-n
falls and self-BLEU rises with the number of texts: compare sets of one size only, and give real text's
figure beside a model's.
"""

from __future__ import annotations

import math
import random
import re
from collections import Counter
from collections.abc import Hashable, Sequence

Text = str | Sequence[Hashable]
_WORD = re.compile(r"\w+(?:['\u2019]\w+)*|[^\w\s]")


def words(text: str) -> list[str]:
    """Splits a text into words and single punctuation marks: "Don't go!" -> ["Don't", "go", "!"]."""
    return _WORD.findall(text)


def _tokens(text: Text) -> Sequence[Hashable]:
    return words(text) if isinstance(text, str) else text


def _require(texts: Sequence[Text], least: int, what: str) -> None:
    if isinstance(texts, str):
        raise ValueError(f"{what} got one string: give a list of texts.")
    if len(texts) < least:
        raise ValueError(f"{what} got {len(texts)} texts: give at least {least}.")


def distinct_n(texts: Sequence[Text], n: int) -> float:
    """Different n-grams over all n-grams of the whole set (Li et al. 2016, arXiv 1510.03055, section 5.2).

    Returns:
        A share in [0, 1]; 0 if no text has n tokens.

    Raises:
        ValueError: no texts, or n below 1.
    """
    _require(texts, 1, "distinct-n")
    if n < 1:
        raise ValueError(f"distinct-n got n={n}: give n >= 1.")
    seen, total = set(), 0
    for text in texts:
        tokens = _tokens(text)
        grams = [tuple(tokens[i:i + n]) for i in range(len(tokens) - n + 1)]
        seen.update(grams)
        total += len(grams)
    return len(seen) / total if total else 0.0


def _entropy(counts: Counter) -> float:
    total = sum(counts.values())
    return -sum(c / total * math.log(c / total) for c in counts.values())


def unigram_entropy(texts: Sequence[Text]) -> float:
    """Entropy in nats of the token frequencies of the whole set, all texts pooled; 0 if there are no tokens.

    Raises:
        ValueError: no texts.
    """
    _require(texts, 1, "unigram entropy")
    return _entropy(Counter(token for text in texts for token in _tokens(text))) + 0.0


def sequence_entropy(texts: Sequence[Text]) -> float:
    """Mean over the texts of the entropy in nats of the one text's token frequencies (0 for an empty text).

    This is the entropy that papers print beside generative perplexity: it falls when single samples repeat
    themselves, and its ceiling is the log of a text's length.

    Raises:
        ValueError: no texts.
    """
    _require(texts, 1, "sequence entropy")
    return sum(_entropy(Counter(_tokens(text))) for text in texts) / len(texts) + 0.0


def self_bleu(texts: Sequence[str], max_texts: int = 1000, seed: int = 0) -> float:
    """Mean BLEU of each text against all others (Zhu et al. 2018, arXiv 1802.01886): 0-100, high is dull.

    Equals the mean of sacrebleu's `sentence_bleu` (13a, exponential smoothing, effective order). Of more than
    `max_texts` texts a sample of that many, drawn without replacement under `seed`, is used.

    Raises:
        ValueError: fewer than two texts, or `max_texts` below 2.
    """
    _require(texts, 2, "self-BLEU")
    if max_texts < 2:
        raise ValueError(f"self-BLEU got max_texts={max_texts}: give at least 2.")
    if len(texts) > max_texts:
        texts = random.Random(seed).sample(list(texts), max_texts)
    grams = [_bleu_ngrams(text) for text in texts]
    lengths = [sum(c for gram, c in counts.items() if len(gram) == 1) for counts in grams]
    best = _two_highest(grams)
    others = Counter(lengths)
    scores = [_bleu_against_others(grams[i], i, best, lengths[i], others) for i in range(len(texts))]
    return sum(scores) / len(scores)


def _bleu_ngrams(text: str) -> Counter:
    from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a

    tokens = Tokenizer13a()(text.rstrip()).split()
    return Counter(tuple(tokens[i:i + n]) for n in range(1, 5) for i in range(len(tokens) - n + 1))


def _two_highest(grams: list[Counter]) -> dict[tuple, tuple[int, int, int]]:
    """For each n-gram: its highest count in one text, that text's index, and the highest count elsewhere."""
    best: dict[tuple, tuple[int, int, int]] = {}
    for i, counts in enumerate(grams):
        for gram, count in counts.items():
            first, owner, second = best.get(gram, (0, -1, 0))
            best[gram] = (count, i, first) if count > first else (first, owner, max(second, count))
    return best


def _bleu_against_others(counts: Counter, i: int, best: dict, length: int, lengths: Counter) -> float:
    from sacrebleu.metrics.bleu import BLEU

    correct, total = [0] * 4, [0] * 4
    for gram, count in counts.items():
        first, owner, second = best[gram]
        correct[len(gram) - 1] += min(count, second if owner == i else first)
        total[len(gram) - 1] += count
    lengths = lengths - Counter([length])
    closest = min(lengths, key=lambda other: (abs(other - length), other))
    return BLEU.compute_bleu(correct, total, length, closest, smooth_method="exp", effective_order=True).score
