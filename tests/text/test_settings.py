"""Options within limits, and a record of the settings that only the same command goes on with."""

import argparse
import json
from pathlib import Path

import pytest

from textdiff.text.settings import (
    POSITIVE,
    RESUMABLE,
    changed_settings,
    check_options,
    check_parts,
    claim_record,
    is_first_process,
    read_record,
    run_settings,
    write_record,
)


def options(**changes: object) -> argparse.Namespace:
    """A command's options, all in order."""
    return argparse.Namespace(**{"preset": "english", "output_dir": "new", "seed": 0, **changes})


@pytest.mark.parametrize("name", POSITIVE)
@pytest.mark.parametrize("number", [0, -1, 0.0, float("nan"), float("inf")])
def test_a_number_that_must_be_positive(name: str, number: float) -> None:
    message = f"^--{name.replace('_', '-')} is {number}: give a number above zero.$"
    with pytest.raises(ValueError, match=message):
        check_options(options(**{name: number}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"preset": "enormous"}, "^Unknown preset 'enormous': choose english"),
        ({"ema_decay": 1.0}, "^--ema-decay is 1.0: give a number from 0 to below 1.$"),
        ({"ema_decay": -0.1}, "^--ema-decay is -0.1: "),
        ({"seed": -1}, "^--seed is -1: give a number from 0 to 4294967294.$"),
        ({"seed": 2**32 - 1}, "^--seed is 4294967295: "),
    ],
)
def test_other_options_out_of_range(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_options(options(**changes))


@pytest.mark.parametrize(
    "changes",
    [
        {}, {"preset": None}, {"seed": 2**32 - 2}, {"ema_decay": 0.0}, {"ema_decay": 0.999},
        dict.fromkeys(POSITIVE), dict.fromkeys(POSITIVE, 1e-9),
    ],
)  # fmt: skip
def test_options_in_range_pass_as_they_are(changes: dict) -> None:
    given = options(**changes)
    check_options(given)
    assert given == options(**changes)


def test_a_batch_divides_among_processes_and_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    check_parts(12, 3)
    monkeypatch.setenv("WORLD_SIZE", "2")
    check_parts(12, 3)
    with pytest.raises(ValueError, match="^--batch-size is 9: give a multiple of .*, 2 x 3.$"):
        check_parts(9, 3)


def test_a_record_is_claimed_once_and_by_the_same_settings_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "new" / "record.json"
    assert claim_record(options(seed=3), path, kind="distillation") == {}
    write_record(path, {**read_record(path), "facts": 7})
    assert claim_record(options(seed=3, output_dir="other"), path, kind="distillation")["facts"] == 7
    with pytest.raises(ValueError, match=r"holds a distillation with other settings \(seed\)"):
        claim_record(options(seed=4), path, kind="distillation")
    monkeypatch.setenv("RANK", "1")
    claim_record(options(), tmp_path / "second" / "record.json", kind="run")
    assert not (tmp_path / "second").exists()


def test_an_output_folder_may_be_missing_or_a_folder_and_nothing_else(tmp_path: Path) -> None:
    check_options(options(output_dir=str(tmp_path)))
    check_options(options(output_dir=str(tmp_path / "new")))
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"^--output-dir .*file is a file: name a folder.$"):
        check_options(options(output_dir=str(tmp_path / "file")))
    assert not (tmp_path / "new").exists()


def test_settings_are_all_options_but_those_that_change_no_result() -> None:
    given = options(learning_rate=None, files=["a"], **dict.fromkeys(RESUMABLE, 1))
    assert run_settings(given) == {"preset": "english", "seed": 0, "learning_rate": None, "files": ["a"]}


def test_a_record_comes_back_and_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "run.json"
    assert read_record(path) == {}
    for content in ({"seed": 1, "files": ["ä"], "rate": None}, {"seed": 2}):
        write_record(path, content)
        assert read_record(path) == json.loads(path.read_text(encoding="utf-8")) == content
    assert [file.name for file in path.parent.iterdir()] == ["run.json"]


def test_what_changed_is_named_where_a_run_would_go_on(tmp_path: Path) -> None:
    before, now = {"seed": 1, "rate": 2.0, "same": None}, {"seed": 3, "rate": 1.0, "same": None}
    assert changed_settings(tmp_path, before, before, resuming=True) == []
    assert changed_settings(tmp_path, before, now, resuming=False) == ["rate", "seed"]
    assert changed_settings(tmp_path, {}, now, resuming=True) == ["rate", "same", "seed"]
    with pytest.raises(ValueError, match=r"holds a run with other settings \(rate, seed\): repeat its"):
        changed_settings(tmp_path, before, now, resuming=True)
    with pytest.raises(ValueError, match=r"holds a distillation with other settings \(new\): repeat"):
        changed_settings(tmp_path, before, {**before, "new": None}, resuming=True, kind="distillation")


@pytest.mark.parametrize("content", ["", '{"settings": ', "[1]", "null"])
def test_a_damaged_record_is_told_by_its_name(tmp_path: Path, content: str) -> None:
    path = tmp_path / "run.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=f"^{path} is damaged .*copy it again, or name a new folder.$"):
        read_record(path)


def test_a_model_without_a_record_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ValueError, match="holds a model that no run of this script made: name a new folder"):
        changed_settings(tmp_path, {}, {"seed": 1}, resuming=False)
    assert changed_settings(tmp_path, {"seed": 1}, {"seed": 1}, resuming=False) == []


@pytest.mark.parametrize(("rank", "first"), [(None, True), ("0", True), ("1", False)])
def test_the_first_process_writes(monkeypatch, rank: str | None, first: bool) -> None:
    monkeypatch.delenv("RANK", raising=False)
    if rank:
        monkeypatch.setenv("RANK", rank)
    assert is_first_process() == first
