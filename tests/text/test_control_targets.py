"""Targets of control: what is read off which sentence, and the traps that are left out."""

from collections import Counter

import pytest

from textdiff.text.control_options import KINDS
from textdiff.text.control_targets import (
    Target,
    annotated,
    draw_targets,
    shared_values,
    shown,
    squeezed,
    targets_of,
)
from textdiff.text.labelled import LabelledText, read_labelled

NAMES, FOODS = ("Cotto", "Aromi", "The Mill"), ("Thai", "French")


class Lengths:
    """An oracle that tags a word by its length, and finds an NP over every two words, and a sentence."""

    def __init__(self):
        self.read = 0

    def tag(self, sentences):
        self.read += len(sentences)
        return [[str(len(word)) for word in words] for words in sentences]

    def parse(self, sentences):
        self.read += len(sentences)
        return [
            frozenset([(0, len(words), "S"), *((i, i + 2, "NP") for i in range(0, len(words) - 1, 2))])
            for words in sentences
        ]


class Recorder:
    """Makes of a target what was asked."""

    def __getattr__(self, kind):
        return lambda *asked: (kind, *asked)


def texts():
    """48 sentences with a name, a food and a price each, which 24 of them spell out."""
    return [
        LabelledText(
            f"{name} has {food} food{at}{' at a high price' if i else ''} .",
            {"name": name, "food": food, "price": "high", "kids": "no", "near": "absent"},
        )
        for name in NAMES
        for food in FOODS
        for at in ("", " in town", " by the river", " here")
        for i in range(2)
    ]  # fmt: skip


@pytest.fixture(scope="module")
def read():
    """A text with everything."""
    tags, spans = ("A", "B", "C", "D", "E"), ((0, 5, "S"), (0, 1, "NP"), (1, 4, "VP"), (2, 4, "NP"))
    return LabelledText("Cotto has Thai food .", {"name": "Cotto", "food": "Thai", "kids": "no"}, tags, spans)


@pytest.mark.parametrize(
    ("value", "text", "there"),
    [
        ("low", "A yellow pub .", False),
        ("low", "A pub with a low rating .", True),
        ("no", "There is no pub .", False),
        ("yes", "yes", False),
        ("absent", "It is absent .", False),
        ("£ 20 - 25", "It costs £ 20 - 25 .", True),
        ("The Mill", "Near The Mills .", False),
    ],
)
def test_a_value_is_shown_by_whole_words(value, text, there):
    assert shown(value, text) is there


def test_a_value_of_two_fields_is_no_target():
    both = [LabelledText("x", {"price": "high", "food": "Thai"}), LabelledText("y", {"rating": "high"})]
    assert shared_values(both) == {"high"}
    text = LabelledText("Thai at a high price", {"price": "high", "food": "Thai"})
    assert [one.content for one in targets_of("semantic", text, shared_values(both))] == [("food", "Thai")]
    assert [one.content for one in targets_of("semantic", text)] == [("food", "Thai"), ("price", "high")]


def test_each_kind_is_read_off_a_text(read):
    found = {kind: targets_of(kind, read) for kind in KINDS}
    spans = tuple(sorted(read.spans))
    assert [one.content for one in found["semantic"]] == [("food", "Thai"), ("name", "Cotto")]
    assert [one.tags for one in found["pos"]] == [read.tags]
    assert [one.tree for one in found["tree"]] == [spans]
    assert [one.span for one in found["span"]] == [(1, 4, "VP"), (2, 4, "NP")]  # not a word, not the sentence
    assert [one.length for one in found["length"]] == [5]
    assert [(one.content, one.tags) for one in found["semantic+pos"]] == [
        (("food", "Thai"), read.tags), (("name", "Cotto"), read.tags),
    ]  # fmt: skip
    assert [one.tree for one in found["semantic+tree"]] == [spans, spans]
    assert found["tree"][0].tags == read.tags and found["span"][0].tags is None
    for kind, own in found.items():
        for one in own:
            assert one.kind == kind and one.sentence == read.text
            wanted = {"length"} if kind == "length" else set(kind.split("+"))
            assert set(one.wishes(Recorder())) == wanted


def test_wishes_are_asked_for_with_what_was_read():
    make = Recorder()
    assert Target("span", span=(1, 4, "VP")).wishes(make) == {"span": ("span", 1, 4, "VP")}
    assert Target("length", length=7).wishes(make) == {"length": ("length", 7)}
    both = Target("semantic+pos", content=("food", "Thai"), tags=("A", "B")).wishes(make)
    assert both == {"semantic": ("semantic", "food", "Thai"), "pos": ("pos", ("A", "B"))}


@pytest.mark.parametrize("kind", KINDS)
def test_targets_are_of_different_sentences_and_repeat_by_seed(kind):
    def drawn(seed):
        return draw_targets(kind, texts(), 12, seed=seed, tagger=Lengths(), parser=Lengths())

    found = drawn(3)
    assert found == drawn(3) and found != drawn(4)
    assert len(found) == 12 and {one.kind for one in found} == {kind}
    if kind != "length":
        assert len({one.sentence for one in found}) == 12


def test_semantic_targets_go_through_all_pairs():
    found = Counter(one.content for one in draw_targets("semantic", texts(), 18, seed=0))
    assert set(found) == {
        *(("name", name) for name in NAMES),
        *(("food", food) for food in FOODS),
        ("price", "high"),
    }
    assert set(found.values()) == {3}


def test_lengths_go_from_10_to_40_again_and_again():
    found = [one.length for one in draw_targets("length", [], 62, seed=1)]
    assert sorted(found[:31]) == sorted(found[31:]) == list(range(10, 41)) and found[:31] != found[31:]
    assert {one.length for one in draw_targets("length", [], 40, longest=12)} == {10, 11, 12}


def test_sentences_of_the_training_text_are_left_out():
    pool = texts()
    known = [f" {text.text.replace(' .', '.')} " for text in pool[:40]]
    found = draw_targets("pos", pool, 8, tagger=Lengths(), training=known)
    assert {one.sentence for one in found} == {text.text for text in pool[40:]}
    assert squeezed(" a b.\n") == "ab."
    with pytest.raises(ValueError, match="There are 8 sentences for 9 targets of kind 'pos'"):
        draw_targets("pos", pool, 9, tagger=Lengths(), training=known)


def test_equal_sentences_count_once_and_long_ones_not_at_all():
    pool = [
        LabelledText("a b c d"),
        LabelledText("a  b c d"),
        LabelledText("a b c d e f"),
        LabelledText("a b"),
    ]
    assert [one.sentence.split() for one in draw_targets("pos", pool, 1, longest=5, tagger=Lengths())] == [
        list("abcd")
    ]
    with pytest.raises(ValueError, match="There are 1 sentences for 2"):
        draw_targets("pos", pool, 2, longest=5, tagger=Lengths())


@pytest.mark.parametrize("kind", ["semantic", "span", "semantic+pos"])
def test_what_cannot_be_wished_for_is_passed_over(kind):
    """Of the three names one cannot be wished for."""

    def usable(target):
        return "Cotto" not in (target.content or target.sentence.split())

    options = {"tagger": Lengths(), "parser": Lengths()}
    found = draw_targets(kind, texts(), 20 if kind == "semantic" else 16, usable=usable, **options)
    assert len({one.sentence for one in found}) == len(found) >= 16 and all(map(usable, found))
    with pytest.raises(ValueError, match="There are 0 sentences for 1"):
        draw_targets(kind, texts(), 1, usable=lambda target: False, **options)


def test_lengths_beyond_a_short_window_are_refused():
    with pytest.raises(ValueError, match="Lengths begin at 10, and texts have 8 words at most"):
        draw_targets("length", [], 1, longest=8)


def test_no_more_is_tagged_than_is_asked_for(monkeypatch):
    monkeypatch.setattr("textdiff.text.control_targets.SENTENCES_AT_ONCE", 5)
    oracle = Lengths()
    draw_targets("pos", texts(), 7, tagger=oracle)
    assert oracle.read == 10


@pytest.mark.parametrize(
    ("kind", "oracle"), [("pos", "tagger"), ("semantic+tree", "parser"), ("span", "parser")]
)
def test_a_missing_oracle_is_named(kind, oracle):
    with pytest.raises(ValueError, match=f"of kind '{kind.replace('+', '.')}' want a {oracle}"):
        draw_targets(kind, texts(), 2)


def test_an_unknown_kind_lists_those_there_are():
    with pytest.raises(ValueError, match="Unknown kind of control 'mood': choose semantic, pos,"):
        draw_targets("mood", texts(), 2)


def test_texts_keep_the_labels_that_they_have(read):
    bare = LabelledText("So we ate .", {"name": "Cotto"})
    found = annotated([read, bare], "semantic+tree", parser=Lengths())
    assert found[0] == read and found[1].tags is None
    assert found[1].spans == ((0, 2, "NP"), (0, 4, "S"), (2, 4, "NP"))
    assert annotated([read], "tree") == annotated([read], "length") == [read]


def test_a_tagger_gives_trees_their_tags(read):
    bare = LabelledText("So we ate .")
    (found,) = annotated([bare], "tree", tagger=Lengths(), parser=Lengths())
    (target,) = targets_of("tree", found)
    assert target.tags == found.tags and len(found.tags) == 4


def test_a_target_says_in_json_what_it_has(read):
    (found,) = targets_of("pos", read)
    assert found.to_dict() == {"kind": "pos", "sentence": read.text, "tags": read.tags}


def test_e2e_validation_sentences_give_targets_of_every_kind(shared_data):
    folder = shared_data / "e2e" / "diffusion_lm"
    pool = read_labelled(folder / "src1_valid.txt.gz", "e2e")
    training = [text.text for text in read_labelled(folder / "src1_train.txt.gz", "e2e")]
    found = draw_targets("pos", pool, 200, tagger=Lengths(), training=training)
    assert len(found) == 200 and not {one.sentence for one in found} & set(training)
    pairs = Counter(one.content for one in draw_targets("semantic", pool, 200))
    assert ("family friendly", "yes") not in pairs and ("price", "high") not in pairs
    assert len(pairs) > 40 and max(pairs.values()) <= 5
