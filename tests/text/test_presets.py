"""The table of presets: every row makes a model, fits its rows and names data that is there."""

from argparse import Namespace
from pathlib import Path

import pytest

from textdiff.diffusion.scheduler import Scheduler
from textdiff.text.model import DiffusionLMConfig, DiffusionLMModel
from textdiff.text.presets import PRESETS
from textdiff.text.sources import training_texts

ROWS = pytest.mark.parametrize("name", PRESETS)


@ROWS
def test_every_row_makes_a_model(name):
    preset = PRESETS[name]
    make = {"bound": DiffusionLMConfig, "diffusion_lm": DiffusionLMConfig.diffusion_lm}[preset.recipe]
    config = make(**preset.model, vocab_size=preset.vocab_size)
    unknown = set(preset.model) - set(config.denoiser_config().to_dict())
    assert not unknown
    model = DiffusionLMModel(config)
    assert 1e5 < model.num_parameters() < 40e6
    assert isinstance(model.scheduler, Scheduler)
    assert preset.row_length >= config.max_position_embeddings  # a piece fits into a row
    assert preset.tokenizer in ("bpe", "word")
    assert all(0 < share <= 1 for share in preset.sources.values())


@ROWS
def test_every_row_says_what_it_makes_and_how_long_it_takes(name):
    about = PRESETS[name].about
    assert "min" in about and "\n" not in about
    assert len(f"  {name:<14}{about}") < 120


@ROWS
def test_a_size_that_a_row_claims_is_the_size(name):
    preset = PRESETS[name]
    words = preset.about.split()
    if "M" not in words:
        pytest.skip("claims no size")
    make = DiffusionLMConfig.diffusion_lm if preset.recipe == "diffusion_lm" else DiffusionLMConfig
    size = DiffusionLMModel(make(**preset.model, vocab_size=preset.vocab_size)).num_parameters()
    assert float(words[words.index("M") - 1]) == pytest.approx(size / 1e6, abs=0.7)


@ROWS
def test_the_sources_are_there(name, shared_data: Path):
    assert [source for source in PRESETS[name].sources if not (shared_data / source).is_file()] == []


@ROWS
def test_no_row_trains_on_test_data(name):
    assert [source for source in PRESETS[name].sources if "test" in source] == []


def test_e2e_trains_on_sentences_not_on_fields(shared_data: Path):
    args = Namespace(dataset=None, train_files=None, validation_files=None, data_dir=str(shared_data), preset="e2e")
    kept, _ = training_texts(args, PRESETS["e2e"])
    assert kept[0].startswith("The Vaults pub near")
    assert not any("||" in text or " | " in text for text in kept)
