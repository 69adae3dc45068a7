"""The card of a text model: facts of `textdiff.card`, load (for from_pretrained), example, language."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from textdiff import card

TAGS, PAIR_TAGS = "tags: [diffusion, text-generation, infilling]", "tags: [diffusion, text2text-generation]"
ABOUT = "A continuous-embedding diffusion language model."
EXAMPLE, SOURCE = "The little dog ran into the [MASK] and found [MASK].", "The little dog ran home."
USE = """
from textdiff import DiffusionLM

model = DiffusionLM.from_pretrained({argument})
for candidate in model.infill("{example}", seed=0):
    print(round(candidate.score, 2), candidate.text)
"""

USE_PAIRS = """
from textdiff import DiffusionLM

model = DiffusionLM.from_pretrained({argument})
print(model.rewrite("{example}", seed=0))
"""


def write_card(folder: str | Path, facts: dict[str, Any], *, paired: bool = False) -> None:
    """Write README.md into the folder; a model of pairs is `paired`: it rewrites, where others fill blanks."""
    use = (USE_PAIRS if paired else USE).format(
        argument=facts.get("load", '"path/to/this/folder"'), example=facts.get("example", SOURCE if paired else EXAMPLE)
    )
    front = (f"language: {facts.get('language', 'en')}", PAIR_TAGS if paired else TAGS)
    card.write(folder, card.render(facts, front=front, about=ABOUT, use=use))
