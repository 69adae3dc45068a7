#!/usr/bin/env python3
"""The rival: a GPT-2 (transformers) of the same size, tokenizer, data and tokens seen as a trained diffusion model.

    python benchmarks/autoregressive.py --model runs/english --output-dir runs/english-gpt2

It reads the diffusion run's records, so that both see the same pieces of text and equally many of their tokens.
Every piece is `<s> tokens </s>`; rows are packed and attention stays within a piece. The result is also the judge of
generated text.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from textdiff.cli import run


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Command line of the script."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="folder of the diffusion run to rival")
    parser.add_argument("--output-dir", required=True, help="folder for the baseline")
    parser.add_argument("--data-dir", default="../shared/data", help="folder of the preset's sources")
    parser.add_argument("--hidden-size", type=int, default=256, help="width (default: 256)")
    parser.add_argument("--layers", type=int, default=8, help="blocks (default: 8: 7.4 M parameters at 4,096 words)")
    parser.add_argument("--learning-rate", type=float, default=1.5e-3, help="peak")
    parser.add_argument("--save-steps", type=int, default=500, help="steps between checkpoints")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Train the baseline, or go on from its last checkpoint."""
    args = parse_args(argv)
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel, set_seed

    from textdiff.text.causal_rows import CausalRows
    from textdiff.text.presets import Preset
    from textdiff.text.run import FACTS_FILE, run_pieces, run_preset, training_arguments
    from textdiff.text.tokenizer import load_tokenizer, save_tokenizer
    from textdiff.text.training import DiffusionTrainer, EMACallback, latest_checkpoint, write_curves

    if not Path(args.model, FACTS_FILE).is_file():
        raise ValueError(f"{args.model} is no finished run ({FACTS_FILE} is missing): train the diffusion model first.")
    folder, preset, tokenizer = Path(args.output_dir), run_preset(args.model), load_tokenizer(args.model)
    train, validation = run_pieces(args.model, data_dir=args.data_dir)
    set_seed(0)
    config = GPT2Config(
        vocab_size=tokenizer.get_vocab_size(), n_positions=66, n_embd=args.hidden_size, n_layer=args.layers,
        n_head=args.hidden_size // 64, bos_token_id=1, eos_token_id=2, pad_token_id=0,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
    )  # fmt: skip
    kernel = "sdpa" if torch.cuda.is_available() else "eager"
    model = GPT2LMHeadModel._from_config(config, attn_implementation=kernel)
    row_length = max(preset.row_length, config.n_positions)
    rows = CausalRows(train, row_length, total=None)
    tokens = preset.max_steps * preset.batch_size * preset.row_length
    steps = round(tokens / (rows.content_tokens_per_row * preset.batch_size))
    rows.total = steps * preset.batch_size
    held_out = CausalRows(validation, row_length, total=None, seed=1)
    held_out.total = min(held_out.total, 256)
    ema = EMACallback(model, 0.998)
    values = {"max_steps": steps, "learning_rate": args.learning_rate}
    arguments = training_arguments(trainer_settings(args), Preset(**{**preset.__dict__, **values}))
    arguments.label_names = ["labels"]
    trainer = DiffusionTrainer(model=model, args=arguments, train_dataset=rows, eval_dataset=held_out, ema=ema)
    checkpoint = latest_checkpoint(folder)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    trainer.evaluate()
    if trainer.is_world_process_zero():
        model.load_state_dict(ema.average.module.state_dict())
        model.save_pretrained(folder)
        save_tokenizer(tokenizer, folder)
        write_curves(trainer.state.log_history, folder)


def trainer_settings(args: argparse.Namespace) -> argparse.Namespace:
    """What `training_arguments` asks of a command line."""
    return argparse.Namespace(
        output_dir=args.output_dir, save_steps=args.save_steps, eval_steps=args.save_steps, logging_steps=50, seed=0,
        gradient_accumulation_steps=1, bf16=True, use_cpu=False, compile=False, fsdp="",
    )  # fmt: skip


if __name__ == "__main__":
    run(main)
