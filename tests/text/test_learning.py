"""A tiny model really learns: a toy language whose every blank is decided by the rest, infilled exactly.

A text is one random chunk, repeated. Its entropy is known, and so is the one right infill of a blank that leaves
one of each repeated token standing. About 15 s of one core for each kind of network.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from textdiff.diffusion.corrections import keep_known
from textdiff.diffusion.samplers import ddpm_step, sample
from textdiff.text.data import known_mask
from textdiff.text.model import DiffusionLMConfig, DiffusionLMModel
from textdiff.text.optimizer import MuonAdamW, parameter_groups

VOCAB, CHUNK, LENGTH, DIM = 12, 2, 8, 16
ENTROPY = CHUNK * math.log(VOCAB) / LENGTH
STEPS, ROWS = 400, 96


def texts(count: int, rng: np.random.Generator) -> Tensor:
    """Repeated chunks, [count, LENGTH]."""
    return torch.from_numpy(np.tile(rng.integers(VOCAB, size=(count, CHUNK)), (1, LENGTH // CHUNK)))


def spans(count: int, rng: np.random.Generator) -> Tensor:
    """Known positions with one blank that leaves the chunk decided: bool [count, LENGTH]."""
    known = torch.ones(count, LENGTH, dtype=torch.bool)
    for row in known:
        size = rng.integers(1, LENGTH - CHUNK, endpoint=True)
        start = rng.integers(0, LENGTH - size, endpoint=True)
        row[start : start + size] = False
    return known


def learn(model: DiffusionLMModel) -> None:
    """A plain training loop: warm-up, linear decay."""
    groups = parameter_groups(model, 5e-3, 0.0)
    optimizer = MuonAdamW(groups["muon"], groups["adamw"], betas=(0.9, 0.95))
    rate = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min((step + 1) / 20, 1 - step / STEPS))
    rng = np.random.default_rng(0)
    for step in range(STEPS):
        known = torch.from_numpy(np.stack([known_mask(LENGTH, rng) for _ in range(ROWS)]))
        index = torch.arange(step * ROWS, (step + 1) * ROWS)
        loss = model(texts(ROWS, rng), known=known, sample_index=index).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        rate.step()


@pytest.fixture(scope="module", params=[0, 1], ids=["all see all", "read in order"])
def model(request: pytest.FixtureRequest) -> DiffusionLMModel:
    """The trained model: one of each kind of network."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = DiffusionLMConfig(
            vocab_size=VOCAB, embedding_dim=DIM, hidden_size=64, num_hidden_layers=2, num_attention_heads=2,
            intermediate_size=128, max_position_embeddings=LENGTH, reading_layers=request.param,
        )  # fmt: skip
        model = DiffusionLMModel(config).train()
        learn(model)
    return model.eval()


def infill(model: DiffusionLMModel, ids: Tensor, known: Tensor, *, renoise: bool) -> Tensor:
    """Token ids of texts whose blanks the model filled in 16 steps; what stood there does not matter."""
    generator = torch.Generator().manual_seed(0)
    hidden = torch.where(known, ids, 0)
    x0 = model.denoiser.embedding.embed(hidden).detach()
    read: list[Tensor] = []

    def denoise(x_t: Tensor, t: Tensor, x0_prev: Tensor | None) -> Tensor:
        mask = torch.ones_like(ids)
        logits, x0_hat = model.denoise(x_t, t, attention_mask=mask, known=known, x0_known=x0, x0_prev=x0_prev)
        read.append(logits.argmax(-1))
        return x0_hat

    correct = keep_known(x0, known, model.scheduler, renoise=renoise, generator=generator)
    start = torch.randn(x0.shape, generator=generator)
    start = correct(start, start, torch.ones(len(ids), dtype=torch.float64))
    times = torch.cat([model.scheduler.times(16), torch.zeros(1, dtype=torch.float64)])
    for _ in sample(denoise, start, times, model.scheduler, step=ddpm_step, correct=correct, generator=generator):
        pass
    return torch.where(known, ids, read[-1])


@pytest.mark.slow
@pytest.mark.parametrize("renoise", [False, True])
def test_blanks_decided_by_the_rest_are_filled_exactly(model: DiffusionLMModel, renoise: bool) -> None:
    rng = np.random.default_rng(1)
    ids, known = texts(400, rng), spans(400, rng)
    filled = infill(model, ids, known, renoise=renoise)
    assert (filled == ids).all(1).float().mean() >= 0.97


@pytest.mark.slow
def test_the_learned_bound_is_near_the_entropy_of_the_language(model: DiffusionLMModel) -> None:
    rng = np.random.default_rng(2)
    with torch.no_grad():
        bounds = [model(texts(1024, rng), sample_index=torch.arange(1024) + 10**6 * (k + 1)).loss for k in range(4)]
    bound = float(torch.stack(bounds).mean())
    assert ENTROPY - 0.03 < bound < ENTROPY + 0.15


@pytest.mark.slow
def test_noise_levels_went_where_the_information_is(model: DiffusionLMModel) -> None:
    logsnr = model.scheduler.logsnr(torch.tensor([0.1, 0.9], dtype=torch.float64))
    assert logsnr[0] - logsnr[1] < 6.0  # eight tenths of the levels; evenly spread they would span 8.8 nats
