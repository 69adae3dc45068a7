"""What other models write into the blanks of `benchmarks/infilling.py`: whole filled texts, best effort of each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from textdiff.text.infilling import Item


def masked_texts(
    folder: str | Path, items: Sequence[Item], *, steps: int, seed: int, temperature: float
) -> list[str]:
    """Texts filled by masked diffusion (benchmarks/masked.py), told the length of each fill.

    Raises:
        ValueError: if the folder holds no such model.
        FileNotFoundError: if it has no tokenizer.
    """
    from masked_model import read_masked
    from masked_sampling import infill

    from textdiff.text.blanks import parse
    from textdiff.text.plans import Planner

    model, vocabulary = read_masked(folder)
    window = model.config.max_position_embeddings
    plans = [
        Planner(parse(item.fixed), vocabulary, window, model.config.length_counts).plan([item.tokens]) for item in items
    ]
    filled = infill(model, plans, vocabulary, steps=steps, seed=seed, temperature=temperature)
    texts = []
    for item, plan, ids in zip(items, plans, filled, strict=True):
        fill = vocabulary.decode(ids[plan.spans[0]])
        texts.append(joined(item, fill))
    return texts


def middle_texts(
    folder: str | Path, items: Sequence[Item], *, seed: int, length_given: bool, temperature: float
) -> list[str]:
    """Texts filled by an autoregressive model that was trained on prefix, suffix, middle.

    Raises:
        ValueError: if the folder holds no such model.
        FileNotFoundError: if there is no such folder.
    """
    from textdiff.metrics.judge import Judge
    from textdiff.text.continuation import MiddleFiller

    filler = MiddleFiller(Judge.from_pretrained(folder))
    sides = [item.prefix for item in items], [item.suffix for item in items]
    originals = [item.fill for item in items] if length_given else None
    fills = filler.fills(*sides, originals, seed=seed, temperature=temperature)
    return [joined(item, fill) for item, fill in zip(items, fills, strict=True)]


def joined(item: Item, fill: str) -> str:
    """The whole text; the space before a blank is the item's own."""
    return item.prefix + (fill.lstrip(" ") if not item.prefix or item.prefix[-1].isspace() else fill) + item.suffix
