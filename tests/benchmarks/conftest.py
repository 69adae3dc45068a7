"""Two tiny random models of one tokenizer, and text files, in one folder; the rivals' scripts at toy size."""

import importlib
import importlib.util
from functools import cache

import numpy as np
import pytest
import torch

from textdiff.diffusion.scheduler import Scheduler
from textdiff.image.classifier import DigitClassifier
from textdiff.image.curve import image_curve
from textdiff.image.image_diffusion import ImageDiffusion
from textdiff.image.unet import UNet, UNetConfig
from textdiff.text.denoiser import DenoiserConfig, TextDenoiser
from textdiff.text.language_model import DiffusionLM
from textdiff.text.presets import PRESETS, Preset
from textdiff.text.tokenizer import save_tokenizer, train_bpe

SENTENCES = ["The little dog ran home.", "A cat sat on the mat, and it was happy.", "We saw the big red sun."]


@pytest.fixture(scope="session")
def place(tmp_path_factory):
    """model/, judge/, real.txt, more.txt and train.txt."""
    transformers = pytest.importorskip("transformers")
    place = tmp_path_factory.mktemp("benchmarks")
    tokenizer = train_bpe(SENTENCES * 9, 300)
    torch.manual_seed(0)
    small = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    denoiser = TextDenoiser(
        DenoiserConfig(vocab_size=300, max_position_embeddings=32, **small)
    )
    config = {"length_counts": [0, 0, 0, 0, 5, 5, 5]}
    DiffusionLM(denoiser, Scheduler.adaptive([3.0, -6.0]), tokenizer, config=config).save_pretrained(
        place / "model"
    )
    shape = {
        "n_positions": 128,
        "n_embd": 16,
        "n_layer": 1,
        "n_head": 2,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    judge = transformers.GPT2LMHeadModel(transformers.GPT2Config(vocab_size=300, **shape))
    judge.save_pretrained(place / "judge")
    save_tokenizer(tokenizer, place / "judge")
    (place / "real.txt").write_text("\n".join(SENTENCES) + "\n", encoding="utf-8")
    more = [*SENTENCES, "The big dog sat.", "A little cat ran home, and we saw it.", "The sun was red."]
    (place / "more.txt").write_text("\n".join(more) + "\n", encoding="utf-8")
    (place / "benchmarks" / "results").mkdir(parents=True)
    (place / "train.txt").write_text("The little dog ran far.\nWe saw it.\n", encoding="utf-8")
    return place


@pytest.fixture
def load(root, place, monkeypatch):
    """A benchmark as a module, in the folder of the models."""
    monkeypatch.chdir(place)
    monkeypatch.syspath_prepend(str(root / "benchmarks"))

    def load(name):
        spec = importlib.util.spec_from_file_location(f"benchmark_{name}", root / "benchmarks" / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture(scope="module")
def imported(root):
    """Imports a module of benchmarks/ by its name, as scripts do from their own folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(root / "benchmarks"))
        yield importlib.import_module


@pytest.fixture(scope="session")
def blobs():
    """Makes so many smooth blobs, uint8 [N, 28, 28]."""

    def blobs(count: int, seed: int) -> np.ndarray:
        rng, (y, x) = np.random.default_rng(seed), np.mgrid[:28, :28]
        places = rng.uniform(9, 19, (count, 2))
        return np.stack([255 * np.exp(-((y - a) ** 2 + (x - b) ** 2) / 20) for a, b in places]).astype(np.uint8)

    return blobs


@pytest.fixture(scope="module")
def images(tmp_path_factory, blobs):
    """model/ and judge/, untrained, and digits.npz: smooth blobs in ten classes."""
    images = tmp_path_factory.mktemp("digits")
    torch.manual_seed(0)
    unet = UNet(UNetConfig(width=8, heads=1, num_classes=10))
    ImageDiffusion(unet, image_curve()).save_pretrained(images / "model")
    DigitClassifier(4).save_pretrained(images / "judge")
    np.savez(images / "digits.npz", x_train=blobs(60, 0), y_train=np.arange(60) % 10,
             x_test=blobs(20, 1), y_test=np.arange(20) % 10)  # fmt: skip
    return images


@pytest.fixture
def toy_options(monkeypatch, tmp_path):
    """A preset on a file of three sentences, known as toy, and the arguments that train on it."""
    lines = [f"{sentence} {i}" for i in range(40) for sentence in SENTENCES]
    (tmp_path / "toy.txt").write_text("\n".join(lines), encoding="utf-8")
    shape = {
        "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32,
        "max_position_embeddings": 24,
    }  # fmt: skip
    preset = Preset(
        name="toy", about="", sources={"toy.txt": 1.0}, vocab_size=300, model=shape,
        batch_size=4, row_length=32, max_steps=4,
    )  # fmt: skip
    monkeypatch.setitem(PRESETS, "toy", preset)
    monkeypatch.setattr("textdiff.text.run.VALIDATION_ROWS", 8)
    return f"--preset toy --data-dir {tmp_path} --save-steps 2 --output-dir".split()


@pytest.fixture(scope="module")
def random_masked(imported):
    """Builds a masked-diffusion model of 7 tokens with random weights everywhere, the silent ones too."""
    masked = imported("masked_model")
    shape = {
        "vocab_size": 7, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
        "intermediate_size": 32, "max_position_embeddings": 12,
    }  # fmt: skip

    def random_masked(std=0.4, **changes):
        torch.manual_seed(0)
        model = masked.MaskedModel(masked.MaskedConfig(**{**shape, **changes})).eval()
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=std)
        return model

    return random_masked


@pytest.fixture(scope="module")
def token_nats():
    """-log p of every token at every position of one text, in which V stands for the mask: [n, V]."""

    @cache
    @torch.inference_mode()
    def token_nats(model, seen):
        ids = torch.tensor([seen])
        logits = model.logits(ids, torch.ones_like(ids), torch.ones_like(ids).bool())
        return -logits.double().log_softmax(-1)

    return token_nats
