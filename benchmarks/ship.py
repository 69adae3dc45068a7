#!/usr/bin/env python3
r"""From a finished run and its figures to a bundled model: bfloat16 shards, card, curves.

    python benchmarks/ship.py --run runs/english --facts benchmarks/english.json --figures benchmarks/results \
        --output textdiff/weights/english

The card's tables are drawn from likelihood.json (the rows of --preset), samples.json, infill.json and control.json in
the folder of figures: those of which the facts name the command. The run's classifiers (`classifiers/NAME`) come along.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

from textdiff.cli import run

SHARD = "14MB"
SHOWN = 10  # filled sentences of each source, the first ones
FILLER = "diffusion, length given"
RECORDS = (
    "config.json",
    "scheduler_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "curves.json",
    "curves.png",
)
COLUMNS = {
    "likelihood": (
        "corpus", "model", "exact", "nats_per_token", "ci95", "bits_per_byte", "perplexity",
        "ratio_to_autoregressive", "seeds", "parameters", "tokens_seen", "commit",
    ),
    "samples": (
        "texts", "steps", "nfe", "temperature", "n", "judge_perplexity", "judge_bits_per_byte", "entropy_pooled",
        "entropy_per_text", "distinct_1", "distinct_2", "distinct_4", "self_bleu", "mmd", "longest_copy",
        "mean_longest_copy",
    ),
    "infill": (
        "filler", "context_exact", "exact_match", "span_and_after_nats", "fill_bleu", "text_bleu", "fill_rouge_l",
    ),
    "control": (
        "control", "system", "success", "success_strict", "lm_score_nats", "lm_score_perplexity", "distinct_4",
        "seconds_per_sample", "denoiser_calls",
    ),
}  # fmt: skip
Table = dict[str, Any]


def main(argv: list[str] | None = None) -> None:
    """Write the bundled model's folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", required=True, help="folder of the finished run")
    parser.add_argument("--facts", required=True, help="JSON of the card's fixed parts")
    parser.add_argument("--figures", default="benchmarks/results", help="folder of the benchmarks' JSON files")
    parser.add_argument("--preset", default="english", help="whose rows of likelihood.json are shown")
    parser.add_argument("--output", required=True, help="folder of the bundled model")
    args = parser.parse_args(argv)
    from textdiff.text.card import write_card
    from textdiff.text.loading import read_json
    from textdiff.text.run import FACTS_FILE

    source, folder = Path(args.run), Path(args.output)
    if not (source / FACTS_FILE).is_file():
        raise ValueError(
            f"{source} is no finished run ({FACTS_FILE} is missing): give scripts/train.py's --output-dir."
        )
    if not Path(args.facts).is_file():
        raise FileNotFoundError(f"No file {args.facts}: give the card's fixed parts, such as benchmarks/english.json.")
    facts = read_json(Path(args.facts), "write it again")
    facts["parameters"] = read_json(source / FACTS_FILE, "train again")["parameters"]
    facts["tables"] = tables(Path(args.figures), args.preset, facts["commands"])
    picture = Path(args.figures, "samples.png")
    folder.mkdir(parents=True, exist_ok=True)
    write_half_precision(source, folder)
    copy_classifiers(source, folder)
    for name in RECORDS:
        shutil.copyfile(source / name, folder / name)
    if "samples" in facts["commands"] and picture.is_file():
        shutil.copyfile(picture, folder / picture.name)
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


def copy_classifiers(source: Path, folder: Path) -> None:
    """The run's classifiers, without what their own runs left beside them."""
    from textdiff.text.loading import CLASSIFIERS, find_classifiers

    shutil.rmtree(folder / CLASSIFIERS, ignore_errors=True)
    for one in find_classifiers(source):
        target = folder / CLASSIFIERS / one.name
        target.mkdir(parents=True)
        for path in (path for path in one.iterdir() if path.name.startswith(("classifier.", "bag."))):
            shutil.copyfile(path, target / path.name)


def tables(figures: Path, preset: str, commands: dict[str, str]) -> list[Table]:
    """The card's tables, each with its command and how its figures came about; those without figures are left out."""
    found = []
    if "likelihood" in commands and (likelihood := read(figures / "likelihood.json")):
        rows = [row for row in likelihood["rows"] if row["preset"] == preset]
        found.append(part("likelihood", "Likelihood", rows, likelihood["certificates"].get(preset, {}), commands))
    if "samples" in commands and (samples := read(figures / "samples.json")):
        found += sample_tables(samples, commands)
    if "infill" in commands and (infill := read(figures / "infill.json")):
        found += infill_tables(infill, commands)
    if "control" in commands and (control := read(figures / "control.json")):
        rows = [
            {"control": kind, "system": name, **figures}
            for kind, own in control.items()
            for name, figures in {"textdiff": own, "uncontrolled": own["uncontrolled"], **own["baselines"]}.items()
        ]
        certificate = next(iter(control.values()))["certificate"]
        found.append(part("control", "Control", rows, certificate, commands))
    return found


def sample_tables(samples: Table, commands: dict[str, str]) -> list[Table]:
    """Samples by sampler, steps and temperature; and their perplexity at data entropy."""
    best = samples["judge_perplexity_ratio_to_ar_at_data_entropy"]
    ratios = [{"sampler": name, **own} for name, own in samples["ratios_by_sampler"].items()]
    title = "Judge perplexity at real text's entropy, over the judge's own, by steps"
    notes = [f"The best of all samplers: {json.dumps(best)}; null where no temperature of the sweep reaches it."]
    return [
        part("samples", "Samples", samples["rows"], samples["certificate"], commands),
        {"title": title, "rows": ratios, "command": commands["samples"], "notes": notes},
    ]


def infill_tables(infill: Table, commands: dict[str, str]) -> list[Table]:
    """Figures of every source, and its first sentences."""
    found = []
    for name, source in infill["sources"].items():
        found.append(part("infill", f"Infilling: {name}", source["rows"], infill["certificate"], commands))
        shown = [
            {"blank": item["blank"], "filled": item[FILLER], "stood there": item["original"]}
            for item in source["filled"][:SHOWN]
        ]
        title = f"The first {SHOWN} of them, not chosen: {name}"
        found.append({"title": title, "rows": shown, "command": commands["infill"], "notes": []})
    return found


def read(path: Path) -> Any:
    """The content of a JSON file, None where there is none."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def part(name: str, title: str, rows: list[Table], certificate: Table, commands: dict[str, str]) -> Table:
    """One table of the card."""
    columns = [column for column in COLUMNS[name] if any(column in row for row in rows)]
    shown = [{column: row.get(column) for column in columns} for row in rows]
    return {"title": title, "rows": shown, "command": commands[name], "notes": [born(certificate)]}


def born(certificate: Table) -> str:
    """How figures came about, as a sentence."""
    return f"Born of: {', '.join(f'{k} {v}' for k, v in certificate.items() if v is not None)}."


if __name__ == "__main__":
    run(main)
