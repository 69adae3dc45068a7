"""Tilted distributions against their closed forms."""

import pytest
import torch

from textdiff.text.energies import Contains
from textdiff.text.steering import tilted

B, L, V = 2, 3, 5
FREE = torch.tensor([[True, True, False], [True, False, False]])
TIMES = torch.full((B, L), 0.5)


@pytest.fixture
def logits() -> torch.Tensor:
    found = torch.randn(B, L, V, generator=torch.Generator().manual_seed(0))
    found[..., 4] = -torch.inf
    return found


@pytest.fixture
def given() -> torch.Tensor:
    found = torch.zeros(B, L, V)
    found[0, 2, 1] = 1.0  # the second text has padding in the end
    found[1, 1, 3] = 1.0
    return found


@pytest.mark.parametrize("rounds", [1, 4])
def test_a_linear_energy_tilts_by_its_exponential(logits, given, rounds: int) -> None:
    costs = torch.randn(L, V, generator=torch.Generator().manual_seed(1))
    found = tilted(
        logits, TIMES, lambda p, t: (p * costs).sum((1, 2)), FREE, given, guidance_scale=1.7, rounds=rounds
    ).softmax(-1)
    expected = (logits.softmax(-1) * (-1.7 * costs).exp())[FREE]
    torch.testing.assert_close(found[FREE], expected / expected.sum(-1, keepdim=True))
    assert not found[FREE][:, 4].any()


def test_what_is_given_is_seen_and_left_alone(logits, given) -> None:
    seen = []

    def energy(p, t):
        seen.append((p.detach().clone(), t))
        return p.square().sum((1, 2))

    found = tilted(logits, TIMES, energy, FREE, given, guidance_scale=3.0, rounds=2)
    assert found[~FREE].equal(logits[~FREE])
    for p, t in seen:
        assert p[~FREE].equal(given[~FREE]) and t.equal(TIMES)
        torch.testing.assert_close(p[FREE].sum(-1), torch.ones(3))


def test_the_minimum_is_found(logits, given) -> None:
    """Of a convex energy, against plain gradient descent on the same objective."""
    target = torch.softmax(torch.randn(B, L, V, generator=torch.Generator().manual_seed(2)), -1)

    def energy(p, t):
        return (p - target).square().sum((1, 2))

    def objective(z):
        p = torch.where(FREE[..., None], z.softmax(-1), given)
        divergence = torch.special.xlogy(p, p / logits.softmax(-1).clamp(min=1e-30))
        return (2.0 * energy(p, TIMES) + torch.where(FREE[..., None], divergence, 0.0).sum((1, 2))).sum()

    free = logits.clamp(min=-30).clone().requires_grad_()
    optimiser = torch.optim.LBFGS([free], max_iter=200)

    def closure():
        optimiser.zero_grad()
        loss = objective(free)
        loss.backward()
        return loss

    optimiser.step(closure)
    found = tilted(logits, TIMES, energy, FREE, given, guidance_scale=2.0, rounds=200)
    assert objective(found.clamp(min=-30)).item() == pytest.approx(objective(free).item(), abs=2e-3)


def test_steering_works_where_sampling_does(logits, given) -> None:
    with torch.inference_mode():
        found = tilted(logits.clone(), TIMES, Contains([[1]]), FREE, given, guidance_scale=2.0, rounds=2)
    assert (found.softmax(-1)[1, 0, 1] > logits.softmax(-1)[1, 0, 1]).item()
    torch.testing.assert_close(found[0].softmax(-1), logits[0].softmax(-1), atol=1e-5, rtol=0)  # it is there already


def test_an_energy_of_the_wrong_shape_is_refused(logits, given) -> None:
    with pytest.raises(ValueError, match=r"shape \[\]: give one number for each text, \[2\]"):
        tilted(logits, TIMES, lambda p, t: p.sum(), FREE, given, guidance_scale=1.0, rounds=1)
