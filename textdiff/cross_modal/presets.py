"""Training presets of pictures with captions; a table as in `textdiff.image.presets`.

Times are reckoned from a few steps in bfloat16 on one core: 208 canvases and 51 emoji a second.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from textdiff.image.presets import Preset


@dataclass(frozen=True)
class CaptionPreset(Preset):
    """One row: also the shape of the caption encoder, and whether digits are composed or captions read."""

    encoder: dict[str, Any] = field(default_factory=dict)  # fields of `CaptionEncoderConfig`
    composed: bool = False  # the source holds digits to compose; otherwise pictures with a caption each


PRESETS = {preset.name: preset for preset in (
    CaptionPreset(
        name="composed-digits",
        about="two to four digits on 32 x 32 from a caption, 2.1 M parameters; ~25 core-min (not yet run)",
        source="images/mnist.npz", composed=True, max_steps=2400,
        model={"image_channels": 1, "image_size": 32, "width": 48, "multiples": [1, 2]},
        encoder={"hidden": 96, "layers": 3, "heads": 4, "intermediate": 256},
    ),
    CaptionPreset(
        name="emoji",
        about="emoji 64 x 64 in colour from a caption, 7.7 M parameters; ~7 core-hours, or a GPU (not yet run)",
        source="images/noto_emoji64.npz", batch_size=64, max_steps=20000, learning_rate=5e-4,
        model={
            "image_channels": 3, "image_size": 64, "patch": 4, "width": 80, "multiples": [1, 2], "blocks": 2,
            "dropout": 0.1,
        },
        encoder={"hidden": 128, "layers": 3, "heads": 4, "intermediate": 384, "dropout": 0.1},
    ),
)}  # fmt: skip
