"""Training presets of pictures with captions; two tables as in `textdiff.image.presets`.

`PRESETS` draw pictures of captions, `CAPTIONERS` write captions of pictures. Times are for one idle CPU core.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from textdiff.image.presets import Preset


@dataclass(frozen=True)
class CaptionPreset(Preset):
    """One row: also the shape of what encodes the other side, and whether digits are composed or captions read.

    In `PRESETS` the model draws (`UNetConfig`) and captions are encoded (`CaptionEncoderConfig`); in `CAPTIONERS` the
    model writes (`DiffusionLMConfig`) and pictures are encoded (`PictureEncoderConfig`).
    """

    encoder: dict[str, Any] = field(default_factory=dict)
    composed: bool = False  # the source holds digits to compose; otherwise pictures with a caption each


PRESETS = {preset.name: preset for preset in (
    CaptionPreset(
        name="composed-digits",
        about="two to four digits on 32 x 32 from a caption, 2.1 M parameters; about 30 min on 1 core",
        source="images/mnist.npz", composed=True, max_steps=2400,
        model={"image_channels": 1, "image_size": 32, "width": 48, "multiples": [1, 2]},
        encoder={"hidden": 96, "layers": 3, "heads": 4, "intermediate": 256},
    ),
    CaptionPreset(
        name="emoji",
        about="emoji 64 x 64 in colour from a caption, 5 M parameters; about 35 min on 1 core",
        source="images/noto_emoji64.npz", batch_size=32, max_steps=8000, learning_rate=7e-4,
        model={
            "image_channels": 3, "image_size": 64, "patch": 4, "width": 48, "multiples": [1, 2, 3],
            "prediction": "x0",
        },
        encoder={"hidden": 128, "layers": 3, "heads": 4, "intermediate": 384, "dropout": 0.1},
    ),
)}  # fmt: skip

CAPTIONERS = {preset.name: preset for preset in (
    CaptionPreset(
        name="caption-digits",
        about="captions of two to four digits on 32 x 32, 1.2 M parameters; about 20 min on 1 core",
        source="images/mnist.npz", composed=True, max_steps=2400, learning_rate=1.5e-3,
        model={
            "hidden_size": 128, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 384,
            "stagger": 1.0,
        },
        encoder={"image_channels": 1, "image_size": 32, "width": 32},
    ),
    CaptionPreset(
        name="caption-emoji",
        about="captions of emoji 64 x 64 in colour, 1.9 M parameters; ~20 core-min (not yet run)",
        source="images/noto_emoji64.npz", batch_size=64, max_steps=4000, learning_rate=1e-3,
        model={
            "hidden_size": 128, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 384,
            "dropout": 0.1, "stagger": 1.0,
        },
        encoder={"image_channels": 3, "image_size": 64, "patch": 4, "width": 48},
    ),
)}  # fmt: skip
