"""Figures in files: what new ones will stand beside is whole, or refused before the work."""

from pathlib import Path

import pytest

from textdiff.reports import read_figures, write_json


def test_figures_come_back_and_a_new_file_has_none(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    assert read_figures(path) == read_figures("-") == {}
    write_json({"rows": [{"success": 0.5}], "note": "Ä"}, path)
    assert read_figures(path) == {"rows": [{"success": 0.5}], "note": "Ä"}


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
