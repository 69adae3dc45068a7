"""scripts/evaluate.py: each task on tiny random models, and every refusal: one sentence, exit code 2."""

import importlib.util
import json
import math
import re
import subprocess
import sys

import pytest
import torch

from textdiff.cli import run
from textdiff.diffusion.scheduler import Scheduler
from textdiff.text.denoiser import DenoiserConfig, TextDenoiser
from textdiff.text.language_model import DiffusionLM
from textdiff.text.tokenizer import save_tokenizer, train_bpe

SENTENCES = ["The little dog ran home.", "A cat sat on the mat, and it was happy.", "We saw the big red sun."]


@pytest.fixture(scope="module")
def script(root):
    spec = importlib.util.spec_from_file_location("evaluate_script", root / "scripts" / "evaluate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a random diffusion model, a random judge of the same tokenizer, and text files."""
    place = tmp_path_factory.mktemp("evaluate")
    tokenizer = train_bpe(SENTENCES * 9, 300)
    torch.manual_seed(0)
    small = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    denoiser = TextDenoiser(
        DenoiserConfig(vocab_size=300, max_position_embeddings=32, **small)
    )
    config = {"length_counts": [0, 0, 0, 0, 5, 5, 5]}
    DiffusionLM(denoiser, Scheduler.adaptive([3.0, -6.0]), tokenizer, config=config).save_pretrained(
        place / "model"
    )
    (place / "real.txt").write_text("\n".join(SENTENCES) + "\n", encoding="utf-8")
    (place / "train.txt").write_text("The little dog ran far.\nWe saw it.\n", encoding="utf-8")
    (place / "two.txt").write_text("One line.\nAnother line.\n", encoding="utf-8")
    (place / "empty.txt").write_text("\n", encoding="utf-8")
    (place / "latin.txt").write_bytes("caf\u00e9 au lait\n".encode("latin-1"))
    (place / "bare").mkdir()
    (place / "bare" / "config.json").write_text("{}", encoding="utf-8")
    save_tokenizer(tokenizer, place / "bare")
    return place


@pytest.fixture(scope="module")
def judge(place):
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(
        vocab_size=300, n_positions=128, n_embd=16, n_layer=1, n_head=2, bos_token_id=1, eos_token_id=2
    )
    transformers.GPT2LMHeadModel(config).save_pretrained(place / "judge")
    save_tokenizer(train_bpe(SENTENCES * 9, 300), place / "judge")
    return "judge"


@pytest.fixture
def call(script, place, monkeypatch, capsys):
    """Runs the script in the folder; its report from --json -."""
    monkeypatch.chdir(place)

    def call(line):
        script.main([*line.split(), "--json", "-"])
        return json.loads(capsys.readouterr().out)

    return call


def test_bound_agrees_with_the_library(call, place):
    found = call("--task bound --model model --file real.txt --levels 4 --seed 1")
    model = DiffusionLM.from_pretrained(place / "model")
    assert found["n"] == 3 and found["bytes"] == sum(map(len, SENTENCES))
    assert found["tokens"] == sum(len(model.vocabulary.encode(text)) for text in SENTENCES)
    assert found["perplexity_bound"] == pytest.approx(math.exp(found["bound_nats_per_token"]))
    low, high = found["95_percent_interval"]
    assert low < found["bound_nats_per_token"] < high
    nats = found["bound_nats_per_token"] * found["tokens"]
    assert found["bits_per_byte"] == pytest.approx(nats / found["bytes"] / math.log(2))
    exact = model.score(SENTENCES, levels=32).nats_per_token
    assert found["bound_nats_per_token"] == pytest.approx(exact, rel=0.2)
    certificate = found["certificate"]
    assert certificate["model"] == "model" and certificate["levels"] == 4 and certificate["cpus"] >= 1
    assert {"textdiff", "commit", "torch", "seed", "data", "seconds"} <= set(certificate)


def test_samples_are_those_of_generate(call, place, judge):
    line = "--task samples --model model --num-samples 3 --steps 2 --sampler ddim --seed 5"
    found = call(f"{line} --training-files train.txt --judge {judge}")
    texts = DiffusionLM.from_pretrained(place / "model").generate(
        3, num_inference_steps=2, sampler="ddim", seed=5
    )
    assert found["samples"] == texts and found["n"] == 3 and found["judge"] == "judge"
    assert found["judge_perplexity"] > 1 and found["longest_copy"] >= 0 and found["distinct_4"] <= 1
    assert found["certificate"]["nfe"] == 3 and found["certificate"]["sampler"] == "ddim"


def test_texts_as_they_stand_and_limited(call):
    found = call("--task texts --file real.txt --training-files train.txt")
    assert found["n"] == 3 and found["longest_copy"] == 4 and "judge" not in found
    assert "model" not in found["certificate"]
    assert call("--task texts --file real.txt --limit 2 --model model")["n"] == 2


def test_infill_and_its_table(script, call, judge, capsys, tmp_path):
    line = f"--task infill --model model --judge {judge} --file real.txt --training-files train.txt"
    line = f"{line} --limit 3 --steps 2"
    found = call(line)
    assert [row["filler"] for row in found["rows"]] == [
        "original", "diffusion, length given", "diffusion, length free", "unigram", "left to right (judge)",
    ]  # fmt: skip
    assert all(row["context_exact"] == 1 and row["n"] == 3 for row in found["rows"])
    assert found["rows"][0]["exact_match"] == 1 and found["bleu_signature"].startswith("nrefs:1")
    assert len(found["filled"]) == 3
    script.main([*line.split(), "--json", str(tmp_path / "out.json")])
    shown = capsys.readouterr().out
    assert "| diffusion, length free" in shown and re.search(r"\nnfe +3\n", shown)
    assert json.loads((tmp_path / "out.json").read_text())["rows"] == found["rows"]


def test_compare_run_as_a_script(root, place):
    """As a script, its own folder is on the path, where `import evaluate` would find the script."""
    pytest.importorskip("rouge_score")
    command = [sys.executable, str(root / "scripts" / "evaluate.py"), "--task", "compare", "--json", "-"]
    files = ["--predictions", str(place / "real.txt"), "--references", str(place / "real.txt")]
    done = subprocess.run([*command, *files], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["bleu"] == pytest.approx(100) and found["rouge_l"] == 1 and found["n"] == 3


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--task poetry", "Unknown task 'poetry': choose bound, samples, texts, infill, compare, control."),
        ("--task bound --model model", "--task bound needs --file"),
        ("--task bound --model model --file no.txt", "No file no.txt"),
        ("--task bound --model model --file empty.txt", "holds no text"),
        ("--task bound --model model --file latin.txt", "is not UTF-8"),
        ("--task bound --model nowhere --file real.txt", "No model folder 'nowhere'"),
        ("--task bound --model bare --file real.txt", "not 'textdiff'"),
        ("--task bound --model model --file real.txt --levels 1", "levels is 1"),
        ("--task bound --model model --file real.txt --limit 0", "--limit is 0"),
        ("--task bound --model model --file real.txt --json no/where.json", "Cannot write no/where.json"),
        ("--task bound --model model --file real.txt --held-out", "no held-out text"),
        ("--task samples --model model --num-samples 0", "--num-samples is 0"),
        ("--task samples --model model --num-samples -3", "--num-samples is -3"),
        ("--task samples --model model --steps 0", "num_inference_steps is 0"),
        ("--task samples --model model --sampler euler", "Unknown sampler 'euler'"),
        ("--task samples --model model --temperature 0", "temperature is 0.0"),
        ("--task samples --model model --seed -1", "The seed is -1"),
        ("--task samples --model model --training-files train.txt no.txt", "No file no.txt"),
        ("--task texts --file real.txt --judge no/where/at/all", "There is no judge at no/where/at/all"),
        ("--task texts --file real.txt --judge bare", "lacks weights in safetensors"),
        ("--task texts --file real.txt --batch-size 0", "--batch-size is 0"),
        ("--task infill --model model --file real.txt", "needs --judge and --training-files"),
        ("--task control --kind pos", "--task control needs --judge"),
        ("--task control --judge x", "--task control needs --kind"),
        ("--task control --judge x --kind mood", "Unknown kind of control 'mood': choose semantic, pos"),
        ("--task control --judge x --kind pos", "Kind 'pos' needs --tagger"),
        ("--task control --judge x --kind length --samples 0", "--samples is 0"),
        ("--task control --model model --judge x --kind length --guidance-scale -1", "--guidance-scale is -1.0"),
        ("--task control --model nowhere --judge x --kind length", "No model folder 'nowhere'"),
        ("--task compare --predictions two.txt", "needs --references"),
        ("--task compare --predictions two.txt --references no.txt", "No file no.txt"),
        ("--task compare --predictions two.txt --references empty.txt", "holds no text"),
        ("--task compare --predictions latin.txt --references two.txt", "latin.txt is not UTF-8"),
        ("--task compare --predictions two.txt --references real.txt", "has 2 lines and real.txt has 3"),
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence(script, place, monkeypatch, capsys, line, message):
    monkeypatch.chdir(place)
    with pytest.raises(SystemExit) as stop:
        run(lambda: script.main(line.split()))
    captured = capsys.readouterr()
    assert stop.value.code == 2 and captured.out == ""
    last = captured.err.strip().splitlines()[-1]
    assert last.startswith("error: ") and message in last and "Traceback" not in captured.err


def test_more_infill_items_than_sentences_are_refused(script, place, judge, monkeypatch):
    monkeypatch.chdir(place)
    line = f"--task infill --model model --judge {judge} --file real.txt --training-files train.txt --limit 4"
    with pytest.raises(ValueError, match="4 infill items were asked for, but only 3 sentences fit"):
        script.main(line.split())


def test_control_beside_the_model_without_it(script, control_place, monkeypatch, capsys):
    monkeypatch.chdir(control_place)
    line = "--task control --kind pos --model model --classifier classifier --tagger tagger --judge judge"
    line = f"{line} --file e2e/diffusion_lm/src1_valid.txt.gz --targets 2 --samples 2 --steps 2 --seed 3"
    script.main(line.split())
    shown = capsys.readouterr().out
    assert re.search(r"\| figure +\| +controlled \| uncontrolled \|", shown) and re.search(r"\nnfe +3\n", shown)
    script.main([*line.split(), "--json", "-"])
    found = json.loads(capsys.readouterr().out)
    rows = {row["figure"]: row for row in found["rows"]}
    assert rows["success"]["controlled"] == found["controlled"]["success"]
    assert found["controlled"]["denoiser_calls"] == 3 and len(found["outcomes"]["uncontrolled"]) == 2
    assert found["certificate"]["tagger"] == "tagger" and found["certificate"]["targets"] == 2
