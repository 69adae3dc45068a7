"""The masked-diffusion rival against enumeration: all sets, all orders and all texts of a tiny vocabulary."""

import math
from itertools import combinations, permutations, product

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from textdiff.text.denoiser import DenoiserConfig
from textdiff.text.model import DiffusionLMConfig, DiffusionLMModel
from textdiff.text.presets import PRESETS

V, N = 7, 4  # tokens, and the length of the tiny texts


@pytest.fixture(scope="module")
def rival(imported):
    return imported("masked_model")


@pytest.fixture(scope="module")
def model(random_masked):
    return random_masked()


@pytest.fixture(scope="module")
def context_free(random_masked):
    """A model that knows how often tokens are and nothing else, and -log p of every token."""
    model, chances = random_masked(), torch.arange(1.0, V + 1) / torch.arange(1.0, V + 1).sum()
    torch.nn.init.zeros_(model.head.weight)
    model.head.bias.data = chances.log()
    return model, -chances.double().log()


@pytest.fixture(scope="module")
def all_orders(token_nats):
    """-log p of the unknown tokens by the chain rule, the mean over all orders of uncovering them."""

    def all_orders(model, ids, known=()):
        orders = list(permutations(set(range(len(ids))) - set(known)))
        nats = 0.0
        for order in orders:
            seen = [V if i in order else token for i, token in enumerate(ids)]
            for place in order:
                nats += float(token_nats(model, tuple(seen))[place, ids[place]])
                seen[place] = ids[place]
        return nats / len(orders)

    return all_orders


@torch.inference_mode()
def every_set(model, ids):
    """Sum of -log p over every set of masked tokens, by its size."""
    n, sums = len(ids), {}
    for k in range(1, n + 1):
        masked = torch.tensor([[i in chosen for i in range(n)] for chosen in combinations(range(n), k)])
        rows = torch.tensor(ids).expand(len(masked), n)
        sums[k] = model.set_nats(rows, torch.ones_like(rows), masked, torch.ones(masked.shape)).double()
    return sums


def texts(seed, count, length=N):
    return torch.randint(4, V, (count, length), generator=torch.Generator().manual_seed(seed)).tolist()


# The bound


@pytest.mark.parametrize("ids", texts(0, 3))
def test_the_integral_over_t_is_the_mean_over_random_sets_and_over_orders(model, all_orders, ids):
    sums, n = every_set(model, ids), len(ids)
    nodes, weights = np.polynomial.legendre.leggauss(n)  # exact for polynomials in t of degree 2 n - 1
    integral = sum(
        w / 2 * float(sums[k].sum()) * t ** (k - 1) * (1 - t) ** (n - k)
        for t, w in zip((nodes + 1) / 2, weights, strict=True)
        for k in sums
    )
    by_size = sum(float(sums[k].mean()) / k for k in sums)
    assert integral == pytest.approx(by_size, rel=1e-6)
    assert integral == pytest.approx(all_orders(model, ids), rel=1e-5)


def test_the_masses_of_all_texts_add_up_to_less_than_one(model, all_orders):
    found = sum(math.exp(-all_orders(model, ids)) for ids in product(range(V), repeat=2))
    assert 0.5 < found < 1


def test_the_estimate_meets_enumeration_within_its_variance(rival, model, all_orders):
    found = texts(1, 5)
    nats, variance = rival.masked_bound(model, found, levels=400, seed=0)
    exact = torch.tensor([all_orders(model, ids) for ids in found])
    assert ((nats - exact).abs() < 4 * variance.sqrt()).all()
    assert variance.sqrt().max() < 0.1 * exact.min()


def test_the_variance_is_right_or_too_large(rival, model, all_orders):
    ids = texts(2, 1)[0]
    nats, variance = rival.masked_bound(model, [ids] * 400, levels=4, seed=3)
    error = float(nats.mean()) - all_orders(model, ids)
    assert abs(error) < 4 * float(nats.std()) / 400**0.5
    assert 0 < float(nats.var()) < 1.2 * float(variance.mean())


def test_a_model_without_context_pays_the_cross_entropy_of_its_unigrams(rival, context_free):
    model, charge = context_free
    alike = [[token] * n for token in range(V) for n in (1, 5, 12)]
    exact = torch.stack([charge[ids].sum() for ids in alike])
    nats, variance = rival.masked_bound(model, alike, levels=3, seed=0)
    torch.testing.assert_close(nats, exact, rtol=1e-6, atol=0)
    assert variance.max() < 1e-9
    for ids in texts(3, 3, length=6):
        assert sum(float(s.mean()) / k for k, s in every_set(model, ids).items()) == pytest.approx(
            float(charge[ids].sum()), rel=1e-6
        )


def test_a_texts_estimate_depends_on_its_place_alone(rival, model):
    long = texts(4, 70, length=9)
    both, _ = rival.masked_bound(model, [texts(5, 1)[0], *long], levels=3, seed=1)
    alone, _ = rival.masked_bound(model, texts(5, 1), levels=3, seed=1)
    torch.testing.assert_close(both[:1], alone, rtol=1e-6, atol=0)
    assert both[1:].unique().numel() > 60


def test_evenly_spread_numbers_take_every_size_once(rival):
    uniform, ones = ((torch.arange(N) + 0.3) / N)[:, None], torch.ones(N, N, dtype=torch.long)
    masked, weight = rival.random_sets(ones, ones.bool(), uniform, torch.randn(N, N))
    assert masked.sum(1).tolist() == [1, 2, 3, 4]
    assert weight[:, 0].tolist() == pytest.approx([4, 2, 4 / 3, 1])


def test_every_segment_has_a_set_of_the_size_it_picked(rival):
    segments = torch.tensor([[1, 1, 1, 2, 2, 2, 3, 0]])
    counted = torch.tensor([[True, True, True, True, False, True, False, False]])
    uniform = torch.tensor([[0.99, 0.99, 0.99, 0.4, 0.4, 0.4, 0.7, 0.2]])
    masked, weight = rival.random_sets(segments, counted, uniform, torch.randn(1, 8))
    assert masked[0, :3].all() and masked[0, [3, 5]].sum() == 1 and not masked[0, [4, 6, 7]].any()
    assert weight[0, :6].tolist() == [1, 1, 1, 2, 2, 2]


def test_sets_of_one_size_are_equally_likely(rival):
    rows = 6000
    noise = torch.randn(rows, N, generator=torch.Generator().manual_seed(0))
    ones = torch.ones(rows, N, dtype=torch.long)
    masked, _ = rival.random_sets(ones, ones.bool(), torch.tensor([[0.3]]), noise)  # size 2
    counts = torch.bincount((masked * 2 ** torch.arange(N)).sum(1), minlength=16)
    seen = counts[counts > 0].double()
    assert len(seen) == 6 and ((seen - 1000).pow(2) / 1000).sum() < 25  # chi-square, 5 degrees


@pytest.mark.parametrize(
    ("found", "levels", "message"),
    [
        ([[4], []], 2, "A text has 0 tokens"),
        ([[4] * 13], 2, "A text has 13 tokens: the model takes 1 to 12"),
        ([], 2, "There is no text"),
        ([[4]], 1, "levels is 1"),
    ],
)
def test_what_the_bound_refuses(rival, model, found, levels, message):
    with pytest.raises(ValueError, match=message):
        rival.masked_bound(model, found, levels=levels, seed=0)


# The training loss


def packed():
    """One row: a text of 3, one of 4 of which the second token is given, two positions of padding."""
    first, second = texts(6, 1, length=3)[0], texts(7, 1, length=4)[0]
    ids, known = torch.tensor(first + second + [0, 0]), torch.zeros(9, dtype=torch.bool)
    known[4] = True
    return ids, torch.tensor([1] * 3 + [2] * 4 + [0] * 2), known, first, second


def test_the_loss_estimates_the_bound_without_bias(model, all_orders):
    ids, mask, known, first, second = packed()
    exact = (all_orders(model, first) + all_orders(model, second, known={1})) / 6
    parts = []
    for part in torch.arange(6000).split(500):
        rows = [value.expand(len(part), -1) for value in (ids, mask, known)]
        with torch.no_grad():
            parts.append(float(model(*rows, sample_index=part).loss))
    parts = torch.tensor(parts)
    assert abs(float(parts.mean()) - exact) < 4 * float(parts.std()) / len(parts) ** 0.5
    assert float(parts.std()) < 0.05 * exact


@torch.no_grad()
def test_a_rows_loss_is_a_function_of_its_number(model):
    ids, mask, known, *_ = packed()
    rows = [value.expand(4, -1) for value in (ids, mask, known)]
    index = torch.tensor([5, 9, 2, 7])
    alone = [float(model(*(row[:1] for row in rows), sample_index=index[i : i + 1]).loss) for i in range(4)]
    assert float(model(*rows, sample_index=index).loss) == pytest.approx(sum(alone) / 4, rel=1e-6)
    assert len(set(alone)) == 4


def test_all_parameters_learn(random_masked):
    model = random_masked()
    model(*(value.expand(8, -1) for value in packed()[:3]), sample_index=torch.arange(8)).loss.backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


OF_TEXTS = [name for name, preset in PRESETS.items() if preset.sources and not preset.pairs]


@pytest.mark.parametrize("name", OF_TEXTS)
def test_it_has_our_number_of_parameters(rival, name):
    size = 800 if PRESETS[name].tokenizer == "word" else PRESETS[name].vocab_size
    shape = {**PRESETS[name].model, "vocab_size": size}
    with torch.device("meta"):
        ours = DiffusionLMModel(DiffusionLMConfig(**shape)).num_parameters()
        theirs = rival.MaskedModel(rival.MaskedConfig.like(DenoiserConfig(**shape))).num_parameters()
    assert theirs == pytest.approx(ours, rel=0.05)


# Loading


@torch.no_grad()
def test_a_saved_model_comes_back(rival, model, tmp_path):
    model.save_pretrained(tmp_path)
    loaded = rival.MaskedModel.from_pretrained(tmp_path)
    ids = torch.randint(0, V + 1, (3, 12))
    arguments = (ids, torch.ones_like(ids), torch.ones_like(ids).bool())
    assert torch.equal(loaded.logits(*arguments), model.logits(*arguments))
    assert not loaded.training and loaded.config.to_dict()["vocab_size"] == V


@pytest.mark.parametrize(
    ("missing", "std"),
    {"head.weight": 0.0, "token_in.weight": 0.5, "transformer.blocks.1.mlp_out.weight": 0.0}.items(),
)
def test_a_missing_weight_is_fresh_and_the_others_are_untouched(rival, model, tmp_path, missing, std):
    model.save_pretrained(tmp_path)
    file, saved = tmp_path / "model.safetensors", model.state_dict()
    save_file({k: v for k, v in load_file(file).items() if k != missing}, file, metadata={"format": "pt"})
    loaded = rival.MaskedModel.from_pretrained(tmp_path).state_dict()
    assert [name for name in saved if not torch.equal(saved[name], loaded[name])] == [missing]
    assert float(loaded[missing].std()) == pytest.approx(std, rel=0.2)
