"""The card of a text model: `textdiff.card`'s facts, load (for from_pretrained), example (with blanks) and language.

Of a model of pairs the facts name a source instead of an example.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from textdiff import card

TAGS, PAIR_TAGS = "tags: [diffusion, text-generation, infilling]", "tags: [diffusion, text2text-generation]"
ABOUT = "A continuous-embedding diffusion language model."
EXAMPLE = "The little dog ran into the [MASK] and found [MASK]."
USE = """
from textdiff import DiffusionLM

model = DiffusionLM.from_pretrained({argument})
for candidate in model.infill("{example}", seed=0):
    print(round(candidate.score, 2), candidate.text)
"""

USE_PAIRS = """
from textdiff import DiffusionLM

model = DiffusionLM.from_pretrained({argument})
print(model.rewrite("{source}", seed=0))
"""


def write_card(folder: str | Path, facts: dict[str, Any]) -> None:
    """Write README.md into the folder."""
    paired = "source" in facts
    use = (USE_PAIRS if paired else USE).format(
        **{"example": EXAMPLE, **facts, "argument": facts.get("load", '"path/to/this/folder"')}
    )
    front = (f"language: {facts.get('language', 'en')}", PAIR_TAGS if paired else TAGS)
    card.write(folder, card.render(facts, front=front, about=ABOUT, use=use))
