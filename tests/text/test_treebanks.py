"""Readers of treebanks: hand-made files word by word, damaged ones refused, the real ones counted."""

import gzip
import zipfile
from pathlib import Path

import pytest

from textdiff.text.penn_tags import UNIVERSAL_TAGS
from textdiff.text.treebanks import read_conllu, read_dependencies, read_masc, read_penn_trees

CONLLU = """\
# sent_id = 1
# text = She didn't.
1	She	she	PRON	PRP	_	2	nsubj	_	_
2-3	didn't	_	_	_	_	_	_	_	SpaceAfter=No
2	did	do	AUX	VBD	_	0	root	_	_
3	n't	not	PART	RB	_	2	advmod	_	_
3.1	go	go	VERB	VB	_	_	_	2:xcomp	_
4	.	.	PUNCT	.	_	2	punct	_	_

# a comment

1	Go	go	VERB	VB	_	0	root	_	_
"""


def only(*tags: str) -> list[frozenset[str]]:
    return [frozenset((tag,)) for tag in tags]


@pytest.mark.parametrize("name", ["a.conllu", "a.conllu.gz"])
def test_conllu(tmp_path: Path, name: str) -> None:
    raw = CONLLU.encode()
    (tmp_path / name).write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
    first, second = read_conllu(tmp_path / name)
    assert first.words == ["She", "did", "n't", "."]
    assert first.tags == only("PRON", "AUX", "PART", "PUNCT")
    assert second == (["Go"], only("VERB"))


def test_dependencies(tmp_path: Path) -> None:
    (tmp_path / "a.conllu").write_text(CONLLU.replace("VBD\t_", "VBD\tVerbForm=Fin"), encoding="utf-8")
    first, second = read_dependencies(tmp_path / "a.conllu")
    assert first == (
        ["She", "did", "n't", "."], ["PRON", "AUX", "PART", "PUNCT"], [1, -1, 1, 1],
        ["nsubj", "root", "advmod", "punct"], ["_", "VerbForm=Fin", "_", "_"],
    )  # fmt: skip
    assert second.heads == [-1]


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("2\tpunct", "9\tpunct", "The sentence at line 3 of .* has the heads 2 0 2 9"),
        ("2\tpunct", "_\tpunct", "has the heads 2 0 2 _"),
        ("4\t.\t.", "5\t.\t.", "words must be numbered from 1"),
        ("2\tpunct", "0\tpunct", "are no tree: give one root"),
        ("0\troot\t_\t_\n3", "3\troot\t_\t_\n3", "are no tree"),
    ],
)
def test_heads_that_are_no_tree_are_refused(tmp_path: Path, old: str, new: str, why: str) -> None:
    assert CONLLU.count(old) == 1
    (tmp_path / "a.conllu").write_text(CONLLU.replace(old, new), encoding="utf-8")
    assert len(read_conllu(tmp_path / "a.conllu")) == 2  # which looks at tags alone
    with pytest.raises(ValueError, match=why):
        read_dependencies(tmp_path / "a.conllu")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"# nothing\n\n", "has no sentence"),
        (b"Just a text.\n", "Line 1 of .* has 1 columns where CoNLL-U has 10"),
        (CONLLU.replace("PART", "NN").encode(), "The tag 'NN' in line 6 .* is not universal"),
        (b"\xff\xfe", "is damaged or is not UTF-8"),
    ],
)
def test_what_is_no_conllu_is_refused(tmp_path: Path, content: bytes, why: str) -> None:
    (tmp_path / "a.conllu").write_bytes(content)
    with pytest.raises(ValueError, match=why):
        read_conllu(tmp_path / "a.conllu")


def test_a_torn_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.conllu.gz").write_bytes(gzip.compress(CONLLU.encode() * 99)[:-20])
    with pytest.raises(ValueError, match="is damaged"):
        read_conllu(tmp_path / "a.conllu.gz")
    (tmp_path / "a.zip").write_bytes(b"PK no")
    for reader in (read_masc, read_penn_trees):
        with pytest.raises(ValueError, match=r"not a whole \.zip archive"):
            reader(tmp_path / "a.zip")


@pytest.mark.parametrize("reader", [read_conllu, read_masc, read_penn_trees])
def test_a_missing_file_is_named(tmp_path: Path, reader) -> None:
    with pytest.raises(FileNotFoundError, match="No file .*nothing"):
        reader(tmp_path / "nothing")


def pack(path: Path, **files: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name.replace("__", "/").replace("_dot_", "."), text)
    return path


def test_masc(tmp_path: Path) -> None:
    text = "I_PRP have_VBP to_TO go_VB ._. \n\n M. a_b_NN __NN _- \n"
    path = pack(tmp_path / "m.zip", m__b_dot_txt=text, m__categories_dot_txt="b.txt blog", m__c_dot_md="x_NN")
    first, second = read_masc(path)
    assert first.words == ["I", "have", "to", "go", "."]
    assert first.tags == [*only("PRON"), {"AUX", "VERB"}, {"ADP", "PART"}, *only("VERB", "PUNCT")]
    assert second.words == [
        "M.",
        "a_b",
        "_",
    ]  # a word without a tag may be anything; a tag without a word is none
    assert second.tags == [set(UNIVERSAL_TAGS), *only("NOUN"), {"PUNCT", "SYM"}]


def test_penn_trees_come_by_file_in_order(tmp_path: Path) -> None:
    path = pack(
        tmp_path / "t.zip", b_dot_mrg="((S (NN y)))", a_dot_mrg="((S (NN x)))((NP (NN z)))", README="("
    )
    found = read_penn_trees(path)
    assert [(name, [tree.words[0] for tree in trees]) for name, trees in found.items()] == [
        ("a.mrg", ["x", "z"]),
        ("b.mrg", ["y"]),
    ]


def test_archives_of_other_things_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has no tagged text"):
        read_masc(pack(tmp_path / "a.zip", a_dot_pdf="x"))
    with pytest.raises(ValueError, match=r"has no tree \(\*\.mrg\)"):
        read_penn_trees(pack(tmp_path / "b.zip", a_dot_pdf="x"))
    with pytest.raises(ValueError, match="bad.mrg in .* are not closed"):
        read_penn_trees(pack(tmp_path / "c.zip", bad_dot_mrg="((S (NN x))"))


def test_the_real_ones(shared_data: Path) -> None:
    folder = shared_data / "syntax"
    pud = read_conllu(folder / "en_pud-ud-test.conllu.gz")
    assert len(pud) == 1000
    assert pud[0].words[:4] == ["“", "While", "much", "of"]
    trees = [tree for part in read_penn_trees(folder / "treebank.zip").values() for tree in part]
    assert len(trees) == 3914
    assert " ".join(trees[0].words) == (
        "Pierre Vinken , 61 years old , will join the board as a nonexecutive director Nov. 29 ."
    )
    assert {(0, 18, "S"), (0, 7, "NP"), (0, 2, "NP"), (3, 6, "ADJP"), (7, 17, "VP")} <= trees[0].spans
    # Every sentence is a constituent, and no word of a trace is left.
    assert all(any(j - i == len(tree.words) for i, j, _ in tree.spans) for tree in trees)
    assert not any("-NONE-" in tree.tags for tree in trees)
