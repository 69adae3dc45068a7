"""What is asked of a digit model: holes, strokes, small and noisy digits, with classical answers; its judge.

Pictures are uint8 [N, 28, 28]. Every baseline answers from the same damaged pictures as the model.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw

if TYPE_CHECKING:
    from textdiff.image.classifier import DigitClassifier
    from textdiff.image.data import Pictures
    from textdiff.image.image_diffusion import ImageDiffusion

REPAINT_STEPS = 20  # strides, each walked five times: some 100 calls, about the cost of 50 and their gradients
Answers = dict[str, np.ndarray]  # method -> pictures uint8 [N, 28, 28]


class DigitJudge:
    """What drawn digits are worth: classes that are read right, and distances from the test digits.

    Distances, in the classifier's features, are to all test digits; density and coverage to equally many.

    Args:
        classifier: reads them.
        train: real digits, some of which are judged as if they were drawn.
        test: digits with their classes.
        count: how many are drawn.
        seed: which real digits stand beside.
    """

    def __init__(
        self, classifier: DigitClassifier, train: Pictures, test: Pictures, count: int, seed: int = 0
    ) -> None:
        from textdiff.image.classifier import judged

        rng = np.random.default_rng(seed)
        self._classifier, self._real = classifier, train.part(rng.permutation(len(train))[:count])
        self._references, classes = judged(classifier, list(test.pixels[:, 0]))
        self._few = self._references[rng.permutation(len(test))[:count]]
        self.test_accuracy = float((classes == test.labels).mean())

    def figures(self, pictures: Sequence[Any], labels: np.ndarray | None = None) -> dict[str, float]:
        """All figures of drawn digits; class accuracy where it is known what they were to be, labels [N]."""
        from textdiff.image.classifier import judged

        features, classes = judged(self._classifier, pictures)
        right = {} if labels is None else {"class_accuracy": float((classes == labels).mean())}
        return right | distances(features, self._references, self._few)

    def training_digits(self) -> dict[str, float]:
        """The figures of as many real digits: what nothing that is drawn can be asked to beat."""
        return self.figures(list(self._real.pixels[:, 0]), self._real.labels)


def distances(features: np.ndarray, references: np.ndarray, few: np.ndarray) -> dict[str, float]:
    """All figures of a set of features; density and coverage against as many references, `few`."""
    from textdiff.metrics.features import density_coverage, frechet_distance, kernel_distance

    density, coverage = density_coverage(features, few)
    frechet = frechet_distance(features, references)
    share = frechet / float(np.trace(np.cov(references, rowvar=False)))
    return {
        "feature_frechet": frechet, "feature_frechet_percent": 100.0 * share,
        "feature_kernel": kernel_distance(features, references), "density": density, "coverage": coverage,
    }  # fmt: skip


def add_digit_options(parser: argparse.ArgumentParser) -> None:
    """Which model is measured, by which classifier, on which digits."""
    add = parser.add_argument
    add("--model", help="model folder or name of a bundled model (default: the bundled digits)")
    add("--classifier", help="folder of benchmarks/digit_classifier.py (default: the bundled one)")
    add("--data", default="../shared/data/images/mnist.npz", help=".npz of digits with their classes")


def record(target: str, path: Sequence[str], figures: dict[str, Any]) -> None:
    """Replace figures in a part of a JSON file, which `path` leads to, and leave the others there."""
    from textdiff.reports import read_figures, write_json

    content = part = read_figures(target)
    for name in path:
        if not isinstance(part.get(name), dict):
            part[name] = {}
        part = part[name]
    part |= figures
    write_json(content, target)


def centre_square(count: int, side: int = 14) -> np.ndarray:
    """Masks bool [count, 28, 28], True = lost."""
    masks = np.zeros((count, 28, 28), dtype=bool)
    at = (28 - side) // 2
    masks[:, at : at + side, at : at + side] = True
    return masks


def strokes(count: int, seed: int = 0, lines: int = 5, width: int = 3) -> np.ndarray:
    """Masks bool [count, 28, 28] of random straight strokes, True = lost."""
    rng, masks = np.random.default_rng(seed), []
    for _ in range(count):
        image = Image.new("L", (28, 28))
        for line in rng.integers(0, 28, (lines, 4)).tolist():
            ImageDraw.Draw(image).line(line, fill=255, width=width)
        masks.append(np.asarray(image) > 0)
    return np.stack(masks)


def fill_holes(truths: np.ndarray, masks: np.ndarray, train: np.ndarray) -> Answers:
    """Answers to holes: the training mean, the nearest training digit in what is known, biharmonic equations.

    Args:
        truths: [N, 28, 28]; read only where known.
        masks: bool [N, 28, 28], True = lost.
        train: [M, 28, 28].
    """
    from skimage.restoration import inpaint_biharmonic

    mean, rows = train.mean(0).round().astype(np.uint8), train.reshape(len(train), -1).astype(np.float32)
    near, smooth = [], []
    for truth, mask in zip(truths, masks, strict=True):
        known = ~mask.ravel()
        distance = ((rows[:, known] - truth.ravel()[known].astype(np.float32)) ** 2).sum(1)
        near.append(np.where(mask, train[int(distance.argmin())], truth))
        seen = np.where(mask, 0, truth).astype(np.float64) / 255.0
        smooth.append(levels(inpaint_biharmonic(seen, mask)))
    return {
        "mean fill": np.where(masks, mean, truths),
        "nearest training digit": np.stack(near),
        "biharmonic": np.stack(smooth),
    }


def enlarge(small: np.ndarray, scale: int) -> Answers:
    """Answers to small pictures uint8 [N, h, w]: bicubic and nearest-neighbour enlargement."""
    size = (small.shape[2] * scale, small.shape[1] * scale)
    methods = {"bicubic": Image.Resampling.BICUBIC, "nearest neighbour": Image.Resampling.NEAREST}
    return {
        name: np.stack([np.asarray(Image.fromarray(one).resize(size, method)) for one in small])
        for name, method in methods.items()
    }


def quiet(noisy: np.ndarray, noise: float) -> Answers:
    """Answers to noisy pictures, floats [N, H, W] around 0 to 1: non-local means and total variation.

    Args:
        noisy: as above.
        noise: standard deviation.
    """
    from skimage.restoration import denoise_nl_means, denoise_tv_chambolle

    means = [
        denoise_nl_means(one, patch_size=5, patch_distance=9, h=0.8 * noise, sigma=noise, fast_mode=False)
        for one in noisy
    ]
    return {
        "input": levels(noisy),
        "non-local means": levels(np.stack(means)),
        "total variation": levels(np.stack([denoise_tv_chambolle(one, weight=noise) for one in noisy])),
    }


def model_answers(draw: Callable[[int], Sequence[Any]], samples: int) -> Answers:
    """Of several answers of the model the mean, which is nearest in squares, the median, and the first.

    Args:
        draw: from a number of answers to the pictures, those of one question side by side.
        samples: how many.
    """
    drawn = np.stack([np.asarray(picture) for picture in draw(samples)])
    answers = drawn.reshape(-1, samples, *drawn.shape[1:])
    middle = {"mean": answers.mean(1), "median": np.median(answers, axis=1)}
    return {**{name: one.round().astype(np.uint8) for name, one in middle.items()}, "one sample": answers[:, 0]}


def holes(
    model: ImageDiffusion,
    truths: np.ndarray,
    masks: np.ndarray,
    train: np.ndarray,
    samples: int,
    **options: Any,
) -> Answers:
    """Answers to holes, the model's by RePaint's grid and by guidance."""
    damaged = list(np.where(masks, 0, truths).astype(np.uint8))
    ask = {"image": damaged, "mask": list(masks)}
    steps = {**options, "num_inference_steps": REPAINT_STEPS}
    ours = model_answers(lambda count: model.inpaint(**ask, num_samples=count, **steps), samples)
    guided = model_answers(
        lambda count: model.inpaint(**ask, conditioning="guidance", num_samples=count, **options), samples
    )
    return {
        "textdiff": ours["median"],
        "textdiff, mean": ours["mean"],
        "textdiff, one sample": ours["one sample"],
        "textdiff, guidance": guided["median"],
        **fill_holes(np.asarray(damaged), masks, train),
    }


def small_pictures(truths: np.ndarray, scale: int) -> np.ndarray:
    """Means of blocks, uint8 [N, 28 / scale, 28 / scale]."""
    count, height, width = truths.shape
    blocks = truths.reshape(count, height // scale, scale, width // scale, scale)
    return blocks.mean((2, 4)).round().astype(np.uint8)


def larger(model: ImageDiffusion, truths: np.ndarray, scale: int, samples: int, **options: Any) -> Answers:
    """Answers to digits made smaller."""
    small = small_pictures(truths, scale)
    ours = model_answers(
        lambda count: model.super_resolve(list(small), scale, num_samples=count, **options), samples
    )
    return {"textdiff": ours["mean"], "textdiff, one sample": ours["one sample"], **enlarge(small, scale)}


def cleaner(model: ImageDiffusion, truths: np.ndarray, noise: float, seed: int) -> Answers:
    """Answers to digits under white noise that is not clipped: one call of the network, and a sample in 20 steps."""
    rng = np.random.default_rng(seed)
    noisy = truths / 255.0 + noise * rng.standard_normal(truths.shape)
    pictures = list(noisy.astype(np.float32))
    sampled = model.denoise(pictures, noise, num_inference_steps=20, seed=seed)
    ours = {"textdiff": model.denoise(pictures, noise, seed=seed), "textdiff, one sample": sampled}
    return {
        **{name: np.stack([np.asarray(p) for p in drawn]) for name, drawn in ours.items()},
        **quiet(noisy, noise),
    }


def levels(unit: np.ndarray) -> np.ndarray:
    """Floats of 0 to 1 as uint8."""
    return (np.clip(unit, 0.0, 1.0) * 255.0).round().astype(np.uint8)
