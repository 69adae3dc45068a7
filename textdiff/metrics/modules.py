"""What our `evaluate` modules share: their features, their options, and the checks at the door.

A module's script names a subclass of `TextScores` and of `evaluate.Metric` (compares with references) or
`evaluate.Measurement` (looks at the texts alone) and gives it one method, `scores`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import datasets
import evaluate


class TextScores:
    """Mixin of an `evaluate` module over texts.

    Options of `scores` may be given once, to `evaluate.load`, or at each `compute`, which wins.
    """

    description: str
    scores: Callable[..., dict[str, Any]]          # (predictions, [references], **options): figures by name

    def __init__(self, *args: Any, **options: Any) -> None:
        ours = set(inspect.signature(self.scores).parameters) - {"predictions", "references"}
        theirs = set(inspect.signature(evaluate.EvaluationModule.__init__).parameters)
        unknown = sorted(set(options) - ours - theirs)
        if unknown:
            known = ", ".join(sorted(ours)) or "none"
            raise TypeError(f"{type(self).__name__} has no option {unknown[0]!r}; its options: {known}.")
        self.options = {name: options.pop(name) for name in ours & set(options)}
        super().__init__(*args, **options)

    def add_batch(self, *, predictions: Any = None, references: Any = None, **others: Any) -> None:
        """Adds texts to those the next `compute` looks at.

        Raises:
            ValueError: no texts, or one string instead of a list of them.
        """
        for name, texts in (("predictions", predictions), ("references", references)):
            if isinstance(texts, str):
                raise ValueError(f"{name} is one string: give a list of texts, [{texts[:20]!r}, ...].")
        if predictions is None or len(predictions) == 0:
            raise ValueError(f"{type(self).__name__} got no predictions: give at least one text.")
        super().add_batch(predictions=predictions, references=references, **others)  # type: ignore[misc]

    def _info(self) -> evaluate.EvaluationModuleInfo:
        text = datasets.Value("string")
        about: dict[str, Any] = {"description": self.description, "citation": "", "inputs_description": ""}
        if not isinstance(self, evaluate.Metric):
            return evaluate.MeasurementInfo(features=datasets.Features({"predictions": text}), **about)
        features = [datasets.Features({"predictions": text, "references": datasets.Sequence(text)}),
                    datasets.Features({"predictions": text, "references": text})]
        return evaluate.MetricInfo(features=features, **about)

    def _compute(self, predictions: list[str], **rest: Any) -> dict[str, Any]:
        return self.scores(predictions, **{**self.options, **rest})
