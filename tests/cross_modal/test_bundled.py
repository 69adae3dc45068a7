"""The bundled models with captions: what one draws, the judge and the other one read; colours of emoji."""

import numpy as np
import pytest

from textdiff.cross_modal.captioner import Captioner
from textdiff.cross_modal.cells import read_cells
from textdiff.cross_modal.composition import read_composition
from textdiff.cross_modal.text_to_image import TextToImage
from textdiff.image.classifier import DigitClassifier
from textdiff.storage import BUNDLED

CAPTIONS = [
    "a seven left of a three", "a two above a five", "a nine left of a four above a one", "a six right of a zero",
]  # fmt: skip
EACH = 3


@pytest.fixture(scope="module")
def drawn() -> list:
    """Three pictures of each caption, one caption after another."""
    for name in ("composed-digits", "caption-digits", "digit_classifier"):
        if not (BUNDLED / name / "config.json").is_file():
            pytest.skip(f"needs the bundled model {name}, which benchmarks/ship_images.py writes: it is not there")
    model = TextToImage.from_pretrained()
    return model.generate(CAPTIONS, num_samples=EACH, guidance_scale=1.5, num_inference_steps=20, seed=0)


def test_the_digits_of_a_caption_stand_in_their_places(drawn: list) -> None:
    wanted = [read_composition(caption) for caption in CAPTIONS for _ in range(EACH)]
    cells = [cell for row in read_cells(DigitClassifier.from_pretrained(), drawn, wanted) for cell in row]
    assert sum(cell.right for cell in cells) / len(cells) > 0.9


def test_a_caption_comes_back_from_its_picture(drawn: list) -> None:
    """By chance one in a thousand does; a picture may be told from either end."""
    written = Captioner.from_pretrained().caption(drawn, seed=0, num_inference_steps=16)
    wanted = [read_composition(caption).cells() for caption in CAPTIONS for _ in range(EACH)]
    same = [set(read_composition(own).cells()) == set(given) for own, given in zip(written, wanted, strict=True)]
    assert sum(same) / len(same) > 0.7


HEARTS = {"yellow": (255, 202, 40), "blue": (41, 130, 255), "green": (120, 190, 60), "purple": (170, 71, 188)}


def test_hearts_have_the_colour_of_their_caption() -> None:
    if not (BUNDLED / "emoji" / "config.json").is_file():
        pytest.skip("needs the bundled model emoji, which benchmarks/ship_images.py writes: it is not there")
    model = TextToImage.from_pretrained("emoji")
    captions = [f"{name} heart" for name in HEARTS]
    drawn = model.generate(captions, guidance_scale=1.5, num_inference_steps=12, seed=0)
    wanted = np.array(list(HEARTS.values()))
    for place, picture in enumerate(drawn):
        pixels = np.asarray(picture.convert("RGB"), dtype=float).reshape(-1, 3)
        ink = pixels[pixels.min(1) < 200].mean(0)
        assert np.square(wanted - ink).sum(1).argmin() == place
        assert 0.2 < (pixels.min(1) < 200).mean() < 0.8
