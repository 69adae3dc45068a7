"""What is wished for as the tag of a word: a tag, one of several ("ADJ|NOUN"), or any ("_")."""

from __future__ import annotations

from collections.abc import Sequence

from textdiff.text.classifier_config import place_of
from textdiff.text.penn_tags import BY_TAG
from textdiff.text.trees import UNKNOWN_TAG

ANY_TAG, OR = "_", "|"


def allowed(pattern: str, tags: Sequence[str]) -> list[int]:
    """Places of the tags that a pattern allows.

    Raises:
        ValueError: if it names none, or a tag that is not among them.
    """
    if pattern == ANY_TAG:
        return list(range(len(tags)))
    return sorted({place_of(tag, tags, "tag", other=f", or {ANY_TAG} for any") for tag in pattern.split(OR)})


def fits(tag: str, pattern: str) -> bool:
    """Whether a word's tag is as wished."""
    return pattern == ANY_TAG or tag in pattern.split(OR)


def of_tree(tag: str, tags: Sequence[str]) -> str:
    """The pattern of a tag that stands in a bracketed tree; one of Penn's may be several universal ones."""
    if tag in tags:
        return tag
    universal = [one for one in BY_TAG.get(tag, "").split() if one in tags]
    return OR.join(universal) or (ANY_TAG if tag == UNKNOWN_TAG else tag)
