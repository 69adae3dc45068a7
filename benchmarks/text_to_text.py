#!/usr/bin/env python3
r"""Text to text: ours beside an encoder-decoder of the same size, data and tokens seen.

    python scripts/train.py --preset de-en --use-cpu --output-dir runs/de-en
    python benchmarks/encoder_decoder.py --preset de-en --output-dir runs/de-en-marian
    python benchmarks/text_to_text.py --preset de-en --test tatoeba multi30k

Tests: "tatoeba" and "multi30k" for de-en; "held-out", the pairs that training holds out, for every preset of
pairs. BLEU and chrF are sacrebleu's, with its signatures; self-BLEU is that of the candidates of one source,
the mean over sources. "Single" is one candidate of the likeliest length. --temperature is also the rival's. Every
source counts once, with all its references; those that are also sources in training are no test, and those beyond
the window are left out for all models, and counted.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from textdiff.cli import run
from textdiff.text.sampling_options import REWRITE_TEMPERATURE, add_sampling_options, sampling_facts, sampling_of

if TYPE_CHECKING:
    from textdiff.text.language_model import DiffusionLM
    from textdiff.text.presets import Preset
    from textdiff.text.rewriting import RewriteOptions

TESTS = {
    "tatoeba": "tatoeba/deu-eng.test.tsv.gz",
    "multi30k": ("multi30k/test_2016_flickr.de.gz", "multi30k/test_2016_flickr.en.gz"),
}
TEST_PRESET, HELD_OUT = "de-en", "held-out"
SHOWN = 10  # sources whose targets are printed, the first ones
SHUFFLE_SEED = 0


@dataclass(frozen=True)
class Written:
    """What a model made of every source: its choice, all candidates where it drew several, and seconds."""

    chosen: list[str]
    candidates: list[list[str]] | None
    seconds: float


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Command line of the script."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--preset", required=True, help="de-en, paraphrase or simplify")
    add("--test", nargs="+", default=[HELD_OUT], help="tatoeba, multi30k (of de-en) or held-out (default)")
    add("--model", help="folder of our run (default: runs/PRESET)")
    add("--rival", help="folder of the encoder-decoder (default: runs/PRESET-marian; none = leave it out)")
    add("--data-dir", default="../shared/data", help="folder of the sources")
    add("--limit", type=int, default=500, help="sources of each test at most, in random order (default: 500)")
    add("--num-samples", type=int, default=8, help="candidates for minimum Bayes risk (default: 8)")
    add("--source-guidance", type=float, default=1.0, help="of our model (default: 1 = off)")
    add_sampling_options(parser, steps=16, temperature=REWRITE_TEMPERATURE, seed_help="of noise and samples")
    add("--json", default="benchmarks/results/text_to_text.json", help="file of figures; others' rows stay")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Measure, record, print one table and some samples."""
    args = parse_args(argv)
    preset = checked(args)
    from textdiff import __version__
    from textdiff.reports import birth_certificate, listing, read_figures, table
    from textdiff.text.language_model import DiffusionLM

    read_figures(args.json)
    tests = {name: test_items(args, preset, name) for name in args.test}
    model = DiffusionLM.from_pretrained(args.model)
    rewriter = model.rewriter()
    rows, shown = [], {}
    for name, items in tests.items():
        fitting = {source: targets for source, targets in items.items() if rewriter.fits(source)}
        fitting = dict(list(fitting.items())[: args.limit])
        if not fitting:
            raise ValueError(f"No source of {name!r} fits the window of {args.model}: train a longer one.")
        written = all_written(args, model, list(fitting))
        left_out = sum(not rewriter.fits(source) for source in items)
        rows += [row(args, name, who, one, fitting, left_out) for who, one in written.items()]
        shown[name] = samples(fitting, written)
    certificate = birth_certificate(
        version=__version__, preset=args.preset, model=args.model, rival=args.rival, **sampling_facts(args),
        nfe=(args.steps + 1) * (1 if args.source_guidance == 1 else 2),
        source_guidance=args.source_guidance, candidates=args.num_samples, limit=args.limit, seed=args.seed,
    )  # fmt: skip
    record(args, certificate, rows, shown)
    columns = ("test", "model", "n", "bleu", "chrf", "rouge_l", "self_bleu", "seconds_per_source")
    sys.stdout.write(f"{table([{key: r[key] for key in columns} for r in rows])}\n")
    for name, lines in shown.items():
        for line in lines:
            sys.stdout.write(f"\n{name}\n{listing(line)}\n")
    sys.stdout.write(f"\n{listing(certificate)}\n{rows[0]['bleu_signature']}\n{rows[0]['chrf_signature']}\n")


def checked(args: argparse.Namespace) -> Preset:
    """The preset; folders get their default names.

    Raises:
        ValueError: for an unknown preset or test, or numbers out of range.
        FileNotFoundError: for a model that is not trained yet.
    """
    from textdiff.text.presets import PRESETS
    from textdiff.text.sampling import Sampling

    able = [name for name, preset in PRESETS.items() if preset.pairs is not None]
    if args.preset not in able:
        raise ValueError(f"--preset is {args.preset!r}: choose one of pairs, {', '.join(able)}.")
    tests = [HELD_OUT, *(TESTS if args.preset == TEST_PRESET else [])]
    if wrong := [name for name in args.test if name not in tests]:
        raise ValueError(f"Preset {args.preset!r} has no test {wrong[0]!r}: choose {', '.join(tests)}.")
    for name in ("limit", "num_samples", "steps"):
        if getattr(args, name) < 1:
            raise ValueError(f"--{name.replace('_', '-')} is {getattr(args, name)}: it must be at least 1.")
    for name in ("temperature", "source_guidance"):
        if not 0 < getattr(args, name) < math.inf:
            raise ValueError(
                f"--{name.replace('_', '-')} is {getattr(args, name)}: give a number above zero."
            )
    Sampling(**sampling_of(args))
    args.model = args.model or f"runs/{args.preset}"
    args.rival = None if args.rival == "none" else args.rival or f"runs/{args.preset}-marian"
    makers = {args.model: "scripts/train.py --use-cpu", args.rival: "benchmarks/encoder_decoder.py"}
    for folder, maker in makers.items():
        if folder is not None and not Path(folder, "config.json").is_file():
            raise FileNotFoundError(
                f"No model in {folder}: train it: {maker} --preset {args.preset} --output-dir {folder}."
            )
    return PRESETS[args.preset]


def test_items(args: argparse.Namespace, preset: Preset, name: str) -> dict[str, list[str]]:
    """Different sources of a test that training has not seen, in random order, each with all its references.

    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: if two files that belong together have different lengths.
    """
    import numpy as np

    from textdiff.text.data import read_content
    from textdiff.text.pairs import read_pairs, training_pairs

    data = {"dataset": None, "train_files": None, "validation_files": None, "data_dir": args.data_dir}
    trained, held_out = training_pairs(argparse.Namespace(**data), preset)
    file = TESTS.get(name)
    seen = set() if file is None else {source for source, _ in trained}
    if file is None:
        pairs = held_out
    elif isinstance(file, str):
        pairs = read_pairs(Path(args.data_dir, file), (2, 1))
    else:
        sides = [read_content(Path(args.data_dir, side)).rstrip("\n").split("\n") for side in file]
        if len(sides[0]) != len(sides[1]):
            raise ValueError(f"{file[0]} and {file[1]} have different numbers of lines: copy them again.")
        pairs = [(source.strip(), target.strip()) for source, target in zip(*sides, strict=True)]
    order = np.random.default_rng(SHUFFLE_SEED).permutation(len(pairs))
    items: dict[str, list[str]] = {}
    for i in (i for i in order if pairs[i][0] not in seen):
        items.setdefault(pairs[i][0], []).append(pairs[i][1])
    return items


def all_written(args: argparse.Namespace, model: DiffusionLM, sources: list[str]) -> dict[str, Written]:
    """What every model makes of the sources, by name; a copy of the source among them."""
    from tqdm import tqdm

    count = args.num_samples
    ways: dict[str, Callable[[], Written]] = {
        "copy of the source": lambda: Written(sources, None, 0.0),
        "textdiff, single": lambda: ours(args, model, sources, num_samples=1, length_candidates=1),
        f"textdiff, MBR of {count}": lambda: ours(args, model, sources, num_samples=count),
    }
    if args.rival is not None:
        sampled = {
            "do_sample": True,
            "top_k": 0,
            "temperature": args.temperature,
            "num_return_sequences": count,
        }
        ways |= {
            "encoder-decoder, greedy": lambda: theirs(args, model, sources),
            "encoder-decoder, beam 4": lambda: theirs(args, model, sources, num_beams=4),
            f"encoder-decoder, MBR of {count}": lambda: theirs(args, model, sources, **sampled),
        }
    return {name: way() for name, way in tqdm(ways.items(), unit="model", file=sys.stderr)}


def ours(args: argparse.Namespace, model: DiffusionLM, sources: list[str], **how: Any) -> Written:
    """Our model's targets."""
    options: RewriteOptions = {**sampling_of(args), "source_guidance": args.source_guidance, **how}
    started = perf_counter()
    drawn = model.rewriter().samples(sources, options)
    return chosen(drawn, started)


def theirs(args: argparse.Namespace, model: DiffusionLM, sources: list[str], **how: Any) -> Written:
    """The encoder-decoder's targets; it has our tokenizer.

    Raises:
        ValueError: if it has another.
    """
    from encoder_decoder import translate
    from transformers import MarianMTModel, set_seed

    from textdiff.text.tokenizer import load_tokenizer

    if load_tokenizer(args.rival).get_vocab() != model.tokenizer.get_vocab():
        raise ValueError(
            f"{args.rival} and {args.model} have different tokenizers: train both on the same data."
        )
    set_seed(args.seed)
    vocabulary = model.vocabulary
    rival = MarianMTModel.from_pretrained(args.rival, use_safetensors=True).eval()
    started = perf_counter()
    drawn = translate(rival, [vocabulary.encode(source) for source in sources], **how)
    return chosen([[vocabulary.decode(ids).strip(" ") for ids in each] for each in drawn], started)


def chosen(drawn: list[list[str]], started: float) -> Written:
    """Of each source's candidates the one most like the others."""
    from textdiff.text.ranking import agreement

    keys = [agreement([(text,) for text in texts]) for texts in drawn]
    best = [texts[scores.index(max(scores))] for texts, scores in zip(drawn, keys, strict=True)]
    return Written(best, drawn if len(drawn[0]) > 1 else None, perf_counter() - started)


def row(
    args: argparse.Namespace,
    test: str,
    who: str,
    written: Written,
    items: dict[str, list[str]],
    left_out: int,
) -> dict[str, Any]:
    """One model's figures on one test."""
    from textdiff.metrics.diversity import self_bleu
    from textdiff.metrics.overlap import bleu, chrf, rouge_l

    references = list(items.values())
    score, bleu_signature = bleu(written.chosen, references)
    characters, chrf_signature = chrf(written.chosen, references)
    several = written.candidates
    return {
        "preset": args.preset, "test": test, "model": who, "n": len(items), "left_out": left_out,
        "bleu": score, "chrf": characters, "rouge_l": rouge_l(written.chosen, references),
        "self_bleu": None if several is None else sum(map(self_bleu, several)) / len(several),
        "seconds_per_source": written.seconds / len(items),
        "bleu_signature": bleu_signature, "chrf_signature": chrf_signature,
    }  # fmt: skip


def samples(items: dict[str, list[str]], written: dict[str, Written]) -> list[dict[str, str]]:
    """The first sources, a reference, and what every model made of them."""
    shown = []
    for i, (source, targets) in enumerate(list(items.items())[:SHOWN]):
        made = {name: one.chosen[i] for name, one in written.items() if name != "copy of the source"}
        shown.append({"source": source, "reference": targets[0], **made})
    return shown


def record(
    args: argparse.Namespace,
    certificate: dict[str, Any],
    rows: Sequence[dict[str, Any]],
    shown: dict[str, Any],
) -> None:
    """Write rows and samples in place of those of the same preset and test, beside the others."""
    from textdiff.reports import read_figures, write_json

    before = read_figures(args.json)
    new = {(r["preset"], r["test"]) for r in rows}
    kept = [r for r in before.get("rows", []) if (r["preset"], r["test"]) not in new]
    keyed = {f"{args.preset}, {name}": lines for name, lines in shown.items()}
    content = {
        "certificates": {**before.get("certificates", {}), **{key: certificate for key in keyed}},
        "rows": [*kept, *rows],
        "samples": {**before.get("samples", {}), **keyed},
    }  # fmt: skip
    write_json(content, args.json)


if __name__ == "__main__":
    run(main)
