"""benchmarks/autoregressive.py: its size and its steps beside each preset's, and whole runs at toy size."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file

from textdiff.metrics.judge import Judge
from textdiff.text.causal_rows import Sentinels
from textdiff.text.continuation import LeftToRight, MiddleFiller
from textdiff.text.data import PackedRows
from textdiff.text.model import DiffusionLMConfig, DiffusionLMModel
from textdiff.text.presets import PRESETS, Preset
from textdiff.text.run import preset_data

TOY = Preset(
    name="toy", about="", sources={"toy.txt": 1.0}, vocab_size=300, row_length=40, batch_size=2, max_steps=3,
    model={
        "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64,
        "conditioning_size": 16, "max_position_embeddings": 24,
    },
)  # fmt: skip
NAMES = ["dog", "cat", "sun", "girl", "bird"]


@pytest.fixture(scope="module")
def script(imported):
    return imported("autoregressive")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """The folder of the toy preset's source: 250 sentences."""
    folder = tmp_path_factory.mktemp("data")
    lines = [f"The {a} saw {i} {b}s." for i in range(10) for a in NAMES for b in NAMES]
    (folder / "toy.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def train(script, data):
    """Runs the script on the toy preset."""

    def train(folder, *more):
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(PRESETS, "toy", TOY)
            line = ["--preset", "toy", "--output-dir", folder, "--data-dir", data, "--save-steps", 2, *more]
            script.main([str(part) for part in line])
        return folder

    return train


@pytest.fixture(scope="module")
def run(train, tmp_path_factory):
    """One finished run that fills the middle."""
    return train(tmp_path_factory.mktemp("runs") / "fim", "--fill-in-the-middle")


@pytest.mark.parametrize("fill_in_the_middle", [False, True])
@pytest.mark.parametrize("preset", [*PRESETS.values(), TOY], ids=lambda preset: preset.name)
def test_a_rival_is_as_large_as_the_presets_model(script, preset, fill_in_the_middle):
    transformers = pytest.importorskip("transformers")
    ours = script.diffusion_parameters(preset, preset.vocab_size)
    config = script.rival_config(preset, preset.vocab_size, fill_in_the_middle=fill_in_the_middle)
    with torch.device("meta"):
        model = transformers.GPT2LMHeadModel(config)
    assert model.num_parameters() == pytest.approx(ours, rel=0.05)
    shape = DiffusionLMConfig(**preset.model)
    assert (config.n_embd, config.n_head) == (shape.hidden_size, shape.num_attention_heads)
    added = 5 if fill_in_the_middle else 2
    assert config.n_positions == shape.max_position_embeddings + added
    assert config.vocab_size == preset.vocab_size + 3 * fill_in_the_middle


def test_our_parameters_are_counted_on_a_real_model(script):
    model = DiffusionLMModel(DiffusionLMConfig(**TOY.model, vocab_size=300))
    assert script.diffusion_parameters(TOY, 300) == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("fill_in_the_middle", [False, True])
def test_both_see_equally_many_tokens_of_text(script, data, tmp_path, fill_in_the_middle):
    cut = preset_data(TOY, tmp_path, data_dir=str(data), seed=0)
    config = script.rival_config(TOY, 300, fill_in_the_middle=fill_in_the_middle)
    rows, validation = script.rival_rows(TOY, cut, config, seed=0)
    ours = PackedRows(cut.train, TOY.row_length, total=None)
    tokens = sum(len(piece) for piece in cut.train)
    seen = TOY.max_steps * TOY.batch_size * tokens / len(ours)
    step = TOY.batch_size * tokens / len(rows.rows)
    assert len(rows) % TOY.batch_size == 0
    assert len(rows) / len(rows.rows) * tokens == pytest.approx(seen, abs=step / 2)
    assert len(rows) > TOY.max_steps * TOY.batch_size and len(validation) == len(validation.rows)
    special = {0, 1, 2, *(Sentinels.after(300) if fill_in_the_middle else ())}
    assert rows.tokens_per_row * len(rows.rows) == pytest.approx(tokens)
    once = sum(int(i) not in special for j in range(len(rows.rows)) for i in rows[j]["input_ids"])
    assert once == tokens


@pytest.mark.slow
def test_a_run_leaves_a_model_that_fills_middles(run):
    facts = json.loads((run / "training.json").read_text())
    judge = Judge.from_pretrained(run)
    assert facts["parameters"] == judge.model.num_parameters()
    V = len(judge.tokenizer)
    assert judge.model.config.fill_in_the_middle == {"prefix": V, "suffix": V + 1, "middle": V + 2}
    fills = MiddleFiller(judge).fills(["The "], [" saw 3 cats."], ["dog"], seed=0)
    assert len(fills) == 1 and fills[0] and not fills[0].startswith(" ")
    last = max(run.glob("checkpoint-*"), key=lambda folder: int(folder.name.rpartition("-")[2]))
    average = load_file(last / "ema.safetensors")
    assert torch.equal(average["lm_head.weight"], judge.model.transformer.wte.weight)  # one tensor
    assert (run / "curves.png").is_file() and not list(run.rglob("*.part"))


@pytest.mark.slow
def test_a_stopped_run_goes_on(run, train, tmp_path):
    stopped = tmp_path / "run"
    shutil.copytree(run, stopped)
    (stopped / "model.safetensors").unlink()
    last = max(int(folder.name.rpartition("-")[2]) for folder in stopped.glob("checkpoint-*"))
    shutil.rmtree(stopped / f"checkpoint-{last}")
    train(stopped, "--fill-in-the-middle")
    before, after = (load_file(folder / "model.safetensors") for folder in (run, stopped))
    assert all(torch.allclose(before[name], after[name], atol=1e-6) for name in before)


@pytest.mark.slow
def test_a_plain_rival_charges_and_writes(train, run, tmp_path):
    judge = Judge.from_pretrained(train(tmp_path / "run", "--max-steps", "1"))
    facts = json.loads((tmp_path / "run" / "training.json").read_text())
    assert facts["preset"]["max_steps"] == 1 and facts["validation"]["eval_loss"] > 0
    assert judge.model.config.vocab_size == len(judge.tokenizer)
    assert judge.nll(["The dog saw 3 cats."])[0][0] > 0
    assert len(LeftToRight(judge).fills(["The "], ["dog"], seed=0)) == 1
    with pytest.raises(ValueError, match="names no sentinels"):
        MiddleFiller(judge)


def test_another_run_is_not_gone_on_with(run, train):
    with pytest.raises(ValueError, match="holds a run with other settings"):
        train(run)
