"""Cards of models with captions: their front matter and the code that shows them at work."""

from __future__ import annotations

import ast

import pytest

from textdiff.cross_modal.card import write_drawing_card, write_writing_card


@pytest.mark.parametrize(
    ("write", "tag", "example", "call"),
    [
        (write_drawing_card, "text-to-image", '"a one above a two"', "model.generate('a one above a two'"),
        (write_writing_card, "image-to-text", '"canvas.png"', "model.caption('canvas.png'"),
    ],
)
def test_a_card_shows_its_model_at_work(tmp_path, write, tag: str, example: str, call: str) -> None:
    write(tmp_path, {"license": "cc-by-sa-3.0", "load": "", "example": example})
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "license: cc-by-sa-3.0" in text and tag in text
    code = ast.unparse(ast.parse(text.split("```python\n")[1].split("```")[0]))
    assert call in code and "from_pretrained()" in code
