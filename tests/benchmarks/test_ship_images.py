"""From an image run to a bundled model: its weights, the judge beside it, and figures of this model alone; captions."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file

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
from textdiff.storage import BUNDLED
from textdiff.text.denoiser import DenoiserConfig, TextDenoiser
from textdiff.text.language_model import DiffusionLM


@pytest.fixture
def finished(root, tmp_path, monkeypatch):
    """run/ and judge/, finished; images.json with two tables of run; the digits' facts."""
    torch.manual_seed(0)
    ImageDiffusion(UNet(UNetConfig(width=8, heads=1, num_classes=10)), image_curve()).save_pretrained(
        tmp_path / "run"
    )
    facts = {
        "parameters": 1_600_000, "preset": {"max_steps": 4000, "batch_size": 128}, "pictures_seen": 512_000,
        "pictures": 60_000, "seconds": 1200, "validation": {"eval_loss": 0.12345},
    }  # fmt: skip
    for name, content in {"training.json": facts, "curves.json": []}.items():
        (tmp_path / "run" / name).write_text(json.dumps(content))
    (tmp_path / "run" / "curves.png").write_bytes(b"")
    DigitClassifier(4).save_pretrained(tmp_path / "judge", test_accuracy=0.987)
    digits = {
        "certificate": {"model": "run", "seed": 7},
        "generation": {
            "class_accuracy": {"textdiff": 0.91, "test digits": 0.99},
            "coverage": {"textdiff": 0.8},
        },
        "denoising_heavy": {"psnr": {"textdiff": 24.5, "non-local means": 20.25}},
    }
    (tmp_path / "images.json").write_text(json.dumps({"digits": digits}))
    shutil.copyfile(root / "benchmarks" / "digits.json", tmp_path / "digits.json")
    return tmp_path


@pytest.fixture
def ship(load, finished, monkeypatch):
    """The command in the folder of the run."""
    module = load("ship_images")
    monkeypatch.chdir(finished)
    fixed = ["--run", "run", "--facts", "digits.json", "--figures", "images.json", "--output", "out/digits"]
    return lambda *more: module.main([*fixed, *more])


@pytest.mark.parametrize(("precision", "kind"), [("bfloat16", torch.bfloat16), ("float32", torch.float32)])
def test_what_is_shipped_is_the_run(ship, finished, precision: str, kind: torch.dtype) -> None:
    ship("--precision", precision)
    run, shipped = (ImageDiffusion.from_pretrained(finished / name) for name in ("run", "out/digits"))
    assert shipped.scheduler.config == run.scheduler.config and shipped.shape == run.shape
    for name, weights in run.network.state_dict().items():
        assert shipped.network.state_dict()[name].equal(weights.to(kind).float()), name
    assert {tensor.dtype for tensor in load_file(finished / "out/digits/model.safetensors").values()} == {
        kind
    }


def test_the_card_has_facts_and_figures(ship, finished, capsys) -> None:
    ship()
    card = (finished / "out/digits/README.md").read_text(encoding="utf-8")
    for wanted in (
        "license: cc-by-sa-3.0", "CC BY-SA 3.0", "1.6 M parameters", "from_pretrained()", "in 20 minutes", "0.1235",
        "## Generation", "0.910", "0.990", "24.500", "20.250", "seed 7", "python benchmarks/digits.py", "512,000",
    ):  # fmt: skip
        assert wanted in card, wanted
    assert "Enlargement" not in card and card.count("Born of") == 1
    assert "bfloat16, 2 tables" in capsys.readouterr().out


def test_the_judge_is_shipped_as_it_is(ship, finished) -> None:
    ship("--classifier", "judge")
    judge, shipped = (
        DigitClassifier.from_pretrained(finished / name) for name in ("judge", "out/digit_classifier")
    )
    assert shipped.fingerprint() == judge.fingerprint()
    card = (finished / "out/digit_classifier/README.md").read_text(encoding="utf-8")
    assert judge.fingerprint() in card and "0.987" in card and "cc-by-sa-3.0" in card


BAD = {
    "training.json does not exist": lambda place: (place / "run" / "training.json").unlink(),
    "was measured on elsewhere": lambda place: (place / "images.json").write_text(
        '{"digits": {"certificate": {"model": "elsewhere"}}}'
    ),
    "lacks command, data": lambda place: (place / "digits.json").write_text(
        '{"license": "", "figures_command": ""}'
    ),
    "is a model of type 'textdiff'": lambda place: (place / "run" / "config.json").write_text(
        '{"model_type": "textdiff"}'
    ),
    "digits.json does not exist": lambda place: (place / "digits.json").unlink(),
}


@pytest.mark.parametrize("message", BAD)
def test_what_cannot_be_shipped_leaves_nothing(ship, finished, message: str) -> None:
    BAD[message](finished)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        ship()
    assert not (finished / "out").exists()


def test_the_judge_wants_its_command(ship, finished) -> None:
    facts = json.loads((finished / "digits.json").read_text())
    (finished / "digits.json").write_text(json.dumps({**facts, "classifier_command": ""}))
    ship("--classifier", "judge")
    facts.pop("classifier_command")
    (finished / "digits.json").write_text(json.dumps(facts))
    with pytest.raises(ValueError, match="lacks classifier_command"):
        ship("--classifier", "judge")


def test_an_unknown_precision_is_refused(ship) -> None:
    with pytest.raises(ValueError, match="choose bfloat16 or float32"):
        ship("--precision", "int4")


def drawing(words: CaptionWords) -> TextToImage:
    small = {"hidden": 8, "layers": 1, "heads": 1, "intermediate": 8}
    encoder = CaptionEncoder(CaptionEncoderConfig(vocab_size=words.size, length=words.length, **small))
    unet = UNet(UNetConfig(image_size=8, width=8, heads=1, condition_size=8))
    return TextToImage(ImageDiffusion(unet, image_curve()), encoder, words)


def writing(words: CaptionWords) -> Captioner:
    encoder = PictureEncoder(PictureEncoderConfig(image_size=8, width=8, hidden=8, length=words.length))
    denoiser = TextDenoiser(DenoiserConfig(words.size, 8, 8, 1, 1, 8, max_position_embeddings=words.length))
    return Captioner(encoder, DiffusionLM(denoiser, Scheduler.adaptive([3.0, -6.0]), words.tokenizer))


@pytest.mark.parametrize(
    ("name", "make", "measured"),
    [("composed-digits", drawing, "runs/composed-digits"), ("caption-digits", writing, "caption-digits")],
)
def test_a_model_with_captions_is_shipped_under_the_name_of_its_run(
    root, finished, load, monkeypatch, name: str, make, measured: str
) -> None:
    torch.manual_seed(0)
    model = make(CaptionWords.of(every_caption()))
    model.save_pretrained(finished / "runs" / name)
    for record in ("training.json", "curves.json", "curves.png"):
        shutil.copyfile(finished / "run" / record, finished / "runs" / name / record)
    (finished / "benchmarks" / "results").mkdir(parents=True)
    shutil.copyfile(root / "benchmarks" / f"{name}.json", finished / "benchmarks" / f"{name}.json")
    rows = [{"method": "chance", "digits": 0.1}, {"method": "textdiff", "digits": 0.93}]
    figures = {"certificate": {"model": measured, "seed": 5}, "rows": rows}
    (finished / "benchmarks/results/images.json").write_text(json.dumps({name.replace("-", "_"): figures}))
    module = load("ship_images")
    monkeypatch.chdir(finished)
    module.main(["--run", f"runs/{name}"])
    monkeypatch.setattr("textdiff.storage.BUNDLED", finished / "textdiff" / "weights")
    for chosen in (None, name):
        shipped = type(model).from_pretrained(chosen)
        own, wanted = (load_state(one) for one in (shipped, model))
        for key, weights in wanted.items():
            exact = key.endswith("embedding.weight")
            assert own[key].equal(weights if exact else weights.bfloat16().float()), key
    card = (finished / "textdiff/weights" / name / "README.md").read_text(encoding="utf-8")
    for said in ("license: cc-by-sa-3.0", "from_pretrained()", "0.930", "seed 5", "Born of", f"--only {name}"):
        assert said in card, said


def load_state(model: TextToImage | Captioner) -> dict[str, torch.Tensor]:
    """The weights of both parts of a model."""
    main = model.image.network if isinstance(model, TextToImage) else model.language_model.denoiser
    return {**main.state_dict(), **{f"encoder.{k}": v for k, v in model.encoder.state_dict().items()}}


def test_the_bundled_image_models_take_25_megabytes_at_most() -> None:
    kinds = {"textdiff-image", "textdiff-text-to-image", "textdiff-captioner"}
    configs = {path.parent: json.loads(path.read_text()) for path in BUNDLED.glob("*/config.json")}
    folders = [
        path for path, config in configs.items() if config.get("model_type") in kinds or path.name == "digit_classifier"
    ]
    assert sum(file.stat().st_size for folder in folders for file in folder.rglob("*")) <= 25e6
