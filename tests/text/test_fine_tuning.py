"""Runs that start from a model: its shape, tokenizer and weights, the lengths of the new data."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from scripts.train import main
from textdiff.text.fine_tuning import load_start, shaped_like, warn_of_strangers
from textdiff.text.language_model import DiffusionLM
from textdiff.text.presets import PRESETS

QUICK = "--max-steps 2 --batch-size 4 --save-steps 9 --eval-steps 9 --logging-steps 1 --no-bf16 --use-cpu".split()


@pytest.fixture
def start(bpe_lm: DiffusionLM, tmp_path: Path) -> Path:
    bpe_lm.save_pretrained(tmp_path / "start")
    return tmp_path / "start"


def texts(folder: Path, content: str) -> Path:
    path = folder / "texts.txt"
    path.write_text(content * 30, encoding="utf-8")
    return path


def weights(folder: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = {}
    for path in folder.glob("*.safetensors"):
        found |= load_file(path)
    return found


def test_a_run_starts_from_the_weights_and_keeps_tokenizer_and_shape(start: Path, tmp_path: Path) -> None:
    file, folder = texts(tmp_path, "The dog ran home.\nA cat sat there and slept.\n"), tmp_path / "run"
    rates = ["--learning-rate", "1e-9"]  # the word vectors have a rate of their own, and move
    main(["--start-from", str(start), "--train-files", str(file), "--output-dir", str(folder), *QUICK, *rates])
    before, after = weights(start), weights(folder)
    assert before.keys() == after.keys()
    still = [name for name in before if "blocks" in name]
    assert still and all(torch.allclose(before[name].float(), after[name], atol=1e-6) for name in still)
    assert (folder / "tokenizer.json").read_bytes() == (start / "tokenizer.json").read_bytes()
    was, now = (json.loads((path / "config.json").read_text()) for path in (start, folder))
    assert all(now[name] == was[name] for name in ("hidden_size", "num_hidden_layers", "vocab_size", "stagger"))
    sizes = {len(DiffusionLM.from_pretrained(start).vocabulary.encode(text)) for text in file.read_text().split("\n")}
    assert {n for n, count in enumerate(now["length_counts"]) if count} == sizes - {0}
    assert DiffusionLM.from_pretrained(folder).infill("The [MASK] ran.", num_samples=2, num_inference_steps=2, seed=0)


def test_a_model_of_texts_becomes_one_of_pairs(start: Path, tmp_path: Path) -> None:
    file, folder = texts(tmp_path, "The dog ran.\tA dog ran.\nA cat slept.\tThe cat slept.\n"), tmp_path / "run"
    main(["--start-from", str(start), "--pairs", "--train-files", str(file), "--output-dir", str(folder), *QUICK])
    model = DiffusionLM.from_pretrained(folder)
    assert model.config["sides"] and model.config["length_counts"] is None
    assert model.rewrite("The dog ran.", num_samples=2, num_inference_steps=2, seed=0)


def test_unknown_words_are_named(word_lm: DiffusionLM, bpe_lm: DiffusionLM, recwarn: pytest.WarningsRecorder) -> None:
    known = "The little dog ran home."
    assert all(word_lm.vocabulary.encode(known))
    for tokenizer, said in ((word_lm.tokenizer, [known]), (bpe_lm.tokenizer, ["Zebras yawn."])):
        warn_of_strangers(iter(said), tokenizer)
    assert not recwarn
    with pytest.warns(UserWarning, match="29% of the words are unknown to the model"):
        warn_of_strangers(iter([known, "Zebras yawn."]), word_lm.tokenizer)


def test_what_is_refused(start: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="was trained by bound: leave it out"):
        shaped_like(PRESETS["tiny"], start, recipe="diffusion_lm")
    with pytest.raises(FileNotFoundError, match="No model folder 'nowhere'"):
        main(["--start-from", "nowhere", "--output-dir", str(tmp_path / "run"), "--train-files", "x.txt"])
    before = sorted(path.name for path in start.iterdir())
    with pytest.raises(ValueError, match="are both .*: name a new folder"):
        main(["--start-from", str(start), "--output-dir", f"{start}/", "--train-files", str(texts(tmp_path, "A.\n"))])
    assert sorted(path.name for path in start.iterdir()) == before
    (start / "model.safetensors").write_bytes(b"")
    with pytest.raises(ValueError, match="model.safetensors"):
        load_start(start, {}, 0)
