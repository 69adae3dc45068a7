"""Labelled texts out of every format, and one sentence for what is wrong with a file."""

import gzip
import json
from pathlib import Path

import pytest

from textdiff.text.data import held_out
from textdiff.text.labelled import (
    ABSENT,
    LabelledText,
    label_names,
    read_classes,
    read_labelled,
    split,
)


def write(folder: Path, name: str, content: str) -> Path:
    """A file, compressed if its name says so."""
    path, data = folder / name, content.encode("utf-8")
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return path


def lines(*rows: object) -> str:
    return "\n".join(json.dumps(row) for row in rows)


def test_tsv_has_a_column_for_every_label(tmp_path: Path) -> None:
    content = "mood\ttext\tfood\r\nglad\ta fine day\tfish\r\n\r\n\tit rains\tmeat\nsad\twe starve\t\n"
    for name in ("a.tsv", "a.tsv.gz"):
        texts = read_labelled(write(tmp_path, name, content))
        assert texts == [
            LabelledText("a fine day", {"mood": "glad", "food": "fish"}),
            LabelledText("it rains", {"food": "meat"}),
            LabelledText("we starve", {"mood": "sad"}),
        ]


def test_json_lines_have_labels_of_every_kind(tmp_path: Path) -> None:
    content = lines(
        {"text": "the cat sleeps", "labels": {"mood": "calm", "food": None}, "tags": ["D", "N", "V"]},
        {"text": "go", "spans": []},
        {"text": " the cat ", "spans": [[0, 2, "NP"], [1, 2, "N"]]},
    )
    assert read_labelled(write(tmp_path, "a.jsonl", content)) == [
        LabelledText("the cat sleeps", {"mood": "calm"}, ("D", "N", "V")),
        LabelledText("go", {}, None, ()),
        LabelledText("the cat", {}, None, ((0, 2, "NP"), (1, 2, "N"))),
    ]
    assert len(read_labelled(write(tmp_path, "a.txt", content), "jsonl")) == 3


def test_e2e_fields_that_a_line_does_not_name_are_absent(tmp_path: Path) -> None:
    content = "name : Zizzi | price : £ 20 - 25||Zizzi costs £ 20 - 25 . \n"
    content += "name : Cocum | food : Thai||Cocum .\n"
    assert read_labelled(write(tmp_path, "a.gz", content), "e2e") == [
        LabelledText("Zizzi costs £ 20 - 25 .", {"name": "Zizzi", "price": "£ 20 - 25", "food": ABSENT}),
        LabelledText("Cocum .", {"name": "Cocum", "price": ABSENT, "food": "Thai"}),
    ]


def test_classes_are_named_by_their_files(tmp_path: Path) -> None:
    contents = {"neg.train.txt.gz": "bad\n\nworse\n", "pos.train.txt.gz": "good"}
    files = [write(tmp_path, name, content) for name, content in contents.items()]
    wanted = [LabelledText(text, {"mood": mood}) for text, mood in
              [("bad", "neg"), ("worse", "neg"), ("good", "pos")]]  # fmt: skip
    assert read_classes(files, "mood") == wanted
    write(tmp_path, "README.md", "about")
    assert read_classes([tmp_path], "mood") == wanted


def test_names_of_labels_are_in_order() -> None:
    names = label_names([
        LabelledText("a b", {"mood": "sad"}, ("N", "D"), ((0, 1, "NP"),)),
        LabelledText("c", {"mood": "glad", "food": "fish"}, None, ((0, 1, "AP"),)),
    ])  # fmt: skip
    assert names.fields == {"mood": ["glad", "sad"], "food": ["fish"]}
    assert (names.tags, names.spans) == (["D", "N"], ["AP", "NP"])


def test_a_split_parts_texts_and_not_labels() -> None:
    texts = [LabelledText(f"text {i}", {"mood": mood}) for i in range(400) for mood in ("glad", "sad")]
    kept, out = split(texts)
    assert len(kept) + len(out) == 800 and 20 <= len(out) <= 70
    assert not {text.text for text in kept} & {text.text for text in out}
    assert {text.text for text in texts if held_out(text.text)} <= {text.text for text in out}
    assert split(texts[:1]) == (texts[:1], texts[:1])
    fewer = split(texts, percent=1)[1]
    assert fewer and set(map(id, fewer)) < set(map(id, out))


WRONG = {
    "a.tsv": {
        "text\n": "begins with the columns ['text']: give a header",
        "said\tmood\na\tb\n": "begins with the columns ['said', 'mood']",
        "text\tmood\tmood\na\tb\tc": "give a header of different names",
        "text\tmood\na\tglad\tx\n": "line 2 has 3 columns, but its header has 2",
        "text\tmood\n\n\tglad\n": "line 3 has no text",
        "text\tmood\n": "has a header alone",
        "text\tmood\na\t\n": "has no labels",
        " \n": "holds no text",
    },
    "a.jsonl": {
        "{": "line 1: ",
        "[1]": 'line 1: give an object with a "text"',
        '{"text": " "}': 'give an object with a "text" that is not empty',
        '{"text": "a", "label": "b"}': "'label' is not one of text, labels, tags and spans",
        '{"text": "a", "labels": {"mood": 1}}': '"labels" must name a value',
        '{"text": "a", "labels": ["mood"]}': '"labels" must name a value',
        '{"text": "a b", "tags": "DN"}': '"tags" must be a list of strings',
        '{"text": "a b", "tags": ["D"]}': "there are 1 tags for 2 words",
        '{"text": "a b", "spans": [[0, 3, "NP"]]}': "[0, 3, 'NP'] is not a span [i, j, label] with 0 <= i <",
        '{"text": "a b", "spans": [[1, 1, "NP"]]}': "is not a span",
        '{"text": "a b", "spans": [[0, 1, ""]]}': "is not a span",
        '{"text": "a b", "spans": [0, 1, "NP"]}': "0 is not a span",
        '{"text": "a b", "spans": 7}': "7 is not a span",
        '{"text": "a b", "spans": [[0, 1, "NP"], [0, 1, "N"]]}': "words 0 to 1 have two labels, NP and N",
        '{"text": "a"}': "has no labels",
    },
    "a.e2e": {
        "just a text": "does not say its format by .tsv or .jsonl: give --format tsv or jsonl or e2e",
    },
}  # fmt: skip


@pytest.mark.parametrize(("name", "content"), [(name, text) for name in WRONG for text in WRONG[name]])
def test_what_is_wrong_with_a_file_is_one_sentence(tmp_path: Path, name: str, content: str) -> None:
    with pytest.raises(ValueError) as caught:
        read_labelled(write(tmp_path, name, content))
    assert WRONG[name][content] in str(caught.value)
    assert str(tmp_path / name) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["no mark", "name : a||", "name a||b", "||b"])
def test_a_line_that_is_not_e2e_is_named(tmp_path: Path, content: str) -> None:
    with pytest.raises(ValueError, match="line 2 is not `field : value"):
        read_labelled(write(tmp_path, "a.txt", f"name : a||b\n{content}"), "e2e")


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="No file nowhere.tsv"):
        read_labelled("nowhere.tsv")
    (tmp_path / "a.tsv").write_bytes("text\tmood\nn\xe4\tb".encode("latin-1"))
    with pytest.raises(ValueError, match=r"is not UTF-8 \(byte 11\)"):
        read_labelled(tmp_path / "a.tsv")
    (tmp_path / "a.tsv.gz").write_bytes(b"text\tmood\na\tb")
    with pytest.raises(ValueError, match="is not a whole gzip file"):
        read_labelled(tmp_path / "a.tsv.gz")
    for files in ([write(tmp_path, "neg.txt", "bad")], [tmp_path / "empty"]):
        (tmp_path / "empty").mkdir(exist_ok=True)
        with pytest.raises(ValueError, match="There is only one class"):
            read_classes(files, "mood")
    with pytest.raises(FileNotFoundError):
        read_classes([tmp_path / "neg.txt", tmp_path / "pos.txt"], "mood")
