"""Metrics of texts and of pictures that need no network: plain functions, and `evaluate` modules over them.

The maths is in `diversity`, `overlap`, `copying`, `likelihood` and `distance`, and for pictures in `pictures` and
`features`, none of which imports `evaluate`. Every
folder here holds one module for `evaluate.load(path("bleu"))`; options go to `compute`, or to `load`, which
is the only way under `evaluate.combine`: it hands what its `compute` is given to all its modules.
"""

from pathlib import Path

NAMES = ("bleu", "chrf", "rouge_l", "distinct_n", "self_bleu", "unigram_entropy", "longest_copy", "perplexity", "mmd")
PICTURE_NAMES = ("psnr", "ssim", "feature_frechet", "feature_kernel", "density_coverage")


def path(name: str) -> str:
    """The folder that `evaluate.load` takes for the metric `name`.

    Raises:
        ValueError: the package has no metric of that name.
    """
    if name not in NAMES + PICTURE_NAMES:
        raise ValueError(f"There is no metric {name!r}: choose one of {', '.join(NAMES + PICTURE_NAMES)}.")
    return str(Path(__file__).resolve().parent / name)
