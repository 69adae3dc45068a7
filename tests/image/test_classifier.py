"""The digit classifier learns, is saved with its fingerprint, and judges any kind of picture."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from textdiff.image.classifier import DigitClassifier, judged, train_classifier


def blocks(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Ten classes: a bright block whose place tells the class."""
    rng = np.random.default_rng(seed)
    pixels, labels = rng.integers(0, 60, (count, 1, 28, 28)).astype(np.uint8), rng.integers(0, 10, count)
    for i, label in enumerate(labels):
        top, left = 4 + 10 * (label // 5), 3 + 5 * (label % 5)
        pixels[i, 0, top : top + 6, left : left + 3] = 255
    return pixels, labels


def test_it_learns_and_judges(tmp_path) -> None:
    classifier = train_classifier(*blocks(1600, 0), epochs=6, batch_size=64, width=8)
    pixels, labels = blocks(100, 1)
    features, classes = judged(classifier, list(pixels[:, 0]))
    assert features.shape == (100, 128)
    assert (classes == labels).mean() > 0.7  # shifts of 2 pixels make neighbours alike
    _, again = judged(classifier, [Image.fromarray(one) for one in pixels[:, 0]])
    assert (again == classes).all()
    classifier.save_pretrained(tmp_path / "classifier", test_accuracy=0.5)
    loaded = DigitClassifier.from_pretrained(tmp_path / "classifier")
    assert loaded.fingerprint() == classifier.fingerprint()
    np.testing.assert_allclose(judged(loaded, list(pixels[:, 0]))[0], features, atol=1e-5)


def test_a_fingerprint_tells_weights_apart() -> None:
    torch.manual_seed(0)
    classifier = DigitClassifier(4)
    before = classifier.fingerprint()
    classifier.head.bias.data[3] += 1e-3
    assert classifier.fingerprint() != before and len(before) == 16


def test_training_is_a_function_of_its_seed() -> None:
    state = torch.get_rng_state()
    prints = {
        train_classifier(*blocks(128, 0), epochs=1, batch_size=64, width=4, seed=s).fingerprint()
        for s in (0, 0, 1)
    }
    assert len(prints) == 2 and torch.get_rng_state().equal(state)


def test_nothing_is_learned_or_judged_unseen() -> None:
    with pytest.raises(ValueError, match="There are 20 pictures to train on: give at least 64"):
        train_classifier(*blocks(20, 0), batch_size=64, width=4)
    with pytest.raises(ValueError, match="A picture is 9 x 8: the classifier judges 28 x 28"):
        judged(DigitClassifier(4), [np.zeros((28, 28), np.uint8), np.zeros((8, 9), np.uint8)])


def test_a_folder_of_another_model_is_refused(grey, tmp_path) -> None:
    grey.save_pretrained(tmp_path / "model")
    with pytest.raises(ValueError, match="not 'textdiff-digit-classifier'"):
        DigitClassifier.from_pretrained(tmp_path / "model")
    with pytest.raises(FileNotFoundError, match=r"benchmarks/digit_classifier\.py"):
        DigitClassifier.from_pretrained("nowhere")
