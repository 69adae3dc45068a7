"""Options of the commands that draw texts: steps, sampler, temperature, order and seed."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from textdiff.text.sampling import Options


TEMPERATURE, REWRITE_TEMPERATURE = 0.7, 0.3  # a source leaves less open than a blank: docs/log.md


def add_sampling_options(
    parser: argparse.ArgumentParser,
    *,
    steps: int = 32,
    temperature: float = TEMPERATURE,
    seed_help: str = "same seed, same texts",
) -> None:
    """The options that all such commands have.

    Args:
        parser: of the command.
        steps: default of --steps.
        temperature: default of --temperature.
        seed_help: what the seed is of, or does, in the command's own words.
    """
    add = parser.add_argument
    add("--steps", type=int, default=steps, help=f"denoising steps (default: {steps})")
    add("--sampler", help="categorical (default), ddpm, ddim, dpmpp_2m or churn")
    likelier = f"below 1: likelier, less varied (default: {temperature}; 1 = off)"
    add("--temperature", type=float, default=temperature, help=likelier)
    add("--top-p", type=float, default=1.0, help="draw from the likeliest tokens of this chance (default: 1 = off)")
    orders = "stretches, spread, left, blocks or random (default: the model's own)"
    add("--order", help=f"in which tokens leave the noise: {orders}")
    add("--seed", type=int, default=0, help=f"{seed_help} (default: 0)")


def sampling_of(args: argparse.Namespace, *, seeded: bool = True) -> Options:
    """How to sample, in the library's words; unchecked: `sampling.Sampling` refuses what is bad.

    Args:
        args: with the options of `add_sampling_options`.
        seeded: whether the seed is among them; not for calls that give every text a seed of its own.
    """
    options: Options = {
        "num_inference_steps": args.steps, "sampler": args.sampler, "temperature": args.temperature,
        "top_p": args.top_p, "order": args.order,
    }  # fmt: skip
    if seeded:
        options["seed"] = args.seed
    return options


def sampling_facts(args: argparse.Namespace) -> dict[str, Any]:
    """What a certificate says of these options, the seed apart."""
    return {
        "steps": args.steps, "sampler": args.sampler or "the model's own", "order": args.order or "the model's own",
        "temperature": args.temperature, "top_p": args.top_p,
    }  # fmt: skip
