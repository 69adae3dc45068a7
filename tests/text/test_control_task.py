"""A whole measurement on a tiny untrained model: the same lengths and noise with and without control, real figures."""

import argparse
import gzip
import json

import pytest
from tqdm import tqdm

from textdiff.metrics.judge import Judge
from textdiff.text.control_evaluation import ControlFigures
from textdiff.text.control_options import KINDS, add_control_options
from textdiff.text.control_task import Setting, control_report, figure_rows
from textdiff.text.language_model import DiffusionLM

OPTIONS = {"num_inference_steps": 2, "temperature": 1.0}


@pytest.fixture(scope="module")
def lm(control_place):
    return DiffusionLM.from_pretrained(control_place / "model")


@pytest.fixture(scope="module")
def judge(control_place):
    return Judge.from_pretrained(control_place / "judge")


@pytest.fixture(scope="module")
def report(control_place, lm, judge):
    """Measures a kind with two targets of three samples each."""

    def report(kind, *more):
        parser = argparse.ArgumentParser()
        add_control_options(parser)
        folders = [f"--{name}={control_place / name}" for name in ("classifier", "tagger", "parser")]
        args = parser.parse_args([*folders, "--targets", "2", "--samples", "3", *more])
        args.kind, args.seed, args.training_files = kind, 0, None
        args.file = str(control_place / "e2e" / "diffusion_lm" / "src1_valid.txt.gz")
        found, extras = control_report(
            args, lm, judge, OPTIONS, lambda total, unit: tqdm(total=total, disable=True)
        )
        return {**found, **json.loads(json.dumps(extras))}

    return report


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "length"])
def test_every_kind_is_measured_beside_the_same_model_without_control(report, lm, kind):
    found = report(kind)
    assert found["kind"] == kind and found["guidance_scale"] == 3.0
    (left_out,) = found["sentences_left_out"]
    assert found["targets_from"].endswith("src1_valid.txt.gz") and left_out.endswith("src1_train.txt.gz")
    with_it, without = found["controlled"], found["uncontrolled"]
    assert set(with_it["parts"]) == set(kind.split("+"))
    for own in (with_it, without):
        assert (own["targets"], own["samples"]) == (2, 3)
        looks = round(2 * 3 * (own["denoiser_calls"] - 3), 6)  # of each target, on every length that there may be
        assert looks == round(looks) and looks <= 2 * lm.window
        assert kind == "span" or looks == 0
        assert 0 <= own["success_strict"] <= own["success"] <= 1 and own["lm_score_nats"] > 0
    assert without["peak_memory_mib"] <= with_it["peak_memory_mib"]
    pairs = list(zip(found["outcomes"]["controlled"], found["outcomes"]["uncontrolled"], strict=True))
    sizes = [[[len(text.split()) for text in one["texts"]] for one in pair] for pair in pairs]
    assert all(controlled == free for controlled, free in sizes)
    assert any(one["texts"] != other["texts"] for one, other in pairs)  # control does something
    assert all("Oh" not in one["target"]["sentence"] for one, _ in pairs)  # those stand in the training file


def test_lengths_are_granted_by_the_number_of_tokens(report):
    found = report("length", "--targets=4")
    assert found["controlled"]["success"] == found["controlled"]["success_strict"] == 1
    assert found["failed"] == [] and len(found["outcomes"]["controlled"]) == 4
    assert {one["target"]["length"] for one in found["outcomes"]["controlled"]} <= set(range(10, 17))


def test_what_the_classifier_has_never_seen_is_passed_over_and_told(control_place, lm, judge, tmp_path):
    lines = (control_place / "e2e" / "diffusion_lm" / "src1_valid.txt.gz").read_bytes()
    known = gzip.decompress(lines).decode().splitlines()
    strange = [f"name : Zizzi | area : town||Zizzi is number {k} in town ." for k in range(4)]
    (tmp_path / "valid.txt").write_text("\n".join([*known, *strange]), encoding="utf-8")
    options = {"tagger": None, "parser": None, "guidance_scale": None, "seed": 0}
    args = argparse.Namespace(classifier=[str(control_place / "classifier")], **options)
    setting = Setting.of(args, lm, judge, {})
    found, refused = setting.targets("semantic", 12, file=tmp_path / "valid.txt", training=[])
    assert {one.content[0] for one in found} == {"name", "food"} and "Zizzi" not in str(found)
    assert (
        len(refused) == 2
        and any("'Zizzi'" in why for why in refused)
        and any("'area'" in why for why in refused)
    )
    with pytest.raises(
        ValueError, match="sentences for 99 targets of kind 'semantic': .* those here know the fields"
    ):
        setting.targets("semantic", 99, file=tmp_path / "valid.txt", training=[])


def test_a_missing_classifier_is_told_before_all_sentences_are_tagged(control_place, lm, judge, monkeypatch):
    monkeypatch.setattr("textdiff.text.control_task.HOPELESS", 3)
    args = argparse.Namespace(
        classifier=None, tagger=str(control_place / "tagger"), parser=None, guidance_scale=None, seed=0
    )
    setting = Setting.of(args, lm, judge, {})
    file = control_place / "e2e" / "diffusion_lm" / "src1_valid.txt.gz"
    with pytest.raises(ValueError, match="^There is no classifier of tags for this model.*train one"):
        setting.targets("pos", 2, file=file, training=[])


def test_the_end_of_a_text_is_charged(report, judge):
    found = report("length", "--targets=1", "--samples=1")
    (text,) = found["outcomes"]["controlled"][0]["texts"]
    ((nats, tokens),) = judge.nll([f"{text} </s>"])
    assert tokens == len(text.split()) + 1
    assert found["controlled"]["lm_score_nats"] == pytest.approx(nats / tokens)


def test_a_table_has_a_column_for_every_system_and_the_parts_of_a_composition():
    parts = {
        "semantic": {"success": 1.0, "success_strict": 0.5},
        "pos": {"success": 0.5, "success_strict": 0.0},
    }
    figures = ControlFigures(
        "semantic+pos",
        2,
        3,
        0.5,
        0.1,
        0.0,
        0.0,
        parts,
        0,
        "judge",
        0,
        2.0,
        7.4,
        0.9,
        1.0,
        5.0,
        0.1,
        33.0,
        99.0,
    )
    rows = {row["figure"]: row for row in figure_rows({"ours": figures, "theirs": figures})}
    assert rows["success"] == {"figure": "success", "ours": 0.5, "theirs": 0.5}
    assert rows["semantic: success_strict"]["theirs"] == 0.5 and rows["pos: success"]["ours"] == 0.5
    assert list(rows)[:2] == ["success", "success_std"] and rows["peak_memory_mib"]["ours"] == 99.0


def test_the_strength_of_control_is_the_one_asked_for(control_place, lm, judge):
    args = argparse.Namespace(classifier=None, tagger=None, parser=None, guidance_scale=7.5, seed=0)
    assert Setting.of(args, lm, judge, {}).guidance_scale == 7.5
