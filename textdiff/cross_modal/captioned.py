"""Pictures with a caption each, from an .npz: training and held-out captions, and rows of a training run."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset

from textdiff.cross_modal.caption_words import CaptionWords, words_of
from textdiff.image.data import PictureRows, Pictures, fitted, load_arrays

HELD_OUT = 20  # one caption in so many is held out
ORDER_SEED = 0  # of the order in which captions are tried


@dataclass(frozen=True)
class Captioned:
    """Pictures uint8 [N, C, H, W] and their captions."""

    pictures: Pictures
    captions: list[str]

    def __len__(self) -> int:
        return len(self.captions)

    def part(self, rows: np.ndarray) -> Captioned:
        """Some of them."""
        return Captioned(self.pictures.part(rows), [self.captions[row] for row in rows])


def read_captioned(source: str, *, size: int, channels: int) -> tuple[Captioned, Captioned]:
    """Training and held-out pictures of an .npz with x, uint8 [N, H, W(, C)], and caption, text [N].

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it does not hold what is said, or no caption can be held out.
    """
    arrays = load_arrays(source, ("x", "caption"))
    missing = [name for name in ("x", "caption") if name not in arrays]
    if missing:
        raise ValueError(f"{source} lacks {' and '.join(missing)}: give pictures x and a caption for each.")
    captions = [str(caption) for caption in arrays["caption"]]
    pictures = fitted(arrays["x"], None, source, size, channels)
    if len(captions) != len(pictures) or not all(map(words_of, captions)):
        raise ValueError(
            f"{source} has {len(pictures)} pictures and {len(captions)} captions, or an empty one: "
            "give one for each."
        )
    whole, held = Captioned(pictures, captions), held_out_rows(captions)
    if not len(held):
        raise ValueError(f"{source} has no caption whose words all stand in others too: give more captions.")
    return whole.part(np.setdiff1d(np.arange(len(captions)), held)), whole.part(held)


def held_out_rows(captions: list[str]) -> np.ndarray:
    """Captions to hold out, one in `HELD_OUT` or fewer: each of their words is in some that are left."""
    words = [set(words_of(caption)) for caption in captions]
    left, held = Counter(word for own in words for word in own), list[int]()
    for row in np.random.default_rng(ORDER_SEED).permutation(len(captions)):
        if len(held) < max(1, len(captions) // HELD_OUT) and all(left[word] > 1 for word in words[row]):
            held.append(int(row))
            left.subtract(words[row])
    return np.array(sorted(held), dtype=np.int64)


class CaptionedRows(Dataset):
    """Rows of a training run: pictures in a new order every epoch, with their captions' token ids.

    Args:
        captioned: to draw from.
        words: that read the captions.
        total: rows of the run.
        seed: of the order.
    """

    def __init__(self, captioned: Captioned, words: CaptionWords, *, total: int, seed: int) -> None:
        numbered = Pictures(captioned.pictures.pixels, np.arange(len(captioned)))
        self.rows = PictureRows(numbered, total=total, seed=seed)
        self.ids = words.encode(captioned.captions)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        row = dict(self.rows[index])
        row["input_ids"] = self.ids[int(row.pop("labels"))]
        return row
