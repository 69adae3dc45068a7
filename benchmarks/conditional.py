#!/usr/bin/env python3
"""The fine-tuned baseline of control: a GPT-2 trained on `control, separator, text`, for one kind of control.

    python benchmarks/conditional.py --preset e2e --kind pos --labelled runs/e2e/labelled.jsonl.gz \\
        --tagger runs/tagger --parser runs/parser --output-dir runs/e2e/conditional-pos

As Diffusion-LM's FT (arXiv 2205.14217, section 6.2): the control is written as words, the loss is the text's,
and the same oracle tags or parses its training text that later judges what it writes. It has the size, data,
optimiser and tokens of text of benchmarks/autoregressive.py, and starts from nothing, as all models here do, or
with --start-from from such a model, on top of what that has seen; of a text with many fields or spans it sees up
to 4 with one each. Values are fields that the text spells out. For compositions it reads both controls, which the
paper's product of experts does not.

Stopped at any moment and started again with the same command, it goes on from the last checkpoint.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoregressive import rival_config
from conditional_model import ConditionalRows, ControlVocabulary, control_words
from rival_runs import rival_parser, train_rival

from textdiff.cli import run

if TYPE_CHECKING:
    from transformers import GPT2LMHeadModel

    from textdiff.text.control_targets import Target
    from textdiff.text.labelled import LabelledText
    from textdiff.text.presets import Preset
    from textdiff.text.run import PresetData

LABELS = "labelled.jsonl.gz"
CONTROLS_PER_TEXT = 4


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Command line of the script."""
    parser = rival_parser(__doc__, save_steps=500, logging_steps=50)
    add = parser.add_argument
    add("--kind", required=True, help="semantic, pos, tree, span, length, semantic+pos or semantic+tree")
    add(
        "--labelled",
        help="JSON lines with the training texts' tags or spans: read where it is there, written if it lacks some "
        "(default: labelled.jsonl.gz in the output folder)",
    )
    add("--start-from", help="folder of benchmarks/autoregressive.py with the same preset, to fine-tune")
    add("--tagger", help="oracle of kinds with tags: a folder, or a name such as spacy:en_core_web_sm")
    add(
        "--parser",
        help="oracle of kinds with trees and spans: a folder, or a name such as benepar:benepar_en3",
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Train the baseline, or go on from its last checkpoint."""
    from textdiff.text.control_targets import check_kind

    args = parse_args(argv)
    check_kind(args.kind)
    train_rival(args, rival)


def rival(
    args: argparse.Namespace, preset: Preset, data: PresetData
) -> tuple[GPT2LMHeadModel, ConditionalRows, ConditionalRows]:
    """A fresh model, its rows to train on and those to validate with."""
    import torch
    from transformers import GPT2LMHeadModel

    from textdiff.text.labelled import split
    from textdiff.text.model import DiffusionLMConfig

    kept, out = split(labelled_texts(args, preset), percent=1)  # as scripts/train.py
    window = DiffusionLMConfig(**preset.model).max_position_embeddings
    parts = [
        training_targets(args.kind, part, seed=args.seed + number) for number, part in enumerate((kept, out))
    ]
    controls = ControlVocabulary.of(data.tokenizer, (control_words(t) for t in parts[0]))
    config = rival_config(preset, data.tokenizer.get_vocab_size())
    pairs = [encoded(part, controls, data, window) for part in parts]
    longest = max(len(prompt) for part in pairs for prompt, _ in part)
    config.n_positions = longest + window + 2
    config.vocab_size = controls.size
    config.control_kind, config.control_words, config.control_window = args.kind, controls.added, window
    kernel = "sdpa" if torch.cuda.is_available() else "eager"
    model = GPT2LMHeadModel._from_config(config, attn_implementation=kernel)
    if args.start_from is not None:
        start_from(args.start_from, model, data)
    return model, *conditional_rows(preset, data, pairs, controls, args.seed)


def start_from(folder: str, model: GPT2LMHeadModel, data: PresetData) -> None:
    """Give a model the weights of a smaller vocabulary and window, in the first rows of its tables.

    Raises:
        FileNotFoundError: if there is no such folder.
        ValueError: if that model has another tokenizer or shape.
    """
    import torch
    from transformers import GPT2LMHeadModel

    from textdiff.text.tokenizer import load_tokenizer

    if load_tokenizer(folder).get_vocab() != data.tokenizer.get_vocab():
        raise ValueError(f"--start-from {folder} has another tokenizer: name a run of the same preset.")
    own, given = model.state_dict(), GPT2LMHeadModel.from_pretrained(folder, use_safetensors=True).state_dict()
    fits = own.keys() == given.keys() and all(
        own[name].shape[1:] == weight.shape[1:] and len(own[name]) >= len(weight) for name, weight in given.items()
    )
    if not fits:
        raise ValueError(f"--start-from {folder} has another shape: name a run of the same preset.")
    with torch.no_grad():
        for name, weight in given.items():
            own[name][: len(weight)] = weight


def labelled_texts(args: argparse.Namespace, preset: Preset) -> list[LabelledText]:
    """The preset's training texts with the labels that the kind of control wants.

    Raises:
        ValueError: if the preset's texts have no fields, or an oracle is missing.
        FileNotFoundError: if a source is missing.
    """
    from tqdm import tqdm

    from textdiff.text.control_targets import annotated
    from textdiff.text.labelled import read_labelled
    from textdiff.text.oracle_labels import fill_from, read_kept, write_labelled

    if preset.text_after != "||":
        raise ValueError(f"The texts of preset {preset.name!r} have no fields to control: choose e2e.")
    path = Path(args.labelled) if args.labelled else Path(args.output_dir, LABELS)
    if path.suffix != ".gz":
        raise ValueError(f"--labelled {path} is written packed: give it a name that ends in .jsonl.gz.")
    sources = [Path(args.data_dir, name) for name in preset.sources]
    texts = fill_from([text for file in sources for text in read_labelled(file, "e2e")], read_kept(path))
    tagger, parser = oracles(args)
    found = annotated(
        texts, args.kind, tagger=tagger, parser=parser,
        progress=lambda batches, what: tqdm(batches, what, unit="batch", file=sys.stderr),
    )  # fmt: skip
    if found != texts:
        write_labelled(found, path)
    return found


def oracles(args: argparse.Namespace) -> tuple[Any, Any]:
    """The tagger and the parser that the command line names, None where it names none."""
    from textdiff.text.oracles import parser_by_name, tagger_by_name

    return (
        None if args.tagger is None else tagger_by_name(args.tagger),
        None if args.parser is None else parser_by_name(args.parser),
    )


def training_targets(kind: str, texts: Sequence[LabelledText], *, seed: int) -> list[Target]:
    """What each text is a text for, at most `CONTROLS_PER_TEXT` drawn of its own, in random order.

    Else a text's controls of one length would be packed into one row.
    """
    import numpy as np

    from textdiff.text.control_targets import targets_of

    rng = np.random.default_rng([seed, 6])
    found: list[Target] = []
    for text in texts:
        own = targets_of(kind, text)
        found += [own[i] for i in rng.permutation(len(own))[:CONTROLS_PER_TEXT]]
    if not found:
        raise ValueError(f"None of the texts has a control of kind {kind!r}: give others.")
    return [found[i] for i in rng.permutation(len(found))]


def encoded(
    targets: Sequence[Target], controls: ControlVocabulary, data: PresetData, window: int
) -> list[tuple[list[int], list[int]]]:
    """Prompts and texts as ids, but for texts beyond the window."""
    found = []
    for target in targets:
        ids = data.tokenizer.encode(target.sentence, add_special_tokens=False).ids
        if len(ids) <= window:
            found.append((controls.prompt(control_words(target)), ids))
    return found


def conditional_rows(
    preset: Preset, data: PresetData, pairs: Sequence[Sequence[tuple[list[int], list[int]]]],
    controls: ControlVocabulary, seed: int,
) -> tuple[ConditionalRows, ConditionalRows]:  # fmt: skip
    """Rows to train on, with as many tokens of text as the diffusion model sees, and to validate with."""
    from textdiff.text.data import pack
    from textdiff.text.run import VALIDATION_ROWS

    longest = max(len(prompt) + len(text) + 2 for part in pairs for prompt, text in part)
    options = {"separator": controls.separator, "total": None}
    train, validation = (
        ConditionalRows(part, max(preset.row_length, longest), seed=seed + number, **options)
        for number, part in enumerate(pairs)
    )
    lengths = [len(piece) for piece in data.train]
    tokens = preset.max_steps * preset.batch_size * sum(lengths) / len(pack(lengths, preset.row_length))
    steps = round(tokens / train.tokens_per_row / preset.batch_size)
    train.total = max(1, steps) * preset.batch_size
    validation.total = min(validation.total, VALIDATION_ROWS)
    return train, validation


if __name__ == "__main__":
    run(main)
