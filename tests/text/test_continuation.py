"""Writers over a model with a script for a mind: what it is fed, where fills end, which token is taken."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from textdiff.metrics.judge import Judge
from textdiff.text.causal_rows import Sentinels
from textdiff.text.continuation import LeftToRight, MiddleFiller
from textdiff.text.plans import LONGEST_FREE_BLANK
from textdiff.text.tokenizer import train_bpe
from textdiff.text.vocabulary import Vocabulary, draw

SENTENCES = [
    "The little dog ran home.",
    "A cat sat on the mat, and it was happy.",
    "We saw the big red sun.",
] * 9
V, START, END = 300, 1, 2
MARKS = Sentinels.after(V)


@pytest.fixture(scope="module")
def bpe():
    return Vocabulary(train_bpe(SENTENCES, V), V)


def fast_tokenizer():
    transformers = pytest.importorskip("transformers")
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=train_bpe(SENTENCES, V), pad_token="<pad>", bos_token="<s>", eos_token="</s>"
    )


class Scripted(torch.nn.Module):
    """At step n behind its prompt it prefers the n-th list of tokens, in order; it remembers its prompts.

    Special tokens that are not in the list come before all others, so that only a bar keeps them out.
    """

    device = torch.device("cpu")

    def __init__(self, *script, sentinels=MARKS, positions=64):
        super().__init__()
        self.script, self.prompts = script, []
        named = {} if sentinels is None else {"fill_in_the_middle": sentinels._asdict()}
        self.config = SimpleNamespace(max_position_embeddings=positions, **named)

    def get_input_embeddings(self):
        return SimpleNamespace(num_embeddings=V + 3)

    def forward(self, input_ids, past_key_values, use_cache):
        step = 0 if past_key_values is None else past_key_values
        if step == 0:
            self.prompts += input_ids.tolist()
        wanted = self.script[min(step, len(self.script) - 1)]
        logits = torch.zeros(*input_ids.shape, V + 3)
        logits[..., [0, START, *MARKS]] = 90.0
        for rank, token in enumerate(wanted):
            logits[..., token] = 80.0 - 20 * rank
        return SimpleNamespace(logits=logits, past_key_values=step + 1)


def ids(bpe, *texts):
    return [bpe.encode(text)[0] for text in texts]


def test_a_middle_filler_is_fed_both_sides(bpe):
    model = Scripted(ids(bpe, "."))
    filler = MiddleFiller(Judge(model, fast_tokenizer()))
    filler.fills(["We saw ", "", "A cat"], [" sun.", " ran home.", ""], ["x"] * 3, seed=0)
    we, ran, cat = bpe.encode("We saw"), bpe.encode(" ran home."), bpe.encode("A cat")
    assert sorted(model.prompts) == sorted([
        [START, MARKS.prefix, *we, MARKS.suffix, *bpe.encode(" sun."), MARKS.middle],
        [START, MARKS.prefix, MARKS.suffix, *ran, MARKS.middle],
        [START, MARKS.prefix, *cat, MARKS.suffix, MARKS.middle],
    ])  # fmt: skip


@pytest.mark.parametrize("temperature", [0, 1])
def test_a_given_length_is_kept_to_the_token(bpe, temperature):
    """The script prefers the end and special tokens throughout."""
    dot = ids(bpe, ".")[0]
    filler = MiddleFiller(Judge(Scripted([END, dot]), fast_tokenizer()))
    originals = ["the big red sun" * 3, "cat"]
    fills = filler.fills(["A", "A"], ["", ""], originals, seed=0, temperature=temperature)
    assert fills == ["." * len(bpe.encode(originals[0])), "." * len(bpe.encode("cat"))]
    left = LeftToRight(Judge(Scripted([END, dot], sentinels=None), fast_tokenizer()))
    assert left.fills(["A", "A"], originals, seed=0, temperature=temperature) == fills


@pytest.mark.parametrize("temperature", [0, 1])
def test_a_free_length_ends_at_the_end_token_or_at_the_limit(bpe, temperature):
    comma, dot = ids(bpe, ",", ".")
    options = {"seed": 0, "temperature": temperature}
    for script, wanted in (
        ([[comma], [dot], [END], [dot]], ",."),
        ([[END, comma], [END]], ","),  # a blank is never empty
        ([[dot]], "." * LONGEST_FREE_BLANK),
    ):
        middle = MiddleFiller(Judge(Scripted(*script), fast_tokenizer()))
        assert middle.fills(["A cat"] * 2, [" sat", ""], None, **options) == [wanted] * 2
        left = LeftToRight(Judge(Scripted(*script, sentinels=None), fast_tokenizer()))
        assert left.fills(["A cat"] * 2, None, **options) == [wanted] * 2


def test_behind_a_space_a_word_begins(bpe):
    dot, the = ids(bpe, ".", " the")
    filler = MiddleFiller(Judge(Scripted([dot, the]), fast_tokenizer()))
    fills = filler.fills(["A ", "A", ""], ["."] * 3, ["the"] * 3, seed=0, temperature=0)
    assert fills[0] == "the" and set(fills[1] + fills[2]) == {"."}


@pytest.fixture(scope="module")
def judge():
    """A tiny GPT-2 with the three sentinels."""
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(
        vocab_size=V + 3, n_positions=48, n_embd=16, n_layer=2, n_head=2, bos_token_id=1, eos_token_id=2,
        initializer_range=0.4, fill_in_the_middle=MARKS._asdict(),
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = transformers.GPT2LMHeadModel(config)
    return Judge(model, fast_tokenizer(), "tiny")


SIDES = ["The little ", "", "A cat", "We saw the "], [" home.", " saw the sun.", " on the mat", ""]


@pytest.mark.parametrize("temperature", [0, 0.7, 1])
def test_middles_are_the_models_own_draws(judge, bpe, temperature):
    """Against one pass of the whole row for each token, without a cache."""
    fills = MiddleFiller(judge).fills(*SIDES, None, seed=3, temperature=temperature)
    banned = torch.cat([bpe.banned | bpe.fragment, torch.ones(3, dtype=torch.bool)])
    spaced, white = (torch.cat([mask, torch.zeros(3, dtype=torch.bool)]) for mask in (bpe.spaced, bpe.white))
    for i, (prefix, suffix) in enumerate(zip(*SIDES, strict=True)):
        row = MARKS.prompt(bpe.encode(prefix.removesuffix(" ")), bpe.encode(suffix))
        start = len(row)
        for step, u in enumerate(np.random.default_rng([3, i]).random(LONGEST_FREE_BLANK)):
            with torch.no_grad():
                logits = judge.model(torch.tensor([row])).logits[0, -1].double()
            barred = banned.clone()
            barred[END] = step == 0
            if step == 0 and prefix.endswith(" "):
                barred |= ~spaced
            elif step == 0 and not prefix:
                barred |= white
            odds = (logits / (temperature or 1)).exp().masked_fill(barred, 0.0)
            cumulative = odds.cumsum(-1) / odds.sum()
            row.append(int(odds.argmax()) if temperature == 0 else int((cumulative > u).nonzero()[0]))
            if row[-1] == END:
                row.pop()
                break
        text = bpe.decode(row[start:])
        assert fills[i] == (text.lstrip(" ") if prefix.endswith(" ") or not prefix else text)


def test_a_fill_depends_on_its_own_text_alone(judge):
    filler, originals = MiddleFiller(judge), ["dog ran", "We", "sat", "big red sun"]
    fills = filler.fills(*SIDES, originals, seed=3)
    assert fills == filler.fills(*SIDES, originals, seed=3, batch_size=1)
    assert fills[:2] == filler.fills(SIDES[0][:2], SIDES[1][:2], originals[:2], seed=3)
    assert fills != filler.fills(*SIDES, originals, seed=4)
    greedy = [filler.fills(*SIDES, originals, seed=seed, temperature=0) for seed in (3, 4)]
    assert greedy[0] == greedy[1]


def test_a_temperature_sharpens_the_odds():
    p = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64)
    points = torch.linspace(0, 1, 20001, dtype=torch.float64)[:-1]
    drawn = draw(p.log().expand(len(points), 3), points, temperature=0.5)
    share = torch.bincount(drawn, minlength=3) / len(points)
    assert torch.allclose(share.double(), p**2 / (p**2).sum(), atol=1e-4)
    assert draw(p.log()[None], points[:1], temperature=0).item() == 2


@pytest.mark.parametrize("temperature", [-1, math.nan, math.inf])
def test_a_wrong_temperature_is_refused(judge, temperature):
    with pytest.raises(ValueError, match="temperature is .*: give 1"):
        LeftToRight(judge).fills(["A"], ["cat"], seed=0, temperature=temperature)


def test_a_model_without_sentinels_fills_no_middle():
    with pytest.raises(ValueError, match="plain cannot fill a middle, its config names no sentinels"):
        MiddleFiller(Judge(Scripted([5], sentinels=None), fast_tokenizer(), "plain"))


def test_a_text_beyond_the_models_positions_is_refused(bpe):
    dot = ids(bpe, ".")
    prompt = 4 + len(bpe.encode("A cat"))
    fits = MiddleFiller(Judge(Scripted(dot, positions=prompt + LONGEST_FREE_BLANK - 1), fast_tokenizer()))
    assert fits.fills(["A cat"], [""], None, seed=0) == ["." * LONGEST_FREE_BLANK]
    small = MiddleFiller(Judge(Scripted(dot, positions=prompt + 6), fast_tokenizer(), "small"))
    with pytest.raises(ValueError, match=f"Text 1 would have {prompt + 7} tokens, and the model small reads"):
        small.fills(["A", "A cat"], ["", ""], None, seed=0)
