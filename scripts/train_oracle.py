#!/usr/bin/env python3
"""Train a judge of texts: a part-of-speech tagger, or a constituency parser.

    python scripts/train_oracle.py --kind tagger --data-dir ../shared/data --output-dir runs/tagger
    python scripts/train_oracle.py --kind parser --encoder runs/tagger --output-dir runs/parser

The tagger learns from the MASC corpus (Penn tags, made universal) and from UD English EWT, and is measured on
UD English PUD. The parser learns from EWT's dependencies, drawn as constituents (textdiff.text.phrase_trees),
and is measured on PUD. With --trees penn it learns from the sample of the Penn treebank and is measured on
the last tenth of its files. That sample's licence is for research: such a parser is for experiments only, its
weights may not be passed on.
Stopped at any moment and started again with the same command, it goes on from the last checkpoint.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textdiff.cli import run
from textdiff.text.settings import changed_settings, check_options, read_record, run_settings, write_record
from textdiff.text.trees import Span, Tree, corpus_labelled_f1

if TYPE_CHECKING:
    from textdiff.text.treebanks import Tagged
    from textdiff.text.word_model import WordModel

RECORD, FACTS = "run.json", "training.json"
DEV_SHARE = 20  # one sentence in so many is kept for looking at on the way
TEST_SHARE = 10  # one file of trees in so many, the last ones, for measuring
EWT_REPEATS = 4  # EWT says which of the tags that MASC allows; it is small, so an epoch has it so often
LONGEST = 128  # words of a training sentence; longer ones are cut, or left out where they have trees
LONGEST_PAIR = 60  # words of two sentences together; what a parser costs grows with their square
STEPS = {"tagger": 5000, "parser": 3000}


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Command line of the script."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--kind", required=True, choices=["tagger", "parser"], help="what to train")
    add("--output-dir", required=True, help="folder for checkpoints, curves and the final model")
    add("--trees", choices=["ud", "penn"], help="what a parser learns from (default: ud)")
    add("--data-dir", default="../shared/data", help="folder that has syntax/ with the treebanks in it")
    add("--encoder", metavar="FOLDER", help="start from the encoder of this tagger, its sizes and words")
    add("--hidden", type=int, default=128, help="width (default: 128)")
    add("--layers", type=int, default=3, help="blocks (default: 3)")
    add("--num-words", type=int, default=8000, help="words with an embedding of their own (default: 8000)")
    add("--max-steps", type=int, help="optimiser steps (default: 5000 for a tagger, 3000 for a parser)")
    add("--batch-size", type=int, default=64, help="sentences a step (default: 64)")
    add("--learning-rate", type=float, default=2e-3, help="peak (default: 2e-3)")
    add("--save-steps", type=int, default=250, help="steps between checkpoints (default: 250)")
    add(
        "--eval-steps", type=int, default=250, help="steps between looks at held-out sentences (default: 250)"
    )
    add("--logging-steps", type=int, default=25, help="steps between log lines (default: 25)")
    add(
        "--ema-decay",
        type=float,
        default=0.998,
        help="of the averaged weights, which are what is saved at the end",
    )
    add("--seed", type=int, default=0, help="of weights and data order")
    add("--use-cpu", action="store_true", help="stay on the CPU even where there is a GPU")
    parser.set_defaults(preset=None)
    args = parser.parse_args(argv)
    args.max_steps = STEPS[args.kind] if args.max_steps is None else args.max_steps
    if args.kind == "parser":
        args.trees = args.trees or "ud"
    elif vars(args).pop("trees"):  # so that a tagger's record has no such setting
        raise ValueError("--trees is for a parser: give --kind parser, or leave it out.")
    return args


@dataclass(frozen=True)
class Material:
    """Sentences with gold tags or trees: to learn from, to look at on the way, and to measure on."""

    train: list[Any]
    dev: list[Any]
    test: list[Any]


def tagged_material(data_dir: str) -> Material:
    """MASC and EWT to learn from, PUD to measure on."""
    from textdiff.text.treebanks import Tagged, read_conllu, read_masc

    folder = Path(data_dir, "syntax")
    ewt = [s for part in ("dev", "test") for s in read_conllu(folder / f"en_ewt-ud-{part}.conllu.gz")]
    test = read_conllu(folder / "en_pud-ud-test.conllu.gz")
    masc = read_masc(folder / "masc_tagged.zip")
    dev = ewt[::DEV_SHARE]
    train = [s for k, s in enumerate(ewt) if k % DEV_SHARE] * EWT_REPEATS + masc
    cut = [Tagged(s.words[k : k + LONGEST], s.tags[k : k + LONGEST])
           for s in train for k in range(0, len(s.words), LONGEST)]  # fmt: skip
    return Material(cut, dev, test)


def drawn_material(data_dir: str) -> Material:
    """EWT's trees drawn as constituents to learn from, one by one and two by two; PUD's to measure on."""
    from textdiff.text.phrase_trees import phrase_tree
    from textdiff.text.treebanks import read_dependencies
    from textdiff.text.trees import side_by_side

    folder = Path(data_dir, "syntax")
    names = ("en_ewt-ud-dev", "en_ewt-ud-test", "en_pud-ud-test")
    *parts, test = ([phrase_tree(s) for s in read_dependencies(folder / f"{n}.conllu.gz")] for n in names)
    ewt = [tree for part in parts for tree in part if len(tree.words) <= LONGEST]
    train = [tree for k, tree in enumerate(ewt) if k % DEV_SHARE]
    joined = (side_by_side(pair) for pair in zip(train[::2], train[1::2]))
    train += [pair for pair in joined if len(pair.words) <= LONGEST_PAIR]  # texts of several sentences
    return Material(train, ewt[::DEV_SHARE], test)


def penn_material(data_dir: str) -> Material:
    """The Penn sample, its last files to measure on."""
    from textdiff.text.treebanks import read_penn_trees

    path = Path(data_dir, "syntax", "treebank.zip")
    files = [trees for _, trees in sorted(read_penn_trees(path).items())]
    kept = len(files) - len(files) // TEST_SHARE
    learned, test = ([tree for trees in part for tree in trees] for part in (files[:kept], files[kept:]))
    train = [tree for k, tree in enumerate(learned) if k % DEV_SHARE]
    if not train or not test:
        raise ValueError(f"{path} has {len(files)} files of trees, too few: give at least {TEST_SHARE}.")
    return Material(train, learned[::DEV_SHARE], test)


def tag_accuracy(guesses: Sequence[Sequence[str]], gold: Sequence[Tagged]) -> float:
    """Share of words with a right tag."""
    pairs = [pair for guess, sentence in zip(guesses, gold) for pair in zip(guess, sentence.tags)]
    return sum(tag in allowed for tag, allowed in pairs) / len(pairs)


def most_frequent_tags(train: Sequence[Tagged], sentences: Sequence[Sequence[str]]) -> list[list[str]]:
    """The tag that each word had most often, NOUN if it had none; several that it may have share a count."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for sentence in train:
        for word, allowed in zip(sentence.words, sentence.tags):
            counts[word].update({tag: 1 / len(allowed) for tag in allowed})
    best = {word: max(sorted(found), key=found.__getitem__) for word, found in counts.items()}
    return [[best.get(word, "NOUN") for word in words] for words in sentences]


def right_branching(length: int) -> frozenset[Span]:
    """A tree without looking: the sentence is S, and from its second word on everything to the end is VP."""
    inner = {(k, length - 1, "VP") for k in range(1, length - 2)}  # the last mark stands outside
    return frozenset({(0, length, "S")} | inner)


def new_model(args: argparse.Namespace, sentences: list[list[str]], labels: list[str]) -> WordModel:
    """A fresh tagger or parser, or one whose encoder has read much already."""
    import torch

    from textdiff.text.parser import Parser
    from textdiff.text.tagger import Tagger
    from textdiff.text.words import EncoderShape, frequent_words

    kind = {"tagger": Tagger, "parser": Parser}[args.kind]
    torch.manual_seed(args.seed)
    if args.encoder:
        taught = Tagger.load(args.encoder)
        model = kind(taught.shape, taught.features.words, labels)
        model.encoder.load_state_dict(taught.encoder.state_dict())
        return model
    shape = EncoderShape(
        hidden=args.hidden, layers=args.layers, heads=max(1, args.hidden // 32), intermediate=3 * args.hidden
    )
    return kind(shape, frequent_words(sentences, args.num_words), labels)


def measure(model: Any, material: Material) -> dict[str, float]:
    """Figures on sentences that were not learned from, beside a baseline's."""
    from textdiff.text.tagger import Tagger

    test, dev = ([list(item.words) for item in part] for part in (material.test, material.dev))
    if isinstance(model, Tagger):
        guessed = most_frequent_tags(material.train, test)
        return {
            "accuracy": tag_accuracy(model.tag(test), material.test),
            "accuracy_development": tag_accuracy(model.tag(dev), material.dev),
            "accuracy_most_frequent_tag": tag_accuracy(guessed, material.test),
        }
    gold, near = ([tree.spans for tree in part] for part in (material.test, material.dev))
    return {
        "labelled_f1": corpus_labelled_f1(gold, model.parse(test)),
        "labelled_f1_development": corpus_labelled_f1(near, model.parse(dev)),
        "labelled_f1_right_branching": corpus_labelled_f1(
            gold, [right_branching(len(words)) for words in test]
        ),
    }


def labels_of(trees: Sequence[Tree]) -> list[str]:
    """The labels of all constituents, by alphabet."""
    return sorted({label for tree in trees for _, _, label in tree.spans})


def main(argv: list[str] | None = None) -> None:
    """Run one training from start, or from its last checkpoint, to the end, and measure."""
    args = parse_args(argv)
    check_options(args)
    if args.num_words < 0:
        raise ValueError(f"--num-words is {args.num_words}: give 0 or a number above it.")
    sources = {"tagger": tagged_material, "ud": drawn_material, "penn": penn_material}
    material = sources["tagger" if args.kind == "tagger" else args.trees](args.data_dir)
    from textdiff.reports import birth_certificate, listing
    from textdiff.text.oracle_training import SentenceRows, length_grouped_order, train_oracle
    from textdiff.text.penn_tags import UNIVERSAL_TAGS
    from textdiff.text.training import latest_checkpoint

    sentences = [list(item.words) for item in material.train]
    labels = list(UNIVERSAL_TAGS) if args.kind == "tagger" else labels_of(material.train)
    model: Any = new_model(args, sentences, labels)
    folder, settings = Path(args.output_dir), run_settings(args)
    before = read_record(folder / RECORD)
    changed_settings(folder, before, settings, resuming=latest_checkpoint(folder) is not None)
    write_record(folder / RECORD, settings)

    def gold(item: Any) -> Any:
        return model.target(item.tags if args.kind == "tagger" else item.spans)

    total = args.max_steps * args.batch_size
    order = length_grouped_order(
        list(map(len, sentences)), batch_size=args.batch_size, total=total, seed=args.seed
    )
    rows = SentenceRows(
        sentences, list(map(gold, material.train)), model.features, order=order, seed=args.seed
    )
    dev = SentenceRows(
        [list(item.words) for item in material.dev], list(map(gold, material.dev)), model.features
    )
    facts = train_oracle(model, rows, dev, args)
    figures = measure(model, material)
    from textdiff import __version__

    write_record(folder / FACTS, birth_certificate(version=__version__, kind=args.kind, **facts, **figures))
    sys.stdout.write(listing({"sentences": len(sentences), **facts, **figures}) + "\n")


if __name__ == "__main__":
    run(main)
