"""The trainable model against the traps of transformers 5: loading, initialisation, accumulation, noise."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModel

from textdiff.diffusion.scheduler import Scheduler
from textdiff.text.model import DiffusionLMConfig, DiffusionLMModel, draw_sample_index
from textdiff.text.objectives import BOUND_WEIGHT

SHAPE = {
    "vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
    "intermediate_size": 32, "max_position_embeddings": 12,
}  # fmt: skip
KNOTS = [4.0, 1.5, 0.3, -2.0, -6.0]


def batch(rows=4, length=10, seed=0):
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(3, 50, (rows, length), generator=generator)
    mask = torch.ones_like(ids)
    mask[0, 6:] = 0
    mask[1, 5:] = 2
    known = torch.zeros_like(ids, dtype=torch.bool)
    known[2, :4] = True
    return {"input_ids": ids, "attention_mask": mask, "known": known, "sample_index": torch.arange(rows) + 7}


def make_model(recipe=DiffusionLMConfig, **changes):
    """Random weights everywhere, the silent ones too, and a curve that no config could rebuild."""
    torch.manual_seed(0)
    model = DiffusionLMModel(recipe(**{**SHAPE, **changes}))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    if model.config.categorical:
        model.scheduler = Scheduler.adaptive(KNOTS)
    return model.eval()


@pytest.fixture
def folder(tmp_path):
    make_model().save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def curve(model):
    return model.scheduler.logsnr(torch.linspace(0, 1, 101, dtype=torch.float64))


def rewrite(folder, change):
    path = folder / "model.safetensors"
    save_file(change(load_file(path)), path, metadata={"format": "pt"})


# Trap 1: tables that loading leaves uninitialised or casts.


@pytest.mark.parametrize("options", [{}, {"dtype": torch.bfloat16}, {"dtype": "auto"}, {"device_map": "cpu"}])
def test_the_curve_survives_loading(folder, options):
    loaded = DiffusionLMModel.from_pretrained(folder, **options)
    assert torch.equal(curve(loaded), curve(make_model()))
    assert curve(loaded).dtype == torch.float64


@pytest.mark.parametrize("recipe", [DiffusionLMConfig, DiffusionLMConfig.diffusion_lm])
def test_a_model_built_on_the_meta_device_has_its_curve(recipe):
    with torch.device("meta"):
        model = DiffusionLMModel(recipe(**SHAPE))
    assert torch.equal(curve(model), curve(DiffusionLMModel(recipe(**SHAPE))))
    assert model.levels.knots() == DiffusionLMModel(recipe(**SHAPE)).levels.knots()


def test_casts_and_moves_leave_the_curve_alone():
    model = make_model()
    assert torch.equal(curve(model.to(torch.bfloat16).half().cpu()), curve(make_model()))


def test_no_table_lives_in_a_buffer():
    assert not list(make_model().buffers())


def test_the_noise_levels_come_back(tmp_path):
    model = make_model().train()
    for seed in range(3):
        model(**batch(seed=seed))
    model.save_pretrained(tmp_path)
    loaded = DiffusionLMModel.from_pretrained(tmp_path)
    assert loaded.levels.state_dict() == model.levels.state_dict() != make_model().levels.state_dict()
    assert torch.equal(curve(loaded), curve(model))


# Traps 2 and 3: parameters that are missing, and initialisation that runs over loaded ones.

FRESH = {
    "denoiser.known_flag": 0.0, "denoiser.head.weight": 0.0, "denoiser.previous_in.weight": 0.0,
    "denoiser.head.bias": 0.0,
    "denoiser.transformer.blocks.1.attention_out.weight": 0.0, "denoiser.transformer.blocks.0.mlp_out.weight": 0.0,
    "denoiser.from_start.weight": 0.5, "denoiser.noisy_in.weight": 0.125, "denoiser.embedding.weight": 1.0,
    "denoiser.transformer.blocks.0.mlp_in.weight": 16**-0.5,
}  # fmt: skip


@pytest.mark.parametrize(("missing", "std"), FRESH.items())
def test_a_missing_parameter_is_fresh_and_the_others_are_untouched(folder, missing, std):
    rewrite(folder, lambda state: {name: tensor for name, tensor in state.items() if name != missing})
    loaded, saved = DiffusionLMModel.from_pretrained(folder).state_dict(), make_model().state_dict()
    assert [name for name in saved if not torch.equal(saved[name], loaded[name])] == [missing]
    assert loaded[missing].std().item() == pytest.approx(std, rel=0.15)


@pytest.mark.parametrize("name", FRESH)
def test_a_new_model_starts_as_the_bare_denoiser_does(name):
    torch.manual_seed(0)
    model = DiffusionLMModel(DiffusionLMConfig(**SHAPE))
    assert dict(model.named_parameters())[name].std().item() == pytest.approx(FRESH[name], rel=0.15)


# Traps 4, 5 and 6: ties and post_init.


def test_nothing_is_tied_and_post_init_ran():
    model = make_model()
    assert model.all_tied_weights_keys == {}
    addresses = [parameter.data_ptr() for parameter in model.parameters()]
    assert len(set(addresses)) == len(addresses)


@pytest.mark.parametrize("recipe", [DiffusionLMConfig, DiffusionLMConfig.diffusion_lm])
def test_shards_reload_equal(tmp_path, recipe):
    model = make_model(recipe)
    model.save_pretrained(tmp_path, max_shard_size="5KB")
    assert (tmp_path / "model.safetensors.index.json").is_file()
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 2
    loaded = DiffusionLMModel.from_pretrained(tmp_path)
    assert loaded.state_dict().keys() == model.state_dict().keys()
    assert all(torch.equal(loaded.state_dict()[name], tensor) for name, tensor in model.state_dict().items())
    assert torch.equal(loaded(**batch()).loss, model(**batch()).loss)


# Trap 7: gradient accumulation.


def test_the_trainer_divides_the_loss_of_a_part(tmp_path):
    from transformers import Trainer, TrainingArguments

    arguments = TrainingArguments(output_dir=str(tmp_path), use_cpu=True, report_to=[])
    assert Trainer(model=make_model(), args=arguments).model_accepts_loss_kwargs is False


def test_the_loss_is_a_mean_over_rows():
    model, whole = make_model(), batch()
    parts = [{k: v[i : i + 2] for k, v in whole.items()} for i in (0, 2)]
    halves = torch.stack([model(**part).loss for part in parts])
    assert model(**whole).loss.item() == pytest.approx(halves.mean().item(), rel=1e-6)


def test_accumulated_parts_move_the_noise_levels_once_and_as_the_whole_would():
    whole = batch()
    at_once, in_parts = make_model().train(), make_model().train()
    in_parts.accumulation_steps = 2
    at_once(**whole)
    in_parts(**{k: v[:2] for k, v in whole.items()})
    assert torch.equal(curve(in_parts), curve(make_model()))
    in_parts(**{k: v[2:] for k, v in whole.items()})
    torch.testing.assert_close(curve(in_parts), curve(at_once), rtol=1e-6, atol=1e-6)
    assert not torch.equal(curve(at_once), curve(make_model()))


# Trap 8: noise.


def test_noise_belongs_to_the_sample_index_alone():
    model, whole = make_model(), batch()
    alone = [model(**{k: v[i : i + 1] for k, v in whole.items()}).loss for i in range(4)]
    turned = {k: v.flip(0) for k, v in whole.items()}
    assert model(**turned).loss.item() == pytest.approx(torch.stack(alone).mean().item(), rel=1e-6)
    other = model(**{**whole, "sample_index": whole["sample_index"] + 4})
    assert other.loss.item() != pytest.approx(model(**whole).loss.item(), rel=1e-3)


def test_rows_without_an_index_draw_one_from_the_generator():
    model, rows = make_model(), batch()
    del rows["sample_index"]
    losses = [model(**rows, generator=torch.Generator().manual_seed(seed)).loss.item() for seed in (1, 1, 2)]
    assert losses[0] == losses[1] != losses[2]


def test_processes_with_one_seed_draw_different_noise(monkeypatch):
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    drawn = []
    for rank in range(2):
        monkeypatch.setattr(torch.distributed, "get_rank", lambda rank=rank: rank)
        torch.manual_seed(0)
        drawn += draw_sample_index(3).tolist()
    torch.manual_seed(0)
    assert drawn == torch.randint(2**40, (6,)).tolist()
    assert len(set(drawn)) == 6


# Folders and configs.


def test_auto_classes_round_trip(folder):
    assert type(AutoConfig.from_pretrained(folder)) is DiffusionLMConfig
    loaded = AutoModel.from_pretrained(folder)
    assert type(loaded) is DiffusionLMModel
    assert not loaded.training
    assert torch.equal(loaded(**batch()).loss, make_model()(**batch()).loss)


def test_a_config_comes_back_from_json(tmp_path):
    config = DiffusionLMConfig(
        **SHAPE, logsnr_max=3.5, noise_seed=9, length_counts=[0, 2, 5], unit_norm=False, dropout=0.1
    )
    config.save_pretrained(tmp_path)
    again = DiffusionLMConfig.from_pretrained(tmp_path)
    assert again.to_dict() == config.to_dict()
    assert again.denoiser_config() == config.denoiser_config()
    assert json.loads((tmp_path / "config.json").read_text())["model_type"] == "textdiff"


@pytest.mark.parametrize(
    ("recipe", "terms", "beside"),
    [
        (DiffusionLMConfig, {"reconstruction", "diffusion", "prior"}, {"cross_entropy"}),
        (DiffusionLMConfig.diffusion_lm, {"mse", "terminal", "rounding"}, set()),
    ],
)
def test_every_term_has_its_name_and_they_add_up(recipe, terms, beside):
    for model, names in ((make_model(recipe).train(), terms | beside), (make_model(recipe), terms)):
        output = model(**batch(rows=16))
        given = {name: value for name, value in output.items() if name != "loss"}
        assert given.keys() == names
        assert torch.isfinite(torch.stack(list(given.values()))).all()
        weight = {name: BOUND_WEIGHT if "cross_entropy" in names and name in terms else 1.0 for name in names}
        total = sum(weight[name] * value.item() for name, value in given.items())
        assert output.loss.item() == pytest.approx(total, rel=1e-5)


@pytest.mark.parametrize("recipe", [DiffusionLMConfig, DiffusionLMConfig.diffusion_lm])
def test_every_parameter_gets_a_gradient_so_that_ddp_need_not_look_for_unused_ones(recipe):
    model = make_model(recipe).train()
    model(**batch()).loss.backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


def test_the_namesake_recipe_keeps_its_curve():
    model = DiffusionLMModel(DiffusionLMConfig.diffusion_lm(**SHAPE)).train()
    model(**batch())
    assert torch.equal(curve(model), Scheduler.sqrt().logsnr(torch.linspace(0, 1, 101, dtype=torch.float64)))


def test_a_folder_with_a_pickle_alone_is_refused(folder):
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(OSError, match="safetensors"):
        DiffusionLMModel.from_pretrained(folder)


def test_a_folder_without_its_curve_is_refused(folder):
    (folder / "scheduler_config.json").unlink()
    with pytest.raises(FileNotFoundError, match="scheduler_config.json"):
        DiffusionLMModel.from_pretrained(folder)


def test_a_subfolder_brings_its_own_curve(folder):
    shutil.copytree(folder, folder / "part")
    (folder / "scheduler_config.json").unlink()
    assert torch.equal(curve(DiffusionLMModel.from_pretrained(folder, subfolder="part")), curve(make_model()))


def test_loading_tells_what_it_loaded(folder):
    model, facts = DiffusionLMModel.from_pretrained(folder, output_loading_info=True)
    assert torch.equal(curve(model), curve(make_model()))
    assert not facts["missing_keys"] and not facts["unexpected_keys"]
