"""`evaluate` as a user meets it; its caches are those that tests/conftest.py gives a process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from textdiff.metrics import path


@pytest.fixture(scope="session")
def load() -> Callable[..., Any]:
    """`evaluate.load` by our names."""
    evaluate = pytest.importorskip("evaluate")
    return lambda name, **options: evaluate.load(path(name), **options)
