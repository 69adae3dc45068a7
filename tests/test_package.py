"""The wheel is the product: it holds the weights and the metrics, and works away from the checkout."""

import importlib.util
import os
import re
import subprocess
import sys
import zipfile
from collections import Counter
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


def pip(*arguments: str) -> None:
    done = subprocess.run([sys.executable, "-m", "pip", "-q", *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout, built without the network."""
    if importlib.util.find_spec("hatchling") is None:
        pytest.skip('needs hatchling to build without the network: pip install -e ".[test]"')
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(folder), str(root))
    (built,) = folder.glob("textdiff-*.whl")
    return built


@pytest.fixture(scope="module")
def elsewhere(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds the unpacked wheel and nothing of the checkout."""
    folder = tmp_path_factory.mktemp("elsewhere")
    pip("install", "--no-deps", "--no-index", "--target", str(folder), str(wheel))
    return folder


def test_the_wheel_holds_every_file_of_the_library(root: Path, wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = {entry.filename: entry.file_size for entry in archive.infolist()}
    library = {
        path.relative_to(root).as_posix(): path.stat().st_size
        for path in (root / "textdiff").rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert library.items() <= packed.items()


@pytest.mark.parametrize("pattern", ["weights/**/*.safetensors", "weights/**/config.json", "metrics/**/*.py"])
def test_the_wheel_holds_weights_and_metrics(elsewhere: Path, pattern: str) -> None:
    assert list((elsewhere / "textdiff").glob(pattern))


TEXT_MODELS = {"english": 40, "e2e": 25}  # MB each may have; those that draw or read pictures have 25 together


def test_the_shipped_weights_are_small_and_not_code(root: Path) -> None:
    files = [path for path in (root / "textdiff" / "weights").rglob("*") if path.is_file()]
    assert {path.suffix for path in files} <= {".safetensors", ".json", ".md", ".png", ".tsv"}
    assert max(path.stat().st_size for path in files) <= 15 * 2**20
    sizes = Counter[str]()
    for path in files:
        name = path.relative_to(root / "textdiff" / "weights").parts[0]
        sizes[name if name in TEXT_MODELS else "pictures"] += path.stat().st_size
    assert all(sizes[name] <= most * 10**6 for name, most in (TEXT_MODELS | {"pictures": 25}).items())
    assert set(sizes) == {*TEXT_MODELS, "pictures"}


def test_the_wheel_fills_a_blank_from_another_folder(elsewhere: Path) -> None:
    code = (
        "import sys, textdiff\n"
        "model = textdiff.DiffusionLM.from_pretrained()\n"
        "best = model.infill('The dog ran into the [MASK].', num_inference_steps=2, seed=0)[0]\n"
        "sys.stdout.write(f'{textdiff.__file__}\\n{best.text}')\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(elsewhere)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=elsewhere.parent, env=environment
    )
    assert done.returncode == 0, done.stderr
    where, text = done.stdout.split("\n", 1)
    assert Path(where).is_relative_to(elsewhere)
    assert text.startswith("The dog ran into the ") and text.endswith(".") and "[MASK]" not in text


def test_the_version_is_told_once(root: Path, wheel: Path) -> None:
    newest = re.search(r"^## \[(.+?)\]", (root / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert newest and wheel.name.split("-")[1] == newest[1]
