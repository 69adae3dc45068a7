"""Strings in, strings out: a toy language learnt in seconds is infilled exactly; noise, lengths and errors."""

import math
import re

import numpy as np
import pytest
import torch

from textdiff.text.data import known_mask
from textdiff.text.language_model import DiffusionLM
from textdiff.text.plans import Plan
from textdiff.text.ranking import ORDINARY_NATS, agreement, fill_nats, whole_text_scores
from textdiff.text.tokenizer import train_word_level

LANGUAGE = """two birds sing
the cat drinks milk at home
the fish swims in cold water
we feed the hungry pigs at noon
my old horse eats green grass all day
a dog chases the red ball in our garden""".split("\n")


@pytest.fixture(scope="module")
def toy() -> DiffusionLM:
    """A model of the toy language, six sentences, trained here."""
    from textdiff.text.model import DiffusionLMConfig, DiffusionLMModel

    tokenizer = train_word_level(LANGUAGE, min_count=1)
    sentences = [tokenizer.encode(sentence).ids for sentence in LANGUAGE]
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    counts = [len([ids for ids in sentences if len(ids) == n]) for n in range(10)]
    config = DiffusionLMConfig(
        vocab_size=tokenizer.get_vocab_size(), max_position_embeddings=12, length_counts=counts,
        self_conditioning_rate=0.0, **shape,  # carried estimates take sides: docs/log.md
    )
    model = DiffusionLMModel(config)
    vectors = [model.denoiser.embedding.weight]
    others = [parameter for parameter in model.parameters() if parameter is not vectors[0]]
    optimizer = torch.optim.AdamW([{"params": others}, {"params": vectors}], betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, [5e-3, 3e-2], total_steps=500, pct_start=0.1)
    rng = np.random.default_rng(0)
    for step in range(500):
        ids, mask = torch.zeros(2, 32, 9, dtype=torch.long)
        known = torch.zeros(32, 9, dtype=torch.bool)
        for row, chosen in enumerate(rng.integers(6, size=32)):
            length = len(sentences[chosen])
            ids[row, :length] = torch.tensor(sentences[chosen])
            mask[row, :length] = 1
            known[row, :length] = torch.from_numpy(known_mask(length, rng))
        loss = model(ids, mask, known, sample_index=torch.arange(32) + 32 * step).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        schedule.step()
    return DiffusionLM(model.denoiser, model.scheduler, tokenizer, config=config.to_dict())


@pytest.mark.parametrize("sampler", ["categorical", "ddpm", "ddim", "dpmpp_2m", "churn"])
def test_a_toy_language_is_infilled_exactly(toy: DiffusionLM, sampler: str) -> None:
    for sentence in LANGUAGE[1:]:
        words = sentence.split()
        text = " ".join(["[MASK:1]", words[1], "[MASK:2]", *words[4:-1], "[MASK:1]"])
        found = toy.infill(text, seed=1, sampler=sampler, num_inference_steps=16, num_samples=4)
        assert found[0].text == sentence


@pytest.mark.parametrize("rank", ["bound", "mbr"])
def test_fills_of_both_rankings_are_of_the_language(toy: DiffusionLM, rank: str) -> None:
    for sentence in LANGUAGE[1:]:
        words = sentence.split()
        text = " ".join([*words[:2], "[MASK:3]", *words[5:]])
        assert toy.infill(text, seed=0, rank=rank)[0].text == sentence


def test_ranking_favours_neither_short_nor_long_fills(toy: DiffusionLM) -> None:
    plans = [Plan((5,) * (10 + n), (True,) * 10 + (False,) * n, (), ()) for n in (1, 3, 8, 2, 2)]
    nats = [ORDINARY_NATS * n for n in (1, 3, 8)] + [2.0, 3.0]
    *ordinary, good, bad = whole_text_scores(toy.denoiser, plans, nats)
    assert ordinary == pytest.approx([-ORDINARY_NATS] * 3)
    assert good > bad


def test_generated_texts_are_of_the_language_in_its_proportions(toy: DiffusionLM) -> None:
    texts = toy.generate(120, seed=1, temperature=1.0)
    assert sum(text in LANGUAGE for text in texts) >= 100
    assert all(8 <= texts.count(sentence) <= 34 for sentence in LANGUAGE)  # 20 expected, deviation 4.1
    assert {len(text.split()) for text in toy.generate(8, length=(6, 7), seed=0)} == {6, 7}
    assert [len(text.split()) for text in toy.generate(2, length=7, seed=0)] == [7, 7]


def test_completion(toy: DiffusionLM) -> None:
    found = toy.complete("the cat drinks", length=3, seed=0, num_samples=8)
    assert found[0].text == "the cat drinks milk at home"


def test_the_bound_of_the_toy_language(toy: DiffusionLM) -> None:
    """Given its length, a text costs log(its rivals of that length); its length costs the rest of log(6)."""
    found = toy.score([LANGUAGE[1], LANGUAGE[2]] * 24, levels=16)
    assert math.log(2) / 6 - 0.02 < found.nats_per_token < math.log(2) / 6 + 0.13
    assert found.length_nats_per_token == pytest.approx(math.log((6 + 12) / (2 + 1)) / 6)
    wrong = toy.score("the cat swims milk in home", levels=32)
    assert wrong.nats_per_token > 5 * found.nats_per_token


def test_scores_tell_right_from_wrong(toy: DiffusionLM) -> None:
    texts = [LANGUAGE[1], "the dog drinks milk at home", "the cat drinks water at home", "the red drinks sing at home"]
    known = (True, False, True, False, True, True)
    plans = [Plan(tuple(toy.vocabulary.encode(text)), known, (), ()) for text in texts]
    right, *wrong = fill_nats(toy.denoiser, toy.scheduler, plans, seed=0).tolist()
    assert -0.05 < right < 0.5
    assert min(wrong) > right + 1


def test_a_seed_fixes_each_sample_however_many_are_drawn(bpe_lm: DiffusionLM) -> None:
    for options in ({"sampler": "ddpm"}, {"sampler": "dpmpp_2m"}):
        many = bpe_lm.generate(40, seed=5, num_inference_steps=3, **options)
        assert bpe_lm.generate(3, seed=5, num_inference_steps=3, **options) == many[:3]
        *_, few = bpe_lm.infill_steps(
            "The [MASK] ran to [MASK:2].", num_samples=2, seed=5, num_inference_steps=3, **options
        )
        *_, more = bpe_lm.infill_steps(
            "The [MASK] ran to [MASK:2].", num_samples=9, seed=5, num_inference_steps=3, **options
        )
        assert few == more[:2]
    assert len(set(many)) > 30
    assert bpe_lm.generate(3, seed=6, num_inference_steps=3) != many[:3]


def test_generators_and_global_state(bpe_lm: DiffusionLM) -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    one, again, other = (
        bpe_lm.generate(2, num_inference_steps=2, generator=torch.Generator().manual_seed(s)) for s in (1, 1, 2)
    )
    assert one == again != other
    assert bpe_lm.generate(2, num_inference_steps=2) != bpe_lm.generate(2, num_inference_steps=2)
    assert torch.equal(torch.get_rng_state(), before)


def test_steps_end_in_the_result(bpe_lm: DiffusionLM) -> None:
    steps = list(bpe_lm.infill_steps("A [MASK:3].", num_samples=2, seed=0, num_inference_steps=6))
    assert len(steps) == 7 and all(len(readings) == 2 for readings in steps)
    found = bpe_lm.infill("A [MASK:3].", num_samples=2, seed=0, num_inference_steps=6)
    assert {one.text for one in found} == set(steps[-1])
    assert list(bpe_lm.generate_steps(2, seed=0, num_inference_steps=2))[-1] == bpe_lm.generate(
        2, seed=0, num_inference_steps=2
    )


def test_candidates_are_distinct_and_best_first(bpe_lm: DiffusionLM) -> None:
    found = bpe_lm.infill("The [MASK:1] cat.", num_samples=40, seed=0, num_inference_steps=2)
    assert len({one.text for one in found}) == len(found) > 1
    assert all(one.text == f"The {one.fills[0]} cat." for one in found)
    scores = [one.score for one in found]
    assert scores == sorted(scores, reverse=True)


def test_special_tokens_are_never_read_out(bpe_lm: DiffusionLM) -> None:
    texts = bpe_lm.generate(50, seed=0, num_inference_steps=1)
    assert not any(special in text for text in texts for special in ("<pad>", "<s>", "</s>"))
    logits = torch.zeros(4, 300)
    logits[:, :3] = 100.0
    assert min(bpe_lm.vocabulary.read(logits)) > 2


def test_special_tokens_in_a_users_text_are_plain_text(bpe_lm: DiffusionLM) -> None:
    assert min(bpe_lm.vocabulary.encode("<s>a</s><pad>")) > 2


@pytest.mark.parametrize("text", ["[MASK:2]", "[MASK:4-7]"])
def test_blank_lengths_are_as_asked(bpe_lm: DiffusionLM, text: str) -> None:
    from textdiff.text.blanks import parse
    from textdiff.text.plans import Planner

    planner = Planner(parse(f"A {text} b ___."), bpe_lm.vocabulary, 24, [])
    drawn = [planner.lengths(0, k) for k in range(50)]
    low, high = [int(n) for n in re.findall(r"\d", text * 2)][:2]
    assert {lengths[0] for lengths in drawn} == set(range(low, high + 1))
    assert {lengths[1] for lengths in drawn} == set(range(1, 9))
    assert planner.lengths(0, 7) == drawn[7]


def test_a_text_beyond_the_window_is_cropped_at_sentences_and_comes_back_whole(bpe_lm: DiffusionLM) -> None:
    from textdiff.text.blanks import parse
    from textdiff.text.plans import Planner

    before, after = "The little dog ran home. " * 9 + "A cat ", " the mat. The little dog ran home. We saw." * 5
    planner = Planner(parse(f"{before}[MASK:2]{after}"), bpe_lm.vocabulary, 24, [])
    plan = planner.plan([2])
    assert 14 <= len(plan.ids) <= 24
    shown = [bpe_lm.vocabulary.decode(ids) for ids in (plan.ids[: plan.spans[0].start], plan.ids[plan.spans[0].stop :])]
    assert before.strip().endswith(shown[0]) and shown[0].startswith(("The", "A"))
    assert after.startswith(shown[1]) and shown[1].endswith(".")
    found = bpe_lm.infill(f"{before}[MASK:2]{after}", num_samples=1, num_inference_steps=1, seed=0)[0]
    assert found.text.startswith(before) and found.text.endswith(after)
    one_long_word = "x" * 300
    plan = Planner(parse(f"{one_long_word}[MASK:2]{one_long_word}"), bpe_lm.vocabulary, 24, []).plan([2])
    assert len(plan.ids) == 24 and plan.spans == (slice(11, 13),)


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("", {}, "empty"),
        ("The cat.", {}, "no blank"),
        ("[MASK:25]", {}, "window has 24"),
        ("[MASK] " + "The little dog ran home. " * 9 + "[MASK]", {}, "window has 24"),
        ("[MASK]", {"sampler": "euler"}, "categorical, ddim, ddpm"),
        ("[MASK]", {"num_inference_steps": 0}, "num_inference_steps is 0"),
        ("[MASK]", {"num_inference_steps": -3}, "num_inference_steps is -3"),
        ("[MASK]", {"num_samples": 0}, "num_samples is 0"),
        ("[MASK]", {"rank": "best"}, "bound or mbr"),
        ("[MASK]", {"seed": -1}, "seed is -1"),
        ("[MASK]", {"temperature": 0.0}, "temperature is 0.0"),
    ],
)
def test_bad_input_is_refused_in_a_sentence(bpe_lm: DiffusionLM, text: str, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        bpe_lm.infill(text, **options)


def test_every_text_may_have_its_length(word_lm: DiffusionLM) -> None:
    texts = word_lm.generate(3, length=[4, 2, 7], num_inference_steps=2, seed=0)
    assert [len(text.split()) for text in texts] == [4, 2, 7]
    with pytest.raises(ValueError, match="are for 3 texts: give a number for each."):
        word_lm.generate(3, length=[4, 2])
    with pytest.raises(ValueError, match="length is 0: it must be 1 to"):
        word_lm.generate(1, length=[0])


@pytest.mark.parametrize("length", [0, 25, (3, 2), (1, 99)])
def test_bad_lengths_are_refused(bpe_lm: DiffusionLM, length: int | tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="1 to 24 tokens"):
        bpe_lm.generate(1, length=length)


@pytest.mark.parametrize("text", ["[MASK]", "___ ___", "[MASK][MASK]", "[MASK] in the middle [MASK]"])
def test_blanks_anywhere(bpe_lm: DiffusionLM, word_lm: DiffusionLM, text: str) -> None:
    for model in (bpe_lm, word_lm):
        for rank in ("bound", "mbr"):
            assert model.infill(text, num_samples=3, num_inference_steps=1, seed=0, rank=rank)


def test_minimum_bayes_risk_prefers_the_candidate_in_the_middle() -> None:
    likeness = agreement([("the dog",), ("the dogs",), ("a fish",)])
    assert likeness[0] > likeness[2] and likeness[1] > likeness[2]
    assert agreement([("a", "b"), ("a", "b")]) == [1.0, 1.0]
    assert agreement([("a",)]) == [0.0]
