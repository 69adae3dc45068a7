"""Model folders: what is read is what was written, and every damaged folder is named in a sentence."""

import errno
import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from textdiff.text import loading
from textdiff.text.language_model import DiffusionLM


@pytest.fixture(scope="module")
def saved(bpe_lm: DiffusionLM, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "new" / "folder"
    bpe_lm.save_pretrained(folder)
    return folder


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "copy"))


def test_round_trip(bpe_lm: DiffusionLM, folder: Path) -> None:
    again = DiffusionLM.from_pretrained(folder)
    assert again.infill("The [MASK].", seed=3, num_inference_steps=2) == bpe_lm.infill(
        "The [MASK].", seed=3, num_inference_steps=2
    )
    assert again.length_counts == bpe_lm.length_counts
    assert again.scheduler.to_dict() == bpe_lm.scheduler.to_dict()
    assert not any(parameter.requires_grad for parameter in again.denoiser.parameters())


def test_transformers_reads_the_folder(bpe_lm: DiffusionLM, folder: Path) -> None:
    transformers = pytest.importorskip("transformers")
    import textdiff.text.model  # noqa: F401  (registers the type)

    model = transformers.AutoModel.from_pretrained(folder)
    for name, value in bpe_lm.denoiser.state_dict().items():
        assert torch.equal(model.denoiser.state_dict()[name], value)
    assert model.config.length_counts == bpe_lm.length_counts
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    assert tokenizer("The dog 👩‍👩‍👧")["input_ids"] == bpe_lm.vocabulary.encode("The dog 👩‍👩‍👧")


def test_bfloat16_weights_become_float32(folder: Path) -> None:
    path = folder / loading.WEIGHTS_FILE
    halves = {name: tensor.bfloat16() for name, tensor in load_file(path).items()}
    save_file(halves, path)
    model = DiffusionLM.from_pretrained(folder)
    for name, value in model.denoiser.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, halves[f"denoiser.{name}"].float())


def shard(folder: Path) -> None:
    """Turn the single file into two shards and their index."""
    state = load_file(folder / loading.WEIGHTS_FILE)
    names = sorted(state)
    parts = {"model-00001-of-00002.safetensors": names[:5], "model-00002-of-00002.safetensors": names[5:]}
    for file, keys in parts.items():
        save_file({key: state[key] for key in keys}, folder / file)
    index = {"weight_map": {key: file for file, keys in parts.items() for key in keys}}
    (folder / loading.INDEX_FILE).write_text(json.dumps(index))
    (folder / loading.WEIGHTS_FILE).unlink()


def test_shards(bpe_lm: DiffusionLM, folder: Path) -> None:
    shard(folder)
    state = DiffusionLM.from_pretrained(folder).denoiser.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in bpe_lm.denoiser.state_dict().items())
    bpe_lm.save_pretrained(folder)
    assert not list(folder.glob("model-*")) and not (folder / loading.INDEX_FILE).exists()


def edit_config(folder: Path, **changes: object) -> None:
    path = folder / loading.CONFIG_FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def edit_scheduler(folder: Path, **changes: object) -> None:
    path = folder / "scheduler_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def spoil(path: Path) -> None:
    state = load_file(path)
    state["denoiser.head.bias"][3] = torch.nan
    save_file(state, path)


def shrink(folder: Path, size: int) -> None:
    """A smaller model beside the same tokenizer."""
    edit_config(folder, vocab_size=size)
    state = load_file(folder / loading.WEIGHTS_FILE)
    cut_down = {name: tensor[:size].clone() if len(tensor) == 300 else tensor for name, tensor in state.items()}
    save_file(cut_down, folder / loading.WEIGHTS_FILE)


def lose_a_shard(folder: Path) -> None:
    shard(folder)
    (folder / "model-00002-of-00002.safetensors").unlink()


DAMAGES = {
    "dropout = nan, which cannot be": lambda folder: edit_config(folder, dropout=float("nan")),
    "length_counts are no list of counts": lambda folder: edit_config(folder, length_counts={"a": 1}),
    "length_counts are no list of counts: ": lambda folder: edit_config(folder, length_counts=[3, -1]),
    "num_train_timesteps is many": lambda folder: edit_scheduler(folder, num_train_timesteps="many"),
    "No weights": lambda folder: (folder / loading.WEIGHTS_FILE).unlink(),
    "truncated or corrupted": lambda folder: cut(folder / loading.WEIGHTS_FILE),
    "is truncated": lambda folder: (folder / loading.WEIGHTS_FILE).write_bytes(b"\x00" * 40),
    "is not finite": lambda folder: spoil(folder / loading.WEIGHTS_FILE),
    "A part of the weights": lose_a_shard,
    "do not fit": lambda folder: edit_config(folder, num_hidden_layers=3),
    "tensors differ, embedding.weight first": lambda folder: edit_config(folder, vocab_size=310),
    "hidden_size = '32'": lambda folder: edit_config(folder, hidden_size="32"),
    "not an even multiple": lambda folder: edit_config(folder, num_attention_heads=5),
    "of type 'gpt2'": lambda folder: edit_config(folder, model_type="gpt2"),
    "config.json is not valid JSON": lambda folder: cut(folder / loading.CONFIG_FILE),
    "holds no JSON object": lambda folder: (folder / loading.CONFIG_FILE).write_text("[]"),
    "config.json does not exist": lambda folder: (folder / loading.CONFIG_FILE).unlink(),
    "scheduler_config.json does not exist": lambda folder: (folder / "scheduler_config.json").unlink(),
    "No tokenizer": lambda folder: (folder / "tokenizer.json").unlink(),
    "is not a tokenizer": lambda folder: cut(folder / "tokenizer.json"),
    "has 300 tokens, but its model knows 290": lambda folder: shrink(folder, 290),
}


@pytest.mark.parametrize("message", DAMAGES)
def test_a_damaged_folder_is_refused_in_a_sentence(folder: Path, message: str) -> None:
    DAMAGES[message](folder)
    with pytest.raises((ValueError, FileNotFoundError), match=message.replace("[", r"\[")) as caught:
        DiffusionLM.from_pretrained(folder)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("name", ["missing", "./missing/model", "/missing", "a/b/c", "missing/"])
def test_a_missing_folder_is_not_taken_for_a_hub_id(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("textdiff.storage.download", lambda hub_id: pytest.fail("asked the hub"))
    with pytest.raises(FileNotFoundError, match="No model folder"):
        DiffusionLM.from_pretrained(name)


def test_a_hub_id_without_network() -> None:
    with pytest.raises(FileNotFoundError, match="no folder 'owner/name' here, and the hub gave no such model"):
        DiffusionLM.from_pretrained("owner/name")


@pytest.mark.parametrize("full_at", ["write_weights", "save_tokenizer"])
def test_a_full_disk_leaves_the_old_folder_whole(
    bpe_lm: DiffusionLM, folder: Path, monkeypatch: pytest.MonkeyPatch, full_at: str
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    for place in ("textdiff.text.language_model", "textdiff.text.loading"):
        monkeypatch.setattr(f"{place}.{full_at}", full, raising=False)
    with pytest.raises(OSError, match="No space left"):
        bpe_lm.save_pretrained(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_saving_keeps_other_files_and_refuses_a_file(bpe_lm: DiffusionLM, folder: Path) -> None:
    (folder / "notes.txt").write_text("mine")
    bpe_lm.save_pretrained(folder)
    assert (folder / "notes.txt").read_text() == "mine"
    with pytest.raises(ValueError, match="is a file"):
        bpe_lm.save_pretrained(folder / "notes.txt")
