"""Training from the command line with captions: both corpora, the folder, resuming, refusals."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file

from scripts.train_image import PRESETS, main
from textdiff.cross_modal.encoder import CaptionEncoderConfig
from textdiff.cross_modal.presets import CAPTIONERS
from textdiff.cross_modal.presets import PRESETS as CAPTIONED
from textdiff.cross_modal.text_to_image import TextToImage
from textdiff.image.presets import PRESETS as PLAIN
from textdiff.image.unet import UNet, UNetConfig
from textdiff.training import trainer


@pytest.fixture(scope="module")
def place(corpora):
    """digits.npz and captioned.npz."""
    return corpora(8, ("cat", "dog"))


@pytest.fixture
def small(monkeypatch):
    """Networks and validation of toy size."""
    from textdiff.cross_modal import presets, run

    tiny = {"hidden": 16, "layers": 1, "heads": 2, "intermediate": 16}
    monkeypatch.setattr(run, "VALIDATION_ROWS", 8)
    for name, preset in CAPTIONED.items():
        shape = {**preset.model, "width": 8, "heads": 2, "blocks": 1}
        values = {**preset.__dict__, "encoder": tiny, "model": shape}
        monkeypatch.setitem(presets.PRESETS, name, presets.CaptionPreset(**values))


def test_composed_digits_train_and_a_stopped_run_goes_on(small, command, place, tmp_path, monkeypatch) -> None:
    asked = (place / "digits.npz", 16)
    main(command(tmp_path / "run", "composed-digits", *asked))
    model = TextToImage.from_pretrained(tmp_path / "run")
    assert model.image.shape.condition_size == 16 and 0.05 < model.image.shape.data_std < 1
    assert model.generate("an eight above a two", num_inference_steps=2, seed=0)[0].size == (16, 16)
    facts = json.loads((tmp_path / "run" / "training.json").read_text())
    assert facts["preset"]["composed"] and facts["pictures"] == 60 and facts["validation"]["eval_loss"] > 0
    step, made = trainer.AveragedTrainer.training_step, []

    def stopping(self, *args, **kwargs):
        made.append(1)
        if len(made) == 4:
            raise KeyboardInterrupt
        return step(self, *args, **kwargs)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(trainer.AveragedTrainer, "training_step", stopping)
        main(command(tmp_path / "stopped", "composed-digits", *asked))
    main(command(tmp_path / "stopped", "composed-digits", *asked))
    mine, wanted = (load_file(tmp_path / name / "model.safetensors") for name in ("stopped", "run"))
    for name, tensor in wanted.items():
        torch.testing.assert_close(mine[name], tensor, rtol=0, atol=1e-5)


def test_pictures_with_captions_train(small, command, place, tmp_path) -> None:
    main(command(tmp_path / "run", "emoji", place / "captioned.npz", 16))
    model = TextToImage.from_pretrained(tmp_path / "run")
    assert model.words.known == ["blue", "cat", "dog", "red"]
    assert model.generate("blue dog", num_inference_steps=2, seed=0)[0].mode == "RGB"
    with pytest.raises(ValueError, match="holds a run with other settings \\(learning_rate\\)"):
        main(command(tmp_path / "run", "emoji", place / "captioned.npz", 16, "--learning-rate", "0.1"))


@pytest.mark.parametrize(
    ("preset", "change", "message"),
    [
        ("composed-digits", ["--image-size", "18"], "--image-size is 18: give a multiple of 4"),
        ("composed-digits", ["--image-size", "8"], "The canvas is 8 pixels"),
        ("emoji", ["--max-steps", "0"], "--max-steps is 0"),
        ("emoji", ["--train-data", "digits.npz"], "lacks x and caption"),
        ("composed-digits", ["--train-data", "captioned.npz"], "digits of all ten classes"),
        ("composed-emoji", [], "choose digits, tiny-image, composed-digits, emoji"),
    ],
)
def test_what_cannot_be_is_a_sentence(
    command, small, place, tmp_path, monkeypatch, preset: str, change: list[str], message: str
) -> None:
    monkeypatch.chdir(place)
    data = "captioned.npz" if preset == "emoji" else "digits.npz"
    with pytest.raises(ValueError, match=message):
        main(command(tmp_path / "new", preset, data, 16, *change))
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("name", CAPTIONED)
def test_presets_fit_their_networks(name: str) -> None:
    preset = CAPTIONED[name]
    encoder = CaptionEncoderConfig(vocab_size=99, length=9, **preset.encoder)
    config = UNetConfig(**preset.model, condition_size=encoder.hidden)
    assert config.image_size % config.stride == 0
    if preset.composed:
        parameters = sum(p.numel() for p in UNet(config).parameters())
        assert parameters == pytest.approx(1.85e6, rel=0.05)


def test_no_two_presets_have_one_name() -> None:
    assert len(PRESETS) == len(PLAIN) + len(CAPTIONED) + len(CAPTIONERS)
