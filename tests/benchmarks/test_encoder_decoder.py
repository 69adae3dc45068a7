"""benchmarks/encoder_decoder.py: its size and its pairs beside the presets', what it is shown, and a toy run."""

import json

import numpy as np
import pytest
import torch

from textdiff.text.model import DiffusionLMConfig
from textdiff.text.optimizer import parameter_groups
from textdiff.text.pairs import PairRows, TokenPair
from textdiff.text.presets import PRESETS, Preset

PAIRED = [preset for preset in PRESETS.values() if preset.pairs is not None]
TOY = Preset(
    name="toy", about="", sources={"toy.tsv": 1.0}, pairs=(2, 1), vocab_size=280, row_length=48,
    batch_size=2, max_steps=3,
    model={
        "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32,
        "max_position_embeddings": 32,
    },
)  # fmt: skip


@pytest.fixture(scope="module")
def script(imported):
    return imported("encoder_decoder")


@pytest.fixture(scope="module")
def tokens():
    numbers = iter(range(10, 1000))
    return [
        TokenPair(*(np.array([next(numbers) for _ in range(size)], dtype=np.int32) for size in (n, m)))
        for n in (1, 2, 3) for m in (1, 2, 3)
    ]  # fmt: skip


@pytest.mark.parametrize("preset", PAIRED, ids=lambda preset: preset.name)
def test_a_rival_is_as_large_as_the_presets_model(script, imported, preset):
    config = script.rival_config(preset, preset.vocab_size)
    ours = imported("autoregressive").diffusion_parameters(preset, preset.vocab_size)
    assert script.parameters(config) == pytest.approx(ours, rel=0.05)
    shape = DiffusionLMConfig(**preset.model)
    assert (config.d_model, config.encoder_attention_heads) == (shape.hidden_size, shape.num_attention_heads)
    assert config.encoder_layers + config.decoder_layers == shape.num_hidden_layers
    assert config.max_position_embeddings == shape.max_position_embeddings


def test_its_batches_hold_the_pairs_of_our_rows(script, tokens):
    ours = PairRows(tokens, 14, between=1, total=40, seed=3, source_dropout=0.0)
    theirs = script.PairBatches(tokens, 14, between=1, total=40, seed=3, source_dropout=0.0)
    assert len(theirs) == 40 and theirs.tokens_per_row == ours.tokens_per_row
    for i in (0, 7, 39):
        row, pairs = ours[i], theirs[i]
        whole = [np.concatenate([s, [1], t]) for s, t in zip(pairs["sources"], pairs["targets"], strict=True)]
        assert row["input_ids"][row["attention_mask"] > 0].tolist() == np.concatenate(whole).tolist()


def test_a_batch_is_padded_and_ends_every_target(script):
    rows = [
        {"sources": [[5, 6]], "targets": [[7]]},
        {"sources": [[8], [9, 10, 11]], "targets": [[12, 13], [14]]},
    ]
    batch = script.PairBatches.collate(rows)
    assert batch["input_ids"].tolist() == [[5, 6, 0], [8, 0, 0], [9, 10, 11]]
    assert batch["attention_mask"].tolist() == [[1, 1, 0], [1, 0, 0], [1, 1, 1]]
    assert batch["labels"].tolist() == [[7, 2, -100], [12, 13, 2], [14, 2, -100]]


def test_generated_ids_are_read_up_to_their_end(script):
    assert script._target([1, 7, 8, 2, 0, 0]) == [7, 8]
    assert script._target([1, 2]) == []
    assert script._target([1, 7, 0, 8]) == [7, 8]


def test_muon_steps_the_matrices_of_its_blocks(script):
    from transformers import MarianMTModel

    model = MarianMTModel(script.rival_config(TOY, 280))
    groups = parameter_groups(model, 1e-3, 0.05)
    muon = {id(p) for group in groups["muon"] for p in group["params"]}
    found = {name for name, parameter in model.named_parameters() if id(parameter) in muon}
    assert len(found) == 6 + 10 and all(".layers.0." in name and name.endswith("weight") for name in found)


def test_padding_beside_a_source_does_not_change_its_target(script):
    from transformers import MarianMTModel

    torch.manual_seed(0)
    model = MarianMTModel(script.rival_config(TOY, 280)).eval()
    for parameter in model.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    sources = [[30, 31], list(range(40, 60)), [70]]
    for how in ({}, {"num_beams": 4}):
        together = script.translate(model, sources, **how)
        assert together == [script.translate(model, [source], **how)[0] for source in sources]
        assert all(len(each) == 1 and len(each[0]) <= 32 for each in together)
    drawn = script.translate(model, sources, do_sample=True, num_return_sequences=3)
    assert [len(each) for each in drawn] == [3, 3, 3]


@pytest.fixture(scope="module")
def folder(script, tmp_path_factory):
    """A finished toy run."""
    place = tmp_path_factory.mktemp("marian")
    words = ("dog", "cat", "sun", "girl", "bird")
    lines = [f"The {a} saw {i} {b}s.\tDer {a} sah {i} {b}e." for i in range(8) for a in words for b in words]
    (place / "toy.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "toy", TOY)
        patch.setattr("textdiff.text.run.VALIDATION_ROWS", 4)
        line = ["--preset", "toy", "--output-dir", place / "run", "--data-dir", place, "--save-steps", 2]
        script.main([str(part) for part in line])
    return place / "run"


def test_a_run_leaves_a_model_that_translates(script, folder):
    from transformers import MarianMTModel

    model = MarianMTModel.from_pretrained(folder, use_safetensors=True).eval()
    facts = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    assert facts["preset"]["name"] == "toy" and facts["validation"]["eval_loss"] > 0
    assert facts["tokens_seen"] > 3 * 2 * 20 and (folder / "tokenizer.json").is_file()
    (targets,) = script.translate(model, [[30, 31, 32]])
    assert len(targets) == 1 and not {0, 1, 2} & set(targets[0])
