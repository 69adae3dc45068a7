"""benchmarks/control.py: the published figures, one table, and kinds that take their places in the file."""

import json

import pytest
import torch

from textdiff.text.control_options import KINDS
from textdiff.text.tokenizer import load_tokenizer, save_tokenizer


@pytest.fixture(scope="module")
def script(imported):
    return imported("control")


@pytest.fixture(scope="module")
def baseline(imported, control_place, tmp_path_factory):
    """The folder of a random baseline for lengths."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    tokenizer = load_tokenizer(control_place / "judge")
    controls = imported("conditional_model").ControlVocabulary.of(tokenizer, [["10", "11"]])
    config = transformers.GPT2Config(
        vocab_size=controls.size,
        n_positions=24,
        n_embd=16,
        n_layer=1,
        n_head=2,
        bos_token_id=1,
        eos_token_id=2,
    )
    config.control_kind, config.control_words, config.control_window = "length", controls.added, 16
    folder = tmp_path_factory.mktemp("conditional")
    transformers.GPT2LMHeadModel(config).save_pretrained(folder)
    save_tokenizer(tokenizer, folder)
    return folder


@pytest.fixture
def command(control_place, tmp_path):
    """The script's command line at toy size."""
    named = {name: control_place / name for name in ("model", "classifier", "tagger", "parser", "judge")}
    named |= {"data-dir": control_place, "json": tmp_path / "control.json"}
    sizes = "--targets 2 --samples 2 --steps 2".split()
    return [*(str(part) for name, value in named.items() for part in (f"--{name}", value)), *sizes]


def test_the_published_figures_are_those_of_the_paper(script):
    """Table 2 by columns, ctrl and lm; Table 4 by rows."""
    table = {
        "semantic": "69.9 2.83 81.2 2.55 72.5 2.87 89.9 1.78", "pos": "27.0 7.96 90.0 5.16 89.5 4.72 93.0 3.31",
        "tree": "17.9 3.39 86.0 3.71 64.8 5.72 76.4 3.24", "span": "54.2 4.03 93.8 2.53 26.3 2.88 54.4 2.19",
        "length": "46.9 3.11 99.9 2.16 98.1 3.84 100.0 1.83",
        "semantic+tree": "61.7 15.4 3.52 69.8 74.8 5.92 61.7 29.2 2.77",
        "semantic+pos": "64.5 24.1 3.52 63.7 69.1 3.46 29.4 10.5 2.97",
    }  # fmt: skip
    assert set(script.PUBLISHED) == set(KINDS)
    for kind, line in table.items():
        own = [
            figure
            for parts, score in script.PUBLISHED[kind].values()
            for figure in (*(100 * share for share in parts.values()), score)
        ]
        assert own == pytest.approx([float(figure) for figure in line.split()])
        assert all(list(parts) == kind.split("+") for parts, _ in script.PUBLISHED[kind].values())


def test_kinds_are_measured_one_by_one_into_one_file_and_one_table(
    script, command, baseline, tmp_path, capsys
):
    target = tmp_path / "control.json"
    target.write_text(json.dumps({"tree": {"success": 0.5}, "length": {"success": -1}}))
    script.main([*command, "--kind", "length", "semantic+pos", "--conditional", str(baseline)])
    found = json.loads(target.read_text())
    assert list(found) == ["tree", "length", "semantic+pos"] and found["tree"] == {"success": 0.5}
    length, both = found["length"], found["semantic+pos"]
    for own in (length, both):
        for figures in (own, own["uncontrolled"], *own["baselines"].values()):
            assert {"success", "success_strict", "lm_score_nats", "seconds_per_sample"} <= set(figures)
            assert figures["lm_score_nats"] > 0 and figures["targets"] == 2
        assert {"commit", "cpus", "seed", "judge", "steps", "guidance_scale"} <= set(own["certificate"])
        assert own["certificate"]["training_sentences_left_out"] is True
    assert length["success"] == 1 and length["denoiser_calls"] == 3 and both["baselines"] == {}
    assert {name: own["samples"] for name, own in length["baselines"].items()} == {
        "fine-tuned GPT-2, sampled": 2, "fine-tuned GPT-2, beam 4": 1,
    }  # fmt: skip
    assert all(own["denoiser_calls"] is None for own in length["baselines"].values())
    assert set(both["parts"]) == {"semantic", "pos"} and len(both["examples"]) == 2
    assert both["published"]["Diffusion-LM"] == {"parts": {"semantic": 0.637, "pos": 0.691}, "lm_score": 3.46}
    shown = capsys.readouterr().out
    rows = [line.split("|")[1:4] for line in shown.splitlines() if line.startswith("| length")]
    assert [system.strip() for _, system, _ in rows] == [
        "textdiff", "textdiff, uncontrolled", "fine-tuned GPT-2, sampled", "fine-tuned GPT-2, beam 4",
        "FUDGE (published)", "Diffusion-LM (published)", "FT-sample (published)", "FT-search (published)",
    ]  # fmt: skip
    assert rows[0][2].strip() == "1.000" and "0.637 / 0.691" in shown


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--kind mood", "Unknown kind of control 'mood'"),
        ("--samples 0", "--samples is 0"),
        ("--json no/where.json", "Cannot write no/where.json"),
        ("--data-dir nowhere", "No file nowhere"),
        ("--steps 0", "num_inference_steps is 0"),
        ("--conditional {one} {one}", "are both for 'length': give one of them"),
        ("--conditional nowhere", "nowhere/config.json does not exist: give a folder that benchmarks/conditional.py"),
        ("--model nowhere", "No model folder 'nowhere'"),
    ],
)
def test_what_is_refused(script, command, baseline, tmp_path, line, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        script.main([*command, *line.format(one=baseline).split()])
    assert not list(tmp_path.iterdir())


def test_a_damaged_file_of_figures_is_refused_before_the_work(script, command, tmp_path):
    target = tmp_path / "control.json"
    target.write_text('{"tree": ')
    with pytest.raises(ValueError, match="control.json is not JSON"):
        script.main([*command, "--model", "nowhere"])
    assert target.read_text() == '{"tree": '
