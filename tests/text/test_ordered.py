"""Who sees whom, what is kept, and where chosen tokens lie."""

import torch

from textdiff.text.ordered import Memory, chosen_places, whom_they_see

SEGMENTS = torch.tensor([[1, 1, 1, 2, 2, 0]])
RANK = torch.tensor([[2, 1, 3, 1, 2, 0]])


def pairs(mask: torch.Tensor) -> set[tuple[int, int]]:
    """(who, whom) of a mask [1, L, L]."""
    return {(i, j) for _, i, j in mask.nonzero().tolist()}


def test_a_question_sees_clean_tokens_before_it_in_its_own_text() -> None:
    seen, (left, right) = whom_they_see(SEGMENTS, RANK, torch.ones_like(SEGMENTS, dtype=torch.bool), themselves=False)
    assert pairs(seen) == {(0, 1), (2, 0), (2, 1), (4, 3)}
    assert left.tolist() == [[False, False, True, False, True, False]]
    assert right.tolist() == [[True, False, False, False, False, False]]


def test_a_clean_token_sees_itself_too_and_padding_nothing_else() -> None:
    seen, edges = whom_they_see(SEGMENTS, RANK, torch.ones_like(SEGMENTS, dtype=torch.bool), themselves=True)
    assert pairs(seen) == {(i, i) for i in range(6)} | {(0, 1), (2, 0), (2, 1), (4, 3)}
    assert not edges[0][0, 0] and not edges[1][0, 4]


def test_nobody_sees_noise() -> None:
    clean = torch.tensor([[False, True, False, False, True, False]])
    seen, _ = whom_they_see(SEGMENTS, RANK, clean, themselves=False)
    assert pairs(seen) == {(0, 1), (2, 1)}


def test_chosen_places_stand_side_by_side() -> None:
    at, real = chosen_places(torch.tensor([[False, True, True], [True, False, False], [False, False, False]]))
    assert at.tolist() == [[1, 2], [0, 3], [3, 3]]
    assert real.tolist() == [[True, True], [True, False], [False, False]]


def test_a_memory_keeps_what_is_put_at_its_place() -> None:
    memory, new = Memory(3), torch.arange(4.0).view(2, 1, 2)
    assert memory.put("a", new, torch.tensor([[1], [3]]))[:, :3].tolist() == [[[0, 0], [0, 1], [0, 0]], [[0, 0]] * 3]
    assert memory.put("a", -new, torch.tensor([[2], [0]]))[:, 0].tolist() == [[0, 0], [-2, -3]]
    heads = memory.put("b", torch.ones(2, 5, 1, 4), torch.tensor([[0], [2]]))
    assert heads.shape == (2, 5, 4, 4) and heads[0, :, 0].all() and heads[1, :, 2].all() and heads.sum() == 40
    assert memory.put("c", new, None) is new


def test_a_memory_forgets_where_noise_comes_back() -> None:
    memory = Memory(2)
    assert memory.unread(torch.tensor([[True, False]])).tolist() == [[True, False]]
    memory.put("a", torch.ones(1, 1, 1), torch.tensor([[0]]))
    assert memory.unread(torch.tensor([[True, True]])).tolist() == [[False, True]] and memory.kept
    assert memory.unread(torch.tensor([[False, True]])).tolist() == [[False, True]] and not memory.kept
