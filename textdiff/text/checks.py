"""Whether texts are as wished: by what stands in them, by an oracle, or by the classifier on the clean text.

A check takes texts and gives a number from 0 to 1 for each. Words are what white space divides.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from textdiff.text.bag import FieldClassifier
from textdiff.text.classifier import TextClassifier, all_spans
from textdiff.text.label_rows import first_tokens
from textdiff.text.oracles import ParseOracle, TagOracle
from textdiff.text.tag_patterns import fits
from textdiff.text.trees import Span, labelled_f1
from textdiff.text.vocabulary import Vocabulary

Check = Callable[[Sequence[str]], list[float]]

FILLER = "."  # fills up a text that is too short for its tree, as in Diffusion-LM's protocol
TEXTS_AT_ONCE = 32


def each(holds: Callable[[str], bool]) -> Check:
    """A check of every text for itself: 1 where it holds."""
    return lambda texts: [float(holds(text)) for text in texts]


def stands(phrase: str, text: str) -> bool:
    """Whether a phrase stands in a text as whole words, as it is written."""
    return re.search(rf"(?<!\w){re.escape(phrase.strip())}(?!\w)", text) is not None


class FieldReader:
    """A classifier of fields on texts without noise.

    Args:
        classifier: whose verdicts are asked.
        vocabulary: of its model.
    """

    def __init__(self, classifier: FieldClassifier, vocabulary: Vocabulary) -> None:
        self.classifier, self.vocabulary = classifier, vocabulary

    def value(self, texts: Sequence[str], field: str) -> list[str | None]:
        """The likeliest value of a field for every text; None for one without tokens."""
        fields = self.classifier.config.fields
        place = list(fields).index(field)

        def read(hidden: Tensor, attention_mask: Tensor) -> list[str]:
            best = self.classifier.field_logits(hidden, attention_mask)[place].argmax(-1)
            return [fields[field][i] for i in best.tolist()]

        return self._each(texts, read)

    @torch.no_grad()
    def _each(self, texts: Sequence[str], read: Callable[[Tensor, Tensor], list]) -> list:
        """What `read` says of every text's hidden states [B, L, H] and mask [B, L]; None without tokens."""
        device = next(self.classifier.parameters()).device
        ids = [torch.tensor(self.vocabulary.encode(text)[: self.classifier.longest]) for text in texts]
        waiting = [k for k, one in enumerate(ids) if len(one)]
        found: list = [None] * len(texts)
        for at in range(0, len(waiting), TEXTS_AT_ONCE):
            chosen = waiting[at : at + TEXTS_AT_ONCE]
            rows, mask = (
                torch.nn.utils.rnn.pad_sequence(part, batch_first=True).to(device)
                for part in ([ids[k] for k in chosen], [torch.ones_like(ids[k]) for k in chosen])
            )
            hidden = self.classifier.read_tokens(rows, mask)
            for k, said in zip(chosen, read(hidden, mask), strict=True):
                found[k] = said
        return found


class CleanReader(FieldReader):
    """A classifier on texts without noise; an oracle of tags and of spans to those who have no other."""

    classifier: TextClassifier

    def __init__(self, classifier: TextClassifier, vocabulary: Vocabulary) -> None:
        super().__init__(classifier, vocabulary)

    def tag(self, sentences: Sequence[Sequence[str]]) -> list[list[str]]:
        """The likeliest tag of every word; words beyond the classifier's window have none."""
        tags = self.classifier.config.tags

        def read(hidden: Tensor, attention_mask: Tensor) -> list[list[str]]:
            return [[tags[i] for i in row] for row in self.classifier.tag_logits(hidden).argmax(-1).tolist()]

        texts = [" ".join(words) for words in sentences]
        found = []
        for text, row in zip(texts, self._each(texts, read), strict=True):
            encoding = self.vocabulary.tokenizer.encode(text, add_special_tokens=False)
            found.append([row[i] for i in first_tokens(text, encoding)[:-1] if i < len(row)] if row else [])
        return found

    def parse(self, sentences: Sequence[Sequence[str]]) -> list[frozenset[Span]]:
        """All spans of words that are likelier to have a label than none; they need not be a tree."""
        labels = self.classifier.config.spans

        def read(hidden: Tensor, attention_mask: Tensor) -> list[list[Span]]:
            starts, ends = all_spans(hidden.shape[1], hidden.device)
            best = self.classifier.span_logits(hidden, starts, ends).argmax(-1)
            best = torch.where(ends <= attention_mask.sum(1, keepdim=True), best, 0)
            rows = []
            for row in best:
                some = row.nonzero()[:, 0]
                places = zip(starts[some].tolist(), ends[some].tolist(), row[some].tolist())
                rows.append([(start, end, labels[label - 1]) for start, end, label in places])
            return rows

        texts = [" ".join(words) for words in sentences]
        found = []
        for text, row in zip(texts, self._each(texts, read), strict=True):
            encoding = self.vocabulary.tokenizer.encode(text, add_special_tokens=False)
            word = {token: k for k, token in enumerate(first_tokens(text, encoding))}
            found.append(
                frozenset((word[i], word[j], label) for i, j, label in row or [] if i in word and j in word)
            )
        return found


def value_check(reader: FieldReader, field: str, value: str) -> Check:
    """1 where the classifier reads this value of a field from the clean text."""
    return lambda texts: [float(said == value) for said in reader.value(texts, field)]


def tag_checks(oracle: TagOracle, wanted: Sequence[str]) -> tuple[Check, Check]:
    """The share of words, up to the last one wanted, with a tag as wanted; and 1 where all the text's are."""

    def share(texts: Sequence[str]) -> list[float]:
        return [sum(map(fits, tags, wanted)) / len(wanted) for tags in oracle.tag(_words(texts))]

    def equal(texts: Sequence[str]) -> list[float]:
        return [
            float(len(tags) == len(wanted) and all(map(fits, tags, wanted)))
            for tags in oracle.tag(_words(texts))
        ]

    return share, equal


def tree_checks(oracle: ParseOracle, wanted: Iterable[Span], length: int) -> tuple[Check, Check]:
    """Labelled F1 once the text is cut or filled up to `length` words; and 1 where its parse is the tree."""
    tree = frozenset(wanted)

    def f1(texts: Sequence[str]) -> list[float]:
        fitted = [(words + [FILLER] * length)[:length] for words in _words(texts)]
        return [labelled_f1(tree, spans) for spans in oracle.parse(fitted)]

    def equal(texts: Sequence[str]) -> list[float]:
        sentences = _words(texts)
        return [
            float(len(words) == length and spans == tree)
            for words, spans in zip(sentences, oracle.parse(sentences), strict=True)
        ]

    return f1, equal


def span_check(oracle: ParseOracle, span: Span) -> Check:
    """1 where the parse of the text has the span."""
    return lambda texts: [float(span in spans) for spans in oracle.parse(_words(texts))]


def _words(texts: Sequence[str]) -> list[list[str]]:
    return [text.split() for text in texts]
