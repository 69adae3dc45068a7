"""Blanks: what is parsed, what is refused, and that given text comes back to the byte."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textdiff.text.blanks import MARK, Blank, parse
from textdiff.text.language_model import DiffusionLM
from textdiff.text.plans import Planner
from textdiff.text.vocabulary import SPACED, UNSPACED

MARKS = st.sampled_from(["[MASK]", "[MASK:2]", "[MASK:1-3]", "___", "_____"])
LITERALS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(["", " ", "  ", "\t", "\n", " dog", "dog ", "the ", "<s>", "👩‍👩‍👧 ", "мир ", "。"]),
).filter(lambda text: not MARK.search(text) and not text.startswith("_") and not text.endswith("_"))


@pytest.mark.parametrize(
    ("text", "literals", "blanks"),
    [
        ("[MASK]", ("", ""), (Blank(),)),
        ("A ___.", ("A ", "."), (Blank(),)),
        ("A __ b _______", ("A __ b ", ""), (Blank(),)),
        ("[MASK:3] [MASK:2-6]", ("", " ", ""), (Blank(3, 3), Blank(2, 6))),
        ("un[MASK:1]able[MASK]", ("un", "able", ""), (Blank(1, 1), Blank())),
    ],
)
def test_parse(text: str, literals: tuple[str, ...], blanks: tuple[Blank, ...]) -> None:
    template = parse(text)
    assert (template.literals, template.blanks) == (literals, blanks)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        (" \n", "empty"),
        ("No blank in [mask] here __.", "has no blank"),
        ("[MASK:0]", "[MASK:0] is not a number"),
        ("[MASK:5-2]", "[MASK:5-2] is not a number"),
        ("[MASK:x]", "[MASK:x] is not a number"),
        ("[MASK:]", "[MASK:] is not a number"),
        ("[MASK:-2]", "[MASK:-2] is not a number"),
        ("\udcff [MASK]", "not valid Unicode"),
    ],
)
def test_bad_marks_are_refused_in_a_sentence(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        parse(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "fill", "expected"),
    [
        ("A [MASK].", " dog", "A dog."),
        ("A [MASK] b", " dog ", "A dog b"),
        ("A\t[MASK]", "dog", "A\tdog"),
        ("un[MASK]able", "speak", "unspeakable"),
        ("A[MASK].", " dog", "A dog."),
        ("[MASK] ran.", " The", "The ran."),
    ],
)
def test_spaces_beside_a_blank_are_neither_lost_nor_doubled(text: str, fill: str, expected: str) -> None:
    template = parse(text)
    assert template.join([template.trim(0, fill, words=False)]) == expected


@pytest.mark.parametrize(
    ("text", "expected"), [("a [MASK] b", "a X b"), ("a[MASK]b", "a X b"), ("a [MASK].", "a X."), ("[MASK] b", "X b")]
)
def test_whole_words_stand_apart(text: str, expected: str) -> None:
    template = parse(text)
    assert template.join([template.trim(0, "X", words=True)]) == expected


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        ("The [MASK].", (SPACED,)),
        ("[MASK] ran", (UNSPACED,)),
        ("un[MASK]able", (UNSPACED,)),
        ("A\n[MASK]", (UNSPACED,)),
        ("The dog[MASK]", (None,)),
        ("a [MASK][MASK] [MASK]", (SPACED, None, SPACED)),
    ],
)
def test_a_typed_space_decides_how_a_fill_starts(bpe_lm: DiffusionLM, text: str, rules: tuple[str | None]) -> None:
    planner = Planner(parse(text), bpe_lm.vocabulary, 24, [])
    assert planner.plan([1] * len(rules)).rules == rules


@settings(max_examples=60, deadline=None)
@given(data=st.data())
@pytest.mark.parametrize("kind", ["bpe_lm", "word_lm"])
def test_given_text_comes_back_to_the_byte(request: pytest.FixtureRequest, kind: str, data: st.DataObject) -> None:
    model = request.getfixturevalue(kind)
    marks = data.draw(st.lists(MARKS, min_size=1, max_size=3))
    literals = data.draw(st.lists(LITERALS, min_size=len(marks) + 1, max_size=len(marks) + 1))
    if any(not inner and one[0] == "_" for inner, one in zip(literals[1:-1], marks[1:])):
        return  # two runs of underscores side by side are one
    text = "".join(part for pair in zip(literals, [*marks, ""]) for part in pair)
    if sum(len(model.vocabulary.encode(literal)) for literal in literals[1:-1]) > 15:
        return  # refused: see test_language_model
    (found,) = model.infill(text, num_samples=1, num_inference_steps=1, seed=0)
    assert found.text == "".join(part for pair in zip(literals, [*found.fills, ""]) for part in pair)
    assert all("\ufffd" not in fill for fill in found.fills)
