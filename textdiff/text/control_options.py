"""Options of the commands that measure control: kinds, sizes, oracles, and where targets come from."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

KINDS = ("semantic", "pos", "tree", "span", "length", "semantic+pos", "semantic+tree")
DATA = "../shared/data"
VALIDATION, TRAINING = "e2e/diffusion_lm/src1_valid.txt.gz", "e2e/diffusion_lm/src1_train.txt.gz"
QUICK, PAPER = (20, 10), (200, 50)  # targets, samples of each


def add_control_options(parser: argparse.ArgumentParser) -> None:
    """The options that all such commands have."""
    add = parser.add_argument
    add(
        "--classifier", nargs="+", metavar="FOLDER", help="control: classifiers (default: those of the model)"
    )
    add("--tagger", help="control: oracle of tags, a folder, or a name such as spacy:en_core_web_sm")
    add("--parser", help="control: oracle of trees, a folder, or a name such as benepar:benepar_en3")
    add("--targets", type=int, default=QUICK[0], help="control: targets (default: 20)")
    add("--samples", type=int, default=QUICK[1], help="control: samples of each target (default: 10)")
    add(
        "--paper", action="store_true", help="control: 200 targets and 50 samples, as Diffusion-LM's protocol"
    )
    add("--guidance-scale", type=float, help="control: strength (default: 3)")


def check_kind(kind: str) -> str:
    """The kind, if there is one of that name.

    Raises:
        ValueError: if not.
    """
    if kind not in KINDS:
        raise ValueError(f"Unknown kind of control {kind!r}: choose {', '.join(KINDS)}.")
    return kind


def has_tree(kind: str) -> bool:
    """Whether targets of a kind have a tree, with the tags of its leaves where there is a tagger."""
    return kind.endswith("tree")


def wants_tags(kind: str) -> bool:
    """Whether targets of a kind need a tagger."""
    return kind.endswith("pos")


def wants_spans(kind: str) -> bool:
    """Whether targets of a kind need a parser."""
    return kind.endswith(("tree", "span"))


def check_control_options(args: argparse.Namespace, kinds: list[str]) -> None:
    """What can be refused before anything is loaded.

    Raises:
        ValueError: for an unknown kind, numbers out of range, or a kind whose oracle is not named.
    """
    for name in ("targets", "samples"):
        if getattr(args, name) < 1:
            raise ValueError(f"--{name} is {getattr(args, name)}: it must be at least 1.")
    scale = args.guidance_scale
    if scale is not None and not 0 < scale < math.inf:
        raise ValueError(
            f"--guidance-scale is {scale}: it must be above 0; without control is measured anyway."
        )
    for kind in map(check_kind, kinds):
        for wanted, given, name in (
            (wants_tags(kind), args.tagger, "--tagger"), (wants_spans(kind), args.parser, "--parser"),
        ):  # fmt: skip
            if wanted and given is None:
                raise ValueError(f"Kind {kind!r} needs {name}: name the oracle that says what was granted.")


def sizes(args: argparse.Namespace) -> tuple[int, int]:
    """Targets, and samples of each."""
    return PAPER if args.paper else (args.targets, args.samples)


def target_files(file: str | None, training: list[str] | None) -> tuple[Path, list[Path]]:
    """The file that targets are drawn from, and training files whose sentences are left out.

    Args:
        file: None = E2E's in `DATA`.
        training: None = the training file beside it, if there is one.

    Raises:
        FileNotFoundError: if there is no file to draw from.
    """
    path = Path(file or Path(DATA, VALIDATION))
    if not path.is_file():
        raise FileNotFoundError(
            f"No file {path}: name E2E's validation file, lines of field : value | ...||sentence."
        )
    beside = path.with_name(Path(TRAINING).name)
    given = [Path(name) for name in training or []]
    return path, given or [beside for beside in (beside,) if beside.is_file()]


def control_facts(args: argparse.Namespace) -> dict[str, Any]:
    """What a certificate says of these options."""
    targets, samples = sizes(args)
    return {
        "targets": targets, "samples": samples, "classifier": args.classifier, "tagger": args.tagger,
        "parser": args.parser, "guidance_scale": args.guidance_scale,
    }  # fmt: skip
