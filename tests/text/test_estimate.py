"""A token alone on its way: what it shows the network, and the bound that comes of it, in closed form."""

import math

import pytest
import torch

from textdiff.text.denoiser import Prefix
from textdiff.text.estimate import alone_on_its_way, estimate, source_guided
from textdiff.text.language_model import DiffusionLM
from textdiff.text.plans import Plan, batch
from textdiff.text.scoring import position_nats, prior_nats


@pytest.fixture
def staggered(word_lm: DiffusionLM) -> DiffusionLM:
    """Tokens leave the noise one after another, each when the one before is clean."""
    word_lm.denoiser.config.stagger = 1.0
    yield word_lm
    word_lm.denoiser.config.stagger = 0.0


def given(lm: DiffusionLM, ids: list[int]) -> dict[str, torch.Tensor]:
    """What the denoiser is told of one text of which nothing is known."""
    plan = Plan(tuple(ids), (False,) * len(ids), (), ())
    tokens, mask, known = batch([plan])
    return {"attention_mask": mask, "known": known, "x0_known": lm.denoiser.embedding.embed(tokens).detach()}


def test_who_is_alone() -> None:
    own = torch.tensor([[0.0, 0.5, 1.0, 0.5, 0.2, 0.7, 0.5]])
    segments = torch.tensor([[1, 1, 1, 2, 2, 3, 0]])
    known = torch.tensor([[False, False, False, False, True, False, False]])
    alone = alone_on_its_way(own, segments, known)
    assert alone.tolist() == [[False, True, False, True, False, True, False]]
    assert not alone_on_its_way(own, torch.ones_like(segments), torch.zeros_like(known)).any()


def test_the_network_sees_a_lone_token_as_one_that_waits(word_lm: DiffusionLM) -> None:
    """Its logits less its evidence do not depend on its x_t, and are those of a waiting token."""
    facts = given(word_lm, [5, 6, 7])
    x_t = torch.randn(1, 3, word_lm.denoiser.config.embedding_dim, generator=torch.Generator().manual_seed(0))
    found = []
    for value, time in ((0.0, 0.3), (2.0, 0.6), (0.0, 1.0)):
        own = torch.tensor([[0.0, time, 1.0]], dtype=torch.float64)
        x = x_t.clone()
        x[0, 1] = value
        logits = estimate(word_lm.denoiser, word_lm.scheduler, x, own, None, **facts).logits
        prior = word_lm.denoiser.prior_logits(x, word_lm.scheduler.logsnr(own))
        found.append((logits - prior)[0, 1])
    torch.testing.assert_close(found[0], found[1], atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(found[0], found[2], atol=1e-3, rtol=1e-3)


def test_one_token_at_a_time_the_bound_is_the_mean_over_orders_of_what_context_says(staggered: DiffusionLM) -> None:
    """Gaussian diffusion of one token given context costs its cross-entropy given context, exactly."""
    lm, ids = staggered, [5, 9]
    facts = given(lm, ids)
    x0, costs = facts["x0_known"], {}
    with torch.inference_mode():
        for first in (0, 1):
            for clean in ([], [1 - first]):  # a token that waits, beside noise or beside its clean neighbour
                total = 0.0
                for seed in range(40):
                    own = torch.ones(1, 2, dtype=torch.float64)
                    own[0, clean] = 0.0
                    eps = torch.randn(x0.shape, generator=torch.Generator().manual_seed(seed))
                    x_t = lm.scheduler.add_noise(x0, eps, own)
                    x_t[0, first] = 0.0
                    logits = estimate(lm.denoiser, lm.scheduler, x_t, own, None, **facts).logits
                    total -= logits.log_softmax(-1)[0, first, ids[first]].item() / 40
                costs[first, len(clean)] = total
    exact = (costs[0, 0] + costs[1, 1] + costs[1, 0] + costs[0, 1]) / 2
    plans = [Plan(tuple(ids), (False, False), (), ())] * 10000
    means = []
    for seed in range(12):
        times = (torch.arange(len(plans), dtype=torch.float64) + 0.5) / len(plans)
        noise = torch.randn(len(plans), 2, x0.shape[-1] + 1, generator=torch.Generator().manual_seed(100 + seed))
        within = position_nats(lm.denoiser, lm.scheduler, plans, times, noise, two_passes=False)
        at_the_end = position_nats(lm.denoiser, lm.scheduler, plans, 0 * times, noise, two_passes=False)
        means.append((within + at_the_end).sum(1).mean())
    found = torch.stack(means) + prior_nats(lm.denoiser, lm.scheduler, plans[:1])[0]
    error = found.std().item() / math.sqrt(len(found))
    assert error < 0.06
    assert found.mean().item() == pytest.approx(exact, abs=3 * error)


@torch.no_grad()
def test_guidance_by_a_prefix_goes_from_none_to_it_and_beyond(word_lm: DiffusionLM) -> None:
    facts, generator = given(word_lm, [5, 6, 7]), torch.Generator().manual_seed(0)
    dim = word_lm.denoiser.config.embedding_dim
    at = (word_lm.denoiser, word_lm.scheduler, torch.randn(1, 3, dim, generator=generator),
          torch.full((1, 1), 0.6, dtype=torch.float64), None)  # fmt: skip
    before = Prefix(torch.randn(1, 2, 32, generator=generator), torch.ones(1, 2, dtype=torch.bool))
    no_source = torch.zeros(1, 3, dtype=torch.bool)
    told, plain = (estimate(*at, **facts, prefix=p).logits for p in (before, None))
    for scale in (0.0, 1.0, 3.0):
        found = source_guided(*at, source=no_source, source_guidance=scale, prefix=before, **facts).logits
        torch.testing.assert_close(found, plain + scale * (told - plain), atol=1e-4, rtol=1e-4)
    assert (told - plain).abs().max() > 1e-3
