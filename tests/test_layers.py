"""The architecture as a test: reads every import with `ast` and fails for an arrow that is not drawn.

The drawing: `diffusion/` is the foundation, `text/` and `image/` are two wings on it that do not know each
other, `cross_modal` is the one room that knows both, and scripts stand in front of everything. A module may
import only modules of a lower floor of its own room, and only rooms that its room stands on. The house limits
stand here too: sizes, names, and the calls that have no place in the product.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Room -> rooms of ours it may import. A room not named here may not exist.
ROOMS = {
    "diffusion": {"diffusion"},
    "metrics": {"metrics"},
    "storage": set(),  # folders with a model in them, whatever it is a model of
    "reports": set(),  # how a figure came about, and its way into a table or a file
    "card": {"reports"},  # model cards, whatever the model is of
    "training": {"training"},  # what every Trainer run shares: averaging, checkpoints, settings
    "text": {"diffusion", "metrics", "storage", "reports", "card", "training", "text"},
    "image": {"diffusion", "metrics", "storage", "reports", "card", "training", "image"},
    "cross_modal": {"diffusion", "metrics", "storage", "reports", "card", "training", "text", "image", "cross_modal"},
    "cli": set(),  # how every script ends; stands with the scripts
}

# Module -> floor. An import must go down. A module not named here must be drawn first.
FLOORS = {
    "diffusion": {
        "curves": 0, "stagger": 0, "limits": 0,
        "scheduler": 1, "conversion": 1,
        "losses": 2, "samplers": 2,
        "guidance": 3, "corrections": 4,
    },
    "training": {"checkpoints": 0, "settings": 0, "averaging": 1, "trainer": 2},
    "text": {
        "blanks": 0, "card": 0, "control_options": 0, "data": 0, "embedding": 0, "energies": 0, "optimizer": 0,
        "own_noise": 0, "penn_tags": 0, "presets": 0, "steering": 0, "target_lengths": 0, "tokenizer": 0,
        "transformer": 0, "trees": 0, "vocabulary": 0,
        "causal_rows": 1, "classifier_config": 1, "control": 1, "denoiser": 1, "evaluation": 1, "labelled": 1,
        "ordered": 1, "plans": 1, "settings": 1, "sources": 1, "treebanks": 1, "words": 1,
        "classifier_files": 2, "continuation": 2, "dependency_trees": 2, "label_rows": 2, "objectives": 2,
        "ordered_denoiser": 2, "pairs": 2, "tag_patterns": 2,
        "classifier": 3, "estimate": 3, "infilling": 3, "loading": 3, "ordered_objective": 3, "phrase_trees": 3,
        "bag": 4, "model": 4, "sampling": 4, "scoring": 4, "word_model": 4,
        "bag_training": 5, "blank_lengths": 5, "classified": 5, "distillation": 5, "fine_tuning": 5, "parser": 5,
        "ranking": 5, "sampling_options": 5, "tagger": 5, "training": 5,
        "oracle_training": 6, "oracles": 6, "rewriting": 6, "run": 6,
        "checks": 7, "language_model": 7, "oracle_labels": 7,
        "classifier_training": 8, "wish": 8,
        "wished_lengths": 9, "wishes": 9,
        "control_targets": 10, "steered": 10,
        "control_evaluation": 11,
        "control_task": 12,
    },
    "image": {
        "attention": 0, "pictures": 0, "operators": 0, "curve": 0, "card": 0, "presets": 0,
        "unet": 1, "sampling": 1, "restoration": 1, "data": 1, "classifier": 1,
        "adapters": 2, "loading": 2,
        "drawing": 3, "model": 3, "easel": 4, "run": 4, "image_diffusion": 5,
    },
    "cross_modal": {
        "composition": 0, "caption_words": 0, "encoder": 0, "presets": 0,
        "picture_encoder": 0, "card": 0,
        "captioned": 1, "composed_digits": 1, "text_to_image": 1, "model": 1, "captioner": 1, "captioner_model": 1,
        "agreement": 2, "cells": 2, "run": 2, "captioner_run": 3,
    },
}  # fmt: skip

# One class in two files: the scheduler and its conversion to diffusers may know each other.
PAIRS = {frozenset({"scheduler", "conversion"})}

FOUNDATION_MAY_IMPORT = {"torch", "numpy", "safetensors", "textdiff"} | set(sys.stdlib_module_names)

# Inference must not pay for the training libraries, not even through what these modules import.
LIGHT = [
    "textdiff.text.denoiser", "textdiff.text.language_model", "textdiff.image.image_diffusion",
    "textdiff.cross_modal.text_to_image", "textdiff.cross_modal.captioner",
]  # fmt: skip
HEAVY = {"transformers", "datasets", "evaluate", "accelerate", "diffusers", "matplotlib", "pandas", "scipy"}

FOUNDATION_NEVER_SAYS = ("channel", "token", "pixel")
NAMELESS = {"utils", "util", "common", "helpers", "helper", "base", "misc"}


def sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def relative(paths: list[Path]) -> list[str]:
    return [path.relative_to(ROOT).as_posix() for path in paths]


LIBRARY = relative(sources("textdiff"))
PRODUCT = LIBRARY + relative(sources("scripts", "benchmarks"))


def read(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def imports(source: str, path: str) -> Iterator[tuple[str, int, bool]]:
    """Every imported module, its line, whether it stands in a function; relative names resolved."""
    tree = ast.parse(source)
    lazy = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
    }
    package = Path(path).parent.parts
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield name.name, node.lineno, id(node) in lazy
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            for name in node.names:  # `from textdiff.text import model` imports a module, not a name
                is_module = module == "textdiff" or name.name in FLOORS.get(module.rpartition(".")[2], {})
                yield (f"{module}.{name.name}" if is_module else module), node.lineno, id(node) in lazy


def wrong_arrow(importer: str, imported: str, lazy: bool) -> str | None:
    """Why `importer` (dotted) may not import `imported` (dotted), or None where the arrow is drawn."""
    _, room, *rest = [*importer.split("."), "", ""]
    top, *inside = imported.split(".")
    if room == "diffusion" and top not in FOUNDATION_MAY_IMPORT:
        if top == "diffusers" and lazy and rest[0] == "conversion":
            return None
        return f"the foundation imports torch (and diffusers inside conversion's functions), not {top}"
    if top in ("scripts", "benchmarks", "tests"):
        return f"nothing in the library imports {top}"
    if top != "textdiff":
        return None
    if not inside:
        return "import the module you mean, not the package's front door"
    if room not in ROOMS:
        return f"{room} is not a room of the house"
    if inside[0] not in ROOMS[room]:
        return f"{room} does not stand on {inside[0]}"
    if inside[0] == room and room in FLOORS:
        return wrong_floor(room, rest[0], inside[1] if len(inside) > 1 else "")
    return None


def wrong_floor(room: str, importer: str, imported: str) -> str | None:
    """Why one module of a room may not import another of the same room, or None."""
    floors = FLOORS[room]
    if importer == "" or frozenset({importer, imported}) in PAIRS:
        return None  # a room's own __init__ shows what is inside
    for name in (importer, imported):
        if name not in floors:
            return f"{room}/{name or '__init__'} stands on no floor: draw it in FLOORS first"
    if floors[imported] >= floors[importer]:
        return f"{importer} is on floor {floors[importer]} and imports {imported} on floor {floors[imported]}"
    return None


def dotted(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def wrong_arrows(source: str, path: str) -> list[str]:
    importer = dotted(path)
    found = ((line, wrong_arrow(importer, name, lazy)) for name, line, lazy in imports(source, path))
    return [f"{path}:{line}: {reason}" for line, reason in found if reason]


def broken_limits(source: str, path: str) -> list[str]:
    """House limits: sizes, names, and calls that have no place in the product."""
    found = []
    if source.count("\n") > 300:
        found.append(f"{path}: {source.count(chr(10))} lines, a file has at most 300")
    if Path(path).stem in NAMELESS:
        found.append(f"{path}: a module's name says what it owns")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno - node.lineno >= 60:
            found.append(f"{path}:{node.lineno}: {node.name} has more than 60 lines")
        if reason := forbidden(node, path.startswith("textdiff/")):
            found.append(f"{path}:{node.lineno}: {reason}")
    return found


def forbidden(node: ast.AST, in_library: bool) -> str | None:
    """Why this statement has no place here, or None: weights are safetensors, configs JSON."""
    if isinstance(node, ast.Call):
        called = ast.unparse(node.func)
        if called == "print" and in_library:
            return "the library does not print"
        if called in ("torch.load", "torch.save"):
            return f"{called} is pickle: use safetensors"
        for keyword in node.keywords:
            if keyword.arg in ("trust_remote_code", "allow_pickle") and ast.unparse(keyword.value) != "False":
                return f"{keyword.arg} runs what it loads"
    modules = [name.name for name in node.names] if isinstance(node, ast.Import) else []
    modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
    if any(module.split(".")[0] in ("pickle", "dill", "cloudpickle", "joblib") for module in modules):
        return "pickles run what they load: use safetensors or JSON"
    return None


def identifiers(source: str) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(source)):
        for field in ("name", "id", "attr", "arg"):
            name = getattr(node, field, None)
            if isinstance(name, str) and not isinstance(node, ast.alias):
                yield name, node.lineno


def foreign_words(source: str, path: str) -> list[str]:
    return [
        f"{path}:{line}: the foundation does not know what a {word} is ({name})"
        for name, line in identifiers(source)
        for word in FOUNDATION_NEVER_SAYS
        if word in name.lower()
    ]


@pytest.mark.parametrize("path", LIBRARY)
def test_imports_follow_the_drawing(path: str) -> None:
    assert wrong_arrows(read(path), path) == []


@pytest.mark.parametrize("path", PRODUCT)
def test_house_limits(path: str) -> None:
    assert broken_limits(read(path), path) == []


@pytest.mark.parametrize("path", [path for path in LIBRARY if path.startswith("textdiff/diffusion/")])
def test_the_foundation_is_blind(path: str) -> None:
    assert foreign_words(read(path), path) == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("textdiff/diffusion/samplers.py", "from textdiff.text.embedding import TokenEmbedding"),
        ("textdiff/diffusion/samplers.py", "from ..text import embedding"),
        ("textdiff/diffusion/samplers.py", "from .guidance import classifier_free"),
        ("textdiff/diffusion/samplers.py", "import transformers"),
        ("textdiff/diffusion/conversion.py", "import diffusers"),
        ("textdiff/diffusion/losses.py", "def f():\n    import diffusers"),
        ("textdiff/text/embedding.py", "def f():\n    from textdiff.text.denoiser import TextDenoiser"),
        ("textdiff/text/data.py", "from .model import DiffusionLMModel"),
        ("textdiff/text/nowhere.py", "from .embedding import TokenEmbedding"),
        ("textdiff/text/data.py", "from textdiff.image import unet"),
        ("textdiff/text/data.py", "import textdiff"),
        ("textdiff/image/unet.py", "import textdiff.text.data"),
        ("textdiff/image/unet.py", "from textdiff.image.drawing import draw"),
        ("textdiff/training/trainer.py", "from textdiff.text.model import DiffusionLMModel"),
        ("textdiff/storage.py", "from textdiff.image.unet import UNet"),
        ("textdiff/metrics/bleu.py", "from textdiff.text.data import pack"),
        ("textdiff/text/training.py", "from scripts.train import main"),
    ],
)
def test_a_wrong_arrow_is_seen(path: str, source: str) -> None:
    assert len(wrong_arrows(source, path)) == 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("textdiff/diffusion/samplers.py", "import math\nimport torch\nfrom .scheduler import Scheduler"),
        ("textdiff/diffusion/conversion.py", "def f():\n    from diffusers import DDIMScheduler"),
        ("textdiff/diffusion/scheduler.py", "def f():\n    from textdiff.diffusion import conversion"),
        ("textdiff/text/denoiser.py", "from textdiff.text.embedding import TokenEmbedding"),
        ("textdiff/text/language_model.py", "from ..diffusion import samplers\nfrom .data import pack"),
        ("textdiff/cross_modal.py", "import textdiff.text.data\nimport textdiff.image.unet"),
    ],
)
def test_a_drawn_arrow_passes(path: str, source: str) -> None:
    assert wrong_arrows(source, path) == []


@pytest.mark.parametrize(
    "source",
    [
        "x = 1\n" * 301,
        "def f():\n" + "    x = 1\n" * 60,
        "print(1)",
        "import pickle",
        "from joblib import load",
        "state = torch.load(path)",
        "AutoModel.from_pretrained(path, trust_remote_code=True)",
        "numpy.load(path, allow_pickle=True)",
    ],
)
def test_a_broken_limit_is_seen(source: str) -> None:
    assert len(broken_limits(source, "textdiff/text/data.py")) == 1
    assert broken_limits("x = 1\n", "textdiff/text/utils.py")


@pytest.mark.parametrize("source", ["num_channels = 3", "def f(tokens): ...", "x.pixels", "f(channel=1)"])
def test_a_foreign_word_is_seen(source: str) -> None:
    assert len(foreign_words(source, "textdiff/diffusion/losses.py")) == 1
    assert foreign_words('"""A token, in prose."""\nx0 = 1', "textdiff/diffusion/losses.py") == []


def test_every_room_is_known() -> None:
    strangers = {re.sub(r"\.py$", "", path.split("/")[1]) for path in LIBRARY} - set(ROOMS) - {"__init__"}
    assert strangers <= {"weights"}, f"not drawn in the architecture: {sorted(strangers)}"


def loaded_after(statement: str) -> set[str]:
    """The top-level modules that a fresh interpreter has loaded after one statement."""
    code = f"{statement}\nimport sys\nsys.stdout.write(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return {name.split(".")[0] for name in done.stdout.split()}


def test_import_textdiff_is_free() -> None:
    loaded = loaded_after("import textdiff")
    assert "textdiff" in loaded
    assert not loaded & (HEAVY | {"torch", "numpy"})


@pytest.mark.parametrize("module", LIGHT)
def test_inference_pays_for_no_training_library(module: str) -> None:
    loaded = loaded_after(f"import {module}")
    assert "torch" in loaded
    assert not loaded & HEAVY
