#!/usr/bin/env python3
"""From a finished run of scripts/train_image.py and its figures to a bundled model with its card.

    python benchmarks/ship_images.py --run runs/digits --classifier textdiff/weights/digit_classifier
    python benchmarks/digits.py                            (figures of the weights as they are shipped)
    python benchmarks/ship_images.py --run runs/digits     (once more: the card takes them in)

The name of the run names the card's facts and figures and the bundled model, as in

    python benchmarks/ship_images.py --run runs/composed-digits
    python benchmarks/captions.py --only composed-digits
    python benchmarks/ship_images.py --run runs/composed-digits

Models that draw captions and that write them are known by their config. If the figures of --precision bfloat16 are
worse than the run's own (digits.py --model runs/digits), ship float32. Figures of another model than this run, or what
was shipped of it, are refused.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ship import born, read

from textdiff.cli import run

RECORDS = ("config.json", "scheduler_config.json", "curves.json", "curves.png")
WORDS = ("tokenizer.json", "tokenizer_config.json")  # of models with captions
WORD_VECTORS = "denoiser.embedding.weight"  # stay float32, as those of text models do
PRECISIONS = ("bfloat16", "float32")
WANTED = {"license", "data", "command", "figures_command"}  # facts that nothing stands in for
TITLES = {
    "generation": "Generation",
    "inpainting": "Inpainting: a centre square of 14 x 14 lost",
    "inpainting_strokes": "Inpainting: random strokes lost",
    "super_resolution_2x": "Enlargement from 14 x 14",
    "super_resolution_4x": "Enlargement from 7 x 7",
    "denoising_light": "White noise, standard deviation 1/8 of the range",
    "denoising_medium": "White noise, standard deviation 1/4 of the range",
    "denoising_heavy": "White noise, standard deviation 1/2 of the range",
}
JUDGE = """
from textdiff.image.classifier import DigitClassifier, judged

features, classes = judged(DigitClassifier.from_pretrained(), ["digit.png"])
print(classes)
"""
Table = dict[str, Any]


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Command line of the script."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--run", required=True, help="folder of the finished run")
    add("--facts", help="JSON of the card's fixed parts (default: benchmarks/NAME.json)")
    add("--figures", default="benchmarks/results/images.json", help="file of the measured tables")
    add("--part", help="which part of that file the card shows (default: NAME, with _ for -)")
    add("--precision", default="bfloat16", help="of the weights: bfloat16 (default) or float32")
    add("--classifier", help="folder of the judge of the figures, which is then shipped beside the model")
    add("--output", help="folder of the bundled model (default: textdiff/weights/NAME)")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Write the bundled model's folder, and the classifier's beside it."""
    args = parse_args(argv)
    source = Path(args.run)
    folder = Path(args.output or Path("textdiff", "weights", source.resolve().name))
    fixed = Path(args.facts or Path("benchmarks", f"{folder.name}.json"))
    if args.precision not in PRECISIONS:
        raise ValueError(f"--precision is {args.precision}: choose {' or '.join(PRECISIONS)}.")
    if folder.is_file():
        raise ValueError(f"--output {folder} is a file: name a folder.")
    from textdiff.image.run import FACTS_FILE
    from textdiff.storage import read_json

    trained = read_json(source / FACTS_FILE, "give scripts/train_image.py's --output-dir of a finished run")
    facts = read_json(fixed, "give the card's fixed parts, such as benchmarks/digits.json")
    wanted = WANTED | ({"classifier_command"} if args.classifier else set())
    if missing := sorted(wanted - facts.keys()):
        raise ValueError(f"{fixed} lacks {', '.join(missing)}: add what the card is to say.")
    write_card = card_writer(source)
    figures = (read(Path(args.figures)) or {}).get(args.part or folder.name.replace("-", "_"), {})
    check_measured(figures, args.figures, source, folder)
    if args.classifier:
        ship_classifier(Path(args.classifier), folder.with_name("digit_classifier"), facts)
    folder.mkdir(parents=True, exist_ok=True)
    ship_weights(source, folder, args.precision)
    for name in (*RECORDS, *(name for name in WORDS if (source / name).is_file())):
        shutil.copyfile(source / name, folder / name)
    card = {
        "parameters": trained["parameters"], "training": training(trained, facts), "tables": tables(figures, facts)
    }  # fmt: skip
    write_card(folder, {**facts, **card})
    size = sum(path.stat().st_size for path in folder.iterdir() if path.is_file()) / 1e6
    sys.stdout.write(f"{folder}: {args.precision}, {len(card['tables'])} tables, {size:.1f} MB\n")


def card_writer(source: Path) -> Callable[[Path, Table], None]:
    """What writes the card of a run's kind of model."""
    from textdiff.cross_modal import captioner, text_to_image
    from textdiff.cross_modal.card import write_drawing_card, write_writing_card
    from textdiff.image import card, loading
    from textdiff.storage import CONFIG_FILE, read_json

    kinds = {
        loading.MODEL_TYPE: card.write_card,
        text_to_image.MODEL_TYPE: write_drawing_card,
        captioner.MODEL_TYPE: write_writing_card,
    }
    kind = read_json(source / CONFIG_FILE, "train again").get("model_type")
    if kind not in kinds:
        raise ValueError(f"{source} is a model of type {kind!r}: give a run of scripts/train_image.py.")
    return kinds[kind]


def check_measured(figures: Table, path: str, *folders: Path) -> None:
    """Refuse figures of another model: theirs must be one of the folders, or bundled under the last one's name."""
    model = figures.get("certificate", {}).get("model", "bundled")
    named = model in ("bundled", folders[-1].name)
    if not named and Path(model).resolve() not in [folder.resolve() for folder in folders]:
        raise ValueError(f"{path} was measured on {model}: measure {' or '.join(map(str, folders))}.")


def ship_weights(source: Path, folder: Path, precision: str) -> None:
    """The run's weights in one file; the word vectors of a text model keep their precision."""
    import torch
    from safetensors.torch import save_file

    from textdiff.storage import WEIGHTS_FILE, read_tensors, weight_files

    parts = [read_tensors(path) for path in weight_files(source, "scripts/train_image.py")]
    kind = getattr(torch, precision)
    state = {
        name: (tensor if name == WORD_VECTORS else tensor.to(kind)).contiguous()
        for part in parts
        for name, tensor in part.items()
    }
    for old in folder.glob("model*"):
        old.unlink()
    save_file(state, folder / WEIGHTS_FILE, metadata={"format": "pt"})


def ship_classifier(source: Path, folder: Path, facts: Table) -> None:
    """The digit classifier as it is (its fingerprint is that of its exact weights), with a card of its own."""
    from textdiff import card
    from textdiff.image.classifier import DigitClassifier
    from textdiff.storage import CONFIG_FILE, WEIGHTS_FILE

    classifier = DigitClassifier.from_pretrained(source)
    config = json.loads((source / CONFIG_FILE).read_text(encoding="utf-8"))
    folder.mkdir(parents=True, exist_ok=True)
    if source.resolve() != folder.resolve():
        for name in (CONFIG_FILE, WEIGHTS_FILE):
            shutil.copyfile(source / name, folder / name)
    own = {
        "name": "textdiff digit classifier", "license": facts["license"], "data": facts["data"],
        "parameters": sum(weights.numel() for weights in classifier.parameters()),
        "about": "Three convolutions that tell handwritten digits apart; figures of generated digits are taken in "
        f"its 128 features. Fingerprint {classifier.fingerprint()}; accuracy on the test digits "
        f"{config.get('test_accuracy', 'not measured')}.",
        "training": f"`{facts['classifier_command']}`",
        "limits": ["It judges any picture as one of ten digits. Its features are not Inception's."],
    }  # fmt: skip
    card.write(folder, card.render(own, front=("tags: [image-classification]",), about="", use=JUDGE))


def training(trained: Table, facts: Table) -> str:
    """How the run was made, from what it recorded."""
    preset, seconds = trained["preset"], trained["seconds"]
    lasted = "in several sittings" if seconds is None else f"in {round(seconds / 60)} minutes"
    return (
        f"{facts.get('before', '')}`{facts['command']}`: "
        f"{preset['max_steps']:,} steps of {preset['batch_size']} pictures, "
        f"{trained['pictures_seen']:,} in all of {trained['pictures']:,} different ones, {lasted}; averaged weights. "
        f"The validation loss ended at {trained['validation']['eval_loss']:.4f} "
        f"({facts.get('loss', 'mean square of v')}). "
        "Curves: curves.png."
    )


def tables(figures: Table, facts: Table) -> list[Table]:
    """The card's tables, methods down and figures across, in the order of `TITLES`."""
    certificate, found = figures.get("certificate", {}), list[Table]()
    if rows := figures.get("rows"):  # of one table with methods down and figures across already
        title = facts.get("title", "Figures")
        found.append({"title": title, "rows": rows, "command": facts["figures_command"], "notes": [born(certificate)]})
    for name, title in TITLES.items():
        columns = figures.get(name, {})
        methods = dict.fromkeys(method for values in columns.values() for method in values)
        rows = [{"method": m, **{f: values.get(m) for f, values in columns.items()}} for m in methods]
        if rows:
            notes = [] if found else [born(certificate)]
            found.append({"title": title, "rows": rows, "command": facts["figures_command"], "notes": notes})
    return found


if __name__ == "__main__":
    run(main)
