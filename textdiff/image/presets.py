"""Training presets of the image wing: a table whose rows say what they make, how long it takes and what to expect.

Sources are files below `--data-dir`. Times are for 2 idle CPU cores.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Preset:
    """One row: what it is for, the data, the shape of the model and of the run."""

    name: str
    about: str
    source: str = ""  # file below --data-dir; "" = the user's own pictures
    model: dict[str, Any] = field(default_factory=dict)  # fields of `UNetConfig`
    classes: bool = True  # learn the classes, where the data have them
    flip: bool = False  # show every other picture as in a mirror
    batch_size: int = 128  # pictures a step, over all processes
    max_steps: int = 2400
    learning_rate: float = 1e-3

    def rates(self) -> dict[str, Any]:
        """How long, in which batches and how fast to train: arguments of `training_arguments`."""
        return {
            "max_steps": self.max_steps,
            "batch_size": self.batch_size,
            "learning_rate": self.learning_rate,
        }


PRESETS = {preset.name: preset for preset in (
    Preset(
        name="digits",
        about="the bundled model: handwritten digits 28 x 28 by class, 1.6 M parameters; about 15 min",
        source="images/mnist.npz", model={"image_channels": 1, "image_size": 28, "width": 48}, max_steps=4000,
    ),
    Preset(
        name="tiny-image",
        about="a model that fits any folder of pictures in some minutes: to see the machinery run",
        model={"image_size": 32, "image_channels": 3, "width": 24}, batch_size=32, max_steps=400, learning_rate=2e-3,
    ),
)}  # fmt: skip
