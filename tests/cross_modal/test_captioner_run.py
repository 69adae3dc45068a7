"""Training a captioner from the command line: the folder, resuming with its noise levels, refusals."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from scripts.train_image import main
from textdiff.cross_modal import presets, run
from textdiff.cross_modal.captioner import Captioner
from textdiff.cross_modal.picture_encoder import PictureEncoder, PictureEncoderConfig
from textdiff.diffusion.scheduler import Scheduler
from textdiff.text.model import DiffusionLMConfig
from textdiff.training import trainer


@pytest.fixture(scope="module")
def place(corpora):
    """digits.npz and captioned.npz."""
    return corpora(16, ("cat", "old dog"))


@pytest.fixture
def small(monkeypatch):
    """Networks and validation of toy size."""
    monkeypatch.setattr(run, "VALIDATION_ROWS", 8)
    tiny = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    for name, preset in presets.CAPTIONERS.items():
        values = {**preset.__dict__, "encoder": {**preset.encoder, "width": 8, "patch": 2}}
        values["model"] = {**preset.model, **tiny, "embedding_dim": 16}
        monkeypatch.setitem(presets.CAPTIONERS, name, presets.CaptionPreset(**values))


def test_it_trains_on_canvases_and_a_stopped_run_goes_on(small, command, place, tmp_path, monkeypatch) -> None:
    data = place / "digits.npz"
    main(command(tmp_path / "run", "caption-digits", data, 16))
    model = Captioner.from_pretrained(tmp_path / "run")
    config = model.language_model.denoiser.config
    assert config.stagger == 1.0 and config.max_position_embeddings == model.encoder.config.length == 13
    assert len(model.caption(np.zeros((2, 16, 16, 1), dtype=np.uint8), num_inference_steps=2, seed=0)) == 2
    facts = json.loads((tmp_path / "run" / "training.json").read_text())
    assert facts["pictures"] == 60 and facts["validation"]["eval_length"] > 0
    step, made = trainer.AveragedTrainer.training_step, []

    def stopping(self, *args, **kwargs):
        made.append(1)
        if len(made) == 4:
            raise KeyboardInterrupt
        return step(self, *args, **kwargs)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(trainer.AveragedTrainer, "training_step", stopping)
        main(command(tmp_path / "stopped", "caption-digits", data, 16))
    main(command(tmp_path / "stopped", "caption-digits", data, 16))
    mine, wanted = (load_file(tmp_path / name / "model.safetensors") for name in ("stopped", "run"))
    for name, tensor in wanted.items():
        torch.testing.assert_close(mine[name], tensor, rtol=0, atol=1e-5)
    curves = [Scheduler.from_pretrained(tmp_path / name) for name in ("stopped", "run")]
    times = torch.linspace(0, 1, 9, dtype=torch.float64)
    torch.testing.assert_close(curves[0].logsnr(times), curves[1].logsnr(times), rtol=0, atol=1e-4)


def test_it_trains_on_pictures_with_captions(small, command, place, tmp_path) -> None:
    main(command(tmp_path / "run", "caption-emoji", place / "captioned.npz", 16, "--max-steps", "1"))
    model = Captioner.from_pretrained(tmp_path / "run")
    colour = np.zeros((16, 16, 3), dtype=np.uint8)
    words = set(" ".join(model.caption(colour, num_samples=4, num_inference_steps=2, seed=0)).split())
    assert words <= {"red", "blue", "cat", "old", "dog"} and model.encoder.config.length == 3
    with pytest.raises(ValueError, match="holds a run with other settings \\(learning_rate, max_steps\\)"):
        main(command(tmp_path / "run", "caption-emoji", place / "captioned.npz", 16, "--learning-rate", "0.1"))


@pytest.mark.parametrize(
    ("preset", "change", "message"),
    [
        ("caption-digits", ["--image-size", "20"], "20 x 20 pixels in squares of 8"),
        ("caption-digits", ["--image-size", "0"], "sizes must all be at least 1"),
        ("caption-digits", ["--train-data", "captioned.npz"], "digits of all ten classes"),
        ("caption-emoji", ["--train-data", "digits.npz"], "lacks x and caption"),
    ],
)
def test_what_cannot_be_is_a_sentence(
    command, small, place, tmp_path, monkeypatch, preset: str, change: list[str], message: str
) -> None:
    monkeypatch.chdir(place)
    with pytest.raises(ValueError, match=message):
        main(command(tmp_path / "new", preset, "digits.npz", 16, *change))
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("name", presets.CAPTIONERS)
def test_presets_fit_their_networks(name: str) -> None:
    preset = presets.CAPTIONERS[name]
    text = DiffusionLMConfig(**preset.model)
    config = PictureEncoderConfig(**preset.encoder, hidden=text.hidden_size)
    parameters = sum(p.numel() for p in PictureEncoder(config).parameters())
    assert config.image_size % config.stride == 0 and 4e5 < parameters < 1.2e6
