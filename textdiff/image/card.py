"""The card of an image model: `textdiff.card`'s facts, load (for from_pretrained) and example (options)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from textdiff import card

FRONT = ("tags: [diffusion, image-generation, inpainting, super-resolution]",)
ABOUT = "A diffusion model of pictures."
USE = """
from textdiff.image.image_diffusion import ImageDiffusion

model = ImageDiffusion.from_pretrained({argument})
for i, picture in enumerate(model.generate(4, {example})):
    picture.save(f"picture-{{i}}.png")
"""


def write_card(folder: str | Path, facts: dict[str, Any]) -> None:
    """Write README.md into the folder."""
    use = USE.format(
        argument=facts.get("load", '"path/to/this/folder"'), example=facts.get("example", "seed=0")
    )
    card.write(folder, card.render(facts, front=FRONT, about=ABOUT, use=use))
