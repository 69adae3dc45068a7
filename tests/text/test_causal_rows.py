"""Rows of an autoregressive rival: pieces come back, chances in closed form, masks through a real GPT-2."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import torch

from textdiff.text.causal_rows import (
    END,
    FILL_IN_THE_MIDDLE_RATE,
    IGNORED,
    START,
    CausalRows,
    FillInTheMiddleRows,
    Sentinels,
    draw_middle,
)

V, L = 40, 40
MARKS = Sentinels.after(V)
KINDS = [CausalRows, FillInTheMiddleRows]


@pytest.fixture(scope="module")
def pieces():
    """300 pieces of 1 to 19 tokens."""
    rng = np.random.default_rng(0)
    return [rng.integers(3, V, size, dtype=np.int32) for size in rng.integers(1, 19, 300, endpoint=True)]


def make(kind, pieces, *, total=None, seed=0):
    extra = {"sentinels": MARKS} if kind is FillInTheMiddleRows else {}
    return kind(pieces, L, total=total, seed=seed, **extra)


def segments(row):
    """The ids of every piece of a row, by its positions; what follows must be padding."""
    starts = (row["input_ids"] == START).nonzero()[:, 0].tolist()
    used = int((row["labels"] != IGNORED).nonzero().max()) + 1
    assert not row["input_ids"][used:].any() and not row["position_ids"][used:].any()
    edges = [*starts, used]
    return [row["input_ids"][a:b].tolist() for a, b in pairwise(edges)]


def original(sequence):
    """The piece, and its middle or None, that a sequence with special tokens was made of."""
    assert sequence[0] == START and sequence[-1] == END
    inner = sequence[1:-1]
    if inner[0] != MARKS.prefix:
        return tuple(inner), None
    at, to = inner.index(MARKS.suffix), inner.index(MARKS.middle)
    middle = inner[to + 1 :]
    return (*inner[1:at], *middle, *inner[at + 1 : to]), middle


@pytest.mark.parametrize("kind", KINDS)
def test_a_pass_holds_every_piece_once_and_whole(kind, pieces):
    rows = make(kind, pieces)
    found = [original(sequence)[0] for i in range(len(rows)) for sequence in segments(rows[i])]
    assert Counter(found) == Counter(tuple(piece.tolist()) for piece in pieces)


def test_nine_in_ten_middles_are_moved_and_none_is_empty(pieces):
    rows = make(FillInTheMiddleRows, pieces, total=len(make(FillInTheMiddleRows, pieces)) * 3)
    middles = [original(sequence)[1] for i in range(len(rows)) for sequence in segments(rows[i])]
    moved = [middle for middle in middles if middle is not None]
    sd = (FILL_IN_THE_MIDDLE_RATE * (1 - FILL_IN_THE_MIDDLE_RATE) / len(middles)) ** 0.5
    assert len(middles) == 900 and all(moved)
    assert len(moved) / len(middles) == pytest.approx(FILL_IN_THE_MIDDLE_RATE, abs=4 * sd)


def test_middles_have_the_lengths_and_places_they_say():
    rng, n = np.random.default_rng(0), 6000
    drawn = Counter((m.start, m.stop - m.start) for m in (draw_middle(4, rng) for _ in range(n)))
    for size in range(1, 5):  # geometric, what is longer than the piece falls on its length
        chance = 0.25 * 0.75 ** (size - 1) if size < 4 else 0.75**3
        for start in range(5 - size):
            p = chance / (5 - size)
            assert drawn.pop((start, size)) / n == pytest.approx(p, abs=4 * (p / n) ** 0.5)
    assert not drawn


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_is_a_function_of_seed_and_index(kind, pieces):
    one, other = make(kind, pieces, total=500), make(kind, pieces, total=500)
    for i in (431, 3, 250, 4):  # another object, another order
        row = other[i]
        assert all(torch.equal(value, row[name]) for name, value in one[i].items())
    strange = make(kind, pieces, total=500, seed=1)
    assert any(not torch.equal(one[i]["input_ids"], strange[i]["input_ids"]) for i in range(3))


def test_another_pass_moves_another_middle():
    piece = np.arange(3, 21)
    rows = FillInTheMiddleRows([piece], L, sentinels=MARKS, total=40)
    moved = [tuple(original(segments(rows[i])[0])[1] or ()) for i in range(40)]
    assert len(set(moved)) > 10


@pytest.mark.parametrize("kind", KINDS)
def test_a_packed_row_costs_what_its_pieces_cost_alone(kind, pieces):
    """The mask, the positions and the labels at once: a GPT-2's mean loss of a row, against each piece's."""
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(
        vocab_size=V + 3, n_positions=L, n_embd=16, n_layer=2, n_head=2, bos_token_id=1, eos_token_id=2,
        initializer_range=0.4, attn_pdrop=0.0, embd_pdrop=0.0, resid_pdrop=0.0,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = transformers.GPT2LMHeadModel._from_config(config, attn_implementation="eager").eval()
    rows = make(kind, pieces)
    row = next(row for row in (rows[i] for i in range(len(rows))) if len(segments(row)) > 2)
    with torch.no_grad():
        loss = model(**{name: value[None] for name, value in row.items()}).loss
        nats, count = 0.0, 0
        for sequence in segments(row):
            ids = torch.tensor([sequence])
            odds = model(input_ids=ids).logits[0, :-1].log_softmax(-1)
            nats -= odds.gather(1, ids[0, 1:, None]).sum().item()
            count += len(sequence) - 1
    assert loss.item() == pytest.approx(nats / count, rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_masks_look_left_within_a_piece(kind, pieces):
    row = make(kind, pieces)[0]
    allowed = row["attention_mask"][0] == 0
    at = 0
    for sequence in segments(row):
        span = slice(at, at + len(sequence))
        assert torch.equal(allowed[span, span], torch.ones(len(sequence), len(sequence)).tril().bool())
        assert not allowed[span, : span.start].any() and not allowed[span, span.stop :].any()
        assert row["position_ids"][span].tolist() == list(range(len(sequence)))
        assert row["labels"][span].tolist() == [IGNORED, *sequence[1:]]
        at = span.stop


@pytest.mark.parametrize(("kind", "longest"), [(CausalRows, L - 2), (FillInTheMiddleRows, L - 5)])
def test_the_longest_piece_fits_and_a_longer_one_is_refused(kind, longest):
    rows = make(kind, [np.full(longest, 7)], total=20)
    assert all(original(segments(rows[i])[0])[0] == (7,) * longest for i in range(20))
    with pytest.raises(ValueError, match=f"A row has {L} positions, but the longest piece takes {L + 1}"):
        make(kind, [np.full(longest + 1, 7)])
