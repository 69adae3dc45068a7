"""Wishes in words: what meets them, what they cost, what they need, and what is refused before sampling."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from textdiff.text.classifier import TextClassifier
from textdiff.text.language_model import DiffusionLM
from textdiff.text.loading import find_classifiers
from textdiff.text.wishes import WEIGHTS, Wish, Wishes, agree, energy_of

TREE = "(TOP (NP (DET The) (NOUN cat)) (VP (VERB saw) (NP (DET the) (NOUN dog))))"
SPANS = [(0, 2, "NP"), (2, 5, "VP"), (3, 5, "NP")]
TAGS = ["DET", "NOUN", "VERB"]


@pytest.fixture(scope="module")
def wishes(word_lm: DiffusionLM, lookup: TextClassifier) -> Wishes:
    """Judged by a classifier that knows the truth."""
    return Wishes.for_model(word_lm, lookup)


def certain(lm: DiffusionLM, text: str) -> tuple[torch.Tensor, torch.Tensor]:
    """A text without doubt, [1, L, V], and its times."""
    ids = torch.tensor([lm.vocabulary.encode(text)])
    return torch.nn.functional.one_hot(ids, lm.denoiser.config.vocab_size).float(), torch.zeros(ids.shape)


MADE: dict[str, Callable[[Wishes], Wish]] = {
    "semantic animal=dog": lambda it: it.semantic("animal", "dog"),
    "semantic friendly=yes": lambda it: it.semantic("friendly", "yes"),
    "semantic weather=sunny day": lambda it: it.semantic("weather", "sunny day"),
    "pos DET NOUN VERB": lambda it: it.pos(TAGS),
    "pos DET _ NOUN|VERB": lambda it: it.pos(["DET", "_", "NOUN|VERB"]),
    f"tree {TREE}": lambda it: it.tree(TREE),
    "tree 0,2,NP 2,5,VP 3,5,NP": lambda it: it.tree(SPANS),
    "span 0,2,NP": lambda it: it.span(0, 2, "NP"),
    "length 5": lambda it: it.length(5),
    "keywords dog, the big": lambda it: it.keywords(["dog", "the big"]),
    "keywords dog at 1": lambda it: it.keywords(["dog"], place=1),
    "without dog": lambda it: it.without(["dog"]),
    "sentiment positive": lambda it: it.sentiment("positive"),
    "sentiment neg": lambda it: it.sentiment("neg"),
    "label animal=cat": lambda it: it.label("animal", "cat"),
}
JUDGED: list[tuple[str, str, float, float]] = [
    # name, text, success, strict
    ("semantic animal=dog", "The dog ran", 1, 1),
    ("semantic animal=dog", "The dogs ran", 1, 0),  # the paper's substring is lenient
    ("semantic animal=dog", "The cat ran", 0, 0),
    ("semantic friendly=yes", "The big dog", 1, 1),  # said in other words, so the classifier says it
    ("semantic friendly=yes", "yes it was the little dog", 0, 0),
    ("semantic weather=sunny day", "We saw the sun.", 1, 1),  # "sunny" is not in the vocabulary
    ("semantic weather=sunny day", "We saw the red dog", 0, 0),
    ("pos DET NOUN VERB", "The dog ran", 1, 1),
    ("pos DET NOUN VERB", "The dog ran on", 1, 0),
    ("pos DET NOUN VERB", "The dog", 2 / 3, 0),
    ("pos DET NOUN VERB", "The big dog", 1 / 3, 0),
    ("pos DET NOUN VERB", "", 0, 0),
    ("pos DET _ NOUN|VERB", "The dog ran", 1, 1),
    ("pos DET _ NOUN|VERB", "The big dog", 1, 1),
    ("pos DET _ NOUN|VERB", "The dog the", 2 / 3, 0),
    ("pos DET _ NOUN|VERB", "The dog", 2 / 3, 0),
    (f"tree {TREE}", "A dog saw the sun.", 1, 1),
    (f"tree {TREE}", "A dog saw the sun. and", 1, 0),  # cut to the tree's words
    (f"tree {TREE}", "A dog saw", 2 * 1 / (1 + 3), 0),  # filled up: one bracket of three, none wrong
    (f"tree {TREE}", "on on on on on", 0, 0),
    ("tree 0,2,NP 2,5,VP 3,5,NP", "A dog saw the sun.", 1, 1),
    ("span 0,2,NP", "The dog ran on and on", 1, 1),
    ("span 0,2,NP", "We saw the dog", 0, 0),
    ("length 5", "The dog saw the cat", 1, 1),
    ("length 5", "The dog saw", 1, 0),
    ("length 5", "The dog", 0, 0),
    ("keywords dog, the big", "We saw the big dog", 1, 1),
    ("keywords dog, the big", "We saw the dog", 0, 0),
    ("keywords dog, the big", "We saw the bigger dog", 0, 0),
    ("keywords dog at 1", "The dog ran", 1, 1),
    ("keywords dog at 1", "The big dog", 0, 0),
    ("without dog", "The cat", 1, 1),
    ("without dog", "The dogs ran", 1, 1),
    ("without dog", "The dog", 0, 0),
    ("sentiment positive", "it was happy.", 1, 1),
    ("sentiment neg", "it was happy.", 0, 0),
    ("label animal=cat", "A cat sat", 1, 1),
    ("label animal=cat", "it sat", 0, 0),
    ("label animal=cat", "", 0, 0),
]


@pytest.mark.parametrize("name", dict.fromkeys(row[0] for row in JUDGED))
def test_texts_are_judged_as_the_protocol_says(wishes: Wishes, name: str) -> None:
    wish = MADE[name](wishes)
    rows = [row[1:] for row in JUDGED if row[0] == name]
    texts = [text for text, _, _ in rows]
    assert wish.name == name
    assert wish.success(texts) == pytest.approx([success for _, success, _ in rows])
    assert wish.strict(texts) == pytest.approx([strict for _, _, strict in rows])
    assert wish.success([]) == wish.strict([]) == []


MET = {
    "semantic animal=dog": ("The dog ran", "The cat ran"),
    "semantic friendly=yes": ("The big dog", "The little dog"),
    "pos DET NOUN VERB": ("The dog ran", "it was on"),
    "pos DET _ NOUN|VERB": ("The big dog", "on dog on"),
    f"tree {TREE}": ("A dog saw the sun.", "on dog saw the sun."),
    "span 0,2,NP": ("The dog ran", "We saw the dog"),
    "keywords dog, the big": ("We saw the big dog", "We saw the dog"),
    "keywords dog at 1": ("The dog ran", "The big dog"),
    "without dog": ("The cat ran", "The dog ran"),
    "sentiment positive": ("it was happy.", "it was home."),
    "label animal=cat": ("A cat sat", "A dog sat"),
}


@pytest.mark.parametrize("name", MET)
def test_energies_are_low_where_the_wish_is_met(wishes: Wishes, word_lm: DiffusionLM, name: str) -> None:
    wish = MADE[name](wishes)
    met, unmet = (wish.energy(*certain(word_lm, text)).item() for text in MET[name])
    assert met < 0.2 * WEIGHTS[wish.kind] and unmet > 4
    twice = (2 * wish).energy(*certain(word_lm, MET[name][1])).item()
    assert twice == pytest.approx(2 * unmet, rel=1e-5)


def test_the_tags_of_a_tree_steer_too(wishes: Wishes, word_lm: DiffusionLM) -> None:
    text, tags = certain(word_lm, "A dog saw the big"), ["DET", "NOUN", "VERB", "DET", "NOUN"]
    bare = wishes.tree(SPANS)
    extra = wishes.tree(SPANS, tags).energy(*text) - bare.energy(*text)
    wanted = WEIGHTS["leaves"] / WEIGHTS["pos"] * wishes.pos(tags).energy(*text)
    assert extra.item() == pytest.approx(wanted.item(), rel=1e-4) and extra > 1
    penn = wishes.tree("(X (NP (DT a) (NN b)) (VP (VBD c) (NP (DT d) (NN e))))".replace("(X ", "( "))
    assert penn.energy(*text).item() == pytest.approx((bare.energy(*text) + extra).item(), rel=1e-5)
    open_ones = wishes.tree("( (NP (_ a) (_ b)) (VP (_ c) (NP (_ d) (XX e))))")
    assert open_ones.energy(*text).item() == pytest.approx(bare.energy(*text).item(), rel=1e-5)
    longer = wishes.tree(SPANS, [*tags, "VERB"])  # a word behind the last span
    assert longer.energy(*text).item() == pytest.approx((bare.energy(*text) + extra).item(), rel=1e-5)
    with pytest.raises(ValueError, match="knows no tag 'FOO': choose"):
        wishes.tree("(NP (FOO a) (NOUN b))")


def test_a_value_that_can_be_written_steers_by_its_spelling_too(wishes: Wishes, word_lm: DiffusionLM) -> None:
    text = certain(word_lm, "it was on")
    semantic, label = wishes.semantic("animal", "cat"), wishes.label("animal", "cat")
    extra = semantic.energy(*text) - WEIGHTS["semantic"] / WEIGHTS["label"] * label.energy(*text)
    assert extra.item() == pytest.approx(wishes.keywords(["cat"]).energy(*text).item(), rel=1e-5)
    unwritten, label = wishes.semantic("weather", "sunny day"), wishes.label("weather", "sunny day")
    assert unwritten.energy(*text).item() == pytest.approx(label.energy(*text).item(), rel=1e-5)


def test_energies_add_up(wishes: Wishes, word_lm: DiffusionLM) -> None:
    text = certain(word_lm, "The big dog")
    some = [wishes.length(3), wishes.without(["dog"]), 3 * wishes.keywords(["cat"])]

    def own(p: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return p.sum((1, 2))

    parts = [wish.energy(*text) for wish in some[1:]]
    assert energy_of(some, own, None)(*text).item() == pytest.approx(sum(parts).item() + 3, rel=1e-5)
    assert some[0].energy is None and (2 * some[0]).energy is None
    assert energy_of(some[:1]) is None


# Who judges.


class Flat:
    """An oracle for which every word is a noun, and the first two are a noun phrase."""

    def tag(self, sentences):
        return [["NOUN"] * len(words) for words in sentences]

    def parse(self, sentences):
        return [frozenset({(0, 2, "NP")}) if len(words) > 1 else frozenset() for words in sentences]


def test_an_oracle_judges_in_the_classifiers_place(word_lm: DiffusionLM, lookup: TextClassifier) -> None:
    wishes = Wishes.for_model(word_lm, lookup, tagger=Flat(), parser=Flat())
    tags, tree, span = wishes.pos(["NOUN", "NOUN"]), wishes.tree([(0, 2, "NP")]), wishes.span(2, 4, "NP")
    texts = ["We saw", "The dog ran"]
    assert (tags.success(texts), tags.strict(texts)) == ([1, 1], [1, 0])
    assert (tree.success(texts), tree.strict(texts)) == ([1, 1], [1, 0])
    assert span.success(texts) == [0, 0]
    assert {tags.judged_by, tree.judged_by, span.judged_by} == {"Flat"}
    assert wishes.label("animal", "cat").judged_by == "the classifier itself"


def test_it_is_said_who_judges(wishes: Wishes) -> None:
    found = {name: make(wishes).judged_by for name, make in MADE.items()}
    assert [name for name, judge in found.items() if judge == "the text"] == [
        "semantic animal=dog", "keywords dog, the big", "keywords dog at 1", "without dog"
    ]  # fmt: skip
    assert [name for name, judge in found.items() if judge == "the tokenizer"] == ["length 5"]
    assert {judge for judge in found.values()} == {"the text", "the tokenizer", "the classifier itself"}


def test_classifiers_are_found_in_the_models_folder(word_lm: DiffusionLM, tmp_path: Path) -> None:
    shape = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    word_lm.save_pretrained(tmp_path / "model")
    for name, fields in {"b": {"size": ["big", "small"]}, "a": {"mood": ["sad", "glad"]}}.items():
        made = TextClassifier.for_model(word_lm.denoiser, word_lm.vocabulary, fields=fields, **shape)
        made.save_pretrained(tmp_path / "model" / "classifiers" / name)
    (tmp_path / "model" / "classifiers" / "notes").mkdir()
    folders = find_classifiers(tmp_path / "model")
    assert [folder.name for folder in folders] == ["a", "b"]
    lm = DiffusionLM.from_pretrained(tmp_path / "model")
    wish = Wishes.for_model(lm).label("size", "big")
    assert wish.success(["The dog"]) in ([0.0], [1.0])
    by_hand = Wishes.for_model(lm, str(folders[0]))
    assert by_hand.label("mood", "sad").kind == "label"
    with pytest.raises(ValueError, match="no classifier of the field 'size' for this model; those"):
        by_hand.label("size", "big")
    assert list(Wishes.for_model(lm, folders).classifiers) == [str(folder) for folder in folders]
    assert Wishes.for_model(word_lm).classifiers == {}


def test_a_classifier_of_another_vocabulary_is_refused(
    word_lm: DiffusionLM, bpe_lm: DiffusionLM, lookup: TextClassifier, tmp_path: Path
) -> None:
    lookup.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="was made for another vocabulary"):
        Wishes.for_model(bpe_lm, tmp_path)
    with pytest.raises(FileNotFoundError, match="scripts/train_classifier.py"):
        Wishes.for_model(word_lm, [tmp_path, tmp_path / "nowhere"])


# Pieces of words.


def test_a_byte_level_model_takes_wishes_for_words_and_length(bpe_lm: DiffusionLM) -> None:
    wishes = Wishes.for_model(bpe_lm)
    text = "The little dog ran home."
    size = len(bpe_lm.vocabulary.encode(text))
    assert wishes.length(size).strict([text, text[:-1]]) == [1, 0]
    at = len(bpe_lm.vocabulary.encode("The little"))
    assert wishes.keywords(["dog"], place=at).success([text, f"A {text}"]) == [1, 0]
    first = wishes.keywords(["The"], place=0)
    assert first.success([text, "A dog. The cat."]) == [1, 0]
    assert first.energy(*certain(bpe_lm, text)).item() < 0.1
    with pytest.raises(ValueError, match="tokens are pieces of words: use a model with a word-level"):
        wishes.pos(TAGS)


# What is refused, and how long a text must be.

REFUSED: dict[str, Callable[[Wishes], object]] = {
    "no classifier of the field 'colour' for this model; those here know the fields animal": lambda it: (
        it.semantic("colour", "red")
    ),
    "no value of 'animal' 'cow': choose dog, cat, absent": lambda it: it.semantic("animal", "cow"),
    "no value of 'animal' 'bird': choose dog, cat, absent": lambda it: it.label("animal", "bird"),
    "no value of 'sentiment' 'fine': choose pos, neg": lambda it: it.sentiment("fine"),
    "no tag 'DT': choose DET, ADJ": lambda it: it.pos(["DT"]),
    "There is no tag": lambda it: it.pos([]),
    "no label of a span 'PP': choose NP, VP": lambda it: it.span(0, 2, "PP"),
    "no label of a span 'S': choose NP, VP": lambda it: it.tree("(S (DET a) (NOUN dog))"),
    "'NP' from 2 to 1": lambda it: it.span(2, 1, "NP"),
    "'' has 0: write (S (NP": lambda it: it.tree(""),
    "brackets of '(NP (DET a)' are not closed": lambda it: it.tree("(NP (DET a)"),
    "There is no span": lambda it: it.tree([]),
    "cross: give a tree": lambda it: it.tree([(0, 2, "NP"), (1, 3, "VP")]),
    "The length wished for is 0: it must be 1 to 24": lambda it: it.length(0),
    "The length wished for is 25: it must be 1 to 24": lambda it: it.length(25),
    "There is no keyword": lambda it: it.keywords([]),
    "'zebra' cannot be written": lambda it: it.keywords(["zebra"]),
    "2 keywords for one place": lambda it: it.keywords(["cat", "dog"], place=1),
    "The place of 'cat' is -1": lambda it: it.keywords(["cat"], place=-1),
    "There is no word to do without": lambda it: it.without([]),
    "There is no classifier of tags for this model: train one with scripts/train_classifier.py": lambda it: (
        Wishes.for_model(it.lm).pos(TAGS)
    ),
    "There is no classifier of spans": lambda it: Wishes.for_model(it.lm).span(0, 2, "NP"),
    "There is no classifier of the field 'sentiment'": lambda it: Wishes.for_model(it.lm).sentiment("pos"),
    "Unknown oracle 'nltk:en'": lambda it: Wishes.for_model(it.lm, tagger="nltk:en"),
    "'length 2' and 'length 3' contradict": lambda it: agree([it.length(2), it.length(3)], 24),
    "'pos DET NOUN VERB' and 'length 2' contradict": lambda it: agree([it.length(2), it.pos(TAGS)], 24),
    "a text has one sequence of tags": lambda it: agree([it.pos(TAGS), it.pos(TAGS[:2])], 24),
    "a text has one tree": lambda it: agree([it.tree(TREE), it.tree([(0, 2, "NP")])], 24),
    "'span 6,9,NP' and 'length 5' contradict": lambda it: agree([it.span(6, 9, "NP"), it.length(5)], 24),
    "The span (1, 3, 'VP') and 'tree (TOP (NP (DET The) (NOUN cat)) (VP (VERB saw)": lambda it: (
        agree([it.span(1, 3, "VP"), it.tree(TREE)], 24)
    ),
    "The spans contradict each other: The spans (0, 2) and (1, 3) cross": lambda it: (
        agree([it.span(0, 2, "NP"), it.span(1, 3, "VP")], 24)
    ),
    "'animal' has one value": lambda it: agree([it.semantic("animal", "dog"), it.label("animal", "cat")], 24),
    "'dog' cannot both stand there and not": lambda it: (
        agree([it.without(["cat", "dog"]), it.keywords(["the dog"])], 24)
    ),
    "'keywords dog at 1' contradict each other: they put different words at place 1": lambda it: (
        agree([it.keywords(["cat"], place=1), it.keywords(["dog"], place=1)], 24)
    ),
    "'span 28,30,NP' wants 30 tokens, but the model's window has 24": lambda it: (
        agree([it.span(28, 30, "NP")], 24)
    ),
    "'pos DET NOUN VERB' wants 3 tokens, but the model's window has 2": lambda it: agree([it.pos(TAGS)], 2),
    "'keywords cat, dog' and 'length 1' contradict": lambda it: (
        agree([it.keywords(["cat", "dog"]), it.length(1)], 24)
    ),
    "length is (3, 2): it must be": lambda it: agree([], 24, (3, 2)),
    "length is 25: it must be": lambda it: agree([], 24, 25),
    "the length 2 contradict": lambda it: agree([it.pos(TAGS)], 24, 2),
}


@pytest.mark.parametrize("said", REFUSED)
def test_what_cannot_be_wished_is_refused_in_a_sentence(wishes: Wishes, said: str) -> None:
    with pytest.raises(ValueError) as caught:
        REFUSED[said](wishes)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")


def test_wishes_agree_on_a_length(wishes: Wishes) -> None:
    assert agree([], 24) is agree([wishes.without(["dog"]), wishes.semantic("animal", "dog")], 24) is None
    assert agree([wishes.pos(TAGS)], 24) == (3, 3)
    assert agree([wishes.pos(TAGS), wishes.length(8)], 24) == (8, 8)  # tags begin the text
    assert agree([wishes.pos(TAGS)], 24, (2, 9)) == (3, 9)
    assert agree([wishes.tree(TREE), wishes.span(3, 5, "NP"), wishes.length(5)], 24) == (5, 5)
    assert agree([wishes.span(3, 5, "NP"), wishes.keywords(["cat"], place=7)], 24) == (8, 24)
    assert agree([wishes.keywords(["cat", "dog", "the dog"])], 24) == (3, 24)
    assert agree([wishes.keywords(["cat"]), wishes.length(4)], 24) == (4, 4)
