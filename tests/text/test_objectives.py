"""The bound against a source whose entropy and best denoiser are known, and both losses by their formulas.

The source is a Markov chain of 64 states. Its best denoiser is forward-backward over the chain; it enters as
the hidden states of a real `TextDenoiser`, so that embedding, output prior and softmax are the shipped code.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import fields, replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from textdiff.diffusion.losses import AdaptiveLevels
from textdiff.diffusion.scheduler import Scheduler
from textdiff.text.denoiser import DenoiserConfig, TextDenoiser
from textdiff.text.objectives import Rows, bound_terms, diffusion_lm_terms, draw_rows, update_levels

STATES, LENGTH, DIM = 64, 24, 16


class Chain:
    """A stationary Markov chain with random transitions, float64."""

    def __init__(self) -> None:
        source = torch.Generator().manual_seed(0)
        logits = 2.4 * torch.randn(STATES, STATES, generator=source, dtype=torch.float64)
        self.transition = logits.softmax(-1)
        self.start = torch.linalg.matrix_power(self.transition, 1000)[0]

    def sample(self, count: int, seed: int) -> Tensor:
        """Texts [count, LENGTH]."""
        source = torch.Generator().manual_seed(seed)
        states = [torch.multinomial(self.start, count, replacement=True, generator=source)]
        while len(states) < LENGTH:
            states.append(torch.multinomial(self.transition[states[-1]], 1, generator=source)[:, 0])
        return torch.stack(states, dim=1)

    def nll(self, ids: Tensor, known: Tensor) -> Tensor:
        """-log p of texts [B, LENGTH], nats per token: of all, or of odd places given the even."""
        first, moves = self.start[ids[:, 0]].log(), self.transition[ids[:, :-1], ids[:, 1:]].log()
        if not known.any():
            return -(first + moves.sum(1)) / LENGTH
        both = (self.transition @ self.transition)[ids[:, :-2:2], ids[:, 2::2]].log()
        return -(moves.sum(1) - both.sum(1)) / (LENGTH // 2)

    @property
    def entropy(self) -> float:
        """Nats per token of a text."""
        rate = -(self.start[:, None] * self.transition * self.transition.log()).sum()
        first = -(self.start * self.start.log()).sum()
        return float((first + (LENGTH - 1) * rate) / LENGTH)


class BayesDenoiser(TextDenoiser):
    """The exact denoiser of a chain: hidden states are log messages from left plus right."""

    def __init__(self, chain: Chain, stagger: float) -> None:
        shape = {"hidden_size": STATES, "num_hidden_layers": 1, "max_position_embeddings": LENGTH}
        super().__init__(DenoiserConfig(STATES, DIM, **shape, stagger=stagger, stagger_least=stagger))
        self.chain, self.head = chain, nn.Identity()
        self.embedding.weight.data = torch.randn(STATES, DIM, generator=torch.Generator().manual_seed(1))

    def hidden(self, x_t, logsnr, attention_mask, known, x0_known, x0_prev, prefix=None):
        """Forward-backward; what is given counts as seen without noise."""
        evidence = self.prior_logits(x_t, logsnr.expand(x_t.shape[:2])).double()
        exact = (x0_known @ self.embedding.vectors().T > 0.999).double().log()
        evidence = torch.where(known[..., None], exact, evidence)
        step = self.chain.transition
        left, right = [self.chain.start.log().expand(len(x_t), -1)], [torch.zeros(len(x_t), STATES)]
        for i in range(LENGTH - 1):
            left.append(((left[-1] + evidence[:, i]).softmax(-1) @ step).log())
            right.append(((right[-1] + evidence[:, -1 - i]).softmax(-1) @ step.T).log())
        return (torch.stack(left, 1) + torch.stack(right[::-1], 1)).float()


@pytest.fixture(scope="module")
def chain() -> Chain:
    return Chain()


def rows_of(ids: Tensor, known: Tensor, first: int = 0, rate: float = 0.0) -> Rows:
    """A batch with its noise, whose sample indices start at `first`."""
    index = torch.arange(first, first + len(ids))
    mask = torch.ones_like(ids)
    return draw_rows(ids, mask, known, index, dim=DIM, seed=0, self_conditioning_rate=rate)


def estimate(
    chain: Chain, logsnr_max: float, known: Tensor | None = None, count: int = 16_384, stagger: float = 0.0
) -> dict[str, float]:
    """The bound's terms on fresh texts, at noise levels that have learned from others; its gap to the truth.

    The exact denoiser's bound is tight for every text: its own -log p takes out most of the chance.
    """
    denoiser, levels = BayesDenoiser(chain, stagger).eval(), AdaptiveLevels(-6.0, logsnr_max, bins=40, decay=0.9)
    sums: dict[str, Tensor] = defaultdict(lambda: torch.zeros((), dtype=torch.float64))
    sizes = [512] * 10 + [4096] * (count // 4096)
    for batch, size in enumerate(sizes):
        ids = chain.sample(size, seed=batch)
        given = torch.zeros_like(ids, dtype=torch.bool) if known is None else known.expand_as(ids)
        rows = rows_of(ids, given, first=5000 * batch)
        with torch.no_grad():
            terms, observed = bound_terms(
                denoiser, Scheduler.adaptive(levels.knots()), rows, levels.reconstruction_share
            )
        if size < 4096:
            update_levels(levels, *observed)
            continue
        terms["bound"] = sum(terms.values())
        terms["gap"] = terms["bound"] - chain.nll(ids, given)
        for name, term in terms.items():
            sums[name] += term.double().sum() / count
    return {name: float(value) for name, value in sums.items()}


@pytest.mark.parametrize("stagger", [0.0, 0.3])
def test_the_bound_of_the_exact_denoiser_is_the_entropy(chain: Chain, stagger: float) -> None:
    """Whether tokens leave the noise together or one after another."""
    found = estimate(chain, logsnr_max=3.0, stagger=stagger)
    assert abs(found["gap"]) < (0.04 if stagger else 0.02)  # fewer positions on their way, more chance
    assert abs(found["bound"] - chain.entropy) < 0.03  # the texts drawn have an entropy of their own
    assert 0.01 < found["reconstruction"] < 0.05
    assert 0.0 < found["prior"] < 0.002


def test_the_bound_moves_when_the_cleanest_level_is_too_noisy(chain: Chain) -> None:
    found = estimate(chain, logsnr_max=0.0, count=4096)
    assert found["gap"] > 1.0
    assert found["bound"] == pytest.approx(3.8, abs=0.2)
    assert found["reconstruction"] == pytest.approx(3.3, abs=0.2)


def test_the_bound_of_blanks_is_their_entropy_given_the_rest(chain: Chain) -> None:
    found = estimate(chain, logsnr_max=3.0, known=torch.arange(LENGTH) % 2 == 0, count=8192)
    assert abs(found["gap"]) < 0.02
    assert found["bound"] < chain.entropy - 0.3


def test_training_adds_a_cross_entropy_beside_the_bound() -> None:
    model, rows = Recorder(), small_rows()
    rows = replace(rows, attention_mask=rows.attention_mask.clamp(max=1))
    terms, bound = losses(model, rows), losses(model.eval(), rows)
    extra = terms.pop("cross_entropy")
    for name, term in bound.items():
        torch.testing.assert_close(term, terms[name])
    ends_here = rows.uniform < 0.3
    assert ends_here.any()
    assert not extra[ends_here].any()  # without noise there is nothing to guess
    assert (extra[~ends_here] > 0).all()


def test_word_vectors_get_the_whole_gradient_of_the_bound() -> None:
    """A part left out, such as that through the network's input, makes them collapse in long runs."""
    model, rows = Recorder().eval(), small_rows()
    nn.init.zeros_(model.token_in.weight)  # this input has no gradient by design
    weight = model.embedding.weight
    direction = torch.randn(weight.shape, generator=torch.Generator().manual_seed(5))
    (gradient,) = torch.autograd.grad(sum(term.sum() for term in losses(model, rows).values()), weight)
    sums, start = [], weight.detach().clone()
    with torch.no_grad():
        for shift in (1e-3, -1e-3):
            weight.copy_(start + shift * direction)
            sums.append(float(sum(term.double().sum() for term in losses(model, rows).values())))
    numeric = (sums[0] - sums[1]) / 2e-3
    assert float((gradient * direction).sum()) == pytest.approx(numeric, rel=0.01)


def test_a_row_owns_its_noise() -> None:
    ids, known = torch.zeros(6, LENGTH, dtype=torch.long), torch.zeros(6, LENGTH, dtype=torch.bool)
    whole, late = rows_of(ids, known, rate=0.5), rows_of(ids[4:], known[4:], first=4, rate=0.5)
    for name in ("eps", "start_eps", "uniform", "self_conditioned"):
        assert getattr(whole, name)[4:].equal(getattr(late, name))


def test_the_two_noises_of_a_row_are_independent() -> None:
    ids = torch.zeros(2000, LENGTH, dtype=torch.long)
    rows = rows_of(ids, ids > 0)
    for shift in (-1, 0, 1):
        product = rows.eps * rows.start_eps.roll(shift, dims=1)
        assert abs(product.mean()) < 5 / product.numel() ** 0.5


def test_row_means_count_what_is_real_and_not_given() -> None:
    mask, known = (
        torch.tensor([[1, 1, 2, 0], [1, 1, 0, 0], [1, 2, 2, 2]]),
        torch.zeros(3, 4, dtype=torch.bool),
    )
    known[0, 1] = known[1, :2] = True
    rows = draw_rows(mask, mask, known, torch.arange(3), dim=2, seed=0, self_conditioning_rate=0.0)
    assert rows.row_mean(torch.tensor([1.0, 3.0, 2.0, 4.0, 6.0, 8.0])).tolist() == [2.0, 0.0, 5.0]


class Recorder(TextDenoiser):
    """A small random denoiser that keeps what it was called with."""

    def __init__(self, *, categorical: bool = True) -> None:
        torch.manual_seed(0)
        shape = DenoiserConfig(
            11, 4, 8, 1, 2, 16, max_position_embeddings=8, categorical=categorical, unit_norm=categorical
        )
        super().__init__(shape)
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.3)
        self.calls: list[tuple] = []

    def hidden(self, *arguments):
        """As the parent's."""
        self.calls.append(arguments)
        return super().hidden(*arguments)


def small_rows(rate: float = 0.0) -> Rows:
    """Five rows with padding, two segments and given tokens."""
    source = torch.Generator().manual_seed(0)
    mask = torch.tensor([1, 1, 1, 2, 2, 0, 0]).expand(5, -1)
    known = torch.rand(5, 7, generator=source) < 0.3
    known[:, 0] = False
    ids = torch.randint(11, (5, 7), generator=source)
    return draw_rows(ids, mask, known, torch.arange(5) + 40, dim=4, seed=1, self_conditioning_rate=rate)


def part(rows: Rows, span: slice) -> Rows:
    return Rows(*(getattr(rows, field.name)[span] for field in fields(Rows) if field.name != "prefix"))


def losses(model: Recorder, rows: Rows) -> dict[str, Tensor]:
    """The terms of the model's own loss."""
    if model.config.categorical:
        return bound_terms(model, Scheduler.adaptive([5.0, 1.0, -6.0]), rows, 0.3)[0]
    return diffusion_lm_terms(model, Scheduler.sqrt(), rows)


@pytest.mark.parametrize("categorical", [True, False])
@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_a_row_pays_the_same_in_any_batch(categorical: bool, rate: float) -> None:
    model, rows = Recorder(categorical=categorical), small_rows(rate)
    whole, halves = losses(model, rows), [losses(model, part(rows, s)) for s in (slice(0, 2), slice(2, 5))]
    for name, term in whole.items():
        assert term.shape == (5,)
        torch.testing.assert_close(term, torch.cat([half[name] for half in halves]))


@pytest.mark.parametrize("categorical", [True, False])
def test_padding_costs_nothing_and_says_nothing(categorical: bool) -> None:
    model, rows = Recorder(categorical=categorical), small_rows(1.0)
    padding = rows.attention_mask == 0
    noise = torch.where(padding[..., None], 100.0, rows.eps)
    other = replace(rows, input_ids=torch.where(padding, 7, rows.input_ids), eps=noise, known=rows.known | padding)
    for one, two in zip(losses(model, rows).values(), losses(model, other).values()):
        torch.testing.assert_close(one, two)


def test_self_conditioned_rows_get_a_first_estimate_without_gradient() -> None:
    model, rows = Recorder(), small_rows(0.5)
    chosen = rows.self_conditioned
    assert 0 < chosen.sum() < 5
    losses(model, rows)
    first, second = model.calls
    x_t, logsnr, *_, none, _ = first
    assert none is None
    estimate = model.read_out(model.hidden(*first), x_t, logsnr).x0_hat
    counted, noisy = rows.counted[chosen], logsnr < 5.0
    given, x0 = second[5], first[4]
    assert not given.requires_grad and (counted & noisy).any() and (counted & ~noisy).any()
    torch.testing.assert_close(given[chosen][counted & noisy], estimate[counted & noisy].detach())
    torch.testing.assert_close(given[chosen][counted & ~noisy], x0[counted & ~noisy])  # which is all there is to know
    assert not given[~chosen].any()
    assert x_t.equal(second[0][chosen])


def test_the_namesakes_terms_by_hand() -> None:
    model, rows, scheduler = Recorder(categorical=False), small_rows(), Scheduler.sqrt(4)
    one_segment = rows.attention_mask.clamp(max=1)
    uniform = torch.tensor([0.0, 0.24, 0.26, 0.6, 0.99], dtype=torch.float64)
    rows = replace(rows, uniform=uniform, attention_mask=one_segment)
    terms = diffusion_lm_terms(model, scheduler, rows)
    for b, step in enumerate([0, 0, 1, 2, 3]):
        t = torch.full((1,), step / 3, dtype=torch.float64)
        clean = model.embedding.weight[rows.input_ids[b]]
        x0 = clean + scheduler.alpha_sigma(torch.zeros(1))[1].float() * rows.start_eps[b]
        x_t = scheduler.add_noise(x0[None], rows.eps[b : b + 1], t)
        x0_hat = model(
            x_t, scheduler.logsnr(t), attention_mask=rows.attention_mask[b : b + 1],
            known=rows.known[b : b + 1], x0_known=clean[None], x0_prev=torch.zeros_like(x_t),
        ).x0_hat[0]  # fmt: skip
        counted = rows.counted[b]
        mse = ((clean if step == 0 else x0) - x0_hat).pow(2)[counted].mean()
        torch.testing.assert_close(terms["mse"][b], mse)
        alpha = scheduler.alpha_sigma(torch.ones(1))[0].float()
        torch.testing.assert_close(terms["terminal"][b], (alpha * x0[counted]).pow(2).mean())
        nearness = -0.5 * torch.cdist(x0, model.embedding.weight).square()
        rounding = F.cross_entropy(nearness[counted], rows.input_ids[b][counted])
        torch.testing.assert_close(terms["rounding"][b], rounding)


def test_every_segment_has_a_noise_level_of_its_own() -> None:
    rows = small_rows()
    assert rows.level[:, 0].equal(rows.uniform)
    assert (rows.level[:, :3] == rows.level[:, :1]).all() and (rows.level[:, 3:5] == rows.level[:, 3:4]).all()
    assert (rows.level[:, 0] - rows.level[:, 3]).abs().min() > 0.1
    index = torch.arange(4000)
    mask = torch.tensor([1, 2, 3]).expand(len(index), -1)
    level = draw_rows(mask, mask, mask > 3, index, dim=1, seed=0, self_conditioning_rate=0.0).level
    for k in range(3):  # each of them evenly spread over the batch, and over the other's levels
        assert torch.histc(level[:, k], 8, 0, 1).sub(500).abs().max() < 10
    assert torch.corrcoef(level.T).sub(torch.eye(3)).abs().max() < 0.5


def test_a_segment_pays_in_a_packed_row_as_alone() -> None:
    model, rows = Recorder().eval(), small_rows()
    with torch.no_grad():
        together = losses(model, rows)
        first = replace(rows, known=rows.known | (rows.attention_mask == 2))
        second = replace(rows, known=rows.known | (rows.attention_mask == 1))
        apart = [losses(model, one) for one in (first, second)]
    sizes = [one.counted.sum(1) for one in (first, second)]
    for name, term in together.items():
        mean = (apart[0][name] * sizes[0] + apart[1][name] * sizes[1]) / (sizes[0] + sizes[1])
        torch.testing.assert_close(term, mean)


def test_self_conditioned_rows_are_spread_over_all_noise_levels() -> None:
    index = torch.arange(8192)
    ids = torch.zeros(len(index), 1, dtype=torch.long)
    rows = draw_rows(ids, ids + 1, ids > 0, index, dim=1, seed=0, self_conditioning_rate=0.25)
    shares = [float(rows.self_conditioned[(rows.uniform * 16).long() == k].double().mean()) for k in range(16)]
    assert min(shares) > 0.18 and max(shares) < 0.32
