"""`evaluate` without network, its caches in one empty folder: a process imports its modules once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from textdiff.metrics import path


@pytest.fixture(scope="session")
def load(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Any]]:
    """`evaluate.load` by our names."""
    evaluate = pytest.importorskip("evaluate")
    place = tmp_path_factory.mktemp("evaluate")
    patch = pytest.MonkeyPatch()
    patch.setattr("evaluate.config.HF_MODULES_CACHE", place / "modules")
    patch.setattr("evaluate.config.HF_METRICS_CACHE", place / "metrics")
    patch.setattr("evaluate.config.HF_EVALUATE_OFFLINE", True)
    patch.syspath_prepend(str(place / "modules"))
    yield lambda name, **options: evaluate.load(path(name), **options)
    patch.undo()
