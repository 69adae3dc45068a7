"""A round of distillation: who learns, what is refused, and a toy model that needs half the steps after it.

About 8 s of one core.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from textdiff.diffusion.samplers import sample
from textdiff.text.data import known_mask
from textdiff.text.distillation import Distillation
from textdiff.text.model import DiffusionLMModel

VOCAB, CHUNK, LENGTH, DIM = 12, 2, 8, 16  # the toy language: one random chunk, repeated
Build = Callable[..., DiffusionLMModel]


def batch(index: Tensor, seed: int = 0) -> dict[str, Tensor]:
    """Rows of the toy language with given positions, as the data set makes them."""
    rng = np.random.default_rng([seed, int(index[0])])
    ids = torch.from_numpy(np.tile(rng.integers(VOCAB, size=(len(index), CHUNK)), (1, LENGTH // CHUNK)))
    known = torch.from_numpy(np.stack([known_mask(LENGTH, rng) for _ in index]))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "known": known, "sample_index": index}


def test_only_the_student_learns_and_word_vectors_stay(small_model: Build) -> None:
    pair = Distillation(small_model(spread=0.3), 2).train()
    assert pair.student.training and not pair.teacher.training
    pair(**batch(torch.arange(16)))["loss"].backward()
    assert all(parameter.grad is None for parameter in pair.teacher.parameters())
    without = {name for name, p in pair.student.named_parameters() if p.grad is None}
    assert without == {"denoiser.embedding.weight"}
    assert max(float(p.grad.abs().max()) for p in pair.student.parameters() if p.grad is not None) > 1e-3


def test_the_loss_is_the_sum_of_its_terms_and_padding_costs_nothing(small_model: Build) -> None:
    pair, rows = Distillation(small_model(spread=0.3), 2).eval(), batch(torch.arange(8))
    with torch.no_grad():
        found = pair(**rows)
        torch.testing.assert_close(found["loss"], found["distance"] + found["divergence"])
        rows["attention_mask"] = torch.tensor([1, 1, 1, 1, 1, 0, 0, 0]).expand(8, -1)
        one = pair(**rows)["loss"]
        rows["input_ids"] = torch.where(rows["attention_mask"] > 0, rows["input_ids"], 7)
        rows["known"] = rows["known"] | (rows["attention_mask"] == 0)
        torch.testing.assert_close(pair(**rows)["loss"], one)


@pytest.mark.parametrize(
    ("shape", "change", "message"),
    [
        ({}, {"steps": 0}, "steps is 0: it must be at least 1"),
        ({}, {"teacher_temperature": 0.0}, "temperature is 0.0: it must be above 0"),
        ({"categorical": False, "unit_norm": False}, {}, "has the recipe diffusion_lm"),
    ],
)
def test_what_cannot_be_distilled_is_refused(small_model: Build, shape: dict, change: dict, message: str) -> None:
    teacher = small_model(**shape)
    with pytest.raises(ValueError, match=message):
        Distillation(teacher, **{"steps": 2, **change})


def learn(module: torch.nn.Module, steps: int, rows: int, rate: float, first: int = 0) -> None:
    """A plain training loop: AdamW, warm-up, linear decay."""
    learned = [p for p in module.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=rate, betas=(0.9, 0.95), weight_decay=0.0)
    warm = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min((step + 1) / 10, 1 - step / steps))
    for step in range(steps):
        index = torch.arange(first + step * rows, first + (step + 1) * rows)
        loss = module(**batch(index))["loss"]
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learned, 1.0)
        optimizer.step()
        warm.step()


@pytest.fixture(scope="module")
def teacher(small_model: Build) -> DiffusionLMModel:
    """A model that has begun to speak the toy language."""
    model = small_model().train()
    learn(model, 150, 64, 6e-3)
    return model.eval()


def test_the_same_seed_makes_the_same_student(teacher: DiffusionLMModel) -> None:
    students = []
    for seed in (0, 0, 1):
        pair = Distillation(copy.deepcopy(teacher), 2, seed=seed).train()
        learn(pair, 3, 8, 1e-3)
        students.append(torch.cat([p.flatten() for p in pair.student.parameters()]))
    assert students[0].equal(students[1])
    assert not students[0].equal(students[2])


@torch.no_grad()
def write(model: DiffusionLMModel, start: Tensor, steps: int) -> Tensor:
    """Where DDIM comes from noise, [B, L, D]."""
    mask = torch.ones(start.shape[:2], dtype=torch.long)
    given = {"attention_mask": mask, "known": mask == 0, "x0_known": start}

    def denoise(x_t: Tensor, t: Tensor, x0_prev: Tensor | None) -> Tensor:
        return model.denoise(x_t, t, x0_prev=x0_prev, **given).x0_hat

    return list(sample(denoise, start, model.scheduler.times(steps), model.scheduler))[-1].x


@pytest.mark.slow
def test_a_student_comes_nearer_to_where_twice_the_steps_lead(teacher: DiffusionLMModel) -> None:
    pair = Distillation(copy.deepcopy(teacher), 2)
    held_out = batch(torch.arange(10**6, 10**6 + 512))
    with torch.no_grad():
        before = pair.eval()(**held_out)
    learn(pair.train(), 100, 64, 2e-3)
    with torch.no_grad():
        after = pair.eval()(**held_out)
    assert all(after[name] < 0.95 * before[name] for name in before)
    start = torch.randn(512, LENGTH, DIM, generator=torch.Generator().manual_seed(5))
    aim = write(teacher, start, 4)
    errors = [float((write(model, start, 2) - aim).square().mean()) for model in (pair.student, teacher)]
    assert errors[0] < 0.9 * errors[1]
