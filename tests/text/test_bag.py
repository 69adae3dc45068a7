"""A bag of tokens: its score is a sum, the mean over what a text may become; its folder; whom it refuses."""

import itertools
import json

import pytest
import torch
from torch.testing import assert_close

from textdiff.text.bag import BagOfTokens, load_classifier
from textdiff.text.checks import FieldReader
from textdiff.text.classified import FieldIs
from textdiff.text.classifier import TextClassifier
from textdiff.text.classifier_config import BagConfig
from textdiff.text.language_model import DiffusionLM

FIELDS = {"mood": ["glad", "sad"], "size": ["big", "middling", "small"]}


@pytest.fixture(scope="module")
def bag(word_lm: DiffusionLM) -> BagOfTokens:
    """With random scores."""
    made = BagOfTokens.for_vocabulary(word_lm.vocabulary, FIELDS)
    source = torch.Generator().manual_seed(0)
    for parameter in made.parameters():
        parameter.data.copy_(torch.randn(parameter.shape, generator=source))
    return made.eval().requires_grad_(False)


def logits(bag: BagOfTokens, p: torch.Tensor) -> torch.Tensor:
    return torch.cat(bag.field_logits(*bag.read(p, torch.zeros(p.shape[:2]))), dim=1)


def test_before_it_has_learned_it_says_nothing(word_lm: DiffusionLM) -> None:
    fresh = BagOfTokens.for_vocabulary(word_lm.vocabulary, FIELDS)
    p = torch.full((1, 3, word_lm.denoiser.config.vocab_size), 1 / word_lm.denoiser.config.vocab_size)
    assert logits(fresh, p).tolist() == [[0.0] * 5]


def test_a_doubtful_text_has_the_mean_score_of_what_it_may_become(bag: BagOfTokens) -> None:
    """The expectation over all texts of three tokens, each being one of two, written out."""
    chance = torch.tensor([0.2, 0.7, 0.5])
    p = torch.zeros(1, 3, bag.config.vocab_size)
    p[0, :, 4], p[0, :, 7] = chance, 1 - chance
    total = torch.zeros(1, 5)
    for ids in itertools.product((4, 7), repeat=3):
        likely = torch.stack([c if one == 4 else 1 - c for one, c in zip(ids, chance)]).prod()
        text = torch.tensor([ids])
        total += likely * torch.cat(bag.field_logits(bag.read_tokens(text, torch.ones(1, 3)), torch.ones(1, 3)), 1)
    assert_close(logits(bag, p), total)


def test_order_and_padding_do_not_matter(bag: BagOfTokens) -> None:
    p = torch.nn.functional.one_hot(torch.tensor([[4, 9, 5]]), bag.config.vocab_size).float()
    padded = torch.cat([p.flip(1), torch.zeros(1, 2, p.shape[-1])], dim=1)
    assert_close(logits(bag, p), logits(bag, padded))
    ids, mask = torch.tensor([[4, 9, 5, 0, 0]]), torch.tensor([[1, 1, 1, 0, 0]])
    assert_close(torch.cat(bag.field_logits(bag.read_tokens(ids, mask), mask), dim=1), logits(bag, p))


def test_an_energy_reads_it(bag: BagOfTokens, word_lm: DiffusionLM) -> None:
    p = torch.nn.functional.one_hot(torch.tensor([[4, 9, 5]]), bag.config.vocab_size).float()
    t = torch.zeros(1, 3)
    glad, sad = (FieldIs(bag, "mood", value)(p, t) for value in FIELDS["mood"])
    assert_close((-glad).exp() + (-sad).exp(), torch.ones(1))
    assert_close(sad - glad, logits(bag, p)[:, 0] - logits(bag, p)[:, 1])
    control = FieldIs(bag, "mood", "sad")
    options = {"num_inference_steps": 4, "length": 6, "seed": 0}
    steered, free = (FieldReader(bag, word_lm.vocabulary).value(texts, "mood").count("sad") for texts in (
        word_lm.generate(16, control=control, guidance_scale=4.0, **options), word_lm.generate(16, **options),
    ))  # fmt: skip
    assert steered >= 15 and free <= 12


def test_a_saved_bag_is_the_same(bag: BagOfTokens, word_lm: DiffusionLM, tmp_path) -> None:
    bag.save_pretrained(tmp_path / "new")
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["bag.json", "bag.safetensors"]
    loaded = load_classifier(tmp_path / "new", word_lm.vocabulary)
    assert isinstance(loaded, BagOfTokens) and loaded.config == bag.config and not loaded.training
    assert torch.equal(loaded.scores.weight, bag.scores.weight) and not loaded.scores.weight.requires_grad


def test_a_folder_says_which_kind_lies_in_it(lookup: TextClassifier, word_lm: DiffusionLM, tmp_path) -> None:
    lookup.save_pretrained(tmp_path)
    assert isinstance(load_classifier(tmp_path, word_lm.vocabulary), TextClassifier)
    with pytest.raises(FileNotFoundError, match="scripts/train_classifier.py"):
        load_classifier(tmp_path / "nowhere", word_lm.vocabulary)


def test_another_vocabulary_and_damage_are_refused(bag, word_lm: DiffusionLM, bpe_lm: DiffusionLM, tmp_path) -> None:
    bag.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="was made for another vocabulary than this model's"):
        BagOfTokens.from_pretrained(tmp_path, bpe_lm.vocabulary)
    with pytest.raises(ValueError, match="over 7: it was made for another vocabulary"):
        bag.read(torch.full((1, 2, 7), 1 / 7), torch.zeros(1, 2))
    content = json.loads((tmp_path / "bag.json").read_text(encoding="utf-8"))
    (tmp_path / "bag.json").write_text(json.dumps({**content, "fields": {"mood": ["a", "b"]}}), encoding="utf-8")
    with pytest.raises(ValueError, match="bag.safetensors is damaged or not of the same classifier as bag.json"):
        BagOfTokens.from_pretrained(tmp_path, word_lm.vocabulary)
    (tmp_path / "bag.json").write_text("[]", encoding="utf-8")
    with pytest.raises(ValueError, match="bag.json is damaged"):
        BagOfTokens.from_pretrained(tmp_path, word_lm.vocabulary)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"fields": {}}, "nothing to classify: give fields of the text"),
        ({"fields": {"mood": ["glad"]}}, "field 'mood' are ['glad']: give at least 2"),
        ({"vocab_size": 0}, "vocab_size is 0: give a whole number"),
    ],
)
def test_what_cannot_be_is_refused(change: dict, said: str) -> None:
    with pytest.raises(ValueError) as caught:
        BagConfig(**{"fields": FIELDS, **change})
    assert said in str(caught.value)
