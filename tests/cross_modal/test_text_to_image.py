"""The front room: captions in, pictures out; guidance, folders, refusals, and learning what two captions mean."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from textdiff.cross_modal.caption_words import CaptionWords
from textdiff.cross_modal.text_to_image import TextToImage

CAPTIONS = ["a seven left of a three", "an eight above a two"]


def drawn(artist: TextToImage, captions, **options) -> list[bytes]:
    settings = {"num_inference_steps": 3, "seed": 0, **options}
    return [picture.tobytes() for picture in artist.generate(captions, **settings)]


def test_captions_are_drawn_each_as_often_as_asked(artist) -> None:
    pictures = artist.generate(CAPTIONS, num_samples=2, num_inference_steps=2, seed=0)
    assert len(pictures) == 4 and pictures[0].size == (8, 8)
    assert drawn(artist, CAPTIONS[0]) == drawn(artist, CAPTIONS)[:1]
    assert drawn(artist, CAPTIONS[0], num_samples=2)[0] == drawn(artist, CAPTIONS[0])[0]


def test_guidance_1_is_the_caption_as_it_was_learned(artist) -> None:
    condition = artist.condition(CAPTIONS)
    plain = artist.image.generate(2, condition=condition, num_inference_steps=3, seed=0)
    assert drawn(artist, CAPTIONS, guidance_scale=1.0) == [picture.tobytes() for picture in plain]
    assert drawn(artist, CAPTIONS) == drawn(artist, CAPTIONS, guidance_scale=1.5)
    assert drawn(artist, CAPTIONS) != drawn(artist, CAPTIONS, guidance_scale=1.0)


def test_padding_is_not_told(artist) -> None:
    condition = artist.condition(CAPTIONS[0])
    assert condition.mask.sum() == 6 and condition.embeddings.shape == (1, 13, 16)
    short = artist.encoder(artist.words.encode(CAPTIONS[:1])[:, :6])
    torch.testing.assert_close(short.embeddings, condition.embeddings[:, :6], rtol=0, atol=1e-5)


def test_the_order_of_words_is_told(artist) -> None:
    one, other = artist.condition(["a seven left of a three", "a three left of a seven"]).embeddings
    assert (one[1] - other[4]).abs().max() > 1e-3  # "seven" in both


def test_a_folder_draws_as_its_model_did(artist, tmp_path) -> None:
    artist.save_pretrained(tmp_path / "model")
    names = {path.name for path in (tmp_path / "model").iterdir()}
    assert names == {
        "config.json", "model.safetensors", "scheduler_config.json", "tokenizer.json", "tokenizer_config.json",
    }  # fmt: skip
    again = TextToImage.from_pretrained(tmp_path / "model")
    assert drawn(again, CAPTIONS) == drawn(artist, CAPTIONS)


@pytest.mark.parametrize(
    ("captions", "options", "message"),
    [
        ("a sevn above a two", {}, '"sevn" \\(near it: seven'),
        ([], {}, "There is no caption"),
        ([3], {}, "one that is no text"),
        ("", {}, "A caption is empty"),
        (CAPTIONS, {"num_samples": 0}, "num_samples is 0"),
        (CAPTIONS, {"labels": 1}, "trained without classes"),
        (CAPTIONS, {"guidance_scale": -1.0}, "guidance_scale is -1.0"),
    ],
)
def test_bad_input_is_a_sentence(artist, captions, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        artist.generate(captions, **options)


def test_a_condition_is_made_of_the_captions_alone(artist) -> None:
    with pytest.raises(ValueError, match="leave condition out"):
        artist.generate(CAPTIONS, condition=artist.condition(CAPTIONS))


def test_damaged_folders_are_a_sentence(artist, tmp_path) -> None:
    artist.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    for change, message in (
        ({"unet": {**config["unet"], "colour": 1}}, "does not describe U-Net and encoder"),
        ({"encoder": None}, "does not describe U-Net and encoder"),
        ({"encoder": {**config["encoder"], "heads": 3}}, "multiple of twice its heads"),
        ({"unet": {**config["unet"], "width": 16}}, "do not fit its config.json"),
        ({"encoder": {**config["encoder"], "length": 5}}, None),
        ({"model_type": "textdiff"}, "describes a model of type 'textdiff'"),
    ):
        (tmp_path / "config.json").write_text(json.dumps({**config, **change}))
        if message is None:
            with pytest.raises(ValueError, match="reads 5 at most"):
                TextToImage.from_pretrained(tmp_path).generate(CAPTIONS)
            continue
        with pytest.raises(ValueError, match=message):
            TextToImage.from_pretrained(tmp_path)
    with pytest.raises(FileNotFoundError, match="No model folder 'nowhere'"):
        TextToImage.from_pretrained("nowhere")


def test_parts_of_two_models_are_refused(artist) -> None:
    with pytest.raises(ValueError, match="do not fit each other"):
        TextToImage(artist.image, artist.encoder, CaptionWords(artist.words.tokenizer, 5))


@pytest.mark.slow
def test_two_captions_come_to_mean_two_patterns(patterns) -> None:
    pictures = patterns.generate(["light left", "light right"], num_samples=8, num_inference_steps=10, seed=0)
    left = np.stack([np.asarray(picture)[:, :4].mean() > 127 for picture in pictures])
    right = np.stack([np.asarray(picture)[:, 4:].mean() > 127 for picture in pictures])
    assert (left & ~right)[:8].sum() >= 7 and (right & ~left)[8:].sum() >= 7
