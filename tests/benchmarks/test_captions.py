"""The caption benchmark, of pictures drawn and of captions written: its tables, sheets and file; what it refuses."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from textdiff.cross_modal.caption_words import CaptionWords
from textdiff.cross_modal.captioner import Captioner
from textdiff.cross_modal.composed_digits import every_caption
from textdiff.cross_modal.encoder import CaptionEncoder, CaptionEncoderConfig
from textdiff.cross_modal.picture_encoder import PictureEncoder, PictureEncoderConfig
from textdiff.cross_modal.text_to_image import TextToImage
from textdiff.diffusion.scheduler import Scheduler
from textdiff.image.classifier import DigitClassifier
from textdiff.image.curve import image_curve
from textdiff.image.image_diffusion import ImageDiffusion
from textdiff.image.unet import UNet, UNetConfig
from textdiff.text.denoiser import DenoiserConfig, TextDenoiser
from textdiff.text.language_model import DiffusionLM

THINGS = [f"{colour} {thing}" for colour in ("red", "blue") for thing in ("cat", "dog", "sun")] * 10


def artist(words: CaptionWords, **shape) -> TextToImage:
    small = {"hidden": 8, "layers": 1, "heads": 1, "intermediate": 8}
    encoder = CaptionEncoder(CaptionEncoderConfig(vocab_size=words.size, length=words.length, **small))
    unet = UNet(UNetConfig(width=8, heads=1, condition_size=8, **shape))
    return TextToImage(ImageDiffusion(unet, image_curve()), encoder, words)


def teller(words: CaptionWords) -> Captioner:
    encoder = PictureEncoder(PictureEncoderConfig(width=8, hidden=8, length=words.length))
    denoiser = TextDenoiser(DenoiserConfig(words.size, 8, 8, 1, 1, 8, max_position_embeddings=words.length))
    return Captioner(encoder, DiffusionLM(denoiser, Scheduler.adaptive([3.0, -6.0]), words.tokenizer))


@pytest.fixture(scope="module")
def studio(tmp_path_factory):
    """digits/, emoji/ and captioner/ (untrained models), judge/, digits.npz and emoji.npz."""
    studio = tmp_path_factory.mktemp("studio")
    torch.manual_seed(0)
    artist(CaptionWords.of(every_caption()), image_size=32).save_pretrained(studio / "digits")
    artist(CaptionWords.of(THINGS), image_size=16, image_channels=3).save_pretrained(studio / "emoji")
    teller(CaptionWords.of(every_caption())).save_pretrained(studio / "captioner")
    DigitClassifier(4).save_pretrained(studio / "judge")
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (40, 28, 28)).astype(np.uint8), np.arange(40) % 10
    np.savez(studio / "digits.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    pictures = rng.integers(0, 256, (60, 16, 16, 3)).astype(np.uint8)
    np.savez(studio / "emoji.npz", x=pictures, caption=np.array(THINGS))
    return studio


def asked(*more: str) -> list[str]:
    return [
        "--digits-model", "digits", "--emoji-model", "emoji", "--captioner", "captioner",
        "--classifier", "judge", "--digits", "digits.npz", "--emoji", "emoji.npz",
        "--canvases", "4", "--captions", "3", "--draws", "2", "--steps", "2",
        "--guidance-scales", "1.5", "--json", "images.json", "--sheets", "sheets", *more,
    ]  # fmt: skip


def test_one_command_makes_all_tables_and_the_sheets(load, studio, monkeypatch, capsys) -> None:
    monkeypatch.chdir(studio)
    (studio / "images.json").write_text('{"digits": 1, "emoji": 2}')
    load("captions").main(asked())
    made = json.loads((studio / "images.json").read_text())
    assert made["digits"] == 1
    digits = {row["method"]: row for row in made["composed_digits"]["rows"]}
    assert list(digits) == ["real digits", "textdiff, guidance 1.5"]
    for row in digits.values():
        assert all(0 <= row[name] <= 1 for name in row if name != "method")
    fingerprint = DigitClassifier.from_pretrained(studio / "judge").fingerprint()
    assert made["composed_digits"]["certificate"]["classifier"] == fingerprint
    emoji = {row["method"]: row for row in made["emoji"]["rows"]}
    assert set(emoji) == {
        f"{part}, by {way}" for part in ("seen", "held-out") for way in ("loss", "drawing, guidance 1.5")
    }
    assert emoji["seen, by loss"]["of"] == 3 and emoji["seen, by loss"]["chance_top_1"] == pytest.approx(1 / 3)
    written = {row["method"]: row for row in made["caption_digits"]["rows"]}
    assert list(written) == ["another canvas's caption", "digit classifier, told the places", "textdiff, guidance 1.5"]
    for row in written.values():
        assert all(0 <= row[name] <= 1 for name in row if name != "method")
    for method in list(written)[:2]:
        assert written[method]["by_the_rule"] == 1
    told, real = written["digit classifier, told the places"], digits["real digits"]
    assert told["captions_right_seen"] == real["canvases_right_seen"] and told["arrangements_right"] == 1
    certificate = made["caption_digits"]["certificate"]
    assert certificate["sampler"] == "categorical" and certificate["model"] == "captioner"
    names = {"composed-digits-seen-1.5", "composed-digits-held-out-1.5", "emoji-seen-1.5", "emoji-held-out-1.5"}
    assert {path.name for path in (studio / "sheets").iterdir()} == {f"{n}.{e}" for n in names for e in ("png", "txt")}
    assert len((studio / "sheets" / "emoji-seen-1.5.txt").read_text().splitlines()) == 3
    assert "cells_right_held_out" in capsys.readouterr().out


def test_a_picture_s_own_is_nearest_to_it(load, studio) -> None:
    from textdiff.cross_modal.captioned import read_captioned

    benchmark, (train, _) = load("captions"), read_captioned(str(studio / "emoji.npz"), size=16, channels=3)
    same = [np.moveaxis(picture, 0, -1) for picture in train.pictures.pixels]
    row = benchmark.found_row("same", benchmark.distance_table(same, train))
    assert row["top_1"] == row["top_5"] == 1.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--only", "faces"], "choose composed-digits, emoji, caption-digits"),
        (["--only", "caption-digits", "--captioner", "digits"], "not 'textdiff-captioner'"),
        (["--canvases", "0"], "--canvases is 0"),
        (["--sheets", "emoji.npz"], "is a file"),
        (["--json", "nowhere/images.json"], "Cannot write"),
        (["--digits-model", "nowhere"], "No model folder 'nowhere'"),
        (["--only", "emoji", "--emoji", "none.npz"], "none.npz does not exist"),
        (["--only", "emoji", "--emoji-model", "digits", "--emoji", "emoji.npz"], '"red"|"blue"'),
    ],
)
def test_bad_input_is_a_sentence(load, studio, monkeypatch, change: list[str], message: str) -> None:
    monkeypatch.chdir(studio)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        load("captions").main(asked(*change))
