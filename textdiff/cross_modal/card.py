"""The cards of models that draw captions and of models that write them; `textdiff.card`'s facts, load and example."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from textdiff import card

DRAWS = """
from textdiff.cross_modal.text_to_image import TextToImage

model = TextToImage.from_pretrained({argument})
for i, picture in enumerate(model.generate({example}, num_samples=4, seed=0)):
    picture.save(f"picture-{{i}}.png")
"""
WRITES = """
from textdiff.cross_modal.captioner import Captioner

model = Captioner.from_pretrained({argument})
print(model.caption({example}, seed=0))
"""


def write_drawing_card(folder: str | Path, facts: dict[str, Any]) -> None:
    """README.md of a `TextToImage`."""
    _write(folder, facts, "text-to-image", "A diffusion model of pictures that reads captions.", DRAWS)


def write_writing_card(folder: str | Path, facts: dict[str, Any]) -> None:
    """README.md of a `Captioner`."""
    _write(folder, facts, "image-to-text", "A diffusion model of captions that sees pictures.", WRITES)


def _write(folder: str | Path, facts: dict[str, Any], tag: str, about: str, use: str) -> None:
    shown = use.format(argument=facts.get("load", '"path/to/this/folder"'), example=facts.get("example", "..."))
    front = (f"tags: [diffusion, {tag}]",)
    card.write(folder, card.render(facts, front=front, about=about, use=shown))
