"""The judge against a direct loop over one text at a time, and its refusals."""

import json
import math
import subprocess
import sys

import pytest
import torch

from textdiff.metrics.judge import Judge

transformers = pytest.importorskip("transformers")

TEXTS = ["the dog ran", "a", "the cat and the dog ran to the sea", "", "cat cat"]
WORDS = "<s> <eos> the a dog cat ran and to sea".split()


def make_tokenizer(**special):
    from tokenizers import Tokenizer, models, pre_tokenizers
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<eos>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)


def make_model(vocab_size=10, seed=0):
    config = transformers.GPT2Config(vocab_size=vocab_size, n_positions=12, n_embd=16, n_layer=2, n_head=2,
                                     bos_token_id=0, eos_token_id=1, initializer_range=0.6)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return transformers.GPT2LMHeadModel(config).eval()


@pytest.fixture(scope="module")
def model():
    return make_model()


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    place = tmp_path_factory.mktemp("judge")
    model.save_pretrained(place)
    make_tokenizer(bos_token="<s>", eos_token="<eos>").save_pretrained(place)
    return place


def direct(model, ids):
    """Nats of ids[1:] given what stands before each, one forward pass for each token."""
    total = 0.0
    for i in range(1, len(ids)):
        with torch.no_grad():
            logits = model(torch.tensor([ids[:i]])).logits[0, -1].double()
        total -= torch.log_softmax(logits, -1)[ids[i]].item()
    return total


@pytest.mark.parametrize("special, start", [({"bos_token": "<s>", "eos_token": "<eos>"}, [0]),
                                            ({"eos_token": "<eos>"}, [1]), ({}, [])])
def test_nll_is_the_sum_over_tokens_after_the_start(model, special, start):
    rows = [start + [WORDS.index(word) for word in text.split()] for text in TEXTS]
    result = Judge(model, make_tokenizer(**special)).nll(TEXTS)
    assert [tokens for _, tokens in result] == [max(len(row) - 1, 0) for row in rows]
    assert [nats for nats, _ in result] == pytest.approx([direct(model, row) for row in rows], abs=1e-4)


def test_nll_depends_on_neither_batch_nor_order_nor_padding_side(model):
    tokenizer = make_tokenizer(bos_token="<s>", pad_token="<eos>")
    expected = Judge(model, tokenizer).nll(TEXTS, batch_size=1)
    for side in ("left", "right"):
        tokenizer.padding_side = side
        nats, tokens = zip(*Judge(model, tokenizer).nll(TEXTS[::-1], batch_size=3), strict=True)
        assert nats[::-1] == pytest.approx([n for n, _ in expected], abs=1e-4)
        assert list(tokens[::-1]) == [t for _, t in expected]


def test_a_uniform_model_charges_log_v():
    model = make_model()
    torch.nn.init.zeros_(model.lm_head.weight)
    (nats, tokens), = Judge(model, make_tokenizer(bos_token="<s>")).nll(["the dog ran"])
    assert tokens == 3 and nats == pytest.approx(3 * math.log(len(WORDS)))


def test_a_text_at_the_limit_is_charged_and_one_longer_is_refused(model):
    judge = Judge(model, make_tokenizer(bos_token="<s>"))
    assert judge.nll(["a " * 11])[0][1] == 11
    with pytest.raises(ValueError, match="Text 1 has 13 tokens.*reads 12 at most"):
        judge.nll(["a", "a " * 12])


def test_bad_calls_are_refused(model):
    judge = Judge(model, make_tokenizer(bos_token="<s>"))
    assert judge.nll([]) == []
    with pytest.raises(ValueError, match="list of texts"):
        judge.nll("the dog")
    with pytest.raises(ValueError, match="batch_size=0"):
        judge.nll(["a"], batch_size=0)
    with pytest.raises(ValueError, match="10 tokens and its model 8"):
        Judge(make_model(8), make_tokenizer())


def test_from_pretrained_loads_the_same_judge(model, folder):
    judge = Judge.from_pretrained(folder, device="cpu")
    assert judge.name == str(folder) and judge.start_id == 0
    expected = Judge(model, make_tokenizer(bos_token="<s>")).nll(TEXTS)
    assert judge.nll(TEXTS) == [(pytest.approx(nats), tokens) for nats, tokens in expected]


def copy_of(folder, place, without=()):
    place.mkdir()
    for file in folder.iterdir():
        if file.name not in without:
            (place / file.name).write_bytes(file.read_bytes())
    return place


@pytest.mark.parametrize("file, message", [("config.json", "lacks a config.json"),
                                           ("tokenizer.json", "lacks a tokenizer"),
                                           ("model.safetensors", "lacks weights in safetensors")])
def test_a_missing_file_is_named(folder, tmp_path, file, message):
    place = copy_of(folder, tmp_path / "part", without=[file])
    (place / "pytorch_model.bin").write_bytes(b"a pickle is no substitute")
    with pytest.raises(FileNotFoundError, match=message):
        Judge.from_pretrained(place)


def test_truncated_weights_are_refused(folder, tmp_path):
    place = copy_of(folder, tmp_path / "cut")
    weights = place / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ValueError, match="are damaged"):
        Judge.from_pretrained(place)


def test_weights_that_lack_a_tensor_are_refused_not_filled_with_noise(folder, tmp_path):
    place = copy_of(folder, tmp_path / "deeper")
    config = json.loads((place / "config.json").read_text())
    (place / "config.json").write_text(json.dumps({**config, "n_layer": 3}))
    with pytest.raises(ValueError, match="lack .* tensors, transformer.h.2"):
        Judge.from_pretrained(place)


def test_a_model_of_another_kind_is_refused(folder, tmp_path):
    place = copy_of(folder, tmp_path / "other")
    (place / "config.json").write_text(json.dumps({"model_type": "textdiff"}))
    with pytest.raises(ValueError, match="does not load as a causal language model"):
        Judge.from_pretrained(place)


def test_a_missing_folder_is_refused_at_once(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no judge at"):
        Judge.from_pretrained(tmp_path / "nothing")


@pytest.mark.parametrize("offline", ["0", "1"])
def test_a_hub_id_without_network_is_refused_in_one_sentence(offline, tmp_path):
    code = ("from textdiff.metrics.judge import Judge\ntry: Judge.from_pretrained('nobody/nothing')\n"
            "except FileNotFoundError as error: print(error)")
    env = {"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": offline, "HF_ENDPOINT": "http://127.0.0.1:9"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, timeout=120)
    assert "There is no folder nobody/nothing, and the hub cannot be reached" in done.stdout, done.stderr


def test_a_hub_id_in_the_cache_is_used_without_network(folder, monkeypatch):
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda name, local_files_only: str(folder))
    assert Judge.from_pretrained("owner/name", device="cpu").name == "owner/name"
