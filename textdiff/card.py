"""The model card: a README.md beside the weights, written from facts; no figure is typed by hand.

Facts are a JSON object; every section is written if its facts are there: name, about, license, parameters,
data (list of lines), training (line), tables (list of {title, command, rows, notes}), limits (list of lines).
What the cards of a wing have in common (tags, how to use a model) the wing adds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from textdiff.reports import table

CARD_FILE = "README.md"


def render(facts: Mapping[str, Any], *, front: Sequence[str], about: str, use: str) -> str:
    """The card's Markdown.

    Args:
        facts: as above.
        front: further lines of the front matter, such as tags.
        about: what a model is of which the facts do not say it.
        use: Python that shows the model at work.
    """
    lines = ["library_name: textdiff", f"license: {facts.get('license', 'other')}", *front]
    parts = [
        "---\n" + "\n".join(lines) + "\n---\n",
        f"# {facts.get('name', 'A textdiff model')}\n",
        facts.get("about", about) + "\n",
    ]
    if "parameters" in facts:
        parts.append(f"{facts['parameters'] / 1e6:.1f} M parameters.\n")
    parts.append(f"## Use\n\n```python\n{use.strip()}\n```\n")
    parts += _listed("Data and licences", facts.get("data", []))
    if "training" in facts:
        parts.append(f"## Training\n\n{facts['training']}\n")
    for part in facts.get("tables", []):
        parts.append(f"## {part['title']}\n\n{table(part['rows'])}\n")
        parts += [f"{note}\n" for note in part.get("notes", [])]
        parts.append(f"```\n{part['command']}\n```\n")
    parts += _listed("Limits", facts.get("limits", []))
    return "\n".join(parts)


def write(folder: str | Path, text: str) -> None:
    """README.md of a folder."""
    Path(folder, CARD_FILE).write_text(text, encoding="utf-8")


def _listed(title: str, lines: Sequence[str]) -> list[str]:
    return [f"## {title}\n\n" + "\n".join(f"- {line}" for line in lines) + "\n"] if lines else []
