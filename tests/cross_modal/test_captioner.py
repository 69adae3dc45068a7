"""The front room of captions: pictures in, captions out; seeds, batches, folders, refusals, and learning to read."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from textdiff.cross_modal.captioner import Captioner
from textdiff.cross_modal.picture_encoder import PictureEncoder, PictureEncoderConfig
from textdiff.text.language_model import DiffusionLM


def pictures(count: int = 3) -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(0, 256, (count, 8, 8)).astype(np.uint8))


def written(teller: Captioner, given, **options) -> list[str]:
    return teller.caption(given, **{"num_inference_steps": 3, "seed": 0, "temperature": 1.0, **options})


def test_captions_are_of_known_words_in_the_order_of_the_pictures(teller) -> None:
    found = written(teller, pictures(), num_samples=2)
    known = {word for word in teller.language_model.tokenizer.get_vocab() if not word.startswith("<")}
    assert len(found) == 6 and len(set(found)) > 1
    for caption in found:
        assert set(caption.split()) <= known and 1 <= len(caption.split()) <= teller.encoder.config.length


def test_a_batch_is_its_pictures_one_by_one_and_the_first_samples_stay(teller) -> None:
    whole = written(teller, pictures(), num_samples=2)
    assert whole == [caption for one in pictures() for caption in written(teller, one, num_samples=2)]
    assert whole[::2] == written(teller, pictures())


def test_a_seed_names_its_captions(teller) -> None:
    assert written(teller, pictures(), seed=3) == written(teller, pictures(), seed=3)
    generator = torch.Generator().manual_seed(5)
    drawn = [written(teller, pictures(), seed=None, generator=generator) for _ in range(2)]
    assert drawn[0] != drawn[1]


def test_captions_follow_the_picture_and_guidance_more_so(teller) -> None:
    one, other = pictures(2)
    assert written(teller, one, num_samples=8) != written(teller, other, num_samples=8)
    plain = written(teller, one, num_samples=8)
    assert plain == written(teller, one, num_samples=8, picture_guidance=1.0)
    assert plain != written(teller, one, num_samples=8, picture_guidance=5.0)


def test_lengths_have_the_chances_that_the_encoder_reads(teller) -> None:
    logits = torch.tensor([[0.0, 2.0, -1.0], [1.0, 0.0, 3.0]])
    for temperature in (1.0, 0.5):
        drawn = np.reshape(teller._lengths(logits, 4000, temperature, seed=0), (2, 4000))
        chances = (logits / temperature).softmax(1).numpy()
        found = np.stack([(drawn == size).mean(1) for size in (1, 2, 3)], 1)
        assert np.abs(found - chances).max() < 0.03  # four standard deviations


def test_progress_counts_captions(teller) -> None:
    seen = []
    written(teller, pictures(), progress=lambda made, total: seen.append((made, total)))
    assert seen == [(3, 3)]


def test_files_and_colours_are_read(teller, tmp_path) -> None:
    Image.fromarray(pictures()[0]).save(tmp_path / "one.png")
    colour = np.repeat(pictures()[0][..., None], 3, axis=-1)
    wanted = written(teller, pictures()[0])
    assert written(teller, tmp_path / "one.png") == wanted and written(teller, colour) == wanted


def test_a_folder_writes_as_its_model_did(teller, tmp_path) -> None:
    teller.save_pretrained(tmp_path / "model")
    names = {path.name for path in (tmp_path / "model").iterdir()}
    assert names == {
        "config.json", "model.safetensors", "scheduler_config.json", "tokenizer.json", "tokenizer_config.json",
    }  # fmt: skip
    again = Captioner.from_pretrained(tmp_path / "model")
    assert written(again, pictures(), num_samples=3) == written(teller, pictures(), num_samples=3)


@pytest.mark.parametrize(
    ("given", "options", "message"),
    [
        (np.zeros((8, 9), dtype=np.uint8), {}, "A picture is 9 x 8 pixels, but the model reads 8 x 8"),
        ([], {}, "There are no pictures"),
        (None, {"num_samples": 0}, "num_samples is 0"),
        (None, {"picture_guidance": -1.0}, "picture_guidance is -1.0"),
        (None, {"picture_guidance": float("nan")}, "picture_guidance is nan"),
        (None, {"temperature": 0.0}, "temperature is 0.0"),
        (None, {"sampler": "euler"}, "Unknown sampler 'euler'"),
    ],
)
def test_bad_input_is_a_sentence(teller, given, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        written(teller, pictures() if given is None else given, **options)


def test_damaged_folders_are_a_sentence(teller, tmp_path) -> None:
    teller.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    for change, message in (
        ({"picture": None}, "does not describe picture encoder and text model"),
        ({"picture": {**config["picture"], "width": "8"}}, "says width = '8'"),
        ({"picture": {**config["picture"], "width": 16}}, "do not fit its config.json"),
        ({"picture": {**config["picture"], "image_size": 9}}, "squares of 4"),
        ({"text": {**config["text"], "num_attention_heads": 4}}, "do not fit its config.json"),
        ({"model_type": "textdiff"}, "describes a model of type 'textdiff'"),
    ):
        (tmp_path / "config.json").write_text(json.dumps({**config, **change}))
        with pytest.raises(ValueError, match=message):
            Captioner.from_pretrained(tmp_path)
    with pytest.raises(FileNotFoundError, match="No model folder 'nowhere'"):
        Captioner.from_pretrained("nowhere")


def test_parts_of_two_models_are_refused(teller) -> None:
    other = PictureEncoder(replace(teller.encoder.config, length=14))
    with pytest.raises(ValueError, match="do not fit each other"):
        Captioner(other, teller.language_model)


@pytest.mark.slow
def test_it_learns_which_half_is_light_in_one_word_and_in_three() -> None:
    """Noisy pictures that were not trained on; the two captions have different lengths."""
    pytest.importorskip("transformers")
    from textdiff.cross_modal.caption_words import CaptionWords
    from textdiff.cross_modal.captioner_model import CaptionerModel
    from textdiff.text.model import DiffusionLMConfig

    captions = ["left", "on the right"]
    words = CaptionWords.of(captions)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        text = DiffusionLMConfig(
            vocab_size=words.size, embedding_dim=16, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
            intermediate_size=32, max_position_embeddings=words.length,
        )  # fmt: skip
        shape = {"image_size": 8, "width": 8, "multiples": (1, 2), "hidden": 16, "length": words.length}
        model = CaptionerModel(text, PictureEncoderConfig(**shape)).train()
    ids, clean = words.encode(captions), -torch.ones(2, 1, 8, 8)
    clean[0, :, :, :4], clean[1, :, :, 4:] = 0.5, 0.5
    noise = torch.Generator().manual_seed(1)

    def drawn(count: int) -> torch.Tensor:
        return clean[torch.arange(count) % 2] + 0.4 * torch.randn(count, 1, 8, 8, generator=noise)

    optimiser = torch.optim.Adam(model.parameters(), lr=5e-3, betas=(0.9, 0.95))
    for step in range(80):
        rows = torch.arange(32)
        loss = model(drawn(32), ids[rows % 2], rows + 32 * step).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    captioner = Captioner(model.encoder, DiffusionLM(model.text.denoiser, model.text.scheduler, words.tokenizer))
    unit = [(picture[0] + 1) / 2 for picture in drawn(40)]
    found = captioner.caption(unit, num_inference_steps=8, seed=0)
    assert sum(caption == captions[i % 2] for i, caption in enumerate(found)) >= 38
