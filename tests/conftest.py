"""What every test gets: no network, caches of its own, few threads, and the shared data where it is there."""

import gzip
import os
import tempfile
from pathlib import Path

import pytest

# Set before any library reads them, so that a forgotten download fails at once.
_cache = tempfile.TemporaryDirectory(prefix="textdiff-tests-", ignore_cleanup_errors=True)
os.environ.update(
    HF_HOME=_cache.name,
    HF_HUB_OFFLINE="1",
    HF_DATASETS_OFFLINE="1",
    HF_EVALUATE_OFFLINE="1",
    HF_HUB_DISABLE_TELEMETRY="1",
    TOKENIZERS_PARALLELISM="false",
    MPLBACKEND="Agg",
)
os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch  # noqa: E402

torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def root() -> Path:
    """The root of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder ../shared/data beside the checkout; tests that ask for it are skipped where it is absent."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("needs the data folder ../shared/data beside the checkout, which is not there")
    return folder


@pytest.fixture(scope="session")
def control_place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny E2E world, untrained: e2e/diffusion_lm, model, classifier, tagger, parser and judge in one folder."""
    transformers = pytest.importorskip("transformers")
    from textdiff.diffusion.scheduler import Scheduler
    from textdiff.text.classifier import TextClassifier
    from textdiff.text.denoiser import DenoiserConfig, TextDenoiser
    from textdiff.text.labelled import label_names, read_labelled
    from textdiff.text.language_model import DiffusionLM
    from textdiff.text.parser import Parser
    from textdiff.text.tagger import Tagger
    from textdiff.text.tokenizer import save_tokenizer, train_word_level
    from textdiff.text.words import EncoderShape

    place = tmp_path_factory.mktemp("control")
    foods = (("Thai", "yes"), ("French", "no"))
    meanings = [(name, *own) for name in ("The Mill", "Cotto", "Aromi") for own in foods]
    shapes = ("{} serves {} food .", "There is a {} by the river that has {} food .", "Eat at {} , it is {} .")
    lines = {
        part: [
            f"name : {name} | food : {food} | family friendly : {kids}||{word}{shape.format(name, food)} "
            for name, food, kids in meanings
            for shape in shapes
            for word in words
        ]
        for part, words in (("train", ("", "Well , ", "Oh , ", "Now ")), ("valid", ("So ", "Oh , ")))
    }  # fmt: skip
    folder = place / "e2e" / "diffusion_lm"
    folder.mkdir(parents=True)
    for part, own in lines.items():
        with gzip.open(folder / f"src1_{part}.txt.gz", "wt", encoding="utf-8") as file:
            file.write("\n".join(own) + "\n")
    texts = read_labelled(folder / "src1_train.txt.gz", "e2e")
    torch.manual_seed(0)
    tokenizer = train_word_level([text.text for text in texts], min_count=1)
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    size = tokenizer.get_vocab_size()
    denoiser = TextDenoiser(DenoiserConfig(vocab_size=size, max_position_embeddings=16, **small))
    lm = DiffusionLM(denoiser, Scheduler.adaptive([3.0, -6.0]), tokenizer, config={"length_counts": [0] * 6 + [1] * 4})
    lm.save_pretrained(place / "model")
    labels = {"fields": label_names(texts).fields, "tags": ["DET", "NOUN"], "spans": ["NP", "S"]}
    classifier = TextClassifier.for_model(denoiser, lm.vocabulary, **labels, **small)
    for parameter in classifier.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    classifier.save_pretrained(place / "classifier")
    shape = EncoderShape(hidden=16, layers=1, heads=2, intermediate=32, buckets=64)
    Tagger(shape, ["food"], ["DET", "NOUN"]).save(place / "tagger")
    parser = Parser(shape, ["food"], ["NP", "S"])
    parser.span_out.bias.data += 0.5  # most spans of its trees have a label
    parser.save(place / "parser")
    config = transformers.GPT2Config(
        vocab_size=size, n_positions=24, n_embd=16, n_layer=1, n_head=2, bos_token_id=1, eos_token_id=2
    )
    transformers.GPT2LMHeadModel(config).save_pretrained(place / "judge")
    save_tokenizer(tokenizer, place / "judge")
    return place
