"""The denoiser: exact masks, exact output prior, positions by hand."""

from dataclasses import replace

import pytest
import torch

from textdiff.diffusion.scheduler import Scheduler
from textdiff.text.denoiser import DenoiserConfig, Prefix, TextDenoiser
from textdiff.text.language_model import DiffusionLM
from textdiff.text.transformer import segment_positions


@pytest.fixture
def denoiser(bpe_lm: DiffusionLM) -> TextDenoiser:
    return bpe_lm.denoiser


def inputs(rows: int = 2, length: int = 8) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    x_t, x0_known, x0_prev = torch.randn(3, rows, length, 64, generator=generator)
    known = torch.rand(rows, length, generator=generator) < 0.4
    mask = torch.ones(rows, length, dtype=torch.long)
    return {"x_t": x_t, "x0_known": x0_known, "x0_prev": x0_prev, "known": known, "attention_mask": mask}


def call(denoiser: TextDenoiser, given: dict[str, torch.Tensor]) -> torch.Tensor:
    logsnr = torch.linspace(-1.0, 1.0, len(given["x_t"]), dtype=torch.float64)
    return denoiser(logsnr=logsnr, **given).logits


@pytest.mark.parametrize("name", ["x_t", "x0_known", "x0_prev", "known"])
def test_padding_does_not_matter(denoiser: TextDenoiser, name: str) -> None:
    given = inputs()
    given["attention_mask"][:, 5:] = 0
    given["known"][:, 4] = name == "x0_known"  # given vectors are read where known, the others elsewhere
    changed = {**given, name: given[name].clone()}
    changed[name][:, 5:] = ~given[name][:, 5:] if name == "known" else 100.0
    assert torch.equal(call(denoiser, given)[:, :5], call(denoiser, changed)[:, :5])
    changed[name][:, 4] = ~given[name][:, 4] if name == "known" else 100.0
    assert not torch.allclose(call(denoiser, given)[:, :4], call(denoiser, changed)[:, :4])


def test_neither_padding_nor_companions_nor_other_segments_are_seen(denoiser: TextDenoiser) -> None:
    given = inputs(rows=2, length=9)
    given["attention_mask"] = torch.tensor([[1, 1, 1, 1, 2, 2, 2, 0, 0], [1] * 9])
    levels = torch.where(given["attention_mask"] == 2, 0.5, -1.0).double()  # each segment has its own noise level
    packed = denoiser(logsnr=levels, **given).logits
    for segment, level in ((slice(0, 4), -1.0), (slice(4, 7), 0.5)):
        alone = {name: value[:1, segment] for name, value in given.items()}
        alone["attention_mask"] = torch.ones_like(alone["attention_mask"])
        logits = denoiser(logsnr=torch.tensor([level], dtype=torch.float64), **alone).logits
        torch.testing.assert_close(packed[:1, segment], logits, atol=1e-5, rtol=1e-5)


def test_known_positions_are_read_from_the_clean_vectors_alone(denoiser: TextDenoiser) -> None:
    given = inputs()
    others = ~given["known"]
    changed = {**given, "x_t": torch.where(given["known"][..., None], 7.0, given["x_t"])}
    assert torch.equal(call(denoiser, given)[others], call(denoiser, changed)[others])
    changed = {**given, "x0_known": torch.where(others[..., None], 7.0, given["x0_known"])}
    assert torch.equal(call(denoiser, given), call(denoiser, changed))


def test_the_output_prior_is_the_exact_posterior_of_an_independent_token() -> None:
    torch.manual_seed(0)
    denoiser = TextDenoiser(DenoiserConfig(vocab_size=11, embedding_dim=4, hidden_size=16, num_hidden_layers=1))
    scheduler, t = Scheduler.adaptive([3.0, -6.0]), torch.tensor([0.3], dtype=torch.float64)
    x_t = torch.randn(1, 5, 4)
    alpha, sigma = scheduler.alpha_sigma(t)
    vectors = denoiser.embedding.vectors()
    density = torch.exp(-(x_t[..., None, :] - alpha * vectors).pow(2).sum(-1) / (2 * sigma**2))
    posterior = density / density.sum(-1, keepdim=True)
    mask = torch.ones(1, 5, dtype=torch.long)
    logits, x0_hat = denoiser(x_t, scheduler.logsnr(t), attention_mask=mask)
    torch.testing.assert_close(logits.softmax(-1), posterior.float())
    torch.testing.assert_close(x0_hat, (posterior @ vectors.double()).float())


def test_the_expected_token_is_the_posterior_mean_of_its_input_vectors() -> None:
    torch.manual_seed(0)
    denoiser = TextDenoiser(DenoiserConfig(32, 64, 16, 1, 2, 32))
    scheduler = Scheduler.adaptive([5.0, 1.0, -6.0])
    t = torch.tensor([0.0, 0.2, 0.5, 0.7, 1.0], dtype=torch.float64).expand(40, -1)
    x0 = denoiser.embedding.embed(torch.randint(32, (40, 5)))
    x_t = scheduler.add_noise(x0, torch.randn(40, 5, 64), t)
    known = torch.rand(40, 5) < 0.2
    logsnr = scheduler.logsnr(t)
    chances = denoiser.prior_logits(x_t, logsnr).softmax(-1)
    given = denoiser.token_in(denoiser.embedding.round(x0))
    truth = torch.where(known[..., None], given, chances @ denoiser.token_in.weight)
    expected = denoiser.expected_token(x_t, logsnr, known, x0)
    torch.testing.assert_close(expected[:, :4], truth[:, :4], atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(expected[:, 4], truth[:, 4], atol=0.1, rtol=0)  # noise alone: the mean of all words
    assert expected.requires_grad


def test_a_head_that_copies_reads_tokens_off_the_vectors_by_which_they_enter() -> None:
    torch.manual_seed(0)
    model = TextDenoiser(DenoiserConfig(40, 8, 64, 2, 2, 64, 16, copies=1.0))
    given = inputs() | {name: torch.randn(2, 8, 8) for name in ("x_t", "x0_known", "x0_prev")}
    scale = {"logsnr": torch.tensor([-1.0, 1.0])}
    prior = model.prior_logits(given["x_t"], scale["logsnr"].view(2, 1))
    assert torch.equal(model(**scale, **given).logits, prior)  # a fresh head says nothing
    model.copy_head.weight.data.copy_(torch.eye(64))
    assert model.predict(model.token_in.weight).argmax(-1).tolist() == list(range(40))
    model.head.bias.data[3] = 100.0
    assert model.predict(model.token_in.weight).argmax(-1).tolist() == [3] * 40


def test_sides_are_counted_each_for_itself(denoiser: TextDenoiser) -> None:
    mask = torch.tensor([[1, 1, 1, 1, 1, 2, 2, 2, 0, 0]])  # source of 2 and its separator, target of 2; no source
    known = torch.tensor([[True, True, True, False, False, True, False, False, False, True]])
    sided = TextDenoiser(replace(denoiser.config, sides=True)).eval()
    start, end = sided.places(mask, known)
    assert start.tolist() == [[0, 1, 2, 0, 1, 0, 0, 1, 0, 0]]
    assert end.tolist() == [[2, 1, 0, 1, 0, 0, 1, 0, 0, 0]]
    assert all(map(torch.equal, denoiser.places(mask, known), segment_positions(mask)))
    sided.load_state_dict(denoiser.state_dict())
    given = inputs(length=10) | {"attention_mask": mask.expand(2, -1), "known": known.expand(2, -1)}
    near, far = (call(model, given)[:, :8] for model in (sided, denoiser))
    assert (near - far).abs().max() > 1e-3  # the network is told


def test_weights_in_bfloat16_work_and_say_nearly_the_same() -> None:
    torch.manual_seed(0)
    model = TextDenoiser(DenoiserConfig(32, 8, 32, 2, 2, 64, 16)).eval()
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    x_t, logsnr = torch.randn(2, 6, 8), torch.tensor([-1.0, 1.0])
    given = {"attention_mask": torch.ones(2, 6, dtype=torch.long), "x0_prev": torch.randn(2, 6, 8)}
    full = model(x_t, logsnr, **given).x0_hat
    half = model.to(torch.bfloat16)(x_t, logsnr, **given).x0_hat
    assert half.dtype == torch.float32
    assert float((full - half).detach().abs().max()) < 0.1


def prefix(rows: int = 2, seed: int = 2) -> Prefix:
    """Three vectors before every row, all looked at."""
    vectors = torch.randn(rows, 3, 32, generator=torch.Generator().manual_seed(seed))
    return Prefix(vectors, torch.ones(rows, 3, dtype=torch.bool))


def test_a_prefix_is_looked_at_and_not_given_back(denoiser: TextDenoiser) -> None:
    given = inputs()
    plain, one, other = (call(denoiser, {**given, "prefix": p}) for p in (None, prefix(), prefix(seed=3)))
    assert plain.shape == one.shape
    assert (plain - one).abs().max() > 1e-3 and (one - other).abs().max() > 1e-3
    turned = Prefix(prefix().vectors.flip(1), prefix().mask)
    assert (one - call(denoiser, {**given, "prefix": turned})).abs().max() > 1e-3  # its order counts


def test_what_is_masked_of_a_prefix_is_not_there(denoiser: TextDenoiser) -> None:
    given, whole = inputs(), prefix()
    mask = torch.tensor([[False, True, True], [False, False, False]])
    part = call(denoiser, {**given, "prefix": Prefix(whole.vectors, mask)})
    short = call(denoiser, {**given, "prefix": Prefix(whole.vectors[:, 1:], mask[:, 1:])})
    torch.testing.assert_close(part, short, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(part[1], call(denoiser, given)[1], atol=1e-5, rtol=1e-5)
    assert (part[0] - call(denoiser, given)[0]).abs().max() > 1e-3


def test_a_prefix_is_of_the_first_segment_alone(denoiser: TextDenoiser) -> None:
    given = inputs()
    given["attention_mask"] = torch.tensor([[1, 1, 1, 1, 2, 2, 2, 0]]).expand(2, -1)
    one, other = (call(denoiser, {**given, "prefix": prefix(seed=seed)}) for seed in (2, 3))
    assert torch.equal(one[:, 4:7], other[:, 4:7])
    assert (one[:, :4] - other[:, :4]).abs().max() > 1e-3
