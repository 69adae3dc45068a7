"""Folders with a model in them: found by type, written whole or not at all, refused in a sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from textdiff import storage


@pytest.fixture
def bundled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place for bundled models with one of type "a" and two of type "b"."""
    for name, kind in {"one": "a", "two": "b", "three": "b"}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / storage.CONFIG_FILE).write_text(json.dumps({"model_type": kind}))
    monkeypatch.setattr(storage, "BUNDLED", tmp_path)
    return tmp_path


def find(name: str | None) -> Path:
    return storage.find_model(name, default="two", model_type="b", trainer="scripts/train_b.py")


def test_bundled_models_are_found_by_name_and_listed_by_type(bundled: Path) -> None:
    assert find(None) == bundled / "two" and find("three") == bundled / "three"
    assert find(str(bundled / "one")) == bundled / "one"
    with pytest.raises(FileNotFoundError, match=r"written by scripts/train_b\.py, .* bundled model \(three, two\)\.$"):
        find("nowhere")
    with pytest.raises(ValueError, match="of type 'a', not 'b': give another"):
        storage.typed_config(bundled / "one", "b", "scripts/train_b.py")


def test_weights_survive_the_round_trip_under_their_prefix(tmp_path: Path) -> None:
    torch.manual_seed(0)
    before, after = nn.Linear(3, 2), nn.Linear(3, 2)
    storage.write_state(tmp_path, before, "inner.")
    assert set(storage.read_tensors(tmp_path / storage.WEIGHTS_FILE)) == {"inner.weight", "inner.bias"}
    storage.load_state(after, storage.read_state(tmp_path, "inner.", "x.py"), tmp_path)
    assert after.weight.equal(before.weight) and after.bias.equal(before.bias)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("bias"), "1 tensors differ, bias first"),
        (lambda state: state.update(bias=torch.zeros(5)), "1 tensors differ, bias first"),
        (lambda state: state["weight"].fill_(float("nan")), "weight is not finite"),
    ],
)
def test_weights_that_do_not_fit_leave_the_module_alone(tmp_path: Path, change, message: str) -> None:
    module = nn.Linear(3, 2)
    before = module.weight.detach().clone()
    state = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    change(state)
    with pytest.raises(ValueError, match=message):
        storage.load_state(module, state, tmp_path)
    assert module.weight.equal(before)


def test_a_draft_is_moved_in_whole_or_not_at_all(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    with storage.Draft(folder) as draft:
        (draft / "a.json").write_text("1")
    with pytest.raises(RuntimeError), storage.Draft(folder) as draft:
        (draft / "a.json").write_text("2")
        raise RuntimeError
    assert (folder / "a.json").read_text() == "1" and [path.name for path in tmp_path.iterdir()] == ["model"]
    with pytest.raises(ValueError, match="is a file: give a folder"), storage.Draft(folder / "a.json"):
        pass
