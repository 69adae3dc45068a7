"""Sampling from masked diffusion against its exact chances, and what it keeps and bans."""

from itertools import pairwise, product

import pytest
import torch

from textdiff.text.plans import Plan
from textdiff.text.tokenizer import train_bpe, train_word_level
from textdiff.text.vocabulary import SPACED, UNSPACED, Vocabulary

V = 7  # the word-level vocabulary: four special tokens and a, b, c
SENTENCES = ["The little dog ran home.", "A cat sat on the mat, and it was happy.", "We saw the big red sun."]


@pytest.fixture(scope="module")
def rival(imported):
    return imported("masked_sampling")


@pytest.fixture(scope="module")
def model(random_masked):
    return random_masked()


@pytest.fixture(scope="module")
def words():
    return Vocabulary(train_word_level(["a b c"], min_count=1), V)


@pytest.mark.parametrize("steps", [1, 3])
def test_texts_are_drawn_with_their_chances(rival, random_masked, token_nats, words, steps):
    """Two tokens appear in one step with chance 1 / steps, else one after the other, either first."""
    model, count = random_masked(std=0.7), 2000
    found = rival.generate(model, [2] * count, words, steps=steps, seed=0)

    def chances(*seen):
        return (-token_nats(model, seen)).masked_fill(words.banned, -torch.inf).softmax(-1)

    both, statistic = chances(V, V), 0.0
    for a, b in product(range(4, V), repeat=2):
        together = both[0, a] * both[1, b]
        in_turn = (both[0, a] * chances(a, V)[1, b] + both[1, b] * chances(V, b)[0, a]) / 2
        wanted = count * float(together / steps + in_turn * (1 - 1 / steps))
        statistic += (found.count([a, b]) - wanted) ** 2 / wanted
    assert statistic < 30  # chi-square, 8 degrees: exceeded by chance in 2 of 10,000


def test_a_token_that_was_drawn_stays(rival, random_masked, words):
    model, seen = random_masked(), []
    ask = model.logits
    model.logits = lambda ids, *more: (seen.append(ids[0].clone()), ask(ids, *more))[1]
    found = torch.tensor(rival.generate(model, [12], words, steps=8, seed=0)[0])
    assert (seen[0] == V).all() and 3 < len(seen) <= 8
    for before, after in pairwise([*seen, found]):
        drawn = before != V
        assert torch.equal(after[drawn], before[drawn]) and (after != V).sum() > drawn.sum()


def test_tokens_appear_far_apart(rival, random_masked, words):
    model, seen = random_masked(), []
    ask = model.logits
    model.logits = lambda ids, *more: (seen.append(ids[0] != V), ask(ids, *more))[1]
    rival.generate(model, [8], words, steps=4, seed=0, order="spread")
    assert [int(drawn.sum()) for drawn in seen] == [0, 2, 4, 6]
    first = seen[1].nonzero()[:, 0]
    assert first[1] - first[0] >= 4


def test_a_low_temperature_takes_the_likeliest_token_that_is_not_banned(rival, random_masked, token_nats, words):
    model = random_masked()
    model.head.bias.data[words.banned] += 50
    found = rival.generate(model, [6], words, steps=1, seed=0, temperature=1e-6)
    nats = token_nats(model, (V,) * 6).masked_fill(words.banned, torch.inf)
    assert found == [nats.argmin(-1).tolist()]


def test_a_text_does_not_depend_on_those_beside_it(rival, model, words):
    lengths = [5, 1, 12, *range(3, 12), *[9] * 60]
    many = rival.generate(model, lengths, words, steps=4, seed=2)
    assert [len(ids) for ids in many] == lengths
    assert rival.generate(model, lengths[:9], words, steps=4, seed=2) == many[:9]
    assert len(set(map(tuple, many))) > 30


def test_infilling_keeps_what_is_known_and_bans_what_is_special(rival, random_masked, words):
    model = random_masked()
    model.head.bias.data[words.banned] += 50
    known = (True, False, False, True, False)
    plans = [Plan((a, 0, 0, 1, 0), known, (slice(1, 3), slice(4, 5)), (None, SPACED)) for a in (4, 5, 6)]
    for plan, ids in zip(plans, rival.infill(model, plans, words, steps=3, seed=0), strict=True):
        assert (ids[0], ids[3]) == (plan.ids[0], 1)  # a given special token stays
        assert all(4 <= ids[i] < V for i in (1, 2, 4))


@pytest.mark.parametrize("rule", [SPACED, UNSPACED, None])
def test_the_first_token_of_a_blank_follows_its_rule(rival, random_masked, rule):
    bpe = Vocabulary(train_bpe(SENTENCES * 9, 300), 300)
    given = tuple(bpe.encode("The"))
    plan = Plan((*given, 0), (*[True] * len(given), False), (slice(len(given), len(given) + 1),), (rule,))
    found = rival.infill(random_masked(vocab_size=300), [plan] * 60, bpe, steps=2, seed=0)
    drawn = torch.tensor([ids[-1] for ids in found])
    spaced, white = bpe.spaced & ~bpe.space, bpe.white
    assert bool(spaced[drawn].all()) == (rule == SPACED)
    assert bool(white[drawn].any()) == (rule != UNSPACED)


def test_the_likeliest_tokens_alone_are_drawn_where_asked(rival, random_masked, words):
    """At the smallest top_p there is one token, whatever the noise."""
    asked = {"steps": 4, "top_p": 1e-6, "order": "stretches"}
    texts = [rival.generate(random_masked(vocab_size=V), [4] * 6, words, seed=seed, **asked) for seed in (0, 1)]
    assert texts[0] == texts[1] and len({tuple(ids) for ids in texts[0]}) == 1


@pytest.mark.parametrize(
    ("length", "options", "message"),
    [
        (3, {"steps": 0}, "steps is 0"),
        (3, {"steps": 1, "temperature": 0}, "temperature is 0"),
        (3, {"steps": 1, "top_p": 0}, "top_p is 0"),
        (13, {"steps": 1}, "13 tokens: the model takes 1 to 12"),
    ],
)
def test_what_is_refused(rival, model, words, length, options, message):
    with pytest.raises(ValueError, match=message):
        rival.generate(model, [length], words, seed=0, **options)


def test_tokens_appear_in_stretches_from_left_to_right(imported):
    appearances = imported("masked_sampling").appearances
    masked = torch.tensor([[True, False, True, True, True]])
    noise = torch.zeros(1, 5, dtype=torch.float64)
    for steps, strides in ((4, [0, 1, 2, 3]), (3, [0, 1, 2, 2]), (2, [0, 1, 0, 1])):  # one stretch; two, side by side
        times = appearances("stretches", noise, masked, steps)
        assert times[masked].tolist() == pytest.approx([1 - (stride + 0.5) / steps for stride in strides])
