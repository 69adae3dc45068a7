"""Wishes in words, for one model: each knows how to steer it and how to check what came out.

    wishes = Wishes.for_model(lm)  # with the classifiers in the model's folder
    steer(lm, [wishes.semantic("food", "Japanese"), wishes.length(12), 2 * wishes.keywords(["river"])])

Tags and trees are of words, and the models that take such wishes have words as tokens. They are checked by an
oracle (`textdiff.text.oracles`) where one is named, and else by the classifier itself, which is a lenient
judge of what it steered.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TypeVar

from torch import nn

from textdiff.text.bag import BagOfTokens, FieldClassifier, load_classifier
from textdiff.text.checks import (
    CleanReader,
    FieldReader,
    each,
    span_check,
    stands,
    tag_checks,
    tree_checks,
    value_check,
)
from textdiff.text.classified import FieldIs, SpansAre, TagsAre
from textdiff.text.classifier import TextClassifier
from textdiff.text.classifier_config import ClassifierConfig
from textdiff.text.control import keywords, spelling, without
from textdiff.text.energies import Contains, TextEnergy
from textdiff.text.labelled import ABSENT
from textdiff.text.language_model import DiffusionLM
from textdiff.text.loading import CLASSIFIERS, find_classifiers
from textdiff.text.oracles import ParseOracle, TagOracle, parser_by_name, tagger_by_name
from textdiff.text.tag_patterns import of_tree
from textdiff.text.trees import Span, check_spans, read_trees
from textdiff.text.wish import WEIGHTS, Wish, agree, energy_of

__all__ = ["WEIGHTS", "Wish", "Wishes", "agree", "energy_of"]

THE_TEXT, THE_TOKENS, THE_CLASSIFIER = "the text", "the tokenizer", "the classifier itself"

# Values that are said in other words. Of the texts of E2E's training part that are labelled so, "yes" stands
# in 1 of 100 and "no" as a word in 3; of every other value it is 24 or more.
UNSPOKEN = ("yes", "no", ABSENT)

NEAR = 2  # tokens that a text may be too long or too short, as Diffusion-LM's protocol has it
SENTIMENT = "sentiment"
OTHER_NAMES = {"positive": "pos", "negative": "neg", "pos": "positive", "neg": "negative"}

AnyClassifier = FieldClassifier | str | os.PathLike
Oracle = TypeVar("Oracle", TagOracle, ParseOracle)


class Wishes:
    """Makes wishes for a model.

    Args:
        lm: which is to grant them.
        classifiers: of it, by name.
        tagger: who checks tags, and its name; None: the classifier itself.
        parser: who checks spans, likewise.
    """

    def __init__(
        self,
        lm: DiffusionLM,
        classifiers: dict[str, FieldClassifier],
        tagger: tuple[str, TagOracle] | None = None,
        parser: tuple[str, ParseOracle] | None = None,
    ) -> None:
        self.lm, self.tagger, self.parser = lm, tagger, parser
        device = lm.denoiser.embedding.weight.device
        self.classifiers = {name: classifier.to(device) for name, classifier in classifiers.items()}

    @classmethod
    def for_model(
        cls,
        lm: DiffusionLM,
        classifier: AnyClassifier | Sequence[AnyClassifier] | None = None,
        tagger: str | TagOracle | None = None,
        parser: str | ParseOracle | None = None,
    ) -> Wishes:
        """Wishes with what can be found for a model.

        Args:
            lm: the model.
            classifier: folders of scripts/train_classifier.py, or classifiers; None: those that lie in the
                model's folder.
            tagger: an oracle, or its name (`oracles.tagger_by_name`).
            parser: an oracle, or its name (`oracles.parser_by_name`).

        Raises:
            FileNotFoundError: if there is no such folder.
            ValueError: if a classifier was made for another vocabulary, or an oracle does not open.
        """
        given: Sequence[AnyClassifier]
        if classifier is None:
            given = find_classifiers(lm.folder) if lm.folder is not None else []
        elif isinstance(classifier, TextClassifier | BagOfTokens | str | os.PathLike):
            given = [classifier]
        else:
            given = classifier
        found = {
            f"classifier {k}" if isinstance(one, nn.Module) else os.fspath(one): (
                one if isinstance(one, nn.Module) else load_classifier(one, lm.vocabulary)
            )
            for k, one in enumerate(given)
        }
        return cls(lm, found, _named(tagger, tagger_by_name), _named(parser, parser_by_name))

    def semantic(self, field: str, value: str) -> Wish:
        """A field of the text's content has a value, and the value stands in the text.

        The classifier and the value's own spelling steer. As in Diffusion-LM's protocol the check is that the
        value is a part of the text (strictly: as whole words); where it is one of `UNSPOKEN`, or cannot be
        written in the model's vocabulary, the classifier's verdict on the clean text is.
        """
        classifier = self._with_field(field)
        said = FieldIs(classifier, field, value)
        name, asked = f"semantic {field}={value}", (field, value)
        spelled = None if value in UNSPOKEN else self._spelled(value)
        if spelled is None:  # then the classifier has no help
            check = value_check(FieldReader(classifier, self.lm.vocabulary), field, value)
            return Wish(name, "semantic", WEIGHTS["label"] * said, None, check, check, THE_CLASSIFIER, asked)
        energy = WEIGHTS["semantic"] * said + WEIGHTS["spelling"] * spelled
        literal, whole = each(lambda text: value in text), each(lambda text: stands(value, text))
        return Wish(name, "semantic", energy, None, literal, whole, THE_TEXT, asked)

    def label(self, field: str, value: str) -> Wish:
        """A field of any classifier has a value, and the classifier says so of the clean text."""
        return self._verdict("label", field, value, f"label {field}={value}")

    def sentiment(self, value: str) -> Wish:
        """The field "sentiment" of a classifier is "pos" or "neg", or has another of its values."""
        values = self._with_field(SENTIMENT).config.fields[SENTIMENT]
        meant = value if value in values else OTHER_NAMES.get(value, value)
        known = meant if meant in values else value  # a stranger is refused as it was written
        return self._verdict("sentiment", SENTIMENT, known, f"sentiment {value}")

    def pos(self, tags: Sequence[str]) -> Wish:
        """The text has these tags, one a word; success is the share of words that do.

        "ADJ|NOUN" is one of these, "_" any.
        """
        self._needs_words("tags")
        classifier = self._with("tags", lambda config: bool(config.tags))
        energy = WEIGHTS["pos"] * TagsAre(classifier, tags)
        judged_by, oracle = self.tagger or (THE_CLASSIFIER, self._reader(classifier))
        success, strict = tag_checks(oracle, tags)
        size = (len(tags), len(tags))
        return Wish(f"pos {' '.join(tags)}", "pos", energy, size, success, strict, judged_by, tuple(tags))

    def tree(self, tree: str | Sequence[Span], tags: Sequence[str] = ()) -> Wish:
        """The text has this tree and no other constituents; success is the F1 of labelled brackets.

        Tags at the tree's leaves steer too, if the classifier knows tags; they are not checked.

        Args:
            tree: bracketed, "(S (NP (DET a) (NOUN dog)) (VP (VERB ran)))", of which words do not matter and a
                tag may be _, any; or its spans, (start, end, label) in words.
            tags: of the leaves, as for `pos`; by default those of a bracketed tree. Words behind the last span
                are not part of the tree.
        """
        self._needs_words("trees")
        classifier = self._with("spans", lambda config: bool(config.spans))
        spans, length, own = _tree_of(tree, classifier.config.tags)
        tags = (tags or own)[:length]
        energy: TextEnergy = WEIGHTS["tree"] * SpansAre(classifier, spans, whole=True)
        if tags and classifier.config.tags:
            energy = energy + WEIGHTS["leaves"] * TagsAre(classifier, tags)
        judged_by, oracle = self.parser or (THE_CLASSIFIER, self._reader(classifier))
        success, strict = tree_checks(oracle, spans, length)
        said = tree.split() if isinstance(tree, str) else [f"{i},{j},{label}" for i, j, label in spans]
        return Wish(
            f"tree {' '.join(said)}", "tree", energy, (length, length),
            success, strict, judged_by, tuple(spans),
        )  # fmt: skip

    def span(self, i: int, j: int, label: str) -> Wish:
        """The words i to j - 1, counted from 0, are a constituent with this label."""
        self._needs_words("spans")
        classifier = self._with("spans", lambda config: bool(config.spans))
        energy = WEIGHTS["span"] * SpansAre(classifier, [(i, j, label)])
        judged_by, oracle = self.parser or (THE_CLASSIFIER, self._reader(classifier))
        check, size = span_check(oracle, (i, j, label)), (j, max(j, self.lm.window))
        return Wish(f"span {i},{j},{label}", "span", energy, size, check, check, judged_by, ((i, j, label),))

    def length(self, n: int) -> Wish:
        """The text has n tokens of the model's vocabulary; success allows 2 more or less."""
        window, encode = self.lm.window, self.lm.vocabulary.encode
        if not 1 <= n <= window:
            raise ValueError(
                f"The length wished for is {n}: it must be 1 to {window} tokens, this model's window."
            )
        near = each(lambda text: abs(len(encode(text)) - n) <= NEAR)
        exact = each(lambda text: len(encode(text)) == n)
        return Wish(f"length {n}", "length", None, (n, n), near, exact, THE_TOKENS, (n,))

    def keywords(self, words: Sequence[str], place: int | None = None) -> Wish:
        """Every one of these words or phrases stands in the text, as it is written here.

        Args:
            words: one or more.
            place: where the word starts, in tokens from 0; only with one.
        """
        vocabulary, window = self.lm.vocabulary, self.lm.window
        energy = keywords(vocabulary, words, place=place)
        ids = [spelling(vocabulary, word) for word in words]
        if place is not None and place < 0:
            raise ValueError(f"The place of {words[0]!r} is {place}: give a number of tokens, 0 or more.")
        if place == 0:  # no space before it
            ids = [vocabulary.encode(words[0].strip())]
            energy = Contains(ids, place=0, joining=vocabulary.joining)
        written = {} if place is None else dict(enumerate(ids[0], place))

        def there(text: str) -> bool:
            tokens = dict(enumerate(vocabulary.encode(text)))
            return written.items() <= tokens.items() and all(stands(word, text) for word in words)

        least = max(len({token for one in ids for token in one}), *(at + 1 for at in written), *map(len, ids))
        name = f"keywords {', '.join(words)}" + (f" at {place}" if place is not None else "")
        return Wish(
            name, "keywords", WEIGHTS["keywords"] * energy, (least, max(least, window)),
            each(there), each(there), THE_TEXT, tuple(words), written,
        )  # fmt: skip

    def without(self, words: Sequence[str]) -> Wish:
        """None of these words or phrases stands in the text."""
        energy = WEIGHTS["without"] * without(self.lm.vocabulary, words)
        check = each(lambda text: not any(stands(word, text) for word in words))
        name = f"without {', '.join(words)}"
        return Wish(name, "without", energy, None, check, check, THE_TEXT, tuple(words))

    def _verdict(self, kind: str, field: str, value: str, name: str) -> Wish:
        classifier = self._with_field(field)
        energy = WEIGHTS[kind] * FieldIs(classifier, field, value)
        check = value_check(FieldReader(classifier, self.lm.vocabulary), field, value)
        return Wish(name, kind, energy, None, check, check, THE_CLASSIFIER, (field, value))

    def _reader(self, classifier: TextClassifier) -> CleanReader:
        return CleanReader(classifier, self.lm.vocabulary)

    def _spelled(self, value: str) -> TextEnergy | None:
        """That a value stands in the text; None if it cannot be written."""
        try:
            return keywords(self.lm.vocabulary, [value])
        except ValueError:
            return None

    def _needs_words(self, what: str) -> None:
        if not self.lm.vocabulary.words:
            raise ValueError(
                f"Wishes for {what} are of words, and this model's tokens are pieces of words: use a model "
                "with a word-level vocabulary."
            )

    def _with_field(self, field: str) -> FieldClassifier:
        for classifier in self.classifiers.values():
            if field in classifier.config.fields:
                return classifier
        return self._with(f"the field {field!r}", lambda config: False)

    def _with(self, what: str, has: Callable[[ClassifierConfig], bool]) -> TextClassifier:
        """The first classifier that can do something; else what can be done, in a sentence."""
        for classifier in self.classifiers.values():
            if isinstance(classifier, TextClassifier) and has(classifier.config):
                return classifier
        fields = [field for one in self.classifiers.values() for field in one.config.fields]
        known = f"; those here know the fields {', '.join(fields)}" if fields else ""
        raise ValueError(
            f"There is no classifier of {what} for this model{known}: train one with "
            "scripts/train_classifier.py, and give its folder or put it into the model's as "
            f"{CLASSIFIERS}/NAME."
        )


def _named(oracle: str | Oracle | None, find: Callable[[str], Oracle]) -> tuple[str, Oracle] | None:
    """An oracle's name and the oracle, of which either is given."""
    if isinstance(oracle, str):
        return oracle, find(oracle)
    return None if oracle is None else (type(oracle).__name__, oracle)


def _tree_of(tree: str | Sequence[Span], tags: Sequence[str]) -> tuple[list[Span], int, list[str]]:
    """Spans of a tree, its number of words, and patterns of its tags, none if it has no leaves."""
    if isinstance(tree, str):
        trees = read_trees(tree)
        if len(trees) != 1:
            raise ValueError(
                f"One tree is wanted, and {tree!r} has {len(trees)}: write (S (NP (DET a) (NOUN dog)))."
            )
        return sorted(trees[0].spans), len(trees[0].words), [of_tree(tag, tags) for tag in trees[0].tags]
    length = max((end for _, end, _ in tree), default=0)
    check_spans(tree, length)
    return sorted(tree), length, []
