"""benchmarks/speed.py from end to end on a tiny random model, and its GPT-2 against closed forms."""

import json
from statistics import median
from types import SimpleNamespace

import pytest
import torch

from textdiff.text.denoiser import DenoiserConfig, TextDenoiser
from textdiff.text.language_model import DiffusionLM

TINY = (
    "--model model --lengths 8 4 --batches 1 2 --length 4 --batch 2 --steps 2 --rows 2 --row-length 40 "
    "--matrix-size 16 --repeats 2"
)


@pytest.fixture
def speed(load):
    return load("speed")


def test_every_table_of_one_run(speed, place, tmp_path, capsys):
    out = tmp_path / "speed.json"
    speed.main([*TINY.split(), "--text", "The [MASK:2] dog.", "--json", str(out)])
    found = json.loads(out.read_text())
    tables = {name: rows for name, rows in found.items() if name != "certificate"}
    assert {name: len(rows) for name, rows in tables.items()} == {
        "infilling": 2, "matrix_rate": 2, "training": 8, "generation": 6,
        "growth_with_length": 4, "growth_with_batch": 4,
    }  # fmt: skip
    certificate = found["certificate"]
    assert certificate["gpt2_parameters"] == pytest.approx(certificate["parameters"], rel=0.05)
    assert certificate["nfe"] == 3
    for row in tables["matrix_rate"]:
        assert row["gflops_per_second"] == pytest.approx(2 * 16**3 / 1e9 / median(row["seconds"]))
    rates = {row["dtype"]: row["gflops_per_second"] for row in tables["matrix_rate"]}
    for row in tables["training"] + tables["generation"]:
        ratios = [b / a for a, b in zip(row["seconds"], row["gpt2_seconds"], strict=True)]
        assert len(ratios) == 2 and row["ratio"] == pytest.approx(median(ratios))
        assert (row["ratio_min"], row["ratio_max"]) == (min(ratios), max(ratios))
        tokens = 2 * 40 if "part" in row else row["batch"] * row["length"]
        assert row["tokens_per_second"] == pytest.approx(tokens / median(row["seconds"]))
        for side in ("", "gpt2_"):
            took = median(row[f"{side}seconds"]) * rates[row["dtype"]]
            assert row[f"{side}of_matrix_rate"] == pytest.approx(row[f"{side}gflops"] / took)
    shown = capsys.readouterr().out
    assert all(f"\n{name.replace('_', ' ')}\n\n| " in shown for name in tables)
    assert "| seconds" not in shown


def test_parts_of_a_step_add_up_and_longer_texts_are_more_work(speed, tmp_path):
    out = tmp_path / "speed.json"
    line = f"{TINY} --dtypes float32 --repeats 1 --json {out}"
    speed.main([*line.split(), "--text", "The [MASK:2] dog."])
    found = json.loads(out.read_text())
    *parts, step = found["training"]
    assert [row["part"] for row in (*parts, step)] == ["forward", "backward", "AdamW", "step"]
    for name in ("seconds", "gpt2_seconds"):
        assert step[name] == [pytest.approx(sum(row[name][0] for row in parts))]
    for name in ("gflops", "gpt2_gflops"):
        forward, backward, update = (row[name] for row in parts)
        assert step[name] == pytest.approx(forward + backward) and update == 0
    assert parts[1]["gpt2_gflops"] == pytest.approx(2 * parts[0]["gpt2_gflops"])
    work = {(row["batch"], row["length"]): row["gflops"] for row in found["generation"]}
    assert list(work) == [(2, 8), (2, 4), (1, 4)]
    assert work[2, 4] == pytest.approx(2 * work[1, 4]) and work[2, 8] > 2 * work[2, 4]
    assert [row["length"] for row in found["growth_with_length"]] == [4, 8]


def stub(**shape):
    """What `rival_shape` asks of a model."""
    denoiser = TextDenoiser(DenoiserConfig(**shape))
    return SimpleNamespace(denoiser=denoiser, window=denoiser.config.max_position_embeddings)


@pytest.mark.parametrize(
    "shape",
    [
        {},
        {"hidden_size": 128, "num_hidden_layers": 3, "intermediate_size": 256},
        {"vocab_size": 300, "hidden_size": 32, "num_hidden_layers": 1, "intermediate_size": 64},
    ],
)
def test_the_rival_is_of_the_same_size(speed, shape):
    model = stub(**shape)
    config = speed.rival_shape(model)
    rival = speed.rival(config)
    assert rival.num_parameters() == pytest.approx(speed.size(model.denoiser), rel=0.05)
    assert rival.config.vocab_size == model.denoiser.config.vocab_size
    assert rival.config.n_embd == model.denoiser.config.hidden_size


def test_the_rivals_forward_pass_is_two_operations_a_weight_and_attention(speed):
    shape = {"vocab_size": 50, "n_positions": 10, "n_embd": 8, "n_layer": 3, "n_head": 2, "n_inner": 24}
    rival, ids = speed.rival(shape, "eager").eval(), torch.ones(4, 10, dtype=torch.long)
    weights = 3 * (4 * 8 * 8 + 2 * 8 * 24) + 8 * 50
    attention = 3 * 2 * 10 * 8  # a token's products with all positions, of queries and of values
    assert speed.flops(lambda: rival(ids)) == 2 * 40 * (weights + attention)


def test_the_rival_never_stops_early(speed, place):
    model = DiffusionLM.from_pretrained(place / "model")
    rival = speed.rival(speed.rival_shape(model)).eval()
    rival.lm_head.weight.data.zero_()  # all tokens alike, the end token among them
    torch.manual_seed(0)
    start = torch.full((64, 1), speed.START)
    ids = rival.generate(start, do_sample=True, top_k=0, min_new_tokens=30, max_new_tokens=30)
    assert ids.shape == (64, 31) and (ids[:, 1:] == 2).any()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--lengths 4 33", "beyond the window, 32 tokens"),
        ("--length 33", "beyond the window, 32 tokens"),
        ("--batches 1 0", "--batches is 0: it must be at least 1"),
        ("--steps 0", "--steps is 0"),
        ("--rows 0", "--rows is 0"),
        ("--matrix-size 0", "--matrix-size is 0"),
        ("--repeats 0", "--repeats is 0"),
        ("--threads 0", "--threads is 0"),
        ("--row-length 33", "the longest piece needs 34"),
        ("--text whole", "blank"),
        ("--json no/where.json", "Cannot write no/where.json"),
        ("--model nowhere", "No model folder 'nowhere'"),
    ],
)
def test_what_is_refused(speed, line, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        speed.main([*TINY.split(), "--json", "-", *line.split()])


def test_an_unknown_dtype_is_refused(speed, capsys):
    with pytest.raises(SystemExit) as stop:
        speed.main(["--dtypes", "int8"])
    assert stop.value.code == 2 and "float32" in capsys.readouterr().err


def test_a_fresh_process_that_fails_says_why(speed, place, tmp_path, monkeypatch):
    monkeypatch.setattr(speed, "ROOT", tmp_path)
    model = DiffusionLM.from_pretrained(place / "model")
    args = speed.parse_args([*TINY.split(), "--text", "The [MASK:2] dog."])
    with pytest.raises(ValueError, match="scripts/infill.py failed: .*No such file"):
        speed.infilling(args, model)


def test_a_model_too_small_for_any_rival_is_refused(speed):
    model = stub(vocab_size=300, hidden_size=32, num_hidden_layers=1, intermediate_size=4)
    model.denoiser = torch.nn.Linear(2, 2)
    model.denoiser.config = DenoiserConfig(vocab_size=300, hidden_size=32)
    with pytest.raises(ValueError, match="No GPT-2 of width 32 has only 6 parameters"):
        speed.rival_shape(model)
