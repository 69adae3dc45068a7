"""Samplers on models whose samples are known: a token alone, drawn with the chances that its model gives it."""

from collections import Counter

import pytest
import torch

from textdiff.diffusion.samplers import SAMPLERS
from textdiff.text.language_model import DiffusionLM
from textdiff.text.plans import barred_tokens, blank_plan
from textdiff.text.sampling import TEXT_SAMPLERS, Reader, Sampling

CHANCES = (0.55, 0.3, 0.15)


@pytest.fixture
def loner(word_lm: DiffusionLM) -> DiffusionLM:
    """A model for which every token is one of three words, whatever stands beside it."""
    head = word_lm.denoiser.head
    kept = [part.detach().clone() for part in (head.weight, head.bias)]
    with torch.no_grad():
        head.weight.zero_()
        head.bias.fill_(-30.0)
        head.bias[10:13] = torch.tensor(CHANCES).log()
    yield word_lm
    with torch.no_grad():
        head.weight.copy_(kept[0])
        head.bias.copy_(kept[1])


def shares(lm: DiffusionLM, **options) -> list[float]:
    """How often each of the three words was drawn."""
    drawn = Counter(lm.generate(1500, length=1, seed=3, **options))
    words = [lm.vocabulary.decode([i]) for i in (10, 11, 12)]
    assert drawn.total() == sum(drawn[word] for word in words)
    return [drawn[word] / drawn.total() for word in words]


@pytest.mark.parametrize("steps", [1, 2, 5])
@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_drawn_tokens_have_the_chances_of_the_model_in_any_number_of_steps(
    loner: DiffusionLM, steps: int, temperature: float
) -> None:
    expected = torch.tensor(CHANCES) ** (1 / temperature)
    found = shares(loner, num_inference_steps=steps, temperature=temperature)
    torch.testing.assert_close(torch.tensor(found), expected / expected.sum(), atol=0.04, rtol=0)


@pytest.mark.parametrize(("temperature", "top_p"), [(1.0, 0.6), (0.5, 0.6), (1.0, 1e-9)])
def test_the_nucleus_is_the_fewest_tokens_of_its_chance(
    ordered_lm: DiffusionLM, temperature: float, top_p: float
) -> None:
    denoiser, one = ordered_lm.denoiser, torch.ones(1, 1, dtype=torch.long)
    with torch.no_grad():
        logits = denoiser.predict(denoiser.lessons(one, one, one == 0, one))[0, 0] / temperature
    bars = barred_tokens([blank_plan(1)], ordered_lm.vocabulary)[0, 0]
    chances, ids = logits.masked_fill(bars, -torch.inf).softmax(-1).sort(descending=True)
    kept = int((chances.cumsum(0) < top_p).sum()) + 1
    expected = (chances[:kept] / chances[:kept].sum()).double()
    options = {"num_inference_steps": 3, "temperature": temperature, "top_p": top_p, "seed": 0}
    drawn = Counter(ordered_lm.generate(3000, length=1, **options))
    words = [ordered_lm.vocabulary.decode([i]) for i in ids[:kept].tolist()]
    found = torch.tensor([drawn[word] / 3000 for word in words], dtype=torch.float64)
    assert found.sum().item() > 0.95 and kept < len(chances) / 2  # noise still says a little, and moves the border
    torch.testing.assert_close(found, expected, atol=0.03, rtol=0)


def test_a_nucleus_is_of_tokens_drawn_once(ordered_lm: DiffusionLM, word_lm: DiffusionLM) -> None:
    for lm, sampler in ((ordered_lm, "ddim"), (word_lm, "categorical")):
        with pytest.raises(ValueError, match="top_p is 0.9: it is for the sampler 'categorical' of models that read"):
            lm.generate(1, length=2, sampler=sampler, top_p=0.9)


def test_means_lose_the_chances_where_steps_are_few(loner: DiffusionLM) -> None:
    """What the categorical sampler is for: a step towards the mean favours the likeliest word."""
    assert shares(loner, num_inference_steps=1, temperature=1.0, sampler="ddpm")[0] > CHANCES[0] + 0.1


@pytest.mark.parametrize(("sampler", "together"), [("categorical", 4), ("ddpm", 14)])
def test_tokens_that_leave_together_are_strangers(bpe_lm: DiffusionLM, sampler: str, together: int) -> None:
    """16 tokens in 4 steps, of which every token takes one at least, or two where it steps towards a mean."""
    seen = []

    def watch(p: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        seen.append(t[0])
        return p.sum((1, 2))

    bpe_lm.denoiser.config.stagger, kept = 1.0, bpe_lm.denoiser.config.stagger
    bpe_lm.generate(1, length=16, num_inference_steps=4, seed=1, sampler=sampler, control=watch, guidance_rounds=1)
    bpe_lm.denoiser.config.stagger = kept
    moving = [((t > 0) & (t < 1)).nonzero()[:, 0] for t in seen]
    assert max(map(len, moving)) == together
    first = next(places for places in moving if len(places))
    assert first.diff().double().mean() >= 15 / len(first) - 1 and len(first) > 1


def test_the_end_of_the_unit_interval_draws_no_barred_token(bpe_lm: DiffusionLM) -> None:
    """A float64 number just below one is one in float32; the last token of the vocabulary is barred here."""
    bars = bpe_lm.vocabulary.barred(2)
    bars[:, -1] = True
    reader = Reader(bpe_lm.denoiser, bpe_lm.scheduler, [blank_plan(2)], bpe_lm.vocabulary, Sampling())
    reader.barred = bars[None]
    reader(torch.zeros_like(reader.x0_known), torch.ones(1, 2, dtype=torch.float64), None)
    x0 = reader.drawn(torch.full((1, 2), 1 - 2.0**-53, dtype=torch.float64))
    assert not bars[:, bpe_lm.denoiser.embedding.round(x0)[0]].any()


def test_the_default_sampler_is_the_models_own(word_lm: DiffusionLM) -> None:
    assert Sampling().sampler_for(word_lm.denoiser) == "categorical"
    word_lm.denoiser.config.categorical = False
    try:
        assert Sampling().sampler_for(word_lm.denoiser) == "ddpm"
        assert all(Sampling(sampler=name).sampler_for(word_lm.denoiser) == name for name in SAMPLERS)
        with pytest.raises(ValueError, match="no distributions over tokens: choose ddim, ddpm"):
            Sampling(sampler="categorical").sampler_for(word_lm.denoiser)
    finally:
        word_lm.denoiser.config.categorical = True


@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_control_draws_from_the_tilted_chances(loner: DiffusionLM, scale: float) -> None:
    costs = torch.zeros(loner.denoiser.config.vocab_size)
    costs[10] = 1.5

    def dislike(p: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return (p * costs).sum((1, 2))

    expected = torch.tensor(CHANCES) * (-scale * costs[10:13]).exp()
    found = shares(loner, num_inference_steps=3, temperature=1.0, control=dislike, guidance_scale=scale)
    torch.testing.assert_close(torch.tensor(found), expected / expected.sum(), atol=0.04, rtol=0)


def test_a_control_is_told_what_is_given_and_when(bpe_lm: DiffusionLM) -> None:
    seen = []

    def watch(p: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        seen.append((p.detach(), t))
        return p.sum((1, 2))

    text = "A cat [MASK:3] mat."
    bpe_lm.infill(text, num_samples=2, num_inference_steps=4, seed=1, control=watch, guidance_rounds=1)
    given = bpe_lm.vocabulary.encode("A cat")
    p, t = seen[0]
    assert p[:, range(len(given)), given].eq(1).all() and p.shape[:2] == t.shape
    assert t[:, len(given)].eq(1).all() and seen[-1][1][:, len(given)].eq(0).all()
    assert len(seen) == 5


def test_control_at_scale_0_changes_nothing(bpe_lm: DiffusionLM) -> None:
    options = {"num_inference_steps": 3, "seed": 1, "length": 8}
    plain = bpe_lm.generate(2, **options)
    assert bpe_lm.generate(2, control=lambda p, t: p[..., 9].sum(1), guidance_scale=0.0, **options) == plain
    assert bpe_lm.generate(2, control=lambda p, t: 9 * p[..., 9].sum(1), **options) != plain


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        *(({"guidance_scale": scale}, r"must be 0 to 10000 \(0 = off\)") for scale in (-1.0, float("nan"), 1e300)),
        *(({"temperature": heat}, "must be 1e-06 to 1e[+]06") for heat in (0.0, 1e-45, float("inf"), float("nan"))),
        *(({"num_inference_steps": n}, "a whole number from 1 to 100000") for n in (0, 2.5, 10**20)),
        *(({"top_p": p}, "it must be above 0 and at most 1") for p in (0.0, -1.0, 1.1, float("nan"))),
        ({"guidance_rounds": 0}, "at least 1"),
        ({"order": "backwards"}, "Unknown order 'backwards': choose stretches, spread, left, blocks, random"),
    ],
)
def test_an_option_out_of_range_is_refused(wrong: dict, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        Sampling(**wrong)


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_a_seed_out_of_range_is_one_sentence(seed: int) -> None:
    assert Sampling(seed=2**63 - 1).pick_seed() == 2**63 - 1
    with pytest.raises(ValueError, match=rf"^The seed is {seed}: it must be at least 0 and below 2\*\*63.$"):
        Sampling(seed=seed)


def test_texts_read_in_order_are_drawn_with_the_chances_that_they_are_charged_with(ordered_lm: DiffusionLM) -> None:
    """Two words from left to right: the chances of the second, summed over the first, against 6,000 draws."""
    denoiser, V = ordered_lm.denoiser, ordered_lm.denoiser.config.vocab_size
    ids = torch.stack([torch.arange(V), torch.zeros(V, dtype=torch.long)], dim=1)
    rank, ones = torch.tensor([[1, 2]]).expand(V, 2), torch.ones(V, 2, dtype=torch.long)
    with torch.no_grad():
        logits = denoiser.predict(denoiser.lessons(ids, ones, ones == 0, rank))
    bars = barred_tokens([blank_plan(2)], ordered_lm.vocabulary)
    first, second = logits.masked_fill(bars, -torch.inf).softmax(-1).unbind(1)
    expected = (first[0][:, None] * second).sum(0)
    drawn = torch.zeros(V)
    for text in ordered_lm.generate(6000, length=2, num_inference_steps=5, temperature=1.0, seed=0):
        drawn[ordered_lm.vocabulary.encode(text)[1]] += 1 / 6000
    torch.testing.assert_close(drawn, expected, atol=0.025, rtol=0)
    assert (first[0] - expected).abs().max() > 0.05  # or the test could not fail


@pytest.mark.parametrize("sampler", TEXT_SAMPLERS)
@pytest.mark.parametrize("steps", [3, 16])
def test_what_does_not_move_need_not_be_read(ordered_lm: DiffusionLM, sampler: str, steps: int) -> None:
    """The end alone, for which only moving tokens are asked, is the end of the walk that shows every guess."""
    options = {"num_inference_steps": steps, "seed": 1, "length": 9, "sampler": sampler}
    *_, last = ordered_lm.generate_steps(3, **options)
    assert ordered_lm.generate(3, **options) == last
    assert ordered_lm.generate(1, **options) == last[:1]


def test_given_text_is_read_before_blanks(ordered_lm: DiffusionLM) -> None:
    """What stands right of a blank changes what is drawn in it."""
    options = {"num_samples": 40, "num_inference_steps": 4, "seed": 0, "temperature": 1.0}
    fills = [
        [found.fills for found in ordered_lm.infill(f"The [MASK:2] {end}", **options)] for end in ("cat sat", "sun.")
    ]
    assert fills[0] != fills[1]


def test_under_control_all_places_are_open(ordered_lm: DiffusionLM) -> None:
    """Places are filled at random where there is a step for each, and from left to right without control."""
    seen: list[torch.Tensor] = []

    def watch(p: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        seen.append(t[0])
        return p.sum((1, 2))

    options = {"length": 8, "num_inference_steps": 8, "seed": 1, "guidance_rounds": 1, "control": watch}
    turns = []
    for order in (None, "left"):
        ordered_lm.generate(1, **options, order=order)
        turns.append(torch.stack(seen).sum(0).argsort().tolist())
        seen.clear()
    assert turns[1] == list(range(8)) != turns[0]
