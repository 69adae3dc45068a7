"""scripts/train_oracle.py: small treebanks in, a judge and its figures out; bad input is one sentence."""

import gzip
import json
import random
import zipfile
from pathlib import Path

import pytest

from scripts.train_oracle import (
    drawn_material,
    main,
    most_frequent_tags,
    parse_args,
    penn_material,
    right_branching,
    tag_accuracy,
    tagged_material,
)
from textdiff.cli import run
from textdiff.text.oracles import parser_by_name, tagger_by_name
from textdiff.text.treebanks import Tagged
from textdiff.text.trees import check_spans

PENN = {"DET": "DT", "NOUN": "NN", "VERB": "VBD", "PUNCT": "."}


def clause(rng: random.Random) -> list[tuple[str, str]]:
    noun, verb = rng.choice(["dog", "cat", "hat"]), rng.choice(["ran", "slept", "fell"])
    return [("the", "DET"), (noun, "NOUN"), (verb, "VERB"), (".", "PUNCT")]


HANGS = {"DET": "2\tdet", "NOUN": "3\tnsubj", "VERB": "0\troot", "PUNCT": "3\tpunct"}


def conllu(clauses: list[list[tuple[str, str]]]) -> bytes:
    rows = [
        "\n".join(f"{k}\t{w}\t_\t{tag}\t_\t_\t{HANGS[tag]}\t_\t_" for k, (w, tag) in enumerate(c, 1))
        for c in clauses
    ]
    return gzip.compress("\n\n".join(rows).encode())


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder of the real one's shape: 40 clauses for each part, trees in ten files."""
    rng = random.Random(0)
    clauses = [clause(rng) for _ in range(160)]
    folder = tmp_path / "data" / "syntax"
    folder.mkdir(parents=True)
    for k, name in enumerate(("en_ewt-ud-dev", "en_ewt-ud-test", "en_pud-ud-test")):
        (folder / f"{name}.conllu.gz").write_bytes(conllu(clauses[40 * k : 40 * k + 40]))
    with zipfile.ZipFile(folder / "masc_tagged.zip", "w") as archive:
        lines = (" ".join(f"{word}_{PENN[tag]}" for word, tag in c) for c in clauses[120:])
        archive.writestr("masc/written/a.txt", "\n".join(lines))
    with zipfile.ZipFile(folder / "treebank.zip", "w") as archive:
        for k in range(10):
            trees = [
                f"((S (NP-SBJ (DT the) (NN {c[1][0]})) (VP (VBD {c[2][0]})) (. .)))"
                for c in clauses[8 * k : 8 * k + 8]
            ]
            archive.writestr(f"treebank/combined/wsj_{k:04}.mrg", "\n".join(trees))
    return tmp_path / "data"


def command(data: Path, kind: str, *more: str) -> list[str]:
    output = str(data.parent / kind)
    small = "--hidden 32 --layers 1 --batch-size 16 --learning-rate 1e-2 --ema-decay .8 --use-cpu".split()
    return ["--kind", kind, "--data-dir", str(data), "--output-dir", output, *small, *more]


def test_what_is_kept_apart(data: Path) -> None:
    material = tagged_material(str(data))
    assert [len(part) for part in (material.dev, material.test)] == [4, 40]
    assert len(material.train) == 4 * 76 + 40
    trees = drawn_material(str(data))
    assert [len(part) for part in (trees.train, trees.dev, trees.test)] == [76 + 38, 4, 40]
    assert trees.train[-1].spans >= {(4, 8, "S"), (4, 6, "NP"), (6, 7, "VP")}
    trees = penn_material(str(data))
    assert [len(part) for part in (trees.train, trees.dev, trees.test)] == [68, 4, 8]


def test_long_sentences_are_cut_for_training(data: Path) -> None:
    with zipfile.ZipFile(data / "syntax" / "masc_tagged.zip", "w") as archive:
        archive.writestr("a.txt", "word_NN " * 300)
    cut = [len(sentence.words) for sentence in tagged_material(str(data)).train[-3:]]
    assert cut == [128, 128, 44]


@pytest.mark.parametrize("trees", [[], ["--trees", "penn"]], ids=["ud", "penn"])
def test_a_tagger_then_a_parser_from_its_encoder(
    data: Path, capsys: pytest.CaptureFixture, trees: list[str]
) -> None:
    main(command(data, "tagger", "--max-steps", "30"))
    said = capsys.readouterr().out
    facts = json.loads((data.parent / "tagger" / "training.json").read_text())
    assert facts["accuracy"] == 1.0 and facts["accuracy_most_frequent_tag"] == 1.0
    assert facts["kind"] == "tagger" and "accuracy_most_frequent_tag" in said
    tagger = tagger_by_name(str(data.parent / "tagger"))
    assert tagger.tag([["the", "hat", "fell", "."]]) == [["DET", "NOUN", "VERB", "PUNCT"]]

    main(command(data, "parser", "--max-steps", "40", "--encoder", str(data.parent / "tagger"), *trees))
    facts = json.loads((data.parent / "parser" / "training.json").read_text())
    assert facts["labelled_f1"] == 1.0 > facts["labelled_f1_right_branching"]
    parser = parser_by_name(str(data.parent / "parser"))
    assert parser.parse([["the", "hat", "fell", "."]]) == [{(0, 4, "S"), (0, 2, "NP"), (2, 3, "VP")}]

    with pytest.raises(ValueError, match=r"other settings \(seed\)"):
        main(command(data, "tagger", "--max-steps", "30", "--seed", "1"))


def test_baselines_by_hand() -> None:
    def tagged(*pairs: tuple[str, str]) -> Tagged:
        return Tagged([word for word, _ in pairs], [frozenset(tags.split()) for _, tags in pairs])

    train = [
        tagged(("to", "ADP PART"), ("go", "VERB")),
        tagged(("to", "PART"), ("go", "NOUN"), ("go", "VERB")),
    ]
    assert most_frequent_tags(train, [["to", "go", "home"]]) == [["PART", "VERB", "NOUN"]]
    assert tag_accuracy([["PART", "X"]], [tagged(("to", "ADP PART"), ("go", "VERB"))]) == 0.5
    assert right_branching(5) == {(0, 5, "S"), (1, 4, "VP"), (2, 4, "VP")}
    for length in (1, 2, 3):
        check_spans(right_branching(length), length)
        assert (0, length, "S") in right_branching(length)


def refusal(capsys: pytest.CaptureFixture, arguments: list[str]) -> str:
    """What the script says, as one line."""
    with pytest.raises(SystemExit) as end:
        run(lambda: main(arguments))
    assert end.value.code == 2
    said = capsys.readouterr().err.strip()
    assert said.count("\n") == 0 and said.startswith("error: ") and said.endswith(".")
    return said


BAD_OPTIONS = {
    ("--max-steps", "0"): "--max-steps is 0: give a number above zero.",
    ("--batch-size", "-1"): "--batch-size is -1: give a number above zero.",
    ("--learning-rate", "nan"): "--learning-rate is nan",
    ("--ema-decay", "1"): "--ema-decay is 1.0: give a number from 0 to below 1.",
    ("--seed", "-1"): "--seed is -1",
    ("--hidden", "0"): "hidden = 0 cannot be",
    ("--hidden", "130"): "hidden = 130 must be an even multiple of heads = 4",
    ("--layers", "-2"): "layers = -2 cannot be",
    ("--num-words", "-3"): "--num-words is -3: give 0 or a number above it.",
    ("--encoder", "nowhere"): "nowhere/config.json does not exist",
    ("--data-dir", "nowhere"): "No file nowhere/syntax/en_ewt-ud-dev.conllu.gz",
}


@pytest.mark.parametrize("wrong", BAD_OPTIONS, ids=" ".join)
def test_a_bad_option_is_one_sentence(
    data: Path, capsys: pytest.CaptureFixture, wrong: tuple[str, str]
) -> None:
    said = refusal(capsys, command(data, "tagger", *wrong))
    assert BAD_OPTIONS[wrong] in said
    assert not (data.parent / "tagger").exists()


def test_a_folder_with_another_model_is_refused(data: Path, capsys: pytest.CaptureFixture) -> None:
    (data.parent / "tagger").mkdir()
    (data.parent / "tagger" / "config.json").write_text("{}")
    assert "holds a model that no run of this script made" in refusal(capsys, command(data, "tagger"))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("masc_tagged.zip", ["tagger"]),
        ("treebank.zip", ["parser", "--trees", "penn"]),
        ("en_pud-ud-test.conllu.gz", ["tagger"]),
        ("en_ewt-ud-dev.conllu.gz", ["parser"]),
    ],
)
def test_a_damaged_treebank_is_one_sentence(
    data: Path, capsys: pytest.CaptureFixture, name: str, kind: list[str]
) -> None:
    path = data / "syntax" / name
    path.write_bytes(path.read_bytes()[:-30])
    assert "copy it again." in refusal(capsys, command(data, *kind))


def test_too_few_trees_are_refused(data: Path, capsys: pytest.CaptureFixture) -> None:
    with zipfile.ZipFile(data / "syntax" / "treebank.zip", "w") as archive:
        archive.writestr("a.mrg", "((S (NN x) (NN y)))")
    assert "has 1 files of trees, too few: give at least 10." in refusal(
        capsys, command(data, "parser", "--trees", "penn")
    )


def test_steps_by_kind() -> None:
    given = ["--output-dir", "x", "--kind"]
    assert parse_args([*given, "tagger"]).max_steps > parse_args([*given, "parser"]).max_steps
    assert parse_args([*given, "tagger", "--max-steps", "7"]).max_steps == 7


def test_a_tagger_takes_no_trees(data: Path, capsys: pytest.CaptureFixture) -> None:
    assert "--trees is for a parser" in refusal(capsys, command(data, "tagger", "--trees", "ud"))
    assert "trees" not in vars(parse_args(["--kind", "tagger", "--output-dir", "x"]))
