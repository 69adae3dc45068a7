"""benchmarks/text_to_text.py: its tests and its rows, at toy size; the rival stands in as a tiny random model."""

import gzip
import json
from argparse import Namespace

import pytest
import torch

from textdiff.diffusion.scheduler import Scheduler
from textdiff.text.denoiser import DenoiserConfig, TextDenoiser
from textdiff.text.language_model import DiffusionLM
from textdiff.text.presets import PRESETS
from textdiff.text.run import preset_data
from textdiff.text.tokenizer import save_tokenizer


@pytest.fixture
def data(tmp_path):
    """A folder with the preset's training file and both tests, some lines each."""
    (tmp_path / "tatoeba").mkdir()
    (tmp_path / "multi30k").mkdir()
    lines = "".join(f"The {n} dogs\tDie {n} Hunde\n" for n in range(200))
    (tmp_path / "tatoeba/deu-eng.train.tsv.gz").write_bytes(gzip.compress(lines.encode()))
    short = "A dog\tEin Hund\nOne dog\tEin Hund\nCat\tKatze\nSeven\tDie 7 Hunde\n"
    test = short + "long " * 60 + "\t" + "lang " * 60 + "\n"
    (tmp_path / "tatoeba/deu-eng.test.tsv.gz").write_bytes(gzip.compress(test.encode()))
    (tmp_path / "multi30k/test_2016_flickr.de.gz").write_bytes(gzip.compress(b"Ein Mann.\nEine Frau.\n"))
    (tmp_path / "multi30k/test_2016_flickr.en.gz").write_bytes(gzip.compress(b"A man.\nA woman.\n"))
    return tmp_path


@pytest.fixture
def script(imported):
    return imported("text_to_text")


def test_every_source_counts_once_with_all_its_references(script, data):
    args, preset = Namespace(data_dir=str(data)), PRESETS["de-en"]
    items = script.test_items(args, preset, "tatoeba")
    assert {source: sorted(targets) for source, targets in items.items() if len(source) < 20} == {
        "Ein Hund": ["A dog", "One dog"], "Katze": ["Cat"],
    }  # fmt: skip
    assert script.test_items(args, preset, "multi30k") == {"Ein Mann.": ["A man."], "Eine Frau.": ["A woman."]}
    held_out = script.test_items(args, preset, "held-out")
    assert "Die 7 Hunde" not in held_out  # but in the training pairs, and so no test
    assert 0 < len(held_out) < 40 and all(source.startswith("Die ") for source in held_out)


def test_the_choice_is_the_one_most_like_the_others(script):
    drawn = [["a red cat", "a red dog", "my red dog"], ["x", "the house", "the house"]]
    found = script.chosen(drawn, 0.0)
    assert found.chosen == ["a red dog", "the house"] and found.candidates == drawn
    assert script.chosen([["one"], ["two"]], 0.0).candidates is None


def test_a_whole_run_and_what_it_leaves(script, data, imported, monkeypatch, capsys):
    pytest.importorskip("rouge_score")
    from transformers import MarianMTModel

    preset = PRESETS["de-en"]
    made = preset_data(preset, data / "ours", data_dir=str(data), seed=0)
    vocab = made.tokenizer.get_vocab_size()
    torch.manual_seed(0)
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    denoiser = TextDenoiser(DenoiserConfig(vocab_size=vocab, max_position_embeddings=40, **small))
    config = {"target_lengths": [[], *([0] * n + [9] for n in range(1, 10))]}
    lm = DiffusionLM(denoiser, Scheduler.adaptive([3.0, -6.0]), made.tokenizer, config=config)
    lm.save_pretrained(data / "ours")
    marian = imported("encoder_decoder").rival_config(preset, vocab)
    marian.update({"encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 8, "decoder_ffn_dim": 8})
    marian.max_position_embeddings = 24
    MarianMTModel(marian).save_pretrained(data / "theirs")
    save_tokenizer(made.tokenizer, data / "theirs")
    before = {"rows": [{"preset": "simplify", "test": "held-out", "bleu": 1.0}], "samples": {"simplify, held-out": []}}
    (data / "table.json").write_text(json.dumps(before), encoding="utf-8")
    line = f"--preset de-en --test tatoeba multi30k --model {data / 'ours'} --rival {data / 'theirs'}"
    more = f"--data-dir {data} --num-samples 2 --steps 2 --json {data / 'table.json'}"
    for _ in range(2):  # the second run takes the place of the first
        script.main(f"{line} {more}".split())
    found = json.loads((data / "table.json").read_text(encoding="utf-8"))
    assert len(found["rows"]) == 1 + 2 * 6 and "simplify, held-out" in found["samples"]
    rows = {(row["test"], row["model"]): row for row in found["rows"][1:]}
    mine = rows["tatoeba", "textdiff, MBR of 2"]
    assert mine["n"] == 2 and mine["left_out"] == 1 and 0 <= mine["self_bleu"] <= 100
    assert mine["bleu_signature"].startswith("nrefs:var") and mine["chrf_signature"].startswith("nrefs:var")
    assert rows["tatoeba", "textdiff, single"]["self_bleu"] is None
    copied = rows["multi30k", "copy of the source"]
    assert copied["bleu"] < 5 and copied["seconds_per_source"] == 0
    assert len(found["samples"]["de-en, multi30k"]) == 2
    assert set(found["samples"]["de-en, tatoeba"][0]) > {"source", "reference", "encoder-decoder, beam 4"}
    said = capsys.readouterr().out
    assert "| multi30k | encoder-decoder, beam 4" in said and "self_bleu" in said and "nrefs:var" in said
