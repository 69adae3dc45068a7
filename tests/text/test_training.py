"""The Trainer's parts: averages in closed form, optimiser groups, logs by term, broken checkpoints."""

import json
import os
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import Dataset
from transformers import TrainingArguments

from textdiff.text.model import DiffusionLMConfig, DiffusionLMModel
from textdiff.text.objectives import BOUND_WEIGHT
from textdiff.text.optimizer import EMBEDDING_LEARNING_RATE, MUON_MULTIPLE
from textdiff.text.training import (
    DiffusionTrainer,
    EMACallback,
    drop_half_written,
    ema_average,
    latest_checkpoint,
    write_curves,
)
from textdiff.training import averaging


class Rows(Dataset):
    """Token rows that are a function of their index."""

    def __init__(self, total):
        self.total = total

    def __len__(self):
        return self.total

    def __getitem__(self, index):
        generator = torch.Generator().manual_seed(index)
        ids = torch.randint(3, 20, (8,), generator=generator)
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "sample_index": torch.tensor(index)}


def make_trainer(folder, *, rows=32, decay=0.5, recipe=DiffusionLMConfig, **options):
    torch.manual_seed(0)
    config = recipe(
        vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=8, embedding_dim=4,
    )  # fmt: skip
    model = DiffusionLMModel(config)
    values = {
        "logging_steps": 1,
        "save_steps": 2,
        "max_steps": 4,
        "per_device_train_batch_size": 4,
        **options,
    }
    arguments = TrainingArguments(
        output_dir=str(folder), use_cpu=True, report_to=[], disable_tqdm=True, learning_rate=1e-2,
        remove_unused_columns=False, prediction_loss_only=True, label_names=["input_ids"], **values,
    )  # fmt: skip
    ema = EMACallback(model, decay)
    return DiffusionTrainer(model=model, args=arguments, train_dataset=Rows(rows), eval_dataset=Rows(12), ema=ema)


# Averaged weights.


def test_the_average_has_its_closed_form():
    decay, weights = 0.6, torch.randn(30, 3, dtype=torch.float64)
    model = nn.Linear(3, 1, bias=False).double()
    average = AveragedModel(model, multi_avg_fn=ema_average(decay))
    for weight in weights:
        model.weight.data[0] = weight
        average.update_parameters(model)
    keep = [min(decay, (n + 1) / (n + 10)) for n in range(1, 30)]  # the first call copies
    wanted = weights[0] * torch.tensor(keep, dtype=torch.float64).prod()
    for i in range(1, 30):
        wanted = wanted + (1 - keep[i - 1]) * torch.tensor(keep[i:], dtype=torch.float64).prod() * weights[i]
    torch.testing.assert_close(average.module.weight[0].detach(), wanted)


def test_the_average_is_saved_and_taken_back(tmp_path):
    whole = make_trainer(tmp_path / "whole")
    whole.train()
    part = make_trainer(tmp_path / "whole")
    folder = tmp_path / "whole" / "checkpoint-2"
    part.train(resume_from_checkpoint=str(folder))
    assert int(part.ema.average.n_averaged) == int(whole.ema.average.n_averaged) == 4
    for name, value in whole.ema.average.module.state_dict().items():
        torch.testing.assert_close(part.ema.average.module.state_dict()[name], value)
    saved, weights = load_file(folder / "ema.safetensors"), load_file(folder / "model.safetensors")
    assert saved.keys() == weights.keys()
    assert not torch.equal(saved["denoiser.embedding.weight"], weights["denoiser.embedding.weight"])


def test_evaluation_sees_averaged_weights_and_gives_the_trained_ones_back(tmp_path, monkeypatch):
    trainer = make_trainer(tmp_path)
    trainer.train()
    live = {k: v.clone() for k, v in trainer.model.state_dict().items()}
    loss = trainer.evaluate()["eval_loss"]
    assert all(torch.equal(v, live[k]) for k, v in trainer.model.state_dict().items())
    trainer.model.load_state_dict(trainer.ema.average.module.state_dict())
    assert trainer.evaluate()["eval_loss"] == loss
    trainer.model.load_state_dict(live)
    trainer.ema.average.module.load_state_dict(live)
    assert trainer.evaluate()["eval_loss"] != loss
    monkeypatch.setattr(trainer, "prediction_step", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        trainer.evaluate()
    assert all(torch.equal(v, live[k]) for k, v in trainer.model.state_dict().items())


def test_evaluation_moves_no_noise_level(tmp_path):
    trainer = make_trainer(tmp_path)
    before = trainer.model.levels.state_dict()
    trainer.evaluate()
    assert trainer.model.levels.state_dict() == before


# Optimiser.


def test_the_optimiser_has_the_groups(tmp_path):
    trainer = make_trainer(tmp_path, adam_beta2=0.9)
    optimizer = trainer.create_optimizer()
    rates = [group["lr"] for group in optimizer.param_groups]
    assert rates == [1e-2 * MUON_MULTIPLE, 1e-2, 1e-2, EMBEDDING_LEARNING_RATE]
    assert optimizer.adamw.param_groups[0]["betas"][1] == 0.9
    assert trainer.create_optimizer() is optimizer


# Order, logs, curves.


def test_rows_come_in_order(tmp_path, monkeypatch):
    trainer, seen = make_trainer(tmp_path), []
    forward = trainer.model.forward
    monkeypatch.setattr(
        trainer.model, "forward", lambda **inputs: (seen.append(inputs["sample_index"]), forward(**inputs))[1]
    )
    trainer.train()
    assert torch.cat(seen).tolist() == list(range(16))


@pytest.mark.parametrize(
    ("recipe", "terms", "beside"),
    [
        (DiffusionLMConfig, ["reconstruction", "diffusion", "prior"], ["cross_entropy"]),
        (DiffusionLMConfig.diffusion_lm, ["mse", "terminal", "rounding"], []),
    ],
)
def test_terms_are_logged_by_name_and_add_up_to_the_loss(tmp_path, recipe, terms, beside):
    trainer = make_trainer(tmp_path, recipe=recipe, eval_strategy="steps", eval_steps=3, logging_steps=2)
    trainer.train()
    history = trainer.state.log_history
    train = [row for row in history if "loss" in row]
    evaluation = [row for row in history if "eval_loss" in row]
    assert [row["step"] for row in train] == [2, 4]
    assert [row["step"] for row in evaluation] == [3, 4]
    for prefix, rows, names in (("", train, terms + beside), ("eval_", evaluation, terms)):
        for row in rows:
            share = BOUND_WEIGHT if "cross_entropy" in names else 1.0
            total = sum(row[prefix + name] * (share if name in terms else 1.0) for name in names)
            assert row[f"{prefix}loss"] == pytest.approx(total, abs=2e-3)


def test_curves_are_written_and_drawn(tmp_path):
    history = [
        {"step": 1, "loss": 3.0, "diffusion": 2.0},
        {"step": 2, "loss": 2.0, "diffusion": 1.5},
        {"step": 2, "eval_loss": 2.5},
    ]  # fmt: skip
    write_curves(history, tmp_path)
    assert json.loads((tmp_path / "curves.json").read_text()) == history
    from matplotlib.image import imread

    picture = imread(tmp_path / "curves.png")
    write_curves(history[:1], tmp_path)
    assert picture.shape[:2] == (540, 960)
    assert (picture != imread(tmp_path / "curves.png")).any()


# Checkpoints.


def make_checkpoint(folder, step):
    path = folder / f"checkpoint-{step}"
    path.mkdir(parents=True)
    for name in ("model", "ema"):
        save_file({"weight": torch.ones(100)}, path / f"{name}.safetensors")
    (path / "trainer_state.json").write_text("{}")
    return path


def cut(path):
    path.write_bytes(path.read_bytes()[:-1])


BREAKAGES = {
    "no average": lambda folder: (folder / "ema.safetensors").unlink(),
    "average in draft": lambda folder: (folder / "ema.safetensors").rename(folder / "ema.safetensors.part"),
    "average cut": lambda folder: cut(folder / "ema.safetensors"),
    "average empty": lambda folder: (folder / "ema.safetensors").write_bytes(b""),
    "weights cut": lambda folder: cut(folder / "model.safetensors"),
    "no state": lambda folder: (folder / "trainer_state.json").unlink(),
    "state cut": lambda folder: (folder / "trainer_state.json").write_text('{"a":'),
}


@pytest.mark.parametrize("how", BREAKAGES)
def test_a_half_written_checkpoint_is_passed_over_and_dropped(tmp_path, how):
    whole, broken = make_checkpoint(tmp_path, 90), make_checkpoint(tmp_path, 100)
    (tmp_path / "checkpoint-mine").mkdir()
    assert latest_checkpoint(tmp_path) == broken
    BREAKAGES[how](broken)
    assert latest_checkpoint(tmp_path) == whole
    drop_half_written(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-90", "checkpoint-mine"]


def test_checkpoints_are_ordered_by_number(tmp_path):
    assert latest_checkpoint(tmp_path / "nowhere") is None
    make_checkpoint(tmp_path, 1000)
    make_checkpoint(tmp_path, 900)
    assert latest_checkpoint(tmp_path).name == "checkpoint-1000"


def no_room(*_, **__):
    raise OSError(28, "No space left on device")


def torn(*_, **__):
    raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534")


@pytest.mark.parametrize(
    ("place", "name", "failure"),
    [("ema", "save_model", no_room), ("weights", "save_pretrained", no_room), ("optimiser", "save", torn)],
)
def test_a_full_disk_leaves_the_checkpoint_before(tmp_path, monkeypatch, place, name, failure):
    trainer = make_trainer(tmp_path)
    home = {"ema": averaging, "weights": trainer.model, "optimiser": torch}[place]
    original = getattr(home, name)

    def fail_later(*args, **kwargs):
        return (failure if trainer.state.global_step == 4 else original)(*args, **kwargs)

    monkeypatch.setattr(home, name, fail_later)
    with pytest.raises(OSError, match="Cannot write .*: make room on the disk"):
        trainer.train()
    monkeypatch.undo()
    assert latest_checkpoint(tmp_path).name == "checkpoint-2"
    make_trainer(tmp_path).train(resume_from_checkpoint=str(latest_checkpoint(tmp_path)))
    assert latest_checkpoint(tmp_path).name == "checkpoint-4"


def test_a_limit_on_file_size_is_a_sentence_too(tmp_path):
    """A real failure of the operating system, in a process of its own: the limit cannot be lifted again."""
    pid = os.fork()
    if pid == 0:
        import resource

        code = 1
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
            state = SimpleNamespace(is_world_process_zero=True, global_step=2)
            (tmp_path / "checkpoint-2").mkdir()
            EMACallback(nn.Linear(100, 100)).on_save(SimpleNamespace(output_dir=str(tmp_path)), state, None)
        except OSError as error:
            code = 0 if "make room on the disk" in str(error) else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert latest_checkpoint(tmp_path) is None
