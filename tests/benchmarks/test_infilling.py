"""benchmarks/infilling.py from end to end on tiny random models."""

import json

import pytest

NEEDED = "--model model --judge judge --training-files train.txt"


def test_a_table_for_each_source(load, tmp_path, capsys):
    out = tmp_path / "infilling.json"
    line = f"{NEEDED} --source a=real.txt b=real.txt --n 3 --steps 1 --candidates 1 2 --json {out}"
    load("infilling").main(line.split())
    found = json.loads(out.read_text())
    assert list(found["sources"]) == ["a", "b"] and found["certificate"]["nfe"] == 2
    for source in found["sources"].values():
        names = [row["filler"] for row in source["rows"]]
        assert names == [
            "original", "diffusion, length given", "diffusion, length free",
            "diffusion, best of 2, length given",
            "diffusion, best of 2, length free", "unigram", "left to right (judge)",
        ]  # fmt: skip
        assert all(row["context_exact"] == 1 and row["n"] == 3 for row in source["rows"])
        assert set(source["filled"][0]) == {"blank", *names}
    parts = found["sources"]["a"]["by_words"]
    assert sum(row["n"] for row in parts if row["filler"] == "unigram") == 3
    assert {row["filler"] for row in parts} == set(names)
    assert found["sources"]["a"]["rows"] == found["sources"]["b"]["rows"]
    shown = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("| diffusion, length free ") for line in shown) == 2


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--source real.txt", "write NAME=FILE"),
        ("--source a=no.txt", "No file no.txt"),
        ("--source a=real.txt --n 9", "only 3 sentences fit"),
        ("--source a=real.txt --n 0", "must be at least 1"),
        ("--source a=real.txt --n 3 --rivals-from no.json", "No file no.json"),
    ],
)  # fmt: skip
def test_what_is_refused(load, line, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        load("infilling").main([*NEEDED.split(), *line.split()])


def test_rivals_fills_of_the_same_blanks_come_from_an_earlier_file(load, tmp_path):
    infilling, before, out = load("infilling"), tmp_path / "before.json", tmp_path / "after.json"
    line = f"{NEEDED} --source a=real.txt b=real.txt --n 3 --steps 1 --json"
    infilling.main([*line.split(), str(before)])
    found = json.loads(before.read_text())
    for one in [*found["sources"]["a"]["filled"], *found["sources"]["b"]["filled"]]:
        one["masked diffusion, length given"] = one["original"]
    before.write_text(json.dumps(found))
    for target in (out, before):  # the file may be its own successor
        infilling.main([*line.split(), str(target), "--rivals-from", str(before)])
        sources = json.loads(target.read_text())["sources"]
        rows = [{row["filler"]: row for row in sources[name]["rows"]} for name in ("a", "b")]
        assert all(own["masked diffusion, length given"]["exact_match"] == 1 and len(own) == 6 for own in rows)
    with pytest.raises(ValueError, match="has other blanks of a"):
        infilling.main([*line.replace("--n 3", "--n 2").split(), str(out), "--rivals-from", str(before)])
