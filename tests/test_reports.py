"""Figures in files: what new ones will stand beside is whole, or refused before the work."""

import os
import subprocess
from pathlib import Path

import pytest

from textdiff.reports import check_target, commit_of, earlier_figures, read_figures, write_json


def test_figures_come_back_and_a_new_file_has_none(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    assert read_figures(path) == read_figures("-") == {}
    write_json({"rows": [{"success": 0.5}], "note": "Ä"}, path)
    assert read_figures(path) == {"rows": [{"success": 0.5}], "note": "Ä"}
    assert earlier_figures(path) == read_figures(path)
    with pytest.raises(FileNotFoundError, match="No file .*none.json: give one that this script wrote"):
        earlier_figures(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("content", "message"),
    [("", "is not JSON"), ('{"rows": [', "is not JSON"), ("[1]", "holds no JSON object")],
)
def test_a_damaged_file_is_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "figures.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=f"^{path} {message}.*mend it, or name another file.$"):
        read_figures(path)


def test_a_file_that_could_not_be_written_is_refused(tmp_path: Path) -> None:
    for target in (tmp_path, tmp_path / "no" / "figures.json"):
        with pytest.raises(ValueError, match="^Cannot write"):
            read_figures(target)


def test_a_link_stays_a_link_and_a_device_a_device(tmp_path: Path) -> None:
    target, link = tmp_path / "figures.json", tmp_path / "link.json"
    target.write_text("{}")
    link.symlink_to(target)
    check_target(link)
    write_json({"a": 1}, link)
    assert link.is_symlink() and read_figures(target) == {"a": 1}
    device = Path(os.devnull)
    check_target(device)
    write_json({"a": 1}, device)
    assert device.is_char_device()


def test_looking_whether_a_file_can_be_written_leaves_nothing(tmp_path: Path) -> None:
    check_target(tmp_path / "figures.json")
    assert list(tmp_path.iterdir()) == []


def test_a_commit_is_marked_where_more_than_figures_differs(tmp_path: Path) -> None:
    assert commit_of(tmp_path) is None

    def git(*command: str) -> str:
        who = ["-c", "user.name=a", "-c", "user.email=a@b"]
        return subprocess.check_output(["git", "-C", str(tmp_path), *who, *command], text=True).strip()

    figures, code = tmp_path / "benchmarks" / "results" / "a.json", tmp_path / "code.py"
    figures.parent.mkdir(parents=True)
    for file in (figures, code):
        file.write_text("1")
    git("init", "-q")
    assert commit_of(tmp_path) is None
    git("add", ".")
    git("commit", "-q", "-m", "first")
    name = git("rev-parse", "--short", "HEAD")
    figures.write_text("2")
    (tmp_path / "new.py").write_text("1")
    assert commit_of(tmp_path) == name
    code.write_text("2")
    assert commit_of(tmp_path) == f"{name}+"
