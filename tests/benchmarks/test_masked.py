"""benchmarks/masked.py from end to end on three sentences."""

import json
import math
import shutil

import pytest
import torch
from safetensors.torch import load_file


@pytest.fixture(scope="module")
def read_masked(imported):
    return imported("masked_model").read_masked


def test_a_run_leaves_a_model_and_a_stopped_one_ends_alike(imported, read_masked, toy_options, tmp_path):
    main, whole, stopped = imported("masked").main, tmp_path / "whole", tmp_path / "stopped"
    main([*toy_options, str(whole)])
    model, vocabulary = read_masked(whole)
    sentence = "The little dog ran home."
    assert vocabulary.decode(vocabulary.encode(sentence)) == sentence
    assert sum(model.config.length_counts) > 100 and model.config.length_counts[0] == 0
    facts = json.loads((whole / "training.json").read_text())
    assert facts["parameters"] == model.num_parameters()
    assert facts["validation"]["eval_loss"] == pytest.approx(math.log(300), rel=0.2)  # barely trained
    assert (whole / "curves.png").is_file()
    stopped.mkdir()
    for name in ("run.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(whole / name, stopped)
    shutil.copytree(whole / "checkpoint-2", stopped / "checkpoint-2")
    (stopped / "checkpoint-3").mkdir()  # cut short
    main([*toy_options, str(stopped)])
    ends = [load_file(folder / "model.safetensors") for folder in (whole, stopped)]
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


def test_a_model_of_another_kind_is_not_read(read_masked, tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "textdiff"}')
    with pytest.raises(ValueError, match="holds no masked-diffusion model"):
        read_masked(tmp_path)
