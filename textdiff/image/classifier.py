"""A small digit classifier: it judges generated digits by class, and its features are what distances are taken in.

Three convolutions of stride 2 and a layer of 128 features. It is trained here (benchmarks/digit_classifier.py) and
shipped, so that figures made on two machines are comparable; its file's hash belongs beside every such figure.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from textdiff import storage
from textdiff.image.pictures import read_pictures

DEFAULT_MODEL, MODEL_TYPE, TRAINER = (
    "digit_classifier",
    "textdiff-digit-classifier",
    "benchmarks/digit_classifier.py",
)
AT_ONCE = 500
SHAPE = (1, 28, 28)


class DigitClassifier(nn.Module):
    """Pictures [B, 1, 28, 28] in [-1, 1] -> logits [B, 10]; `features` gives the 128 numbers before them."""

    def __init__(self, width: int = 32, classes: int = 10) -> None:
        super().__init__()
        self.width, self.classes = width, classes
        self.trunk = nn.Sequential(
            nn.Conv2d(1, width, 3, stride=2, padding=1), nn.ReLU(),
            nn.Conv2d(width, 2 * width, 3, stride=2, padding=1), nn.ReLU(),
            nn.Conv2d(2 * width, 4 * width, 3, stride=2, padding=1), nn.ReLU(),
            nn.Flatten(), nn.Linear(4 * width * 16, 128), nn.ReLU(),
        )  # fmt: skip
        self.head = nn.Linear(128, classes)

    def features(self, x: Tensor) -> Tensor:
        """[B, 128]."""
        return self.trunk(x)

    def forward(self, x: Tensor) -> Tensor:
        """[B, classes]."""
        return self.head(self.features(x))

    @classmethod
    def from_pretrained(cls, name: str | os.PathLike | None = None) -> DigitClassifier:
        """Load the bundled one (None), or a folder.

        Raises:
            FileNotFoundError: if there is none, or a file of it is missing.
            ValueError: if a file of it is damaged.
        """
        folder = storage.find_model(name, default=DEFAULT_MODEL, model_type=MODEL_TYPE, trainer=TRAINER)
        config = storage.typed_config(folder, MODEL_TYPE, TRAINER)
        state = storage.read_state(folder, "", TRAINER)
        with torch.random.fork_rng(devices=[]):
            classifier = cls(int(config.get("width", 32)), int(config.get("classes", 10)))
        storage.load_state(classifier, state, folder)
        return classifier.eval().requires_grad_(False)

    def save_pretrained(self, folder: str | os.PathLike, **facts: Any) -> None:
        """Write what `from_pretrained` reads, and facts of its training into config.json."""
        config = {"model_type": MODEL_TYPE, "width": self.width, "classes": self.classes, **facts}
        with storage.Draft(folder) as draft:
            (draft / storage.CONFIG_FILE).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
            storage.write_state(draft, self, "")

    def fingerprint(self) -> str:
        """The first 16 digits of a hash over all weights: which features a figure is made of."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.state_dict().items()):
            digest.update(name.encode() + tensor.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]


@torch.no_grad()
def judged(classifier: DigitClassifier, pictures: Any) -> tuple[np.ndarray, np.ndarray]:
    """Features [N, 128] and classes [N] of pictures (anything that `read_pictures` takes).

    Raises:
        ValueError: if one is not of 28 x 28 pixels.
    """
    read = read_pictures(pictures, 1)
    if strange := [one for one in read if one.shape != SHAPE]:
        raise ValueError(f"A picture is {strange[0].shape[2]} x {strange[0].shape[1]}: the classifier judges 28 x 28.")
    x = torch.stack(read)
    parts = [classifier.features(x[at : at + AT_ONCE]) for at in range(0, len(x), AT_ONCE)]
    features = torch.cat(parts)
    return features.numpy(), classifier.head(features).argmax(1).numpy()


def train_classifier(
    pixels: np.ndarray,
    labels: np.ndarray,
    *,
    epochs: int = 5,
    batch_size: int = 128,
    seed: int = 0,
    width: int = 32,
    progress: Callable[[float], object] | None = None,
) -> DigitClassifier:
    """A classifier of uint8 pictures [N, 1, 28, 28]; every batch is shifted by up to 2 pixels.

    Args:
        pixels: as above.
        labels: [N].
        epochs: passes.
        batch_size: pictures a step.
        seed: of weights, order and shifts.
        width: channels of the first convolution.
        progress: called with the loss after every step.

    Raises:
        ValueError: if there are fewer pictures than a batch has.
    """
    if len(pixels) < batch_size:
        raise ValueError(f"There are {len(pixels)} pictures to train on: give at least {batch_size}.")
    rng, steps = np.random.default_rng(seed), epochs * (len(pixels) // batch_size)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        classifier = DigitClassifier(width, int(labels.max()) + 1)
    optimiser = torch.optim.AdamW(classifier.parameters(), lr=2e-3, weight_decay=1e-2)
    plan = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=max(1, steps))
    for rows in _batches(rng, len(pixels), batch_size, epochs):
        x = torch.from_numpy(np.roll(pixels[rows], rng.integers(-2, 3, 2), (2, 3))).float() / 127.5 - 1.0
        loss = nn.functional.cross_entropy(classifier(x), torch.from_numpy(labels[rows]))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        plan.step()
        if progress is not None:
            progress(float(loss.detach()))
    return classifier.eval().requires_grad_(False)


def _batches(rng: np.random.Generator, count: int, size: int, epochs: int) -> Sequence[np.ndarray]:
    """Rows of every step."""
    orders = [rng.permutation(count) for _ in range(epochs)]
    return [order[at : at + size] for order in orders for at in range(0, count - size + 1, size)]
