#!/usr/bin/env python3
r"""From a finished run and its figures to a bundled model: bfloat16 shards, card, curves.

    python benchmarks/ship.py --run runs/english --facts benchmarks/english.json --figures runs/figures \
        --output textdiff/weights/english

The card's tables are the `rows` of likelihood.json, samples.json and infilling.json in the folder of figures.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

from textdiff.cli import run

SHARD = "14MB"
TABLES = {  # JSON file of the figures -> title
    "likelihood": "Likelihood",
    "samples": "Samples",
    "infilling": "Infilling",
    "infilling_held_out": "Infilling, text held out of a training file",
}
RECORDS = (
    "config.json",
    "scheduler_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "curves.json",
    "curves.png",
)
INFILL_COLUMNS = (
    "filler",
    "context_exact",
    "exact_match",
    "span_and_after_nats",
    "fill_bleu",
    "text_bleu",
    "fill_rouge_l",
)


def main(argv: list[str] | None = None) -> None:
    """Write the bundled model's folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", required=True, help="folder of the finished run")
    parser.add_argument("--facts", required=True, help="JSON of the card's fixed parts")
    parser.add_argument("--figures", help="folder of the benchmarks' JSON files")
    parser.add_argument("--output", required=True, help="folder of the bundled model")
    args = parser.parse_args(argv)
    from textdiff.text.card import write_card
    from textdiff.text.run import FACTS_FILE

    source, folder = Path(args.run), Path(args.output)
    if not (source / FACTS_FILE).is_file():
        raise ValueError(
            f"{source} is no finished run ({FACTS_FILE} is missing): give scripts/train.py's --output-dir."
        )
    folder.mkdir(parents=True, exist_ok=True)
    write_half_precision(source, folder)
    for name in RECORDS:
        shutil.copyfile(source / name, folder / name)
    facts = json.loads(Path(args.facts).read_text(encoding="utf-8"))
    facts["parameters"] = json.loads((source / FACTS_FILE).read_text(encoding="utf-8"))["parameters"]
    if args.figures:
        facts["tables"] = tables(Path(args.figures), facts["commands"])
    write_card(folder, facts)


def write_half_precision(source: Path, folder: Path) -> None:
    """The weights in bfloat16, word vectors in float32, in shards."""
    import torch
    from huggingface_hub import save_torch_state_dict
    from safetensors.torch import load_file

    state = {k: v for path in sorted(source.glob("model*.safetensors")) for k, v in load_file(path).items()}
    small = {k: v if k.endswith("embedding.weight") else v.to(torch.bfloat16) for k, v in state.items()}
    for old in folder.glob("model*"):
        old.unlink()
    save_torch_state_dict(small, folder, max_shard_size=SHARD, metadata={"format": "pt"})


def tables(figures: Path, commands: dict[str, str]) -> list[dict[str, Any]]:
    """The card's tables, each with its command and how its figures came about."""
    found = []
    for name, title in TABLES.items():
        path = figures / f"{name}.json"
        if not path.is_file():
            continue
        content = json.loads(path.read_text(encoding="utf-8"))
        born = ", ".join(f"{k} {v}" for k, v in content["certificate"].items() if v is not None)
        groups = (
            {"": content["rows"]} if "rows" in content else {f": {k}": v["rows"] for k, v in content["sources"].items()}
        )
        for group, rows in groups.items():
            keep = (
                INFILL_COLUMNS
                if name.startswith("infilling")
                else [k for k in rows[-1] if k not in ("samples", "judge")]
            )
            part = {"title": title + group, "rows": [{k: row.get(k) for k in keep} for row in rows]}
            found.append({**part, "command": commands[name], "notes": [f"Born of: {born}."]})
    return found


if __name__ == "__main__":
    run(main)
