"""Options of the commands that measure control: what is refused, and where targets come from."""

import argparse

import pytest

from textdiff.text.control_options import (
    KINDS,
    add_control_options,
    check_control_options,
    control_facts,
    sizes,
    target_files,
)


def parse(line=""):
    parser = argparse.ArgumentParser()
    add_control_options(parser)
    return parser.parse_args(line.split())


@pytest.mark.parametrize(
    ("line", "kinds", "message"),
    [
        (
            "",
            ["mood"],
            "Unknown kind of control 'mood': choose semantic, pos, tree, span, length, semantic.pos",
        ),
        ("--targets 0", ["length"], "--targets is 0"),
        ("--samples -1", ["length"], "--samples is -1"),
        ("--guidance-scale 0", ["length"], "--guidance-scale is 0.0: it must be above 0"),
        ("--guidance-scale nan", ["length"], "--guidance-scale is nan"),
        ("--tagger x", ["pos", "tree"], "Kind 'tree' needs --parser"),
        ("--parser x", ["span", "semantic+pos"], "Kind 'semantic.pos' needs --tagger"),
    ],
)
def test_what_is_refused(line, kinds, message):
    with pytest.raises(ValueError, match=message):
        check_control_options(parse(line), kinds)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_needed_depends_on_the_kind(kind):
    needed = set()
    for option in ("tagger", "parser"):
        try:
            check_control_options(parse(f"--{option} x"), [kind])
        except ValueError as error:
            needed |= {name for name in ("tagger", "parser") if f"needs --{name}" in str(error)}
    parts = kind.split("+")
    wanted = {"tagger"} if "pos" in parts else {"parser"} if {"tree", "span"} & set(parts) else set()
    assert needed == wanted
    assert check_control_options(parse("--tagger x --parser y"), [kind]) is None


def test_the_quick_protocol_and_the_papers():
    assert sizes(parse()) == (20, 10)
    assert sizes(parse("--targets 3 --samples 2")) == (3, 2)
    assert sizes(parse("--paper")) == (200, 50)
    assert control_facts(parse("--paper --tagger x"))["targets"] == 200


def test_targets_are_not_read_off_the_training_file_beside(tmp_path):
    for name in ("src1_valid.txt.gz", "other.txt"):
        (tmp_path / name).write_bytes(b"")
    file = tmp_path / "src1_valid.txt.gz"
    assert target_files(str(file), None) == (file, [])
    (tmp_path / "src1_train.txt.gz").write_bytes(b"")
    assert target_files(str(file), None) == (file, [tmp_path / "src1_train.txt.gz"])
    assert target_files(str(file), [str(tmp_path / "other.txt")]) == (file, [tmp_path / "other.txt"])
    with pytest.raises(FileNotFoundError, match="name E2E's validation file"):
        target_files(str(tmp_path / "nothing"), None)
