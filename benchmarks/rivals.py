"""The four models of a comparison: how each is trained, and what it charges for texts.

All four see the same pieces of text in batches of equally many rows, and pay for the same events: every token of a
text, without context beyond it, and its length (diffusion models by -log p(length) under the training counts, the
autoregressive one by its end token).
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
LEVELS = 64  # noise levels, or sets of masked tokens, of each text
ORDERS_DRAWN = 16  # random orders of each text, in each of which every token is charged
CHARGED = {  # what a model that reads tokens in order is charged as -> the order in which they leave the noise
    "textdiff": "blocks", "textdiff, left to right": "left", "textdiff, random order": "random",
}  # fmt: skip
KINDS = {  # model -> the command that trains it, before --preset, --output-dir, --data-dir and --seed
    "textdiff": [str(HERE.parent / "scripts" / "train.py"), "--use-cpu"],
    "autoregressive": [str(HERE / "autoregressive.py")],
    "mdlm": [str(HERE / "masked.py")],
    "diffusion_lm": [str(HERE.parent / "scripts" / "train.py"), "--use-cpu", "--recipe", "diffusion_lm"],
}


@dataclass(frozen=True)
class Contender:
    """One model of one seed."""

    kind: str
    seed: int
    folder: Path

    @property
    def finished(self) -> bool:
        """Whether its run has come to an end."""
        return (self.folder / "training.json").is_file()

    def command(self, preset: str, data_dir: str) -> list[str]:
        """The command that trains it."""
        given = {"--preset": preset, "--output-dir": self.folder, "--data-dir": data_dir, "--seed": self.seed}
        return [sys.executable, *KINDS[self.kind], *(str(part) for pair in given.items() for part in pair)]


def train_all(contenders: Sequence[Contender], preset: str, data_dir: str, jobs: int, tick: Any) -> None:
    """Train those that are not finished, `jobs` at a time, each on its share of the processors.

    Where others are busy there, OMP_NUM_THREADS says how many threads each may have.

    Args:
        contenders: whom to train.
        preset: its name.
        data_dir: folder of its sources.
        jobs: processes at once.
        tick: called after each.

    Raises:
        ValueError: if a run fails; its last line says why.
    """
    threads = str(max(1, (os.cpu_count() or 1) // jobs))
    waiting = [c for c in contenders if not c.finished]
    running: list[tuple[Contender, subprocess.Popen]] = []
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                contender = waiting.pop(0)
                contender.folder.mkdir(parents=True, exist_ok=True)
                with open(contender.folder.with_suffix(".log"), "w", encoding="utf-8") as log:
                    command = contender.command(preset, data_dir)
                    own = {"OMP_NUM_THREADS": threads, **os.environ}
                    running.append((contender, subprocess.Popen(command, stdout=log, stderr=log, env=own)))
            time.sleep(0.2)
            for contender, process in [pair for pair in running if pair[1].poll() is not None]:
                running.remove((contender, process))
                _check(contender, process.returncode)
                tick()
    finally:
        for _, process in running:
            process.terminate()


def _check(contender: Contender, code: int) -> None:
    """Raise where a run ended badly."""
    if code:
        log = contender.folder.with_suffix(".log")
        last = log.read_text(encoding="utf-8").strip().splitlines()[-1:] or ["it left no word"]
        raise ValueError(f"Training {contender.folder} failed ({last[0]}): {log} has the rest.")


def charged_as(contender: Contender) -> dict[str, str | None]:
    """The names under which a finished contender is charged, and the order of each; None = the model's only one."""
    if contender.kind != "textdiff":
        return {contender.kind: None}
    from textdiff.text.loading import read_config

    return dict(CHARGED) if read_config(contender.folder).get("reading_layers") else {"textdiff": None}


def charges(
    contender: Contender, texts: Sequence[Sequence[int]], *, seed: int, order: str | None = None
) -> list[float]:
    """Nats of every text and its length: exact for the autoregressive model, an upper bound for the others.

    Args:
        contender: a finished one.
        texts: token ids, each within the model's window.
        seed: of the noise.
        order: in which our tokens leave the noise (`scoring.BoundOptions`).
    """
    if contender.kind == "autoregressive":
        return autoregressive_charges(contender.folder, texts)
    from textdiff.text.scoring import bound, length_nats

    if contender.kind == "mdlm":
        from masked_model import masked_bound, read_masked

        model, _ = read_masked(contender.folder)
        counts, window = model.config.length_counts, model.config.max_position_embeddings
        nats = masked_bound(model, texts, levels=LEVELS, seed=seed)[0].tolist()
    else:
        from textdiff.text.language_model import DiffusionLM

        lm = DiffusionLM.from_pretrained(contender.folder)
        counts, window = lm.length_counts, lm.window
        sized = [(list(ids), 1) for ids in texts]
        levels = LEVELS if order is None else ORDERS_DRAWN
        own = {"levels": levels, "seed": seed, "order": order}
        nats = bound(lm.denoiser, lm.scheduler, sized, length_counts=counts, **own).nats
    return [own + length_nats(counts, len(ids), window) for own, ids in zip(nats, texts, strict=True)]


def autoregressive_charges(folder: Path, texts: Sequence[Sequence[int]], *, rows: int = 64) -> list[float]:
    """Exact -log p of `tokens </s>` after `<s>` for every text, in nats."""
    import torch
    from transformers import AutoModelForCausalLM

    from textdiff.text.causal_rows import END, START

    model = AutoModelForCausalLM.from_pretrained(folder, use_safetensors=True).eval()
    out = [0.0] * len(texts)
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    for at in range(0, len(order), rows):
        chosen = order[at : at + rows]
        wrapped = [torch.tensor([START, *texts[i], END]) for i in chosen]
        ids = torch.nn.utils.rnn.pad_sequence(wrapped, batch_first=True)
        real = torch.nn.utils.rnn.pad_sequence([torch.ones_like(row) for row in wrapped], batch_first=True)
        with torch.inference_mode():
            logits = model(input_ids=ids, attention_mask=real).logits[:, :-1]
        nats = torch.nn.functional.cross_entropy(logits.transpose(1, 2).float(), ids[:, 1:], reduction="none")
        for i, value in zip(chosen, (nats * real[:, 1:]).sum(1).tolist(), strict=True):
            out[i] = value
    return out
