"""textdiff: continuous diffusion for text and images. Public names load on first use."""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "DiffusionLM": "textdiff.text.language_model",
    "DiffusionLMConfig": "textdiff.text.model",
    "DiffusionLMModel": "textdiff.text.model",
    "ImageDiffusion": "textdiff.image.image_diffusion",
    "Scheduler": "textdiff.diffusion.scheduler",
    "sample": "textdiff.diffusion.samplers",
}
__all__ = [
    "DiffusionLM", "DiffusionLMConfig", "DiffusionLMModel", "ImageDiffusion", "Scheduler", "__version__", "sample",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'textdiff' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
