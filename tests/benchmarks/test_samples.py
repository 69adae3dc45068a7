"""benchmarks/samples.py from end to end on tiny random models."""

import json

import pytest

from textdiff.text.language_model import DiffusionLM

NEEDED = "--model model --judge judge --real more.txt --training-files train.txt"


def test_a_row_for_each_setting_beside_real_text_and_the_judges_own(load, place, tmp_path, capsys):
    out = tmp_path / "samples.json"
    line = f"{NEEDED} --steps 1 2 --samplers ddpm churn --num-samples 3 --temperatures 1 --json {out}"
    load("samples").main(line.split())
    found = json.loads(out.read_text())
    rows = found["rows"]
    assert [(row["texts"], row.get("steps")) for row in rows] == [
        ("real text", None), ("the judge's own", None), ("ddpm", 1), ("ddpm", 2), ("churn", 1), ("churn", 2),
    ]  # fmt: skip
    lines = (place / "more.txt").read_text().splitlines()
    assert len(set(rows[0]["samples"])) == 3 and set(rows[0]["samples"]) <= set(lines)
    assert found["ratios_by_sampler"].keys() == {"ddpm", "churn"}
    assert found["judge_perplexity_ratio_to_ar_at_data_entropy"] == {"1": None, "2": None}  # no sweep, no line
    model = DiffusionLM.from_pretrained(place / "model")
    assert rows[3]["samples"] == model.generate(3, num_inference_steps=2, sampler="ddpm", temperature=1.0, seed=0)
    wanted = {"judge_perplexity", "entropy_per_text", "distinct_4", "self_bleu", "mean_longest_copy", "mmd"}
    assert all(row["n"] == len(row["samples"]) == 3 and wanted <= set(row) for row in rows)
    assert found["certificate"]["judge"] == "judge"
    assert out.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    shown = capsys.readouterr().out
    assert shown.count("\n| ") >= 7 and "| the judge's own |" in shown


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--num-samples 4", "3 real texts for 4 samples"),
        ("--num-samples 1", "--num-samples is 1"),
        ("--samplers ddpm euler", "Unknown sampler 'euler'"),
        ("--steps 8 0", "num_inference_steps is 0"),
        ("--top-p 1 0", "top_p is 0.0"),
        ("--num-samples 2 --top-p 1 0.9", "top_p is 0.9: it is for the sampler 'categorical' of models that read"),
        ("--json no/where.json", "Cannot write no/where.json"),
        ("--rivals-from no/where.json", "No file no/where.json"),
    ],
)  # fmt: skip
def test_what_is_refused(load, line, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        load("samples").main([*NEEDED.split(), *line.split()])


def test_masked_diffusion_stands_beside_the_samplers(load, place, tmp_path):
    samples = load("samples")
    from masked_model import MaskedConfig, MaskedModel

    from textdiff.text.denoiser import DenoiserConfig
    from textdiff.text.tokenizer import load_tokenizer, save_tokenizer

    shape = DenoiserConfig(vocab_size=300, max_position_embeddings=32, hidden_size=16, num_hidden_layers=1)
    counts = [0, 0, 0, 0, 5, 5, 5]
    MaskedModel(MaskedConfig.like(shape, length_counts=counts)).save_pretrained(tmp_path / "masked")
    save_tokenizer(load_tokenizer(place / "judge"), tmp_path / "masked")
    out = tmp_path / "samples.json"
    line = f"{NEEDED} --steps 2 --samplers categorical --orders random --temperatures 1 --num-samples 3 --json {out}"
    samples.main([*line.split(), "--masked", str(tmp_path / "masked")])
    rows = json.loads(out.read_text())["rows"][2:]
    assert [(row["texts"], row["nfe"], row["temperature"]) for row in rows] == [
        ("categorical, random order", 3, 1.0), ("mdlm", 2, 1.0), ("mdlm, spread order", 2, 1.0),
        ("mdlm, stretches order", 2, 1.0),
    ]  # fmt: skip
    assert all(len(row["samples"]) == 3 and row["judge_perplexity"] > 1 for row in rows)
    with pytest.raises(ValueError, match="holds no masked-diffusion model"):
        samples.main([*NEEDED.split(), "--num-samples", "2", "--masked", "judge", "--json", str(out)])


def test_rivals_are_judged_anew_from_an_earlier_file(load, tmp_path):
    before, out = tmp_path / "before.json", tmp_path / "samples.json"
    texts = ["The dog sat.", "We saw it.", "A cat."]
    rival = {"texts": "mdlm", "steps": 2, "nfe": 2, "temperature": 0.9, "judge_perplexity": 1.0, "samples": texts}
    before.write_text(json.dumps({"rows": [{"texts": "ddpm", "steps": 1, "samples": texts}, rival]}))
    line = f"{NEEDED} --steps 1 --samplers ddpm --temperatures 1 --num-samples 3 --json {out} --rivals-from {before}"
    samples = load("samples")
    samples.main(line.split())
    last = json.loads(out.read_text())["rows"][-1]
    assert (last["texts"], last["temperature"], last["samples"]) == ("mdlm", 0.9, texts)
    assert last["judge_perplexity"] > 1
    for wrong in ("rows", "nothing"):
        before.write_text(json.dumps({wrong: [{**rival, "samples": texts[:2]}]}))
        with pytest.raises(ValueError, match="no rows of masked diffusion with 3 texts each"):
            samples.main(line.split())
