"""scripts/control.py as a stranger calls it: what it prints, and one sentence for every bad input."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from scripts.control import main
from textdiff.cli import run
from textdiff.diffusion.scheduler import Scheduler
from textdiff.text.classifier import TextClassifier
from textdiff.text.denoiser import DenoiserConfig, TextDenoiser
from textdiff.text.language_model import DiffusionLM
from textdiff.text.parser import Parser
from textdiff.text.sampling import TEXT_SAMPLERS
from textdiff.text.tagger import Tagger
from textdiff.text.tokenizer import train_word_level
from textdiff.text.words import EncoderShape

SENTENCES = ["The little dog ran home .", "A cat sat on the mat .", "We saw the big red sun ."] * 9
SMALL = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
FAST = ["--steps", "6", "--num-samples", "3"]


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with an untrained word-level model, window 16, its classifier inside, and oracles."""
    torch.manual_seed(0)
    tokenizer = train_word_level(SENTENCES, min_count=1)
    config = DenoiserConfig(vocab_size=tokenizer.get_vocab_size(), max_position_embeddings=16, **SMALL)
    lm = DiffusionLM(TextDenoiser(config), Scheduler.adaptive([3.0, -6.0]), tokenizer)
    folder = tmp_path_factory.mktemp("words")
    lm.save_pretrained(folder)
    fields = {"animal": ["cat", "dog", "absent"], "sentiment": ["neg", "pos"]}
    made = TextClassifier.for_model(
        lm.denoiser, lm.vocabulary, fields=fields, tags=["DET", "NOUN", "VERB"], spans=["NP", "VP"], **SMALL
    )
    for parameter in made.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    made.save_pretrained(folder / "classifiers" / "all")
    TextClassifier.for_model(
        lm.denoiser, lm.vocabulary, fields={"mood": ["glad", "sad"]}, **SMALL
    ).save_pretrained(folder / "mood")
    shape = EncoderShape(hidden=8, layers=1, heads=2, intermediate=8, buckets=8)
    Tagger(shape, ["the", "dog"]).save(folder / "tagger")
    Parser(shape, ["the", "dog"], ["NP", "VP"]).save(folder / "parser")
    return str(folder)


def ending(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str
) -> tuple[int, str]:
    """Exit code and stderr of the script, run as its last line runs it."""
    monkeypatch.setattr(sys, "argv", ["control.py", *arguments])
    with pytest.raises(SystemExit) as stopped:
        run(main)
    printed = capsys.readouterr()
    assert printed.out == ""
    return stopped.value.code, printed.err


ALL = [
    "--semantic", "animal=dog", "--length", "5", "--pos", "DET NOUN VERB DET NOUN",
    "--tree", "(NP (DT The) (NN dog) (VP (VB ran) (NP (DT the) (NN cat))))", "--span", "2,5,VP",
    "--keywords", "dog, ran", "--keywords", "cat@4", "--without", "red,sun", "--sentiment", "positive",
    "--label", "mood=sad",
]  # fmt: skip
NAMES = [
    "semantic animal=dog", "length 5", "pos DET NOUN VERB DET NOUN", f"tree {ALL[7]}", "span 2,5,VP",
    "keywords dog, ran", "keywords cat at 4", "without red, sun", "sentiment positive", "label mood=sad",
]  # fmt: skip


def test_all_wishes_at_once(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    oracles = ["--tagger", f"{words}/tagger", "--parser", f"{words}/parser"]
    classifiers = ["--classifier", f"{words}/classifiers/all", f"{words}/mood"]
    main(["--model", words, "--text", "The", "--json", *ALL, *oracles, *classifiers, *FAST])
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    assert 1 <= len(found["candidates"]) <= 3
    for one in found["candidates"]:
        assert list(one) == ["text", "controls", "fluency"] and list(one["controls"]) == NAMES
        assert one["text"].startswith("The ") and len(one["text"].split()) == 5
        assert one["controls"]["length 5"] == 1 and isinstance(one["fluency"], float)
        assert all(0 <= value <= 1 for value in one["controls"].values())
    totals = [sum(one["controls"].values()) for one in found["candidates"]]
    assert totals == sorted(totals, reverse=True)
    judges = found["judged_by"]
    assert judges["pos DET NOUN VERB DET NOUN"] == f"{words}/tagger"
    assert judges["span 2,5,VP"] == f"{words}/parser"
    assert judges["label mood=sad"] == "the classifier itself"
    assert judges["fluency"] == "the model's own bound"
    best = {name: max(one["controls"][name] for one in found["candidates"]) for name in NAMES}
    assert found["failed"] == [name for name in NAMES if best[name] < 0.5]
    said = [line.split("; ")[0] for line in printed.err.splitlines()]
    assert said == [f"failed on every sample: {n}" for n in found["failed"]]


def test_from_the_shell(shell: Callable, words: str) -> None:
    wish = ["--keywords", "dog", "--length", "4", "--guidance-scale", "20"]
    done = shell("control.py", "--model", words, "--text", "We saw", *wish, *FAST)
    assert (done.returncode, done.stderr) == (0, "")
    first, second, fluency, empty, head, *rows = done.stdout.removesuffix("\n").split("\n")
    assert first == "1  length 4, judged by the tokenizer"
    assert second == "2  keywords dog, judged by the text"
    assert fluency.startswith("fluency: nats per token of the model's own bound") and empty == ""
    assert head.split() == ["1", "2", "fluency", "text"]
    assert 1 <= len(rows) <= 3
    assert rows[0].split()[:2] == ["1.00", "1.00"] and "  We saw " in rows[0] and " dog" in rows[0]


@pytest.mark.parametrize("sampler", TEXT_SAMPLERS)
def test_wishes_are_granted_under_every_sampler(
    words: str, capsys: pytest.CaptureFixture[str], sampler: str
) -> None:
    how = ["--sampler", sampler, "--order", "random", "--json"]
    granted = []
    for scale in ("0", "20"):
        main(["--model", words, "--keywords", "dog", "--length", "6", "--guidance-scale", scale, *how, *FAST])
        found = json.loads(capsys.readouterr().out)["candidates"]
        granted.append([one["controls"]["keywords dog"] for one in found])
    assert min(granted[0]) == 0 and min(granted[1]) == 1


def test_a_failure_is_said_and_its_best_attempt_shown(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--model", words, "--text", "The dog", "--without", "dog", "--length", "3", *FAST])
    printed = capsys.readouterr()
    assert printed.err.startswith("failed on every sample: without dog; best attempt (0.00): The dog ")
    assert printed.err.count("\n") == 1 and "The dog " in printed.out


def test_the_same_seed_gives_the_same_text(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    printed = []
    for seed in ("1", "1", "2"):
        main(["--model", words, "--length", "6", "--seed", seed, *FAST])
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1] != printed[2]


def test_a_judge_charges(words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel

    tokenizer = AutoTokenizer.from_pretrained(words)
    shape = {"n_embd": 8, "n_layer": 1, "n_head": 2, "n_positions": 32}
    GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer), **shape)).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    main(["--model", words, "--length", "6", "--json", "--judge", str(tmp_path), *FAST])
    found = json.loads(capsys.readouterr().out)
    assert found["judged_by"]["fluency"] == str(tmp_path)
    even = torch.tensor(float(len(tokenizer))).log().item()  # an untrained judge knows nothing
    assert [one["fluency"] for one in found["candidates"]] == pytest.approx([even] * 3, rel=0.1)


def test_help_loads_nothing_heavy(root: Path) -> None:
    heavy = "{'torch', 'numpy', 'tokenizers'}"
    code = (
        "import sys\nfrom scripts.control import parse_args\n"
        f"try:\n    parse_args(['--help'])\nfinally:\n    assert not {heavy} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root)
    assert done.returncode == 0 and "FIELD=VALUE" in done.stdout


BAD = [
    ([], "There is no wish: give --semantic, --length"),
    (["--semantic", "food"], "--semantic is 'food': give FIELD=VALUE"),
    (["--semantic", "food=Japanese"], "those here know the fields animal, sentiment"),
    (["--semantic", "animal=cow"], "choose cat, dog, absent"),
    (["--label", "=x"], "--label is '=x': give FIELD=VALUE"),
    (["--pos", "DET ADV"], "no tag 'ADV': choose DET, NOUN, VERB"),
    (["--pos", ""], "There is no tag"),
    (["--pos", "DET NOUN VERB", "--length", "2"], "'pos DET NOUN VERB' and 'length 2' contradict each other"),
    (["--tree", "(NP (DT a)"], "are not closed"),
    (["--tree", "(PP (IN on))"], "no label of a span 'PP': choose NP, VP"),
    (["--span", "0-3-NP"], "--span is '0-3-NP': give first word"),
    (["--span", "0,30,NP"], "wants 30 tokens, but the model's window has 16"),
    (["--span", "0,3,PP"], "choose NP, VP"),
    (["--keywords", "dog,,cat"], "--keywords is 'dog,,cat'"),
    (["--keywords", "zebra"], "'zebra' cannot be written"),
    (["--keywords", "dog", "--without", "dog"], "'dog' cannot both stand there and not"),
    (["--length", "0"], "it must be 1 to 16 tokens"),
    (["--length", "17"], "it must be 1 to 16 tokens"),
    (["--length", "2", "--text", "The little dog"], "The prompt has 3 tokens"),
    (["--sentiment", "fine"], "choose neg, pos"),
    (["--length", "3", "--classifier", "nowhere"], "No classifier at nowhere"),
    (["--length", "3", "--tagger", "nowhere"], "nowhere"),
    (["--length", "3", "--parser", "nltk:en"], "Unknown oracle 'nltk:en'"),
    (["--length", "3", "--judge", "nowhere/at/all"], "nowhere/at/all"),
    (["--length", "3", "--steps", "0"], "num_inference_steps is 0"),
    (["--length", "3", "--sampler", "euler"], "choose categorical, ddim, ddpm, dpmpp_2m, churn"),
    (["--length", "3", "--num-samples", "0"], "num_samples is 0"),
    (["--length", "3", "--guidance-scale", "-1"], "guidance_scale is -1.0"),
    (["--length", "3", "--seed", "-1"], "The seed is -1"),
    (["--length", "3", "--model", "nowhere/at/all"], "No model folder"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD, ids=[" ".join(row[0]) or "nothing" for row in BAD])
def test_bad_input_is_one_sentence_and_exit_code_2(
    words: str, arguments: list[str], message: str,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    code, said = ending(monkeypatch, capsys, "--model", words, *arguments)
    assert code == 2
    assert message in said and said.startswith("error: ") and said.count("\n") == 1


def test_a_byte_level_model_without_classifiers_says_what_is_missing(
    untrained: str, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for wish, message in {
        ("--semantic", "a=b"): "train one with scripts/train_classifier.py",
        ("--pos", "DET"): "tokens are pieces of words",
        ("--length", "3", "--classifier", f"{words}/mood"): "was made for another vocabulary",
    }.items():
        code, said = ending(monkeypatch, capsys, "--model", untrained, *wish)
        assert code == 2 and message in said and said.count("\n") == 1
