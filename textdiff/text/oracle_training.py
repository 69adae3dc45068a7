"""How an oracle learns: sentences in batches of like lengths, spoiled a little; then `transformers.Trainer`.

Spoiled: now and then a sentence loses its capitals and a word its id, so that models read texts in lower case
and words that they never saw by affixes, shape and context.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import Dataset
from transformers import set_seed

from textdiff.text.training import (
    DiffusionTrainer,
    EMACallback,
    drop_half_written,
    latest_checkpoint,
    saving,
    training_arguments,
    write_curves,
)
from textdiff.text.word_model import WordModel
from textdiff.text.words import UNKNOWN, WordFeatures

LOWER_CASE = 0.15  # sentences that lose their capitals
FORGOTTEN = 0.15  # words that lose their ids
BATCHES_SORTED = 32  # so many batches' sentences are sorted by length together


def length_grouped_order(lengths: Sequence[int], *, batch_size: int, total: int, seed: int) -> np.ndarray:
    """Which sentence every row is: epochs in random order, batches of sentences of like lengths; [total].

    Args:
        lengths: of the sentences.
        batch_size: rows a step.
        total: rows wanted.
        seed: of the order.
    """
    sizes = np.asarray(lengths)
    epochs: list[np.ndarray] = []
    while sum(epoch.size for epoch in epochs) < total + batch_size:
        shuffled = np.random.default_rng((seed, len(epochs))).permutation(len(sizes))
        pool = batch_size * BATCHES_SORTED
        parts = [shuffled[k : k + pool] for k in range(0, len(shuffled), pool)]
        epochs.append(np.concatenate([part[np.argsort(sizes[part], kind="stable")] for part in parts]))
    rows = np.concatenate(epochs)
    batches = rows[: len(rows) // batch_size * batch_size].reshape(-1, batch_size)
    per_epoch = max(1, len(sizes) // batch_size)
    for k in range(0, len(batches), per_epoch):  # batches in random order, epoch by epoch
        rng = np.random.default_rng((seed, k, 1))
        batches[k : k + per_epoch] = rng.permutation(batches[k : k + per_epoch])
    return batches.reshape(-1)[:total]


class SentenceRows(Dataset):
    """Rows (features, target), each a function of its index, so that a resumed run goes on where it was.

    Args:
        sentences: lists of words.
        targets: what is to be said of each.
        features: of the model.
        order: which sentence every row is; None = all of them once, unspoiled.
        seed: of what is spoiled.
    """

    def __init__(
        self, sentences: Sequence[Sequence[str]], targets: Sequence[Any], features: WordFeatures,
        *, order: np.ndarray | None = None, seed: int = 0,
    ) -> None:  # fmt: skip
        self.sentences, self.targets, self.features = sentences, targets, features
        self.order, self.seed = order, seed

    def __len__(self) -> int:
        return len(self.sentences if self.order is None else self.order)

    def __getitem__(self, index: int) -> tuple[np.ndarray, Any]:
        if self.order is None:
            return self.features(self.sentences[index]), self.targets[index]
        rng = np.random.default_rng((self.seed, index))
        sentence = self.sentences[number := int(self.order[index])]
        if rng.random() < LOWER_CASE:
            sentence = [word.lower() for word in sentence]
        row = self.features(sentence)
        inner = row[1:-1, 0]
        inner[rng.random(len(inner)) < FORGOTTEN] = UNKNOWN
        return row, self.targets[number]


def train_oracle(
    model: WordModel, train: SentenceRows, dev: SentenceRows, args: argparse.Namespace
) -> dict[str, Any]:
    """Train to the end, or go on from the last checkpoint; leave averaged weights and curves in the folder.

    Args:
        model: a `Tagger` or `Parser`, which takes the averaged weights.
        train: rows to learn from.
        dev: rows to look at on the way.
        args: of the command line.

    Returns:
        Facts of the run.

    Raises:
        ValueError: if there are several processes.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ValueError("An oracle is trained by one process: start the script without torchrun.")
    folder = Path(args.output_dir)
    set_seed(args.seed)
    drop_half_written(folder)
    checkpoint = latest_checkpoint(folder)
    ema = EMACallback(model, args.ema_decay)
    settings = argparse.Namespace(**vars(args), gradient_accumulation_steps=1, bf16=False, compile=False)
    arguments = training_arguments(
        settings, max_steps=args.max_steps, batch_size=args.batch_size, learning_rate=args.learning_rate,
        warmup_steps=0.05, label_names=["targets"],
    )  # fmt: skip
    trainer = DiffusionTrainer(
        model=model,
        args=arguments,
        train_dataset=train,
        eval_dataset=dev,
        data_collator=model.collate,
        ema=ema,
    )
    done = trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    loss = trainer.evaluate()["eval_loss"]
    model.load_state_dict(ema.average.module.state_dict())
    model.eval()
    with saving(folder):
        model.save(folder)
        write_curves(trainer.state.log_history, folder)
    return {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "development_loss": round(loss, 4),
        "seconds": None if checkpoint else round(done.metrics["train_runtime"]),  # of unbroken runs
    }
