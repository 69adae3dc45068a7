"""benchmarks/conditional.py: its size, what it sees, and a whole run at toy size."""

import json

import pytest

from textdiff.text.control_targets import Target, targets_of
from textdiff.text.data import pack
from textdiff.text.labelled import LabelledText, read_labelled
from textdiff.text.oracle_labels import write_labelled
from textdiff.text.presets import PRESETS, Preset
from textdiff.text.run import preset_data

TOY = Preset(
    name="toy", about="", sources={"e2e/diffusion_lm/src1_train.txt.gz": 1.0}, text_after="||", tokenizer="word",
    row_length=32, batch_size=2, max_steps=2,
    model={
        "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32,
        "max_position_embeddings": 16,
    },
)  # fmt: skip


@pytest.fixture(scope="module")
def script(imported):
    return imported("conditional")


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    monkeypatch.setitem(PRESETS, "toy", TOY)
    monkeypatch.setitem(PRESETS, "plain", Preset(**{**TOY.__dict__, "name": "plain", "text_after": ""}))


def command(place, folder, kind, *more):
    named = {"preset": "toy", "data-dir": place, "output-dir": folder, "kind": kind, "save-steps": 1}
    return [*(str(part) for name, value in named.items() for part in (f"--{name}", value)), *more]


def test_a_text_is_read_with_a_few_of_its_controls(script):
    spans = tuple((i, i + 2, "NP") for i in range(9))
    texts = [LabelledText("a b c d e f g h i j", spans=spans), LabelledText("a b", spans=())]
    found = script.training_targets("span", texts, seed=0)
    assert len(set(found)) == script.CONTROLS_PER_TEXT and set(found) <= set(targets_of("span", texts[0]))
    assert found != script.training_targets("span", texts, seed=1)
    assert set(script.training_targets("length", texts, seed=0)) == {
        Target("length", texts[0].text, length=10), Target("length", "a b", length=2),
    }  # fmt: skip
    with pytest.raises(ValueError, match="None of the texts has a control of kind 'span'"):
        script.training_targets("span", texts[1:], seed=0)


def test_the_baseline_sees_as_many_tokens_of_text_in_a_model_as_large(
    script, imported, control_place, tmp_path
):
    args = script.parse_args(command(control_place, tmp_path, "semantic"))
    data = preset_data(TOY, tmp_path, data_dir=str(control_place), seed=0)
    model, train, validation = script.rival(args, TOY, data)
    lengths = [len(piece) for piece in data.train]
    wanted = TOY.max_steps * TOY.batch_size * sum(lengths) / len(pack(lengths, TOY.row_length))
    step = TOY.batch_size * train.tokens_per_row
    assert train.total % TOY.batch_size == 0
    assert train.total * train.tokens_per_row == pytest.approx(wanted, abs=step / 2)
    added = (
        len(model.config.control_words) + model.config.n_positions - TOY.model["max_position_embeddings"] - 2
    )
    size = data.tokenizer.get_vocab_size()
    plain = imported("autoregressive").diffusion_parameters(TOY, size)
    assert model.num_parameters() - added * model.config.n_embd == pytest.approx(plain, rel=0.05)
    assert len(validation) >= 1


def test_the_baseline_may_start_from_a_model_of_text(script, imported, control_place, tmp_path):
    args = ["--preset", "toy", "--data-dir", str(control_place), "--output-dir", str(tmp_path / "judge")]
    imported("autoregressive").main(args)
    data = preset_data(TOY, tmp_path / "judge", data_dir=str(control_place), seed=0)
    line = command(control_place, tmp_path, "semantic", "--start-from", str(tmp_path / "judge"))
    model, *_ = script.rival(script.parse_args(line), TOY, data)
    given = type(model).from_pretrained(tmp_path / "judge").state_dict()
    for name, weight in model.state_dict().items():
        assert weight[: len(given[name])].equal(given[name]), name
    assert len(model.transformer.wte.weight) > len(given["transformer.wte.weight"])
    wider = Preset(**{**TOY.__dict__, "model": {**TOY.model, "hidden_size": 32}})
    with pytest.raises(ValueError, match="judge has another shape: name a run of the same preset"):
        script.rival(script.parse_args(line), wider, data)
    line[-1] = str(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError, match="No tokenizer at"):
        script.rival(script.parse_args(line), TOY, data)


def test_an_oracles_labels_are_kept_for_the_next_run(script, control_place, tmp_path):
    file = tmp_path / "runs" / "labelled.jsonl.gz"
    both = ["--labelled", str(file), "--tagger", str(control_place / "tagger")]
    args = script.parse_args(command(control_place, tmp_path / "a", "pos", *both))
    found = script.labelled_texts(args, TOY)
    assert read_labelled(file) == found and all(len(one.tags) == len(one.text.split()) for one in found)
    again = script.parse_args(command(control_place, tmp_path / "b", "pos", "--labelled", str(file)))
    assert script.labelled_texts(again, TOY) == found  # no tagger is needed
    trees = script.parse_args(
        command(
            control_place,
            tmp_path / "c",
            "tree",
            "--labelled",
            str(file),
            f"--parser={control_place / 'parser'}",
        )
    )
    more = script.labelled_texts(trees, TOY)
    assert all(one.spans is not None and one.tags == old.tags for one, old in zip(more, found, strict=True))
    assert read_labelled(file) == more


def test_labels_of_other_texts_do_not_stand_in_for_the_training_texts(script, control_place, tmp_path):
    file = tmp_path / "labelled.jsonl.gz"
    write_labelled([LabelledText("a b", {"food": "Thai"}, tags=("DET", "NOUN"))], file)
    found = script.labelled_texts(
        script.parse_args(command(control_place, tmp_path, "length", "--labelled", str(file))), TOY
    )
    assert found == read_labelled(control_place / "e2e" / "diffusion_lm" / "src1_train.txt.gz", "e2e")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--kind mood", "Unknown kind of control 'mood'"),
        ("--kind pos", "Targets of kind 'pos' want a tagger"),
        ("--kind length --preset plain", "The texts of preset 'plain' have no fields to control: choose e2e"),
        ("--kind length --labelled x.jsonl", "--labelled x.jsonl is written packed"),
        ("--kind tree --parser nowhere", "nowhere"),
        ("--kind length --max-steps 0", "--max-steps is 0"),
    ],
)
def test_what_is_refused(script, control_place, tmp_path, line, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        script.main(command(control_place, tmp_path / "run", "length", *line.split()))


@pytest.mark.slow
def test_a_run_leaves_a_baseline_that_writes(script, imported, control_place, tmp_path):
    script.main(command(control_place, tmp_path / "run", "pos", "--tagger", str(control_place / "tagger")))
    facts = json.loads((tmp_path / "run" / "training.json").read_text())
    assert facts["preset"]["name"] == "toy" and facts["validation"]["eval_loss"] > 0
    writer = imported("conditional_model").ConditionalWriter(tmp_path / "run")
    assert writer.kind == "pos" and writer.window == 16
    assert set(writer.controls.added[2:]) <= {"DET", "NOUN"}
    texts = writer.texts(Target("pos", tags=("DET", "NOUN", "DET")), 3, seed=0)
    assert len(texts) == 3 and all(texts)
    with pytest.raises(ValueError, match="holds a run with other settings"):
        script.main(command(control_place, tmp_path / "run", "length"))
