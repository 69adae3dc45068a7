#!/usr/bin/env python3
"""Teach a classifier what your texts are labelled with, so that a model can be steered by it.

    python scripts/train_classifier.py --model runs/e2e --train-file labelled.tsv --output-dir runs/topic
    python scripts/train_classifier.py --model runs/e2e --train-file e2e.gz --format e2e --output-dir runs/f
    python scripts/train_classifier.py --model runs/e2e --train-file e2e.gz --format e2e \
        --tagger runs/tagger --parser runs/parser --output-dir runs/all
    python scripts/train_classifier.py --data neg.txt.gz pos.txt.gz --field mood --bag --output-dir runs/mood

Labelled texts are TSV (a header: text and one column for every label), JSON lines ({"text": ..., "labels":
{...}, "tags": [one a word], "spans": [[i, j, "NP"] ...]}; a span's words are i to j - 1), E2E's own lines, or
files that each hold one class. Tags and spans that they lack, a tagger and a parser find (folders written by
scripts/train_oracle.py, or models such as spacy:en_core_web_sm). The classifier reads what the model thinks
of while it samples, and leaves it as it is. With --bag it only weighs tokens, which is learned in seconds and wants
fewer texts. Stopped and started again with the same command, a run goes on
from its last checkpoint.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textdiff.cli import run
from textdiff.text.settings import (
    changed_settings,
    check_options,
    check_parts,
    claim_record,
    is_first_process,
    read_record,
    run_settings,
    write_record,
)
from textdiff.training.settings import add_run_options

if TYPE_CHECKING:
    from textdiff.text.classifier import TextClassifier
    from textdiff.text.labelled import LabelledText
    from textdiff.text.language_model import DiffusionLM

RECORD, LABELS = "classifier_training.json", "labelled.jsonl.gz"
VALIDATION_TEXTS = 1024
FIGURES = ("eval_loss", "eval_accuracy", "eval_precision", "eval_recall")


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Command line of the script."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--output-dir", required=True, help="folder for checkpoints and the classifier")
    add("--model", help="model folder, hub id or name of a bundled model (default: the bundled English one)")
    add("--train-file", nargs="+", metavar="FILE", help="labelled texts, UTF-8, plain or .gz")
    add("--format", choices=["tsv", "jsonl", "e2e"], help="default: as the names say, .tsv or .jsonl")
    add("--data", nargs="+", metavar="FILE", help="instead: a file a class, neg.txt pos.txt, or their folder")
    add("--field", default="label", help="what the classes of --data are called together (default: label)")
    add("--validation-file", nargs="+", metavar="FILE", help="default: 5 in 100 of the other texts")
    add("--tagger", metavar="NAME", help="who tags the words of texts without tags")
    add("--parser", metavar="NAME", help="who finds the spans of texts without spans")
    add("--bag", action="store_true", help="a bag of tokens, for labels of texts: none of the options below counts")
    add("--max-steps", type=int, default=2000, help="optimiser steps (default: 2000)")
    add("--batch-size", type=int, default=32, help="texts a step, over all processes (default: 32)")
    add("--gradient-accumulation-steps", type=int, default=1, help="parts that a process cuts its texts into")
    add("--learning-rate", type=float, default=1e-3, help="peak (default: 1e-3)")
    add("--hidden-size", type=int, default=192, help="width of the classifier (default: 192)")
    add("--layers", type=int, default=3, help="its blocks (default: 3)")
    add("--heads", type=int, default=3, help="its attention heads (default: 3)")
    add("--dropout", type=float, default=0.1, help="in its blocks (default: 0.1)")
    add_run_options(parser)
    parser.set_defaults(preset=None, compile=False)
    return parser.parse_args(argv)


def read_data(args: argparse.Namespace) -> tuple[list[LabelledText], list[LabelledText]]:
    """Training and validation texts, as the command line names them."""
    from textdiff.text.labelled import read_classes, read_labelled, split

    if bool(args.train_file) == bool(args.data):
        raise ValueError("Give labelled texts with --train-file, or one file a class with --data.")
    if args.data:
        texts = read_classes(args.data, args.field)
    else:
        texts = [text for path in args.train_file for text in read_labelled(path, args.format)]
    if not args.validation_file:
        return split(texts)
    return texts, [text for path in args.validation_file for text in read_labelled(path, args.format)]


def label(args: argparse.Namespace, parts: list[list[LabelledText]]) -> list[list[LabelledText]]:
    """Training and validation texts with the tags and spans of oracles, or those kept in the folder."""
    from tqdm import tqdm

    from textdiff.text.oracle_labels import fill_from, fill_in, read_kept
    from textdiff.text.oracles import parser_by_name, tagger_by_name

    folder = Path(args.output_dir)
    before = read_record(folder / RECORD).get("settings", {})
    changed_settings(folder, before, run_settings(args), resuming=True, kind="classifier")
    texts = [text for part in parts for text in part]
    if before:  # the same oracles were asked
        texts = fill_from(texts, read_kept(folder / LABELS))
    untagged, unparsed = (any(getattr(text, name) is None for text in texts) for name in ("tags", "spans"))
    quiet = not is_first_process()
    texts = fill_in(
        texts,
        tagger=tagger_by_name(args.tagger) if args.tagger and untagged else None,
        parser=parser_by_name(args.parser) if args.parser and unparsed else None,
        progress=lambda batches, what: tqdm(batches, what, unit="batch", file=sys.stderr, disable=quiet),
    )
    return [texts[: len(parts[0])], texts[len(parts[0]) :]]


def make_classifier(args: argparse.Namespace, lm: DiffusionLM, texts: list[LabelledText]) -> TextClassifier:
    """A fresh classifier for the labels of the training texts."""
    from textdiff.text.classifier import TextClassifier
    from textdiff.text.labelled import label_names

    names = label_names(texts)
    return TextClassifier.for_model(
        lm.denoiser, lm.vocabulary, fields=names.fields, tags=names.tags, spans=names.spans,
        hidden_size=args.hidden_size, intermediate_size=4 * args.hidden_size, num_hidden_layers=args.layers,
        num_attention_heads=args.heads, dropout=args.dropout,
    )  # fmt: skip


def fit(args: argparse.Namespace, lm: DiffusionLM, parts: list[list[LabelledText]]) -> dict[str, Any]:
    """Fit a bag of tokens and leave it in the folder. Returns the facts."""
    from textdiff.text.bag import BagOfTokens
    from textdiff.text.bag_training import fit_bag
    from textdiff.text.labelled import label_names

    path = Path(args.output_dir, RECORD)
    bag = BagOfTokens.for_vocabulary(lm.vocabulary, label_names(parts[0]).fields)
    if facts := claim_record(args, path, kind="classifier").get("facts", {}):
        return facts
    figures = fit_bag(bag, *parts, lm.vocabulary)
    facts = {"texts": len(parts[0]), "validation_texts": len(parts[1]), "validation": figures}
    bag.save_pretrained(args.output_dir)
    write_record(path, {**read_record(path), "facts": facts})
    return facts


def check_options_and_batches(args: argparse.Namespace) -> None:
    """Refuse numbers out of range."""
    check_options(args)
    for name in ("hidden_size", "layers", "heads"):
        if (given := getattr(args, name)) < 1:
            raise ValueError(f"--{name.replace('_', '-')} is {given}: give a number above zero.")
    check_parts(args.batch_size, args.gradient_accumulation_steps)
    if args.bag and (args.tagger or args.parser):
        raise ValueError("A bag of tokens knows no tags and no spans: leave out --tagger and --parser, or --bag.")


def train(
    args: argparse.Namespace, lm: DiffusionLM, classifier: TextClassifier, parts: list[list[LabelledText]]
) -> dict[str, Any]:
    """Train to the end and leave the averaged classifier in the folder. Returns the facts of the run."""
    from textdiff.text.classifier_training import ClassifierTrainer, ClassifierTraining
    from textdiff.text.label_rows import LabelRows, collate, encode
    from textdiff.text.training import (
        EMACallback,
        drop_half_written,
        latest_checkpoint,
        saving,
        training_arguments,
    )

    folder = Path(args.output_dir)
    texts = [encode(part, lm.vocabulary, classifier.config) for part in parts]
    arguments = training_arguments(
        args, max_steps=args.max_steps, batch_size=args.batch_size, learning_rate=args.learning_rate
    )
    if is_first_process():
        drop_half_written(folder)
    model = ClassifierTraining(classifier, lm, seed=args.seed)
    ema = EMACallback(model, args.ema_decay)
    rows = LabelRows(texts[0], total=args.max_steps * args.batch_size, seed=args.seed)
    count = min(len(texts[1]), VALIDATION_TEXTS)
    checked = LabelRows(texts[1], total=count, seed=args.seed, conditional=False)
    trainer = ClassifierTrainer(
        model=model, args=arguments, train_dataset=rows, eval_dataset=checked, data_collator=collate, ema=ema
    )
    checkpoint = latest_checkpoint(folder)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    metrics = trainer.evaluate()
    facts = {
        "texts": len(texts[0]), "validation_texts": len(checked),
        "parameters": sum(parameter.numel() for parameter in classifier.parameters()),
        "validation": {k.removeprefix("eval_"): v for k, v in metrics.items() if k.startswith(FIGURES)},
    }  # fmt: skip
    if is_first_process():
        with saving(folder):
            ema.average.module.classifier.save_pretrained(folder)
            write_record(folder / RECORD, {**read_record(folder / RECORD), "facts": facts})
    return facts


def main(argv: list[str] | None = None) -> None:
    """Run one training from start, or from its last checkpoint, to the end."""
    args = parse_args(argv)
    check_options_and_batches(args)
    parts = list(read_data(args))
    from textdiff.reports import listing
    from textdiff.text.language_model import DiffusionLM

    lm = DiffusionLM.from_pretrained(args.model)
    if args.bag:
        if is_first_process():
            sys.stdout.write(listing(fit(args, lm, parts)["validation"]) + "\n")
        return
    if args.tagger or args.parser:
        parts = label(args, parts)
    import torch

    torch.manual_seed(args.seed)
    classifier = make_classifier(args, lm, parts[0])
    facts = claim_record(args, Path(args.output_dir, RECORD), kind="classifier").get("facts", {})
    if not facts:
        from transformers import set_seed

        from textdiff.text.oracle_labels import write_labelled

        if (args.tagger or args.parser) and is_first_process():
            write_labelled([text for part in parts for text in part], Path(args.output_dir, LABELS))

        set_seed(args.seed)
        facts = train(args, lm, classifier, parts)
    if is_first_process():
        sys.stdout.write(listing(facts["validation"]) + "\n")


if __name__ == "__main__":
    run(main)
