"""Model cards: every fact has its place, what is not known is not there."""

from __future__ import annotations

import pytest

from textdiff import card
from textdiff.image.card import write_card as write_image_card
from textdiff.text.card import write_card as write_text_card

FACTS = {
    "name": "toy", "about": "A toy.", "license": "cc0-1.0", "parameters": 2_500_000, "data": ["Dots", "Lines"],
    "training": "One minute.", "limits": ["None known."],
    "tables": [
        {"title": "Figures", "rows": [{"method": "a", "score": 0.5}], "command": "make it", "notes": ["Seed 3."]}
    ],
}  # fmt: skip
SECTIONS = ["## Use", "## Data and licences", "## Training", "## Figures", "## Limits"]


def test_every_fact_has_its_place() -> None:
    text = card.render(FACTS, front=("tags: [toys]",), about="unused", use="\nplay()\n")
    assert text.startswith(
        "---\nlibrary_name: textdiff\nlicense: cc0-1.0\ntags: [toys]\n---\n\n# toy\n\nA toy.\n"
    )
    assert [line for line in text.splitlines() if line.startswith("## ")] == SECTIONS
    for wanted in (
        "2.5 M parameters.",
        "```python\nplay()\n```",
        "- Dots\n- Lines\n",
        "One minute.",
        "Seed 3.",
        "0.500",
    ):
        assert wanted in text
    assert "```\nmake it\n```" in text and "unused" not in text


def test_what_is_not_known_is_not_there() -> None:
    text = card.render({}, front=(), about="Something.", use="play()")
    assert "license: other\n---" in text and "Something." in text
    assert [line for line in text.splitlines() if line.startswith("## ")] == ["## Use"]
    assert "parameters" not in text


@pytest.mark.parametrize(
    ("write", "call"), [(write_text_card, "infill("), (write_image_card, "generate(4, ")]
)
def test_a_wings_card_shows_how_its_models_are_used(write, call: str, tmp_path) -> None:
    write(tmp_path, {**FACTS, "load": '"toy"', "example": "seed=5"})
    text = (tmp_path / card.CARD_FILE).read_text(encoding="utf-8")
    (code,) = text.split("```python\n")[1:]
    compile(code.split("```")[0], "card", "exec")
    assert 'from_pretrained("toy")' in code and call in code and "seed=5" in code


def test_the_card_of_a_model_of_pairs_rewrites(tmp_path) -> None:
    facts = {**FACTS, "load": '"de-en"', "example": "Es regnet.", "language": "[de, en]"}
    write_text_card(tmp_path, facts, paired=True)
    text = (tmp_path / card.CARD_FILE).read_text(encoding="utf-8")
    assert "\nlanguage: [de, en]\n" in text and "infilling" not in text
    (code,) = text.split("```python\n")[1:]
    compile(code.split("```")[0], "card", "exec")
    assert 'from_pretrained("de-en")' in code and 'rewrite("Es regnet.", seed=0)' in code and "infill(" not in code
