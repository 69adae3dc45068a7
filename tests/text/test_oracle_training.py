"""Training of oracles: rows depend on their index alone, batches hold like lengths, a run resumes."""

import argparse
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from textdiff.text.oracle_training import FORGOTTEN, SentenceRows, length_grouped_order, train_oracle
from textdiff.text.tagger import Tagger
from textdiff.text.words import UNKNOWN, EncoderShape, WordFeatures

SMALL = EncoderShape(hidden=32, layers=1, heads=2, intermediate=64, buckets=128)
SENTENCES = [["The", "dog", "ran"], ["A", "cat"], ["They", "ran", "home", "."]] * 20
TAGS = [["DET", "NOUN", "VERB"], ["DET", "NOUN"], ["PRON", "VERB", "ADV", "PUNCT"]] * 20


def test_an_epoch_has_every_sentence_once() -> None:
    lengths = list(np.random.default_rng(0).integers(1, 60, size=640))
    order = length_grouped_order(lengths, batch_size=16, total=2 * 640, seed=0)
    assert len(order) == 2 * 640
    assert np.bincount(order[:640]).tolist() == [1] * 640 == np.bincount(order[640:]).tolist()
    assert order[:640].tolist() != order[640:].tolist()
    again = length_grouped_order(lengths, batch_size=16, total=640, seed=0)
    assert again.tolist() == order[:640].tolist()
    assert length_grouped_order(lengths, batch_size=16, total=640, seed=1).tolist() != again.tolist()


def test_batches_hold_like_lengths_in_random_order() -> None:
    lengths = np.random.default_rng(0).integers(1, 60, size=3200)
    batches = lengths[length_grouped_order(lengths, batch_size=16, total=3200, seed=0)].reshape(-1, 16)
    wasted = 1 - lengths.sum() / (batches.max(1) * 16).sum()
    shuffled = np.random.default_rng(1).permutation(lengths).reshape(-1, 16)
    assert wasted < 0.06 < 0.4 < 1 - lengths.sum() / (shuffled.max(1) * 16).sum()
    assert abs(np.corrcoef(batches.mean(1)[:-1], batches.mean(1)[1:])[0, 1]) < 0.3


@pytest.mark.parametrize(("count", "batch", "total"), [(3, 8, 20), (10, 4, 37), (1, 1, 5)])
def test_few_sentences_come_again(count: int, batch: int, total: int) -> None:
    order = length_grouped_order([1] * count, batch_size=batch, total=total, seed=0)
    assert len(order) == total and set(order) == set(range(count))


def test_rows_are_spoiled_the_same_way_every_time() -> None:
    features = WordFeatures(["the", "dog", "ran", "home"], 128)
    targets = list(range(60))
    order = np.arange(60).repeat(20)
    rows = SentenceRows(SENTENCES, targets, features, order=order, seed=3)
    again = SentenceRows(SENTENCES, targets, features, order=order, seed=3)
    clean = SentenceRows(SENTENCES, targets, features)
    assert len(rows) == 1200 and len(clean) == 60
    assert all(np.array_equal(rows[k][0], again[k][0]) for k in (0, 5, 700))
    assert rows[25][1] == clean[1][1] == 1
    pairs = [(clean[int(order[k])][0], rows[k][0]) for k in range(1200) if order[k] % 3 == 0]
    whole, spoiled = (np.stack(part) for part in zip(*pairs))
    forgotten = (spoiled[:, 1:-1, 0] == UNKNOWN) & (whole[:, 1:-1, 0] != UNKNOWN)
    assert forgotten.mean() == pytest.approx(FORGOTTEN, abs=0.04)
    assert (spoiled[:, [0, -1]] == whole[:, [0, -1]]).all()  # the marks stay
    capital = (spoiled[:, 1, -1] == whole[:, 1, -1]).mean()  # the shape of "The"
    assert 0.78 < capital < 0.92


def command(folder: Path, steps: int, **changes: object) -> argparse.Namespace:
    settings = {
        "output_dir": str(folder), "seed": 0, "ema_decay": 0.9, "batch_size": 8, "max_steps": steps,
        "learning_rate": 1e-2, "logging_steps": 5, "save_steps": 10, "eval_steps": 10, "use_cpu": True,
    }  # fmt: skip
    return argparse.Namespace(**{**settings, **changes})


def run(folder: Path, steps: int, **changes: object) -> tuple[Tagger, dict]:
    torch.manual_seed(0)
    tagger = Tagger(SMALL, ["the", "dog", "ran"])
    targets = [tagger.target([frozenset((tag,)) for tag in tags]) for tags in TAGS]
    order = length_grouped_order(list(map(len, SENTENCES)), batch_size=8, total=40 * 8, seed=0)
    rows = SentenceRows(SENTENCES, targets, tagger.features, order=order)
    dev = SentenceRows(SENTENCES[:6], targets[:6], tagger.features)
    return tagger, train_oracle(tagger, rows, dev, command(folder, steps, **changes))


def test_a_run_learns_and_leaves_a_folder(tmp_path: Path) -> None:
    tagger, facts = run(tmp_path, 40)
    assert tagger.tag(SENTENCES) == TAGS
    assert Tagger.load(tmp_path).tag(SENTENCES) == TAGS
    assert facts["development_loss"] < 0.5 and facts["seconds"] is not None
    assert facts["parameters"] == sum(parameter.numel() for parameter in tagger.parameters())
    history = json.loads((tmp_path / "curves.json").read_text())
    assert [row["step"] for row in history if "eval_loss" in row] == [10, 20, 30, 40, 40]
    assert (tmp_path / "curves.png").stat().st_size > 1000


def test_a_stopped_run_goes_on_as_if_it_had_not_been(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, _ = run(tmp_path / "whole", 40)
    from textdiff.text import oracle_training

    class Stop(Exception):
        pass

    def stop(self, args, state, control, **kwargs):
        if state.global_step == 25:
            raise Stop

    with monkeypatch.context() as patch:
        patch.setattr(oracle_training.EMACallback, "on_substep_end", stop, raising=False)
        patch.setattr(oracle_training.EMACallback, "on_step_begin", stop, raising=False)
        with pytest.raises(Stop):
            run(tmp_path / "parts", 40)
    assert (tmp_path / "parts" / "checkpoint-20").is_dir() and not (
        tmp_path / "parts" / "config.json"
    ).exists()
    parts, facts = run(tmp_path / "parts", 40)
    assert facts["seconds"] is None  # not of one piece
    for name, value in whole.state_dict().items():
        assert torch.allclose(value, parts.state_dict()[name], atol=1e-5), name


def test_several_processes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="trained by one process: start the script without torchrun"):
        run(tmp_path, 10)
