"""Tags and spans that labelled texts lack, told by oracles, and a file that keeps what they said.

Oracles read the words that white space divides, as the labels of words have it. A text is judged once,
however often it comes.
"""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from textdiff.text.labelled import LabelledText, read_labelled
from textdiff.text.oracles import ParseOracle, TagOracle
from textdiff.text.trees import check_spans

TEXTS_AT_ONCE = 256

Words = tuple[str, ...]
# (batches, what is asked for) -> the same batches, a bar shown meanwhile.
Progress = Callable[[Sequence[list[Words]], str], Iterable[list[Words]]]


def in_silence(batches: Sequence[list[Words]], _: str) -> Iterable[list[Words]]:
    """No bar."""
    return batches


def fill_in(
    texts: Sequence[LabelledText], *, tagger: TagOracle | None = None, parser: ParseOracle | None = None,
    progress: Progress = in_silence,
) -> list[LabelledText]:  # fmt: skip
    """Texts with tags where they had none, by a tagger, and with spans where they had none, by a parser.

    Args:
        texts: those that are labelled already stay as they are.
        tagger: who tags; None = nobody.
        parser: who parses; None = nobody.
        progress: what shows how far it is.

    Raises:
        ValueError: if an oracle's answer does not fit a text, or a text is too long for it.
    """
    found = list(texts)
    if tagger is not None:
        lacking = [text for text in found if text.tags is None]
        tags = _answers(lacking, tagger.tag, lambda batches: progress(batches, "tags"), _checked_tags)
        found = [replace(t, tags=tags[_words(t)]) if t.tags is None else t for t in found]
    if parser is not None:
        lacking = [text for text in found if text.spans is None]
        spans = _answers(lacking, parser.parse, lambda batches: progress(batches, "spans"), _checked_spans)
        found = [replace(t, spans=spans[_words(t)]) if t.spans is None else t for t in found]
    return found


def fill_from(texts: Sequence[LabelledText], known: Iterable[LabelledText]) -> list[LabelledText]:
    """Texts with the tags and spans that equal texts had."""
    by_text = {text.text: text for text in known}
    found = []
    for text in texts:
        same = by_text.get(text.text, text)
        tags = same.tags if text.tags is None else text.tags
        found.append(replace(text, tags=tags, spans=same.spans if text.spans is None else text.spans))
    return found


def write_labelled(texts: Iterable[LabelledText], path: Path) -> None:
    """Write texts as JSON lines, packed, which `read_labelled` reads; an old file is replaced at the end."""
    lines = []
    for text in texts:
        row: dict[str, Any] = {"text": text.text, "labels": text.labels}
        if text.tags is not None:
            row["tags"] = text.tags
        if text.spans is not None:
            row["spans"] = text.spans
        lines.append(json.dumps(row, ensure_ascii=False))
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.part")
    draft.write_bytes(gzip.compress("\n".join([*lines, ""]).encode("utf-8"), mtime=0))
    os.replace(draft, path)


def read_kept(path: Path) -> list[LabelledText]:
    """What `write_labelled` wrote; nothing, if there is no such file.

    Raises:
        ValueError: if it is damaged.
    """
    try:
        return read_labelled(path, "jsonl") if path.is_file() else []
    except ValueError as error:
        advice = "or delete it, and the oracles are asked again"
        raise ValueError(f"{str(error).rstrip('.')}; {advice}.") from error


def _words(text: LabelledText) -> Words:
    return tuple(text.text.split())


def _answers(
    texts: Sequence[LabelledText],
    ask: Callable[[Sequence[Sequence[str]]], Sequence[Any]],
    shown: Callable[[Sequence[list[Words]]], Iterable[list[Words]]],
    checked: Callable[[Words, Any], Any],
) -> dict[Words, Any]:
    """What an oracle says of all different texts, those of like lengths together."""
    different = sorted({_words(text) for text in texts}, key=lambda words: (len(words), words))
    batches = [different[k : k + TEXTS_AT_ONCE] for k in range(0, len(different), TEXTS_AT_ONCE)]
    answers: dict[Words, Any] = {}
    for batch in shown(batches) if batches else ():
        said = ask([list(words) for words in batch])
        if len(said) != len(batch):
            raise ValueError(f"The oracle gave {len(said)} answers to {len(batch)} texts: name another one.")
        answers.update((words, checked(words, answer)) for words, answer in zip(batch, said))
    return answers


def _checked_tags(words: Words, tags: Sequence[str]) -> tuple[str, ...]:
    if len(tags) != len(words):
        raise ValueError(
            f"The tagger gave {len(tags)} tags to the {len(words)} words of {' '.join(words)[:60]!r}: "
            "name another one."
        )
    return tuple(tags)


def _checked_spans(words: Words, spans: Iterable[tuple[int, int, str]]) -> tuple[tuple[int, int, str], ...]:
    found = tuple(sorted(spans))
    check_spans(found, len(words))
    return found
