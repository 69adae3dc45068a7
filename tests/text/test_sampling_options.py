"""The options of commands that draw texts: each lands in its field of `Sampling`, in every command."""

import argparse
import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from textdiff.cli import run
from textdiff.diffusion.stagger import ORDERS
from textdiff.text.language_model import DiffusionLM
from textdiff.text.sampling import TEXT_SAMPLERS, Sampling
from textdiff.text.sampling_options import add_sampling_options, sampling_facts, sampling_of

GIVEN = "--steps 5 --sampler ddim --temperature 0.9 --top-p 0.8 --order random --seed 7"
CALLED = Sampling(num_inference_steps=5, sampler="ddim", temperature=0.9, top_p=0.8, order="random", seed=7)
COMMANDS = {
    "scripts.infill": ("--text A", 32, 0.7),
    "scripts.generate": ("", 64, 0.7),
    "scripts.evaluate": ("--task samples", 32, 0.7),
    "scripts.rewrite": ("--model m --text A", 32, 0.3),
    "scripts.control": ("", 32, 0.7),
    "scripts.image": ("caption --image a.png", 32, 0.7),
    "benchmarks.control": ("--judge j", 32, 0.7),
    "benchmarks.infilling": ("--judge j --source a=b --training-files c", 32, 0.7),
    "benchmarks.text_to_text": ("--preset de-en", 16, 0.3),
}


def parser_of(**options) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    add_sampling_options(parser, **options)
    return parser


def test_each_option_lands_in_its_field():
    args = parser_of().parse_args(GIVEN.split())
    assert Sampling(**sampling_of(args)) == CALLED
    assert sampling_of(args, seeded=False) == {k: v for k, v in sampling_of(args).items() if k != "seed"}


def test_defaults_are_those_of_the_library_and_a_fixed_seed():
    assert Sampling(**sampling_of(parser_of().parse_args([]))) == Sampling(seed=0)
    own = sampling_of(parser_of(steps=9).parse_args([]))
    assert Sampling(**own) == Sampling(num_inference_steps=9, seed=0)


def test_a_certificate_says_how_it_was_sampled():
    told = {"steps": 5, "sampler": "ddim", "order": "random", "temperature": 0.9, "top_p": 0.8}
    assert sampling_facts(parser_of().parse_args(GIVEN.split())) == told
    assert sampling_facts(parser_of().parse_args([]))["sampler"] == "the model's own"


def test_the_help_names_every_choice():
    said = " ".join(parser_of(steps=9, seed_help="of dice").format_help().split())
    assert all(f" {name}" in said for name in (*TEXT_SAMPLERS, *ORDERS))
    assert "denoising steps (default: 9)" in said and "of dice (default: 0)" in said


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_them_with_these_defaults(command):
    line, steps, temperature = COMMANDS[command]
    parse = import_module(command).parse_args
    assert Sampling(**sampling_of(parse(line.split()))) == Sampling(
        num_inference_steps=steps, temperature=temperature, seed=0
    )
    assert Sampling(**sampling_of(parse([*line.split(), *GIVEN.split()]))) == CALLED


def test_options_load_nothing_heavy(root: Path):
    heavy = "{'torch', 'numpy', 'tokenizers'}"
    code = f"import sys, textdiff.text.sampling_options\nassert not {heavy} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "line",
    [
        "scripts.infill --text [MASK:2]", "scripts.generate --length 4", "scripts.control --length 4",
        "scripts.rewrite --text A", "scripts.evaluate --task samples",
    ],
)  # fmt: skip
def test_an_unknown_order_is_one_sentence(line, bpe_lm: DiffusionLM, tmp_path: Path, monkeypatch, capsys):
    bpe_lm.save_pretrained(tmp_path)
    command, *given = [*line.split(), "--model", str(tmp_path), "--order", "sideways"]
    monkeypatch.setattr(sys, "argv", [command, *given])
    with pytest.raises(SystemExit) as stopped:
        run(import_module(command).main)
    assert stopped.value.code == 2
    orders = "stretches, spread, left, blocks, random"
    assert capsys.readouterr() == ("", f"error: Unknown order 'sideways': choose {orders}.\n")


def test_the_order_reaches_the_model(bpe_lm: DiffusionLM, tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setitem(bpe_lm.config, "stagger", 1.0)  # at 0 all tokens leave the noise together
    bpe_lm.save_pretrained(tmp_path)
    model, main = DiffusionLM.from_pretrained(tmp_path), import_module("scripts.generate").main
    texts = []
    for order in ORDERS:
        options = f"--model {tmp_path} --length 16 --num-samples 2 --steps 3 --order {order} --json"
        main(options.split())
        texts.append([json.loads(line) for line in capsys.readouterr().out.splitlines()])
        assert texts[-1] == model.generate(2, length=16, num_inference_steps=3, seed=0, order=order)
    assert texts[0] != texts[1]
