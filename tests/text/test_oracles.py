"""Oracles by name: a folder of ours, packages that are there (stand-ins of their shape) and that are not."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from textdiff.text.oracles import oracle_by_name, parser_by_name, tagger_by_name
from textdiff.text.parser import Parser
from textdiff.text.tagger import Tagger
from textdiff.text.words import EncoderShape

SMALL = EncoderShape(hidden=16, layers=1, heads=2, intermediate=32, buckets=64)
TEXT = [["Dogs", "bark", "(", "loudly"], [], ["Yes"]]
TREE = "(ROOT (S (NP (NNS Dogs)) (VP (VBP bark)) (-LRB- -LRB-) (ADVP (RB loudly))))"
SPANS = [{(0, 4, "S"), (0, 1, "NP"), (1, 2, "VP"), (3, 4, "ADVP")}, set(), {(0, 1, "INTJ")}]


@pytest.mark.parametrize("kind", [Tagger, Parser])
def test_a_folder_of_ours(kind: type, tmp_path: Path) -> None:
    kind(SMALL, ["dog"], ["NOUN", "VERB"]).save(tmp_path)
    assert type(oracle_by_name(str(tmp_path))) is kind
    by_name, other = (tagger_by_name, parser_by_name) if kind is Tagger else (parser_by_name, tagger_by_name)
    assert type(by_name(str(tmp_path))) is kind
    with pytest.raises(ValueError, match=r"gives (trees and no tags|tags and no trees): name a"):
        other(str(tmp_path))


@pytest.mark.parametrize("name", ["spacy:en_core_web_sm", "stanza:en", "benepar:benepar_en3"])
def test_a_package_that_is_not_installed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    package = name.partition(":")[0]
    monkeypatch.setitem(sys.modules, package, None)  # importing it fails, installed or not
    with pytest.raises(ValueError, match=f"not installed: pip install {package}, or name a folder"):
        oracle_by_name(name)


@pytest.mark.parametrize("name", ["nltk:x", "spacy:", ":", "C:nowhere"])
def test_an_unknown_name(name: str) -> None:
    with pytest.raises(ValueError, match="Unknown oracle .* spacy:MODEL, stanza:MODEL, benepar:MODEL"):
        oracle_by_name(name)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="written by scripts/train_oracle.py"):
        oracle_by_name(str(tmp_path / "nothing"))
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ValueError, match="of type 'bert'"):
        oracle_by_name(str(tmp_path))


def opener(known: str, result: object):
    """A package's way to open a model: the one it has, or an error of several lines."""

    def start(model: str, **kwargs: object) -> object:
        if model != known:
            raise RuntimeError(f"No model {model}.\nSee the manual.")
        return result

    return start


def stand_in_spacy() -> SimpleNamespace:
    def pipe(docs):
        for vocab, words in docs:
            assert vocab == "the vocabulary"
            yield [SimpleNamespace(pos_={"Dogs": "NOUN", "Yes": "INTJ"}.get(word, "X")) for word in words]

    nlp = SimpleNamespace(vocab="the vocabulary", pipe=pipe)
    tokens = SimpleNamespace(Doc=lambda vocab, words: (vocab, words))
    return SimpleNamespace(load=opener("en_core_web_sm", nlp), tokens=tokens)


def stand_in_stanza() -> SimpleNamespace:
    def pipeline(lang: str, processors: str, tokenize_pretokenized: bool, **kwargs: object):
        assert tokenize_pretokenized and kwargs["download_method"] is None

        def read(sentences: list[list[str]]) -> SimpleNamespace:
            found = []
            for words in sentences:
                tagged = [SimpleNamespace(upos="INTJ" if word == "Yes" else "X") for word in words]
                tree = TREE if len(words) > 1 else "(ROOT (INTJ (UH Yes)))"
                parsed = {"constituency": tree} if "constituency" in processors else {}
                found.append(SimpleNamespace(words=tagged, **parsed))
            return SimpleNamespace(sentences=found)

        return opener("en", read)(lang)

    return SimpleNamespace(Pipeline=pipeline)


def stand_in_benepar() -> SimpleNamespace:
    def parse_sents(inputs: list[SimpleNamespace]):
        yield from (TREE if len(given.words) > 1 else "(TOP (INTJ (UH Yes)))" for given in inputs)

    parser = SimpleNamespace(parse_sents=parse_sents)
    return SimpleNamespace(Parser=opener("benepar_en3", parser), InputSentence=SimpleNamespace)


def test_spacy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "spacy", stand_in_spacy())
    oracle = tagger_by_name("spacy:en_core_web_sm")
    assert oracle.tag(TEXT) == [["NOUN", "X", "X", "X"], [], ["INTJ"]]
    with pytest.raises(ValueError, match=r"\(No model zz\): install it with: python -m spacy download zz"):
        oracle_by_name("spacy:zz")
    with pytest.raises(ValueError, match="split it first"):
        oracle.tag(["Dogs bark"])
    with pytest.raises(ValueError, match="gives tags and no trees"):
        parser_by_name("spacy:en_core_web_sm")


def test_stanza(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "stanza", stand_in_stanza())
    assert tagger_by_name("stanza:en").tag(TEXT) == [["X", "X", "X", "X"], [], ["INTJ"]]
    assert parser_by_name("stanza:en").parse(TEXT) == SPANS
    assert tagger_by_name("stanza:en").tag([[]]) == [[]]
    with pytest.raises(ValueError, match=r"'stanza:zz' does not open \(No model zz\): get it with"):
        oracle_by_name("stanza:zz")


def test_benepar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "benepar", stand_in_benepar())
    assert parser_by_name("benepar:benepar_en3").parse(TEXT) == SPANS
    with pytest.raises(ValueError, match="no tree over the 2 words of 'Dogs bark'"):
        parser_by_name("benepar:benepar_en3").parse([["Dogs", "bark"]])
    with pytest.raises(ValueError, match="does not open"):
        oracle_by_name("benepar:zz")
