"""What may stand in the blanks of plans."""

import pytest
import torch

from textdiff.text.blanks import parse
from textdiff.text.language_model import DiffusionLM
from textdiff.text.plans import Planner, barred_tokens, blank_plan


def test_bars_are_the_vocabularys_in_blanks_and_nowhere_else(bpe_lm: DiffusionLM) -> None:
    vocabulary = bpe_lm.vocabulary
    planner = Planner(parse("A cat [MASK:3] mat."), vocabulary, bpe_lm.window, [])
    plans = [planner.plan([3]), blank_plan(2)]
    barred = barred_tokens(plans, vocabulary)
    assert barred.shape == (2, len(plans[0].ids), bpe_lm.denoiser.config.vocab_size)
    span = plans[0].spans[0]
    assert barred[0, span].equal(vocabulary.barred(3, rule=plans[0].rules[0]))
    known = torch.tensor(plans[0].known)
    assert known.sum() == len(plans[0].ids) - 3 and not barred[0, known].any()
    assert barred[1, :2].equal(vocabulary.barred(2, rule=plans[1].rules[0])) and not barred[1, 2:].any()


def test_special_tokens_are_barred_and_a_typed_space_decides_the_first_token(bpe_lm: DiffusionLM) -> None:
    vocabulary = bpe_lm.vocabulary
    spaced = vocabulary.barred(2, rule="spaced")
    assert (~spaced[0]).sum() > 0 and not (~spaced[0] & ~vocabulary.spaced).any()
    assert not (~vocabulary.barred(2, rule="unspaced")[0] & vocabulary.white).any()
    assert vocabulary.barred(2)[1].equal(vocabulary.banned) and vocabulary.banned[0]


@pytest.mark.parametrize("steps", [1, 4])
def test_samplers_draw_no_barred_token(bpe_lm: DiffusionLM, steps: int) -> None:
    """Not on the way either: what neighbours see is what will be read."""
    seen = []

    def watch(p: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        seen.append(p.detach())
        return p.sum((1, 2))

    bpe_lm.generate(3, length=5, num_inference_steps=steps, seed=0, control=watch, guidance_rounds=1)
    assert len(seen) == steps + 1
    assert all((p * bpe_lm.vocabulary.banned).sum() == 0 for p in seen)
