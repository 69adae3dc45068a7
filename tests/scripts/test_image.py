"""scripts/image.py: every task writes its PNGs and a sheet, or captions; what is wrong is one line on stderr."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from scripts.image import main
from textdiff.cli import run
from textdiff.cross_modal.caption_words import CaptionWords
from textdiff.cross_modal.captioner import Captioner
from textdiff.cross_modal.composed_digits import every_caption
from textdiff.cross_modal.encoder import CaptionEncoder, CaptionEncoderConfig
from textdiff.cross_modal.picture_encoder import PictureEncoder, PictureEncoderConfig
from textdiff.cross_modal.text_to_image import TextToImage
from textdiff.diffusion.scheduler import Scheduler
from textdiff.image.curve import image_curve
from textdiff.image.image_diffusion import ImageDiffusion
from textdiff.image.unet import UNet, UNetConfig
from textdiff.text.denoiser import DenoiserConfig, TextDenoiser
from textdiff.text.language_model import DiffusionLM


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """model/, artist/ and teller/ (which read and write captions), digit.png, small.png and mask.png."""
    place = tmp_path_factory.mktemp("pictures")
    torch.manual_seed(0)
    unet = UNet(UNetConfig(image_size=8, width=8, heads=2, num_classes=3))
    ImageDiffusion(unet, image_curve()).save_pretrained(place / "model")
    words, tiny = CaptionWords.of(every_caption()), {"hidden": 8, "layers": 1, "heads": 1, "intermediate": 8}
    encoder = CaptionEncoder(CaptionEncoderConfig(vocab_size=words.size, length=words.length, **tiny))
    unet = UNet(UNetConfig(image_size=8, width=8, heads=2, condition_size=8))
    TextToImage(ImageDiffusion(unet, image_curve()), encoder, words).save_pretrained(place / "artist")
    picture = PictureEncoderConfig(image_size=8, width=8, hidden=8, length=words.length)
    denoiser = TextDenoiser(DenoiserConfig(words.size, 8, 8, 1, 1, 8, max_position_embeddings=words.length))
    language_model = DiffusionLM(denoiser, Scheduler.adaptive([3.0, -6.0]), words.tokenizer)
    Captioner(PictureEncoder(picture), language_model).save_pretrained(place / "teller")
    levels = np.random.default_rng(0).integers(0, 256, (8, 8)).astype(np.uint8)
    Image.fromarray(levels).save(place / "digit.png")
    Image.fromarray(levels[:4, :4]).save(place / "small.png")
    Image.fromarray(np.where(np.eye(8), 255, 0).astype(np.uint8)).save(place / "mask.png")
    return place


TASKS = {
    "generate": (["--labels", "0", "2", "--guidance-scale", "2"], 2),
    "inpaint": (["--image", "digit.png", "--mask", "mask.png"], 2),
    "inpaint by RePaint": (
        ["--image", "digit.png", "--mask", "mask.png", "--conditioning", "replacement", "--resample", "2"], 2,
    ),
    "upscale": (["--image", "small.png", "--scale", "2"], 2),
    "restore": (["--image", "digit.png", "--blur", "1.0", "--noise", "0.1"], 2),
    "restore from noise": (["--image", "digit.png", "--noise", "0.1"], 2),
    "walk": (["--size", "8", "12"], 2 * 4),
}  # fmt: skip


@pytest.mark.parametrize("name", TASKS)
def test_a_task_writes_its_pictures(place, monkeypatch, capsys, tmp_path, name: str) -> None:
    monkeypatch.chdir(place)
    (arguments, count), task = TASKS[name], name.split()[0]
    out = tmp_path / "out"
    main(
        [task, "--model", "model", "--num-samples", "2", "--steps", "2", "--output-dir", str(out), *arguments]
    )
    said = capsys.readouterr()
    assert said.out == f"{count} pictures and sheet.png in {out}\n" and task in said.err
    written = sorted(out.glob(f"{task}-*.png"))
    assert len(written) == count
    assert {Image.open(path).size for path in written} == {(12, 8) if task == "walk" else (8, 8)}
    sheet = Image.open(out / "sheet.png")
    assert sheet.width >= 2 * 16 and sheet.width > sheet.height


def test_the_mask_s_black_stays(place, monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(place)
    main(["inpaint", "--model", "model", "--image", "digit.png", "--mask", "mask.png", "--num-samples", "1",
          "--steps", "2", "--output-dir", str(tmp_path)])  # fmt: skip
    before, after = (np.asarray(Image.open(path)) for path in ("digit.png", tmp_path / "inpaint-000.png"))
    assert (before == after)[~np.eye(8, dtype=bool)].all()


def test_captions_are_drawn_in_a_row_each(place, monkeypatch, capsys, tmp_path) -> None:
    monkeypatch.chdir(place)
    captions = ["a seven left of a three", "an eight above a two", "a one above a two"]
    main(["draw", "--model", "artist", "--caption", *captions, "--num-samples", "2", "--steps", "2",
          "--output-dir", str(tmp_path), "--zoom", "1"])  # fmt: skip
    assert capsys.readouterr().out == f"6 pictures and sheet.png in {tmp_path}\n"
    assert len(list(tmp_path.glob("draw-*.png"))) == 6
    assert Image.open(tmp_path / "sheet.png").size == (2 * 10 + 2, 3 * 10 + 2)


def test_captions_are_printed_in_lines_or_as_json(place, monkeypatch, capsys) -> None:
    monkeypatch.chdir(place)
    asked = ["caption", "--model", "teller", "--steps", "2", "--num-samples", "2", "--image", "digit.png"]
    main(asked)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and all(line and not line.startswith("digit.png") for line in lines)
    main([*asked, "mask.png"])
    named = capsys.readouterr().out.splitlines()
    assert named[:2] == [f"digit.png: {line}" for line in lines] and named[3].startswith("mask.png: ")
    main([*asked, "mask.png", "--json", "--guidance-scale", "1"])
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["image"] for row in rows] == ["digit.png", "mask.png"] and rows[0]["captions"] == lines


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["caption", "--model", "teller", "--image", "small.png"], "4 x 4 pixels, but the model reads 8 x 8"),
        (["caption", "--model", "teller", "--image", "none.png"], "none.png is no file"),
        (["caption", "--model", "artist", "--image", "digit.png"], "not 'textdiff-captioner'"),
        (["caption", "--model", "teller", "--image", "digit.png", "--guidance-scale", "-1"], "picture_guidance is -1"),
        (["caption", "--model", "teller", "--image", "digit.png", "--temperature", "0"], "temperature is 0"),
        (["draw", "--model", "artist", "--caption", "a sevn above a two"], 'never learned: "sevn" (near it: seven'),
        (["draw", "--model", "model", "--caption", "a two"], "type 'textdiff-image', not 'textdiff-text-to-image'"),
        (["generate", "--model", "artist"], "not 'textdiff-image'"),
        (["generate", "--model", "nowhere"], "No model folder 'nowhere'"),
        (["generate", "--model", "model", "--num-samples", "0"], "numbers above zero"),
        (["generate", "--model", "model", "--zoom", "1000000"], "to zoom at most 32"),
        (["restore", "--model", "model", "--image", "digit.png", "--blur", "1e9"], "The radius of the blur is"),
        (["generate", "--model", "model", "--labels", "7"], "give numbers from 0 to 2"),
        (["generate", "--model", "model", "--output-dir", "mask.png"], "is a file"),
        (["upscale", "--model", "model", "--image", "small.png", "--scale", "9"], "The scale is 9"),
        (["inpaint", "--model", "model", "--image", "small.png", "--mask", "mask.png"], "The mask is 8 x 8"),
        (["restore", "--model", "model", "--image", "none.png", "--noise", "0.1"], "none.png is no file"),
        (["restore", "--model", "model", "--image", "digit.png"], "The noise is 0"),
    ],
)
def test_bad_input_is_one_line(place, monkeypatch, capsys, arguments: list[str], message: str) -> None:
    monkeypatch.chdir(place)
    with pytest.raises(SystemExit) as end:
        run(lambda: main(arguments))
    assert end.value.code == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert line.startswith("error: ") and message in line
    assert not (place / "pictures").exists()
