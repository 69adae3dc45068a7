"""Measuring a model's control from a command line: what it is measured with, and the report.

What `scripts/evaluate.py --task control` and `benchmarks/control.py` share.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from textdiff.metrics.judge import Judge
from textdiff.text.control_evaluation import (
    ControlFigures,
    Draw,
    Outcome,
    control_figures,
    failures,
    try_targets,
)
from textdiff.text.control_options import sizes, target_files
from textdiff.text.control_targets import Target, draw_targets
from textdiff.text.labelled import read_labelled
from textdiff.text.language_model import DiffusionLM
from textdiff.text.oracles import ParseOracle, TagOracle, parser_by_name, tagger_by_name
from textdiff.text.steered import GUIDANCE_SCALE, drawn
from textdiff.text.wishes import Wishes

HOPELESS = 64  # different targets after which, all refused, no more are tried
CONTROLLED, UNCONTROLLED = "controlled", "uncontrolled"
SHOWN = (
    "success", "success_std", "success_strict", "lm_score_nats", "lm_score_perplexity", "distinct_2", "distinct_4",
    "self_bleu", "failed_targets", "judge_left_out", "seconds_per_sample", "denoiser_calls", "peak_memory_mib",
)  # fmt: skip


@dataclass(frozen=True)
class Setting:
    """What control is measured with: a model, its wishes, the oracles, the judge, and how to sample."""

    lm: DiffusionLM
    wishes: Wishes
    tagger: TagOracle | None
    parser: ParseOracle | None
    judge: Judge
    guidance_scale: float
    options: Mapping[str, Any]  # of sampling
    seed: int

    @classmethod
    def of(
        cls, args: argparse.Namespace, lm: DiffusionLM, judge: Judge, options: Mapping[str, Any]
    ) -> Setting:
        """From the options of `add_control_options` and --seed.

        Raises:
            FileNotFoundError: if a classifier's or an oracle's folder is missing.
            ValueError: if a classifier is of another model, or an oracle does not open.
        """
        tagger = None if args.tagger is None else tagger_by_name(args.tagger)
        parser = None if args.parser is None else parser_by_name(args.parser)
        wishes = Wishes.for_model(lm, classifier=args.classifier, tagger=tagger, parser=parser)
        scale = GUIDANCE_SCALE if args.guidance_scale is None else args.guidance_scale
        return cls(lm, wishes, tagger, parser, judge, scale, options, args.seed)

    def targets(
        self, kind: str, n: int, *, file: Path, training: Sequence[Path]
    ) -> tuple[list[Target], list[str]]:
        """Targets off the sentences of an E2E file that are not in others.

        Returns:
            The targets; and why others, drawn before them, cannot be wished for, such as a label that the
            classifier has never seen.

        Raises:
            FileNotFoundError: if a file is missing.
            ValueError: if it has too few sentences, or the kind's oracle was not named.
        """
        refused: dict[str, None] = {}
        asked: dict[Target, bool] = {}

        def usable(target: Target) -> bool:
            wanted = replace(target, sentence="")
            if wanted not in asked:
                try:
                    asked[wanted] = bool(target.wishes(self.wishes))
                except ValueError as error:
                    asked[wanted], refused[str(error)] = False, None
                    if len(asked) == HOPELESS and not any(asked.values()):
                        raise
            return asked[wanted]

        others = [text.text for path in training for text in read_labelled(path, "e2e")]
        texts = [] if kind == "length" else read_labelled(file, "e2e")
        try:
            found = draw_targets(
                kind, texts, n, seed=self.seed, longest=self.lm.window,
                tagger=self.tagger, parser=self.parser, training=others, usable=usable,
            )  # fmt: skip
        except ValueError as error:
            why = [one for one in refused if one != str(error)][:1]
            raise ValueError(" ".join([str(error), *why])) from error
        return found, list(refused)

    def draws(self) -> dict[str, Draw]:
        """The model without control, and with it; both with the same lengths and the same noise."""

        def at(scale: float) -> Draw:
            return lambda _, wishes, samples, seed: drawn(
                self.lm, wishes, num_samples=samples, seed=seed, guidance_scale=scale, **self.options
            )

        return {UNCONTROLLED: at(0.0), CONTROLLED: at(self.guidance_scale)}

    def measure(
        self,
        targets: Sequence[Target],
        draw: Draw,
        samples: int,
        tick: Callable[[], Any],
        *,
        own: bool = True,
    ) -> tuple[ControlFigures, list[Outcome]]:
        """One system's figures and texts.

        Args:
            targets: of one kind.
            draw: the system.
            samples: of each target.
            tick: called after each target.
            own: whether the denoiser is its model.
        """
        outcomes = try_targets(
            targets, self.wishes, draw, samples=samples, seed=self.seed,
            denoiser=self.lm.denoiser if own else None, tick=tick,
        )  # fmt: skip
        end = self.judge.tokenizer.eos_token or ""
        return control_figures(outcomes, self.judge, end=end), outcomes


def control_report(
    args: argparse.Namespace, lm: DiffusionLM, judge: Judge, options: Mapping[str, Any],
    bar: Callable[[int, str], Any],
) -> tuple[dict[str, Any], dict[str, Any]]:  # fmt: skip
    """Figures of one kind of control, controlled beside uncontrolled: those to show, and all for JSON.

    Args:
        args: with the options of `add_control_options`, --kind, --file, --training-files and --seed.
        lm: the model.
        judge: charges the texts.
        options: of sampling.
        bar: makes a progress bar of (total, unit).
    """
    setting = Setting.of(args, lm, judge, options)
    number, samples = sizes(args)
    file, training = target_files(args.file, args.training_files)
    targets, refused = setting.targets(args.kind, number, file=file, training=training)
    found: dict[str, ControlFigures] = {}
    tried: dict[str, list[Outcome]] = {}
    with bar(2 * number, "target") as ticks:
        for name, draw in setting.draws().items():
            found[name], tried[name] = setting.measure(targets, draw, samples, ticks.update)
    rows = figure_rows({name: found[name] for name in (CONTROLLED, UNCONTROLLED)})
    extras = {
        "kind": args.kind, "targets": number, "samples": samples, "judge": judge.name,
        "guidance_scale": setting.guidance_scale, "refused_targets": refused,
        "targets_from": str(file), "sentences_left_out": [str(path) for path in training],
        **{name: figures.to_dict() for name, figures in found.items()},
        "failed": failures(tried[CONTROLLED]),
        "outcomes": {name: [outcome.to_dict() for outcome in own] for name, own in tried.items()},
    }  # fmt: skip
    return {"rows": rows}, extras


def figure_rows(systems: Mapping[str, ControlFigures]) -> list[dict[str, Any]]:
    """A table with a row for every figure and a column for every system."""
    flat = {name: {**figures.to_dict(), **_flat(figures.parts)} for name, figures in systems.items()}
    parts = [key for key in next(iter(flat.values())) if ": " in key]
    return [
        {"figure": key, **{name: own[key] for name, own in flat.items()}}
        for key in (*SHOWN[:3], *parts, *SHOWN[3:])
    ]


def _flat(parts: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Each part's own figures, where there are several."""
    if len(parts) < 2:
        return {}
    return {f"{name}: {key}": value for name, own in parts.items() for key, value in own.items()}
