#!/usr/bin/env python3
r"""Control by Diffusion-LM's protocol: our model with it and without, and fine-tuned baselines, in one table.

    python benchmarks/control.py --model runs/e2e/textdiff --classifier runs/e2e/classifier \
        --tagger runs/tagger --parser runs/parser --judge runs/e2e/gpt2 --conditional runs/e2e/conditional-*

Kinds are measured one after another (--kind names some) and take their places in the JSON file, in which
shares are 0 to 1. Every system is tried on the same targets, read off E2E's validation sentences, and its texts
are judged by the same oracles and the same judge: a causal model of benchmarks/autoregressive.py --preset e2e,
trained on E2E's training sentences, as the paper's was tuned on them. Beam search writes one text a target.
Published rows stand as arXiv 2205.14217 prints them (Tables 2 and 4): other targets, oracles and judge, and an
lm-score that does not say whether it is nats or perplexity.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textdiff.cli import run
from textdiff.text.sampling_options import add_sampling_options, sampling_facts, sampling_of

if TYPE_CHECKING:
    from conditional_model import ConditionalWriter

    from textdiff.text.control_evaluation import ControlFigures, Draw, Outcome
    from textdiff.text.control_targets import Target
    from textdiff.text.control_task import Setting

BEAMS = 4
SAMPLED, SEARCHED = "fine-tuned GPT-2, sampled", f"fine-tuned GPT-2, beam {BEAMS}"
EXAMPLES = 3  # targets of each kind whose texts are kept

# Of arXiv 2205.14217: success of all wishes, or of each in a composition, and lm-score.
PUBLISHED: dict[str, dict[str, tuple[dict[str, float], float]]] = {
    "semantic": {
        "FUDGE": ({"semantic": 0.699}, 2.83), "Diffusion-LM": ({"semantic": 0.812}, 2.55),
        "FT-sample": ({"semantic": 0.725}, 2.87), "FT-search": ({"semantic": 0.899}, 1.78),
    },
    "pos": {
        "FUDGE": ({"pos": 0.270}, 7.96), "Diffusion-LM": ({"pos": 0.900}, 5.16),
        "FT-sample": ({"pos": 0.895}, 4.72), "FT-search": ({"pos": 0.930}, 3.31),
    },
    "tree": {
        "FUDGE": ({"tree": 0.179}, 3.39), "Diffusion-LM": ({"tree": 0.860}, 3.71),
        "FT-sample": ({"tree": 0.648}, 5.72), "FT-search": ({"tree": 0.764}, 3.24),
    },
    "span": {
        "FUDGE": ({"span": 0.542}, 4.03), "Diffusion-LM": ({"span": 0.938}, 2.53),
        "FT-sample": ({"span": 0.263}, 2.88), "FT-search": ({"span": 0.544}, 2.19),
    },
    "length": {
        "FUDGE": ({"length": 0.469}, 3.11), "Diffusion-LM": ({"length": 0.999}, 2.16),
        "FT-sample": ({"length": 0.981}, 3.84), "FT-search": ({"length": 1.0}, 1.83),
    },
    "semantic+tree": {
        "FUDGE": ({"semantic": 0.617, "tree": 0.154}, 3.52),
        "Diffusion-LM": ({"semantic": 0.698, "tree": 0.748}, 5.92),
        "FT-PoE": ({"semantic": 0.617, "tree": 0.292}, 2.77),
    },
    "semantic+pos": {
        "FUDGE": ({"semantic": 0.645, "pos": 0.241}, 3.52),
        "Diffusion-LM": ({"semantic": 0.637, "pos": 0.691}, 3.46),
        "FT-PoE": ({"semantic": 0.294, "pos": 0.105}, 2.97),
    },
}  # fmt: skip


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Command line of the script."""
    from textdiff.text.control_options import DATA, KINDS, add_control_options

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--kind", nargs="+", default=list(KINDS), help=f"default: {' '.join(KINDS)}")
    add("--model", default="e2e", help="diffusion model of E2E: folder or name (default: the bundled one)")
    add("--judge", required=True, help="causal model of E2E: folder of benchmarks/autoregressive.py")
    add(
        "--conditional",
        nargs="+",
        default=[],
        metavar="FOLDER",
        help="baselines of benchmarks/conditional.py",
    )
    add_control_options(parser)
    add_sampling_options(parser, seed_help="of targets and noise")
    add("--data-dir", default=DATA, help="folder with e2e/diffusion_lm (default: %(default)s)")
    add(
        "--json",
        default="benchmarks/results/control.json",
        help="file whose rows of these kinds are replaced",
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Measure kind after kind, then print one table."""
    args = parse_args(argv)
    from textdiff.metrics.judge import Judge
    from textdiff.reports import listing, read_figures, table
    from textdiff.text.control_options import VALIDATION, check_control_options, target_files
    from textdiff.text.control_task import Setting
    from textdiff.text.language_model import DiffusionLM
    from textdiff.text.sampling import Sampling

    check_control_options(args, args.kind)
    read_figures(args.json)
    file, training = target_files(str(Path(args.data_dir, VALIDATION)), None)
    Sampling(**sampling_of(args))
    writers = read_writers(args.conditional)
    lm, judge = DiffusionLM.from_pretrained(args.model), Judge.from_pretrained(args.judge)
    setting = Setting.of(args, lm, judge, sampling_of(args, seeded=False))
    plan = {
        kind: setting.targets(kind, sizes_of(args)[0], file=file, training=training) for kind in args.kind
    }
    found: dict[str, Any] = {}
    for kind, (targets, refused) in plan.items():
        found[kind] = measured(setting, targets, sizes_of(args)[1], writers.get(kind))
        found[kind]["refused_targets"] = refused
        found[kind]["certificate"] = certificate(args, setting, writers.get(kind), len(training))
        record(args.json, {kind: found[kind]})
    rows = [row for kind, own in found.items() for row in table_rows(kind, own)]
    facts = next(iter(found.values()))["certificate"]
    sys.stdout.write(f"{table(rows)}\n\n{listing(facts)}\n")


def sizes_of(args: argparse.Namespace) -> tuple[int, int]:
    """Targets of each kind, and samples of each target."""
    from textdiff.text.control_options import sizes

    return sizes(args)


def read_writers(folders: Sequence[str]) -> dict[str, ConditionalWriter]:
    """The baselines by the kind of control that each was trained for.

    Raises:
        FileNotFoundError: if a folder holds no model.
        ValueError: if one holds another model, or two are for one kind.
    """
    from conditional_model import ConditionalWriter

    found: dict[str, ConditionalWriter] = {}
    for writer in map(ConditionalWriter, folders):
        if writer.kind in found:
            raise ValueError(
                f"{found[writer.kind].folder} and {writer.folder} are both for {writer.kind!r}: give one of them."
            )
        found[writer.kind] = writer
    return found


def measured(
    setting: Setting, targets: Sequence[Target], samples: int, writer: ConditionalWriter | None
) -> dict[str, Any]:
    """One kind's figures: ours at the top, the others below."""
    from tqdm import tqdm

    from textdiff.text.control_evaluation import failures
    from textdiff.text.control_task import CONTROLLED, UNCONTROLLED

    kind = targets[0].kind
    draws = {**setting.draws(), **baselines(writer)}
    figures: dict[str, ControlFigures] = {}
    tried: dict[str, list[Outcome]] = {}
    with tqdm(total=len(draws) * len(targets), desc=kind, unit="target", file=sys.stderr) as bar:
        for name, draw in draws.items():
            own = name in (CONTROLLED, UNCONTROLLED)
            figures[name], tried[name] = setting.measure(targets, draw, samples, bar.update, own=own)
    examples = [
        {"target": one.target.to_dict(), **{name: tried[name][k].texts[0] for name in draws}}
        for k, one in enumerate(tried[CONTROLLED][:EXAMPLES])
    ]
    return {
        **figures[CONTROLLED].to_dict(),
        "uncontrolled": figures[UNCONTROLLED].to_dict(),
        "baselines": {name: figures[name].to_dict() for name in draws if name in (SAMPLED, SEARCHED)},
        "published": {
            name: {"parts": parts, "lm_score": score} for name, (parts, score) in PUBLISHED[kind].items()
        },
        "failed": failures(tried[CONTROLLED]), "examples": examples,
    }  # fmt: skip


def baselines(writer: ConditionalWriter | None) -> dict[str, Draw]:
    """A trained baseline's two ways to write."""
    if writer is None:
        return {}
    return {
        SAMPLED: lambda target, _, samples, seed: writer.texts(target, samples, seed=seed),
        SEARCHED: lambda target, _, samples, seed: writer.texts(target, 1, seed=seed, beams=BEAMS),
    }


def certificate(
    args: argparse.Namespace, setting: Setting, writer: ConditionalWriter | None, training: int
) -> dict[str, Any]:
    """How a kind's figures came about."""
    from textdiff import __version__
    from textdiff.reports import birth_certificate
    from textdiff.text.control_options import control_facts

    facts = {**control_facts(args), "guidance_scale": setting.guidance_scale}
    return birth_certificate(
        version=__version__, model=args.model, judge=args.judge, conditional=writer and writer.folder,
        **facts, **sampling_facts(args), seed=args.seed,
        training_sentences_left_out=training > 0, shares="0 to 1", lm_score="end token included",
    )  # fmt: skip


def record(target: str, found: Mapping[str, Any]) -> None:
    """Write kinds of control in place of what the file had of them, beside the others."""
    from textdiff.reports import read_figures, write_json
    from textdiff.text.control_options import KINDS

    merged = {**read_figures(target), **found}
    write_json({kind: merged[kind] for kind in KINDS if kind in merged}, target)


def table_rows(kind: str, found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One kind's rows: ours, the same model without control, the baselines, what others published."""
    systems = {"textdiff": found, "textdiff, uncontrolled": found["uncontrolled"], **found["baselines"]}
    rows = [
        {
            "control": kind, "system": name, "success": shares(own["parts"], "success"),
            "strict": shares(own["parts"], "success_strict"), "lm nats": own["lm_score_nats"],
            "lm perplexity": own["lm_score_perplexity"], "distinct-4": own["distinct_4"],
            "s/sample": own["seconds_per_sample"], "calls": own["denoiser_calls"],
        }
        for name, own in systems.items()
    ]  # fmt: skip
    for name, own in found["published"].items():
        shown = " / ".join(f"{share:.3f}" for share in own["parts"].values())
        system = f"{name} (published)"
        rows.append({"control": kind, "system": system, "success": shown, "lm-score": own["lm_score"]})
    return rows


def shares(parts: Mapping[str, Mapping[str, float]], figure: str) -> str:
    """A figure of every wish: "0.812", and of a composition "0.698 / 0.748"."""
    return " / ".join(f"{own[figure]:.3f}" for own in parts.values())


if __name__ == "__main__":
    run(main)
