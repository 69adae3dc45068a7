"""Two optimisers as one: every parameter in one group, the steps of both, their states in one file."""

import pytest
import torch
from torch import nn

from textdiff.text.denoiser import DenoiserConfig, TextDenoiser
from textdiff.text.optimizer import EMBEDDING_LEARNING_RATE, MUON_MULTIPLE, MuonAdamW, parameter_groups


class Holder(nn.Module):
    """A denoiser as the trained model holds it."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        shape = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
        self.denoiser = TextDenoiser(DenoiserConfig(vocab_size=20, **shape))


def optimizer_of(model: nn.Module) -> MuonAdamW:
    groups = parameter_groups(model, 1e-3, 0.05)
    return MuonAdamW(groups["muon"], groups["adamw"], betas=(0.9, 0.95))


def set_gradients(model: nn.Module, seed: int) -> None:
    source = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=source)


def test_every_parameter_is_in_one_group() -> None:
    model = Holder()
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = parameter_groups(model, 1e-3, 0.05)
    everything = [(kind, group, p) for kind in groups for group in groups[kind] for p in group["params"]]
    assert sorted(id(p) for *_, p in everything) == sorted(names)
    found = {names[id(p)]: (kind, group["lr"], group["weight_decay"]) for kind, group, p in everything}
    assert found["denoiser.embedding.weight"] == ("adamw", EMBEDDING_LEARNING_RATE, 0.0)
    assert found["denoiser.head.weight"] == ("adamw", 1e-3, 0.05)
    assert found["denoiser.from_start.weight"] == found["denoiser.known_flag"] == ("adamw", 1e-3, 0.0)
    muon = {name.split(".", 4)[4] for name, (kind, *_) in found.items() if kind == "muon"}
    assert muon == {"qkv.weight", "attention_out.weight", "mlp_in.weight", "mlp_out.weight"}
    assert found["denoiser.transformer.blocks.1.qkv.weight"] == ("muon", 1e-3 * MUON_MULTIPLE, 0.05)


def test_a_matrix_steps_along_an_orthogonal_one_of_adamws_size() -> None:
    weight = nn.Parameter(torch.zeros(24, 24, dtype=torch.float64))
    optimizer = MuonAdamW(
        [{"params": [weight], "lr": 1.0, "weight_decay": 0.0}], [{"params": [nn.Parameter(torch.zeros(1))]}],
        betas=(0.9, 0.95),
    )  # fmt: skip
    weight.grad = torch.randn(24, 24, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    optimizer.step()
    directions = weight.grad.mT @ -weight.data  # positive: it descends
    assert torch.linalg.eigvals(directions).real.min() > 0
    singular = torch.linalg.svdvals(weight.data) / (0.2 * 24**0.5)  # root mean square .2, as AdamW's
    assert singular.min() > 0.3 and singular.max() < 1.3


def test_schedules_reach_both() -> None:
    model = Holder()
    optimizer = optimizer_of(model)
    before = [parameter.clone() for parameter in model.parameters()]
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.0)
    set_gradients(model, 0)
    optimizer.step()
    schedule.step()
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_its_state_comes_back(tmp_path) -> None:
    straight, broken = Holder(), Holder()
    one, other = optimizer_of(straight), optimizer_of(broken)
    for seed in range(2):
        for model, optimizer in ((straight, one), (broken, other)):
            set_gradients(model, seed)
            optimizer.step()
    torch.save(other.state_dict(), tmp_path / "optimizer.pt")
    resumed = optimizer_of(broken)
    resumed.load_state_dict(torch.load(tmp_path / "optimizer.pt", weights_only=True))
    for group in resumed.param_groups:
        assert any(group is own for own in (*resumed.muon.param_groups, *resumed.adamw.param_groups))
    for model, optimizer in ((straight, one), (broken, resumed)):
        set_gradients(model, 2)
        optimizer.step()
    for a, b in zip(straight.parameters(), broken.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_an_old_torch_is_refused(monkeypatch) -> None:
    monkeypatch.delattr(torch.optim, "Muon")
    with pytest.raises(RuntimeError, match=r"torch 2\.9 or newer"):
        optimizer_of(Holder())


def test_a_closure_is_refused() -> None:
    with pytest.raises(ValueError, match="no closure"):
        optimizer_of(Holder()).step(lambda: 0.0)
