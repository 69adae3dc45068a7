"""Who judges tags and trees: an oracle of ours from its folder, or one that the user has, by name.

    "runs/tagger"                a folder written by scripts/train_oracle.py
    "spacy:en_core_web_sm"       tags
    "stanza:en"                  tags and trees
    "benepar:benepar_en3"        trees

All take sentences as lists of words; `.tag` gives universal tags, `.parse` labelled spans
(`textdiff.text.trees`).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol, runtime_checkable

from textdiff.text.loading import CONFIG_FILE, read_json
from textdiff.text.parser import Parser
from textdiff.text.tagger import Tagger
from textdiff.text.trees import Span, read_trees
from textdiff.text.word_model import ADVICE
from textdiff.text.words import check_sentences


@runtime_checkable
class TagOracle(Protocol):
    """Whoever tags words."""

    def tag(self, sentences: Sequence[Sequence[str]]) -> list[list[str]]:
        """Universal tags of the words of every sentence."""


@runtime_checkable
class ParseOracle(Protocol):
    """Whoever parses sentences."""

    def parse(self, sentences: Sequence[Sequence[str]]) -> list[frozenset[Span]]:
        """Constituents of every sentence."""


def oracle_by_name(name: str) -> TagOracle | ParseOracle:
    """A tagger or parser: a folder of ours, or "package:model".

    Raises:
        FileNotFoundError: if there is no such folder.
        ValueError: if the package is unknown or not installed, or its model or the folder does not open.
    """
    package, colon, model = name.partition(":")
    if colon and package in _PACKAGES and model:
        return _PACKAGES[package](name, model)
    path = Path(name)
    if colon and not path.exists():
        raise ValueError(
            f"Unknown oracle {name!r}: give a folder written by scripts/train_oracle.py, or the name of "
            f"a model as {', '.join(f'{known}:MODEL' for known in _PACKAGES)}."
        )
    kind = read_json(path / CONFIG_FILE, ADVICE).get("model_type")
    return Parser.load(path) if kind == Parser.KIND else Tagger.load(path)


def tagger_by_name(name: str) -> TagOracle:
    """An oracle that tags; errors as of `oracle_by_name`, and ValueError for one that does not."""
    oracle = oracle_by_name(name)
    if not isinstance(oracle, TagOracle):
        raise ValueError(
            f"The oracle {name!r} gives trees and no tags: name a tagger, such as spacy:en_core_web_sm."
        )
    return oracle


def parser_by_name(name: str) -> ParseOracle:
    """An oracle that parses; errors as of `oracle_by_name`, and ValueError for one that does not."""
    oracle = oracle_by_name(name)
    if not isinstance(oracle, ParseOracle):
        raise ValueError(
            f"The oracle {name!r} gives tags and no trees: name a parser, such as benepar:benepar_en3."
        )
    return oracle


class SpacyTagger:
    """spaCy's tags for words that are given.

    Args:
        name: as the user wrote it.
        model: an installed pipeline, such as "en_core_web_sm".
    """

    def __init__(self, name: str, model: str) -> None:
        self._spacy = _imported("spacy", name)
        advice = f"install it with: python -m spacy download {model}"
        self._nlp = _opened(lambda: self._spacy.load(model), name, advice)

    def tag(self, sentences: Sequence[Sequence[str]]) -> list[list[str]]:
        """Universal tags of the words of every sentence."""
        check_sentences(sentences)
        make = self._spacy.tokens.Doc
        filled = [list(words) for words in sentences if words]
        docs = self._nlp.pipe(make(self._nlp.vocab, words=words) for words in filled)
        return _spread([[token.pos_ for token in doc] for doc in docs], sentences, list)


class StanzaOracle:
    """Stanza's tags and trees for words that are given; its parser is opened when trees are first asked for.

    Args:
        name: as the user wrote it.
        model: a language, such as "en".
    """

    def __init__(self, name: str, model: str) -> None:
        self._name, self._model = name, model
        self._stanza = _imported("stanza", name)
        self._tagger = self._pipeline("tokenize,pos")
        self._parser: Any = None

    def _pipeline(self, processors: str) -> Any:
        def start() -> Any:
            return self._stanza.Pipeline(
                lang=self._model,
                processors=processors,
                tokenize_pretokenized=True,
                download_method=None,
                verbose=False,
            )

        advice = f"get it with: python -c \"import stanza; stanza.download('{self._model}')\""
        return _opened(start, self._name, advice)

    def tag(self, sentences: Sequence[Sequence[str]]) -> list[list[str]]:
        """Universal tags of the words of every sentence."""
        found = [[word.upos for word in sentence.words] for sentence in self._read(self._tagger, sentences)]
        return _spread(found, sentences, list)

    def parse(self, sentences: Sequence[Sequence[str]]) -> list[frozenset[Span]]:
        """Constituents of every sentence."""
        if self._parser is None:
            self._parser = self._pipeline("tokenize,pos,constituency")
        trees = [str(sentence.constituency) for sentence in self._read(self._parser, sentences)]
        return _spread(_spans(trees, sentences), sentences, frozenset)

    @staticmethod
    def _read(pipeline: Any, sentences: Sequence[Sequence[str]]) -> list[Any]:
        check_sentences(sentences)
        filled = [list(words) for words in sentences if words]
        return pipeline(filled).sentences if filled else []


class BeneparParser:
    """The Berkeley neural parser's trees for words that are given.

    Args:
        name: as the user wrote it.
        model: such as "benepar_en3".
    """

    def __init__(self, name: str, model: str) -> None:
        self._benepar = _imported("benepar", name)
        advice = f"get it with: python -c \"import benepar; benepar.download('{model}')\""
        self._parser = _opened(lambda: self._benepar.Parser(model), name, advice)

    def parse(self, sentences: Sequence[Sequence[str]]) -> list[frozenset[Span]]:
        """Constituents of every sentence."""
        check_sentences(sentences)
        inputs = [self._benepar.InputSentence(words=list(words)) for words in sentences if words]
        trees = [str(tree) for tree in self._parser.parse_sents(inputs)] if inputs else []
        return _spread(_spans(trees, sentences), sentences, frozenset)


_PACKAGES: dict[str, Callable[[str, str], TagOracle | ParseOracle]] = {
    "spacy": SpacyTagger, "stanza": StanzaOracle, "benepar": BeneparParser,
}  # fmt: skip


def _imported(package: str, name: str) -> ModuleType:
    """A package that the user may have."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise ValueError(
            f"The oracle {name!r} wants the package {package}, which is not installed: pip install "
            f"{package}, or name a folder written by scripts/train_oracle.py."
        ) from error


def _opened(start: Callable[[], Any], name: str, advice: str) -> Any:
    """What a package opens under a model's name."""
    try:
        return start()
    except Exception as error:  # each package raises errors of its own
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise ValueError(f"The oracle {name!r} does not open ({reason}): {advice}.") from error


def _spans(trees: Sequence[str], sentences: Sequence[Sequence[str]]) -> list[frozenset[Span]]:
    """Constituents from bracketed forms, one for each sentence that has words."""
    found = []
    for text, words in zip(trees, [words for words in sentences if words]):
        read = read_trees(text)
        if len(read) != 1 or len(read[0].words) != len(words):
            raise ValueError(
                f"The parser gave no tree over the {len(words)} words of {' '.join(words)[:60]!r}."
            )
        found.append(read[0].spans)
    return found


def _spread(
    found: Sequence[Any], sentences: Sequence[Sequence[str]], nothing: Callable[[], Any]
) -> list[Any]:
    """One answer for every sentence: those found for sentences with words, `nothing()` for the others."""
    answers = iter(found)
    return [next(answers) if words else nothing() for words in sentences]
