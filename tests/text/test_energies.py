"""Energies of known distributions, against probabilities counted by hand."""

import itertools
import math

import pytest
import torch

from textdiff.text.energies import Contains, Lacks, TextEnergy

TIMES = torch.zeros(1, 3)


def some_p(rows: int = 1, length: int = 3, size: int = 4, *, seed: int = 0) -> torch.Tensor:
    """Random distributions, float64 [rows, length, size]."""
    noise = torch.rand(rows, length, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return noise.softmax(-1)


def chance(p: torch.Tensor, holds) -> float:
    """Probability that a text drawn token by token fulfils a condition, by summing over all texts."""
    texts = itertools.product(range(p.shape[2]), repeat=p.shape[1])
    return sum(math.prod(p[0, i, w].item() for i, w in enumerate(text)) for text in texts if holds(text))


def test_one_token_costs_the_chance_that_it_occurs() -> None:
    p = some_p()
    exact = chance(p, lambda text: 2 in text)
    assert Contains([[2]])(p, TIMES).exp().reciprocal().item() == pytest.approx(exact)
    assert Lacks([[2]])(p, TIMES).neg().exp().item() == pytest.approx(1 - exact)


def test_spellings_add_up() -> None:
    p = some_p()
    exact = chance(p, lambda text: 2 in text or 0 in text)
    assert Contains([[2], [0]])(p, TIMES).neg().exp().item() == pytest.approx(exact)


def test_a_sequence_at_a_place() -> None:
    p = some_p()
    exact = chance(p, lambda text: text[1:3] == (3, 1))
    assert Contains([[3, 1]], place=1)(p, TIMES).neg().exp().item() == pytest.approx(exact)


def test_a_word_that_goes_on_is_another_word() -> None:
    p, joining = some_p(length=4), torch.tensor([False, True, False, True])
    exact = chance(p, lambda text: text[1:3] == (3, 1) and text[3] not in (1, 3))
    assert Contains([[3, 1]], place=1, joining=joining)(p, TIMES).neg().exp().item() == pytest.approx(exact)
    end = chance(p, lambda text: text[3] == 2)
    assert Contains([[2]], place=3, joining=joining)(p, TIMES).neg().exp().item() == pytest.approx(end)


def test_given_tokens_and_padding_count_as_what_they_are() -> None:
    p = torch.zeros(1, 3, 4)
    p[0, 0, 2] = 1.0
    assert Contains([[2]])(p, TIMES).item() == pytest.approx(0, abs=1e-5)
    assert Contains([[1]])(p, TIMES).item() > 10
    assert Lacks([[1]])(p, TIMES).item() == 0


def test_sequences_longer_than_the_text_do_not_occur() -> None:
    assert Lacks([[1, 1, 1, 1]])(some_p(), TIMES).item() == 0


def test_gradients_are_finite_at_certainty() -> None:
    p = torch.zeros(1, 3, 4, requires_grad=True)
    with torch.no_grad():
        p[0, :, 2] = 1.0
    (Contains([[2]])(p, TIMES) + Lacks([[2]])(p, TIMES) + Contains([[0]])(p, TIMES)).sum().backward()
    assert p.grad.isfinite().all()


def test_energies_add_and_scale() -> None:
    p, one, other = some_p(3), Contains([[1]]), Lacks([[3]])
    times = torch.zeros(3, 3)
    total = (2 * one + other * 0.5)(p, times)
    torch.testing.assert_close(total, 2 * one(p, times) + 0.5 * other(p, times))
    assert total.shape == (3,)


def test_an_energy_of_ones_own_takes_part() -> None:
    class Short(TextEnergy):
        def __call__(self, p, t):
            return p[..., 0].sum(1)

    p = some_p()
    assert (Short() + Contains([[1]]))(p, TIMES).item() == pytest.approx(
        p[..., 0].sum().item() + Contains([[1]])(p, TIMES).item()
    )


@pytest.mark.parametrize("spellings", [[], [[]], [[1], []]])
def test_a_keyword_without_tokens_is_refused(spellings: list) -> None:
    with pytest.raises(ValueError, match="no tokens"):
        Contains(spellings)
    with pytest.raises(ValueError, match="no tokens"):
        Lacks(spellings)
