"""The loss of a denoiser that reads in order: lessons for all tokens, and a bound that is the lessons' mean."""

import pytest
import torch
from torch.nn import functional as F

from textdiff.text.objectives import draw_rows
from textdiff.text.ordered_objective import GIVEN_WEIGHT, TRAINED_ORDERS, ordered_terms, training_ranks

ROWS = 256


@pytest.fixture(scope="module")
def model(small_model):
    """Random weights everywhere."""
    return small_model(spread=0.15, reading_layers=1, stagger=1.0)


def rows_of(model, known: torch.Tensor | None = None):
    """Texts of eight tokens, two a row, drawn alike."""
    ids = torch.randint(0, 12, (ROWS, 8), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    mask[:, 5:] = 2
    known = torch.zeros_like(mask, dtype=torch.bool) if known is None else known
    return draw_rows(ids, mask, known, torch.arange(ROWS), dim=16, seed=0, self_conditioning_rate=0.0)


def test_orders_of_training_have_their_shares(model) -> None:
    rows = rows_of(model)
    rank = training_ranks(rows)
    left = (rank[:, :5] == torch.arange(1, 6)).all(1).double().mean()
    first = (rank[:, 4] == 5).double().mean()  # a fifth token alone in its block is the last, as from left to right
    assert left == pytest.approx(TRAINED_ORDERS["left"] + TRAINED_ORDERS["blocks"] / 24, abs=0.08)
    assert first == pytest.approx(1 - TRAINED_ORDERS["random"] * 4 / 5, abs=0.08)
    assert sum(TRAINED_ORDERS.values()) == pytest.approx(1)


def test_every_token_is_a_lesson_given_ones_with_less_weight(model) -> None:
    known = torch.zeros(ROWS, 8, dtype=torch.bool)
    known[:, 1:3] = True
    rows = rows_of(model, known)
    model.train()
    try:
        found = ordered_terms(model.denoiser, model.scheduler, rows, 0.1)[0]["cross_entropy"]
    finally:
        model.eval()
    states = model.denoiser.lessons(rows.input_ids, rows.attention_mask, known, training_ranks(rows))
    logits = model.denoiser.predict(states)
    nats = F.cross_entropy(logits.flatten(0, 1), rows.input_ids.flatten(), reduction="none").view(ROWS, 8)
    expected = (nats * torch.where(known, GIVEN_WEIGHT, 1.0)).sum(1) / 6
    torch.testing.assert_close(found, expected)


def test_the_bound_is_the_mean_of_the_lessons(model) -> None:
    rows = rows_of(model)
    with torch.no_grad():
        states = model.denoiser.lessons(rows.input_ids, rows.attention_mask, rows.known, training_ranks(rows))
        logits = model.denoiser.predict(states)
        exact = F.cross_entropy(logits.flatten(0, 1), rows.input_ids.flatten())
        draws = []
        for index in range(60):
            own = draw_rows(
                rows.input_ids, rows.attention_mask, rows.known, torch.arange(ROWS) + index * ROWS,
                dim=16, seed=1, self_conditioning_rate=0.0,
            )  # fmt: skip
            same = own.__class__(**{**own.__dict__, "order": rows.order, "stagger": rows.stagger})
            terms, _ = ordered_terms(model.denoiser, model.scheduler, same, 0.1)
            draws.append(torch.stack(list(terms.values())).sum(0).mean())
    found = torch.stack(draws)
    assert "cross_entropy" not in terms
    assert found.mean().item() == pytest.approx(float(exact), abs=4 * found.std().item() / len(found) ** 0.5 + 0.01)


def test_word_vectors_and_network_learn(model) -> None:
    model.train()
    loss = model(rows_of(model).input_ids, sample_index=torch.arange(ROWS)).loss
    loss.backward()
    silent = [name for name, own in model.named_parameters() if own.grad is None or not own.grad.any()]
    model.zero_grad()
    model.eval()
    assert not silent
