"""The model card: a README.md beside the weights, written from facts, so that figures are never typed by hand.

Facts are a JSON object; every section is written if its facts are there:
name, about, license, parameters, data (list of lines), training (line), tables (list of {title, command, rows}),
limits (list of lines), load (what from_pretrained is given), example (a text with blanks).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from textdiff.text.reports import table

CARD_FILE = "README.md"
FRONT_MATTER = """---
library_name: textdiff
language: en
license: {license}
tags: [diffusion, text-generation, infilling]
---
"""
EXAMPLE = "The little dog ran into the [MASK] and found [MASK]."
USE = """## Use

```python
from textdiff import DiffusionLM

model = DiffusionLM.from_pretrained({argument})
for candidate in model.infill("{example}", seed=0):
    print(round(candidate.score, 2), candidate.text)
```
"""


def write_card(folder: str | Path, facts: dict[str, Any]) -> None:
    """Write README.md into the folder."""
    Path(folder, CARD_FILE).write_text(render(facts), encoding="utf-8")


def render(facts: dict[str, Any]) -> str:
    """The card's Markdown."""
    parts = [
        FRONT_MATTER.format(license=facts.get("license", "other")),
        f"# {facts.get('name', 'A textdiff model')}\n",
        facts.get("about", "A continuous-embedding diffusion language model.") + "\n",
    ]
    if "parameters" in facts:
        parts.append(f"{facts['parameters'] / 1e6:.1f} M parameters.\n")
    parts.append(USE.format(argument=facts.get("load", '"path/to/this/folder"'), example=facts.get("example", EXAMPLE)))
    parts += _listed("Data and licences", facts.get("data", []))
    if "training" in facts:
        parts.append(f"## Training\n\n{facts['training']}\n")
    for part in facts.get("tables", []):
        parts.append(f"## {part['title']}\n\n{table(part['rows'])}\n")
        parts += [f"{note}\n" for note in part.get("notes", [])]
        parts.append(f"```\n{part['command']}\n```\n")
    parts += _listed("Limits", facts.get("limits", []))
    return "\n".join(parts)


def _listed(title: str, lines: Sequence[str]) -> list[str]:
    return [f"## {title}\n\n" + "\n".join(f"- {line}" for line in lines) + "\n"] if lines else []
