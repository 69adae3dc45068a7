"""The card of a text model: `textdiff.card`'s facts, load (for from_pretrained) and example (with blanks)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from textdiff import card

FRONT = ("language: en", "tags: [diffusion, text-generation, infilling]")
ABOUT = "A continuous-embedding diffusion language model."
EXAMPLE = "The little dog ran into the [MASK] and found [MASK]."
USE = """
from textdiff import DiffusionLM

model = DiffusionLM.from_pretrained({argument})
for candidate in model.infill("{example}", seed=0):
    print(round(candidate.score, 2), candidate.text)
"""


def write_card(folder: str | Path, facts: dict[str, Any]) -> None:
    """Write README.md into the folder."""
    use = USE.format(
        argument=facts.get("load", '"path/to/this/folder"'), example=facts.get("example", EXAMPLE)
    )
    card.write(folder, card.render(facts, front=FRONT, about=ABOUT, use=use))
