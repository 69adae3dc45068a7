"""scripts/train_classifier.py: labels of all kinds, runs that go on where they stopped, refusals."""

import json

import pytest
import torch
from safetensors.torch import load_file
from torch.testing import assert_close

from scripts.train_classifier import main
from textdiff.cli import run
from textdiff.text import bag_training, oracles, training
from textdiff.text.bag import load_classifier
from textdiff.text.checks import FieldReader
from textdiff.text.classified import FieldIs, TagsAre
from textdiff.text.classifier import TextClassifier
from textdiff.text.labelled import read_labelled
from textdiff.text.language_model import DiffusionLM

ROWS = [("The dog ran home.", "run", "dog"), ("The cat slept.", "rest", "cat"), ("A bird sang.", "", "bird")]
ROWS *= 8  # the last one is what is held out
TSV = "text\tdoes\twho\n" + "".join(f"{text}\t{does}\t{who}\n" for text, does, who in ROWS)
JSONL = "\n".join(json.dumps(row) for row in [
    {"text": "The dog ran", "labels": {"who": "dog"}, "tags": ["D", "N", "V"], "spans": [[0, 2, "NP"]]},
    {"text": "A cat", "labels": {"who": "cat"}, "tags": ["D", "N"], "spans": [[0, 2, "NP"]]},
    {"text": "It sang", "spans": []},
] * 4)  # fmt: skip


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    """A folder with labelled files of every format."""
    folder = tmp_path_factory.mktemp("texts")
    contents = {
        "rows.tsv": TSV, "rows.jsonl": JSONL, "rows.e2e": "who : dog||The dog .\nwho : cat||The cat .\n" * 4,
        "neg.txt": "It was bad.\nA sad day.\n", "pos.txt": "It was good.\nA fine day.\n",
    }  # fmt: skip
    for name, content in contents.items():
        (folder / name).write_text(content, encoding="utf-8")
    return folder


def command(model, folder, *more):
    return [
        "--model", str(model), "--output-dir", str(folder),
        "--hidden-size", "16", "--layers", "1", "--heads", "2", "--max-steps", "4", "--batch-size", "4",
        "--save-steps", "2", "--eval-steps", "4", "--logging-steps", "2", "--no-bf16", "--use-cpu",
        *map(str, more),
    ]  # fmt: skip


def on_tsv(model, texts, folder, *more):
    return command(model, folder, "--train-file", texts / "rows.tsv", *more)


@pytest.fixture(scope="module")
def unbroken(untrained, texts, tmp_path_factory):
    """The folder of a finished training on the TSV file."""
    folder = tmp_path_factory.mktemp("unbroken") / "classifier"
    main(on_tsv(untrained, texts, folder))
    return folder


def record(folder):
    return json.loads((folder / "classifier_training.json").read_text(encoding="utf-8"))


def test_the_result_steers_its_model(unbroken, untrained):
    lm = DiffusionLM.from_pretrained(untrained)
    classifier = TextClassifier.from_pretrained(unbroken, lm.vocabulary)
    assert classifier.config.fields == {"does": ["rest", "run"], "who": ["bird", "cat", "dog"]}
    assert classifier.config.hidden_size == 16 and not classifier.config.tags
    wish = FieldIs(classifier, "who", "cat")
    assert len(lm.generate(2, control=wish, num_inference_steps=2, length=6, seed=0)) == 2


def test_the_record_says_how_good_it_is(unbroken, capsys, untrained, texts):
    found = record(unbroken)
    assert found["settings"]["max_steps"] == 4 and found["facts"]["texts"] > 10
    figures = found["facts"]["validation"]
    thirds = [figures[f"loss_{third}_noise"] for third in ("low", "middle", "high")]
    assert figures["loss"] == pytest.approx(sum(thirds) / 3, abs=1e-3)
    assert figures["accuracy_who"] in (0, 1)
    assert "accuracy_does" not in figures  # of which the text held out has no label
    history = json.loads((unbroken / "checkpoint-4" / "trainer_state.json").read_text())["log_history"]
    assert any("fields_loss" in row for row in history)
    assert not any("accuracy_who" in row for row in history)
    main(on_tsv(untrained, texts, unbroken))
    said = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in said[-len(figures) :]] == list(figures)


def test_the_classifier_is_the_average_and_checkpoints_hold_it_alone(unbroken):
    average = load_file(unbroken / "checkpoint-4" / "ema.safetensors")
    weights = load_file(unbroken / "classifier.safetensors")
    assert average.keys() == {f"classifier.{name}" for name in weights}
    assert all(average[f"classifier.{name}"].equal(tensor) for name, tensor in weights.items())
    trained = load_file(unbroken / "checkpoint-4" / "model.safetensors")
    assert trained.keys() == average.keys()
    assert not trained["classifier.vector_in.weight"].equal(average["classifier.vector_in.weight"])


def test_a_finished_training_is_not_made_again(unbroken, untrained, texts, monkeypatch):
    monkeypatch.setattr(training.DiffusionTrainer, "train", None)
    before = load_file(unbroken / "classifier.safetensors")
    main(on_tsv(untrained, texts, unbroken))
    assert_close(load_file(unbroken / "classifier.safetensors"), before, rtol=0, atol=0)


def test_a_stopped_training_goes_on_and_ends_as_an_unbroken_one(
    unbroken, untrained, texts, tmp_path, monkeypatch
):
    folder, step, made = tmp_path / "classifier", training.DiffusionTrainer.training_step, []

    def stopping(self, *args, **kwargs):
        made.append(None)
        if len(made) == 4:
            raise KeyboardInterrupt
        return step(self, *args, **kwargs)

    monkeypatch.setattr(training.DiffusionTrainer, "training_step", stopping)
    with pytest.raises(KeyboardInterrupt):
        main(on_tsv(untrained, texts, folder))
    assert not (folder / "classifier.json").exists()
    main(on_tsv(untrained, texts, folder))
    assert len(made) == 4 + 2  # from step 2
    found, wanted = (load_file(path / "classifier.safetensors") for path in (folder, unbroken))
    assert_close(found, wanted, rtol=1e-5, atol=1e-6)
    assert record(folder)["facts"] == record(unbroken)["facts"]


def test_json_lines_teach_tags_and_spans(untrained, texts, tmp_path):
    files = texts / "rows.jsonl"
    given = ["--train-file", files, "--validation-file", files, "--max-steps", 2]
    main(command(untrained, tmp_path / "c", *given))
    lm = DiffusionLM.from_pretrained(untrained)
    classifier = TextClassifier.from_pretrained(tmp_path / "c", lm.vocabulary)
    assert (classifier.config.tags, classifier.config.spans) == (["D", "N", "V"], ["NP"])
    figures = record(tmp_path / "c")["facts"]["validation"]
    assert {"accuracy_who", "accuracy_tags", "recall_spans"} <= figures.keys()
    p = torch.full((1, 4, len(classifier.vectors)), 1 / len(classifier.vectors))
    assert TagsAre(classifier, ["D", "N"])(p, torch.ones(1, 4)).item() > 0


class Judge:
    """A tagger and parser that finds a noun phrase of two words at the beginning."""

    def tag(self, sentences):
        return [["DET", "NOUN", "PUNCT"] for _ in sentences]

    def parse(self, sentences):
        return [frozenset({(0, 2, "NP"), (0, 3, "S")}) for _ in sentences]


def test_oracles_label_what_is_not(untrained, texts, tmp_path, monkeypatch, capsys):
    for name in ("tagger_by_name", "parser_by_name"):
        monkeypatch.setattr(oracles, name, lambda _: Judge())
    given = ["--train-file", texts / "rows.e2e", "--format", "e2e", "--max-steps", 2, "--tagger", "t"]
    asked = command(untrained, tmp_path / "c", *given, "--parser", "p")
    main(asked)
    assert "tags: 100%" in capsys.readouterr().err
    config = json.loads((tmp_path / "c" / "classifier.json").read_text(encoding="utf-8"))
    assert (config["tags"], config["spans"]) == (["DET", "NOUN", "PUNCT"], ["NP", "S"])
    assert config["fields"] == {"who": ["cat", "dog"]}
    figures = record(tmp_path / "c")["facts"]["validation"]
    assert {"accuracy_who", "accuracy_tags", "recall_spans"} <= figures.keys()
    kept = read_labelled(tmp_path / "c" / "labelled.jsonl.gz")
    assert {text.text for text in kept} == {"The dog .", "The cat ."}
    assert all(text.spans == ((0, 2, "NP"), (0, 3, "S")) for text in kept)
    # Nobody is asked again; nobody else either.
    for name in ("tagger_by_name", "parser_by_name"):
        monkeypatch.setattr(oracles, name, None)
    (tmp_path / "c" / "classifier.json").unlink()
    facts = tmp_path / "c" / "classifier_training.json"
    facts.write_text(json.dumps({"settings": record(tmp_path / "c")["settings"]}), encoding="utf-8")
    main(asked)
    again = json.loads((tmp_path / "c" / "classifier.json").read_text(encoding="utf-8"))
    assert again == config
    said = refusal(capsys, command(untrained, tmp_path / "c", *given))
    assert "holds a classifier with other settings (parser)" in said


@pytest.mark.parametrize(
    ("more", "fields"),
    [
        (["--train-file", "rows.e2e", "--format", "e2e"], {"who": ["cat", "dog"]}),
        (["--data", "neg.txt", "pos.txt", "--field", "mood"], {"mood": ["neg", "pos"]}),
        (["--train-file", "rows.tsv", "rows.tsv", "--gradient-accumulation-steps", "2"],
         {"does": ["rest", "run"], "who": ["bird", "cat", "dog"]}),
    ],
)  # fmt: skip
def test_other_sources(untrained, texts, tmp_path, monkeypatch, more, fields):
    monkeypatch.chdir(texts)
    main(command(untrained, tmp_path / "c", *more, "--max-steps", 1))
    content = json.loads((tmp_path / "c" / "classifier.json").read_text(encoding="utf-8"))
    assert content["fields"] == fields


def test_a_bag_is_fitted_and_steers(untrained, texts, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(texts)
    asked = ["--model", untrained, "--output-dir", tmp_path / "bag", "--data", "neg.txt", "pos.txt", "--bag"]
    main([str(word) for word in asked])
    said = capsys.readouterr().out
    assert [line.split()[0] for line in said.splitlines()] == ["penalty", "loss", "accuracy_label"]
    found = record(tmp_path / "bag")
    assert found["facts"]["texts"] == 4 and found["settings"]["bag"]
    lm = DiffusionLM.from_pretrained(untrained)
    bag, options = load_classifier(tmp_path / "bag", lm.vocabulary), {"num_inference_steps": 4, "length": 6, "seed": 0}
    assert FieldReader(bag, lm.vocabulary).value(["It was good.", "A sad day."], "label") == ["pos", "neg"]
    steered = lm.generate(8, control=FieldIs(bag, "label", "pos"), guidance_scale=9.0, **options)
    assert steered != lm.generate(8, **options)
    monkeypatch.setattr(bag_training, "fit_bag", None)  # is not fitted again
    main([str(word) for word in asked])
    assert capsys.readouterr().out == said


# At the door.


def refusal(capsys, arguments):
    """What the script says, as one line, and how it ends."""
    with pytest.raises(SystemExit) as end:
        run(lambda: main(arguments))
    assert end.value.code == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("error: ") and said.endswith(".")
    return said


BAD_OPTIONS = {
    ("--max-steps", "0"): "--max-steps is 0: give a number above zero.",
    ("--learning-rate", "nan"): "--learning-rate is nan: give a number above zero.",
    ("--hidden-size", "0"): "--hidden-size is 0: give a number above zero.",
    ("--hidden-size", "18", "--heads", "4"): "hidden_size is 18: give an even multiple of its 4",
    ("--dropout", "1"): "dropout is 1.0: give a number from 0 to below 1.",
    ("--batch-size", "3", "--gradient-accumulation-steps", "2"): "--batch-size is 3: give a multiple of",
    ("--ema-decay", "1"): "--ema-decay is 1.0: give a number from 0 to below 1.",
    ("--seed", "-1"): "--seed is -1: give a number from 0 to",
    ("--train-file", "nowhere.tsv"): "No file nowhere.tsv: give a UTF-8 file",
    ("--validation-file", "nowhere.tsv"): "No file nowhere.tsv: give a UTF-8 file",
    ("--format", "e2e"): "line 1 is not `field : value",
    ("--data", "neg.txt"): "with --train-file, or one file a class with --data.",
    ("--bag", "--tagger", "t"): "knows no tags and no spans: leave out --tagger and --parser, or --bag.",
    ("--model", "nowhere"): "No model folder 'nowhere'",
    ("--tagger", "nowhere"): "nowhere/config.json does not exist",
    ("--parser", "strange:model"): "Unknown oracle 'strange:model': give a folder",
}


@pytest.mark.parametrize("wrong", BAD_OPTIONS, ids=" ".join)
def test_a_bad_option_is_one_sentence(untrained, texts, tmp_path, capsys, wrong):
    assert BAD_OPTIONS[wrong] in refusal(capsys, on_tsv(untrained, texts, tmp_path / "c", *wrong))
    assert not (tmp_path / "c").exists()


def test_labels_that_are_all_the_same_are_refused(untrained, tmp_path, capsys):
    (tmp_path / "a.tsv").write_text("text\tmood\na\tsad\nb\tsad\n", encoding="utf-8")
    said = refusal(capsys, command(untrained, tmp_path / "c", "--train-file", tmp_path / "a.tsv"))
    assert "The labels for field 'mood' are ['sad']: give at least 2." in said
    assert "Give labelled texts with --train-file" in refusal(capsys, command(untrained, tmp_path / "c"))


def test_a_model_without_distributions_is_refused(untrained, texts, tmp_path, capsys):
    lm = DiffusionLM.from_pretrained(untrained)
    lm.save_pretrained(tmp_path / "m")
    config = tmp_path / "m" / "config.json"
    content = json.loads(config.read_text(encoding="utf-8"))
    config.write_text(json.dumps({**content, "categorical": False}), encoding="utf-8")
    assert "do not fit" in refusal(capsys, on_tsv(tmp_path / "m", texts, tmp_path / "c"))


def test_the_output_folder_must_be_its_own(unbroken, untrained, texts, capsys):
    assert "no run of this script made" in refusal(capsys, on_tsv(untrained, texts, untrained))
    before = record(unbroken)
    said = refusal(capsys, on_tsv(untrained, texts, unbroken, "--learning-rate", "1e-4", "--seed", "1"))
    assert "holds a classifier with other settings (learning_rate, seed): repeat its command" in said
    assert record(unbroken) == before


def test_a_stranger_sees_one_sentence(shell, tmp_path):
    done = shell("train_classifier.py", "--output-dir", "c", "--train-file", "nowhere.tsv")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: No file nowhere.tsv: give a UTF-8 file of labelled texts.\n"
    assert list(tmp_path.iterdir()) == []
