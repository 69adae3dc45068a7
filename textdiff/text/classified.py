"""Wishes that a trained classifier judges: energies on topic, tags and tree.

    sad = TextClassifier.from_pretrained("runs/mood", lm.vocabulary)
    lm.generate(4, control=FieldIs(sad, "mood", "sad") + TagsAre(sad, ["DET", "NOUN", "VERB"]))

Each is -log p(label | text) under the classifier, in nats; where there are several labels, their sum, tokens
and spans taken as independent. Energies differ in scale, a topic being one label and a tree thousands: weigh
them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from textdiff.text.bag import FieldClassifier
from textdiff.text.classifier import TextClassifier, all_spans
from textdiff.text.classifier_config import place_of
from textdiff.text.energies import TextEnergy
from textdiff.text.tag_patterns import allowed


class FieldIs(TextEnergy):
    """-log p(field = value | text).

    Args:
        classifier: with this field.
        field: name of a label of the text.
        value: which it shall have.

    Raises:
        ValueError: if the classifier knows no such field or value.
    """

    def __init__(self, classifier: FieldClassifier, field: str, value: str) -> None:
        fields = classifier.config.fields
        self.field = place_of(field, list(fields), "field")
        self.value = place_of(value, fields[field], f"value of {field!r}")
        self.classifier = classifier

    def __call__(self, p: Tensor, t: Tensor) -> Tensor:
        """As in `TextEnergy`."""
        hidden, attention_mask = self.classifier.read(p, t)
        logits = self.classifier.field_logits(hidden, attention_mask)[self.field]
        return -logits.log_softmax(-1)[:, self.value]


class TagsAre(TextEnergy):
    """-sum over tokens of log p(tag | text), from the first token on; tokens behind the last tag are free.

    A byte-level model's classifier has learned a word's tag at the first of its tokens.

    Args:
        classifier: with tags.
        tags: one a token; "ADJ|NOUN" is one of these, "_" any.

    Raises:
        ValueError: if there are none, or the classifier does not know one; when called, if a text is shorter.
    """

    def __init__(self, classifier: TextClassifier, tags: Sequence[str]) -> None:
        if not tags:
            raise ValueError("There is no tag: give at least one.")
        known = classifier.config.tags
        self.allowed = torch.zeros(len(tags), len(known), dtype=torch.bool)
        for place, tag in enumerate(tags):
            self.allowed[place, allowed(tag, known)] = True
        self.classifier = classifier

    def __call__(self, p: Tensor, t: Tensor) -> Tensor:
        """As in `TextEnergy`."""
        hidden, attention_mask = self.classifier.read(p, t)
        count = len(self.allowed)
        shortest = int(attention_mask.sum(1).min())
        if count > shortest:
            raise ValueError(
                f"There are {count} tags for a text of {shortest} tokens: ask for a longer text."
            )
        log_chances = self.classifier.tag_logits(hidden[:, :count]).log_softmax(-1)
        wanted = self.allowed.to(log_chances.device)
        return -log_chances.masked_fill(~wanted, -torch.inf).logsumexp(-1).sum(1)


class SpansAre(TextEnergy):
    """-sum over spans of log p(label | text): of the given ones, or of a whole tree.

    Args:
        classifier: with spans.
        spans: (start, end, label) each; its tokens are those from start to before end, counted from 0.
        whole: whether all other spans of the text shall have none; each is in the sum then like a given one.

    Raises:
        ValueError: if there are none, one cannot be, two are at one place, or the classifier does not know a
            label; when called, if a text ends before a span.
    """

    def __init__(
        self, classifier: TextClassifier, spans: Sequence[tuple[int, int, str]], *, whole: bool = False
    ) -> None:
        if not spans:
            raise ValueError("There is no span: give at least one.")
        for start, end, label in spans:
            if not 0 <= start < end:
                raise ValueError(
                    f"A span {label!r} from {start} to {end}: its start must be 0 or more, its end beyond."
                )
        self.wanted = {
            (start, end): 1 + place_of(label, classifier.config.spans, "label of a span")
            for start, end, label in spans
        }
        if len(self.wanted) < len(spans):
            raise ValueError(
                "Two labels are wanted for one span: join them into one that the classifier knows."
            )
        self.classifier, self.whole = classifier, whole

    def __call__(self, p: Tensor, t: Tensor) -> Tensor:
        """As in `TextEnergy`."""
        hidden, attention_mask = self.classifier.read(p, t)
        lengths = attention_mask.sum(1)
        last, shortest = max(end for _, end in self.wanted), int(lengths.min())
        if last > shortest:
            raise ValueError(
                f"A span ends at token {last} of a text of {shortest} tokens: ask for a longer text."
            )
        if self.whole:
            starts, ends = all_spans(p.shape[1], p.device)
        else:
            starts, ends = torch.tensor(list(self.wanted), device=p.device).unbind(1)
        labels = [self.wanted.get(place, 0) for place in zip(starts.tolist(), ends.tolist())]
        nats = -self.classifier.span_logits(hidden, starts, ends).log_softmax(-1)
        wanted = torch.tensor(labels, device=p.device).expand(len(nats), -1)
        each = nats.gather(2, wanted[..., None])[..., 0]
        return torch.where(ends <= lengths[:, None], each, 0.0).sum(1)
