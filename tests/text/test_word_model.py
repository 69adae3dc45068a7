"""A word model's folder: what is read is what was written, and every damaged one is named in a sentence."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from textdiff.text.loading import CONFIG_FILE, WEIGHTS_FILE
from textdiff.text.parser import Parser
from textdiff.text.tagger import Tagger
from textdiff.text.word_model import WORDS_FILE
from textdiff.text.words import EncoderShape

SMALL = EncoderShape(hidden=16, layers=1, heads=2, intermediate=32, buckets=64)
TEXT = [["The", "dog", "’s", "bowl"], [], ["A", "cat"], "Nobody knows whose dog it was .".split()]


def untrained(kind: type, seed: int = 0):
    torch.manual_seed(seed)
    model = kind(SMALL, ["the", "dog", "naïve"], ["NOUN", "S::VP", "X"]).eval()
    for parameter in model.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    return model


def judge(model):
    return model.tag(TEXT) if isinstance(model, Tagger) else model.parse(TEXT)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    untrained(Tagger).save(tmp_path / "new" / "tagger")
    return tmp_path / "new" / "tagger"


@pytest.mark.parametrize("kind", [Tagger, Parser])
def test_round_trip(kind: type, tmp_path: Path) -> None:
    model = untrained(kind)
    model.save(tmp_path / "model")
    assert {path.name for path in (tmp_path / "model").iterdir()} == {CONFIG_FILE, WORDS_FILE, WEIGHTS_FILE}
    again = kind.load(tmp_path / "model")
    assert judge(again) == judge(model) != judge(untrained(kind, seed=1))
    assert again.labels == model.labels and again.shape == model.shape
    assert again.features.words == ["the", "dog", "naïve"]
    assert not again.training and not any(parameter.requires_grad for parameter in again.parameters())
    for name, value in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], value)


def test_loading_leaves_the_random_state_alone(folder: Path) -> None:
    torch.manual_seed(5)
    Tagger.load(folder)
    drawn = torch.rand(1)
    torch.manual_seed(5)
    assert torch.equal(drawn, torch.rand(1))


def test_bfloat16_weights_become_float32(folder: Path) -> None:
    state = load_file(folder / WEIGHTS_FILE)
    save_file({name: tensor.bfloat16() for name, tensor in state.items()}, folder / WEIGHTS_FILE)
    assert {value.dtype for value in Tagger.load(folder).state_dict().values()} == {torch.float32}


def test_saving_over_another_model_and_over_a_file(folder: Path) -> None:
    untrained(Tagger, seed=1).save(folder)
    assert judge(Tagger.load(folder)) == judge(untrained(Tagger, seed=1))
    with pytest.raises(ValueError, match="is a file: give a folder"):
        untrained(Tagger).save(folder / CONFIG_FILE)


def edit(folder: Path, **changes: object) -> None:
    config = json.loads((folder / CONFIG_FILE).read_text())
    (folder / CONFIG_FILE).write_text(json.dumps({**config, **changes}))


def edit_weights(folder: Path, **changes: torch.Tensor | None) -> None:
    state = {**load_file(folder / WEIGHTS_FILE), **{k.replace("__", "."): v for k, v in changes.items()}}
    save_file({name: tensor for name, tensor in state.items() if tensor is not None}, folder / WEIGHTS_FILE)


DAMAGES = {
    "no folder": (shutil.rmtree, "config.json does not exist: give a folder written by scripts/train_oracle"),
    "no words": (lambda f: (f / WORDS_FILE).unlink(), "words.json does not exist"),
    "no weights": (lambda f: (f / WEIGHTS_FILE).unlink(), "model.safetensors is missing"),
    "torn config": (lambda f: (f / CONFIG_FILE).write_text("{"), "is not valid JSON"),
    "list config": (lambda f: (f / CONFIG_FILE).write_text("[]"), "holds no JSON object"),
    "other model": (lambda f: edit(f, model_type="textdiff"), "of type 'textdiff', not 'textdiff-tagger'"),
    "parser": (lambda f: untrained(Parser).save(f), "not 'textdiff-tagger': give .* --kind tagger"),
    "no labels": (lambda f: edit(f, labels=None), "no list of different labels"),
    "labels twice": (lambda f: edit(f, labels=["X", "X"]), "no list of different labels"),
    "bad size": (lambda f: edit(f, hidden="16"), "hidden = '16' cannot be"),
    "bad heads": (lambda f: edit(f, heads=3), "even multiple of heads"),
    "words of numbers": (lambda f: (f / WORDS_FILE).write_text('{"words": [1]}'), "list of different words"),
    "other words": (
        lambda f: (f / WORDS_FILE).write_text('{"words": []}'),
        r"1 tensors differ, encoder.words",
    ),
    "torn weights": (
        lambda f: (f / WEIGHTS_FILE).write_bytes((f / WEIGHTS_FILE).read_bytes()[:-9]),
        "is truncated or corrupted",
    ),
    "other size": (lambda f: edit(f, hidden=32), "do not fit its config.json"),
    "a tensor less": (lambda f: edit_weights(f, head__bias=None), "1 tensors differ, head.bias first"),
    "not a number": (
        lambda f: edit_weights(f, head__bias=torch.full((3,), torch.nan)),
        "head.bias is not finite",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_folder_is_one_sentence(folder: Path, damage: str) -> None:
    spoil, why = DAMAGES[damage]
    spoil(folder)
    with pytest.raises((ValueError, FileNotFoundError), match=why) as error:
        Tagger.load(folder)
    assert "\n" not in str(error.value) and str(error.value).endswith(".")


def test_batches_hold_every_sentence_once_and_are_not_too_large() -> None:
    model = untrained(Tagger)
    sentences = [["w"] * n for n in (3, 0, 9, 3, 1, 30, 4)]
    batches = list(model.batches(sentences, cells=40, power=1))
    assert sorted(k for batch, _, _ in batches for k in batch) == [0, 2, 3, 4, 5, 6]
    for batch, features, segments in batches:
        assert len(batch) == len(features) and (len(batch) == 1 or segments.numel() <= 40)
        assert [len(sentences[k]) + 2 for k in batch] == segments.sum(1).tolist()
    assert max(len(batch) for batch, _, _ in batches) > 1
