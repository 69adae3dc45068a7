"""A classifier's heads, what they may depend on, its folder and whom it refuses."""

import json
from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from textdiff.text.classifier import TextClassifier, all_spans
from textdiff.text.classifier_config import ClassifierConfig, fingerprint
from textdiff.text.denoiser import TextDenoiser
from textdiff.text.language_model import DiffusionLM
from textdiff.text.tokenizer import train_word_level
from textdiff.text.vocabulary import Vocabulary

LABELS = {
    "fields": {"mood": ["glad", "sad"], "food.kind": ["absent", "fish", "meat"]},
    "tags": ["DET", "NOUN", "VERB"],
    "spans": ["NP", "VP"],
}
SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


@pytest.fixture(scope="module")
def classifier(word_lm: DiffusionLM) -> TextClassifier:
    """With every head, random weights in all of them."""
    torch.manual_seed(0)
    made = TextClassifier.for_model(word_lm.denoiser, word_lm.vocabulary, **LABELS, **SMALL)
    for parameter in made.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    return made.eval().requires_grad_(False)


def some_texts(rows: int, length: int, classifier: TextClassifier) -> tuple[torch.Tensor, torch.Tensor]:
    """Random distributions over tokens and times."""
    source = torch.Generator().manual_seed(rows + length)
    p = (3 * torch.randn(rows, length, len(classifier.vectors), generator=source)).softmax(-1)
    return p, torch.rand(rows, length, generator=source)


def verdicts(classifier: TextClassifier, p: torch.Tensor, t: torch.Tensor) -> list[torch.Tensor]:
    """All logits; of the spans as a chart, [B, L + 1, L + 1, labels]."""
    hidden, mask = classifier.read(p, t)
    said = classifier(p @ classifier.vectors, t, mask)
    assert_close(said.tags, classifier.tag_logits(hidden))
    chart = said.spans.new_zeros(len(p), p.shape[1] + 1, p.shape[1] + 1, said.spans.shape[2])
    starts, ends = all_spans(p.shape[1])
    chart[:, starts, ends] = said.spans
    return [*said.fields, said.tags, chart]


def test_spans_are_all_pairs_of_places() -> None:
    starts, ends = all_spans(4)
    pairs = list(zip(starts.tolist(), ends.tolist()))
    assert pairs == [(i, j) for i in range(5) for j in range(i + 1, 5)]
    assert len(pairs) == 4 * 5 // 2


def test_every_head_speaks_of_its_own_labels(classifier: TextClassifier) -> None:
    p, t = some_texts(3, 5, classifier)
    shapes = [tuple(logits.shape) for logits in verdicts(classifier, p, t)]
    assert shapes == [(3, 2), (3, 3), (3, 5, 3), (3, 6, 6, 3)]


def test_a_fresh_classifier_knows_only_that_few_spans_have_labels(word_lm: DiffusionLM) -> None:
    made = TextClassifier.for_model(word_lm.denoiser, word_lm.vocabulary, **LABELS, **SMALL).eval()
    *others, chart = verdicts(made, *some_texts(2, 4, made))
    for logits in (*others, chart[..., 1:]):
        assert_close(logits, torch.zeros_like(logits))
    assert (chart[:, *all_spans(4)].softmax(-1)[..., 0] > 0.9).all()


def test_heads_are_optional(word_lm: DiffusionLM) -> None:
    for kind in LABELS:
        made = TextClassifier.for_model(word_lm.denoiser, word_lm.vocabulary, **{kind: LABELS[kind]}, **SMALL)
        said = made(torch.zeros(2, 4, 64), torch.zeros(2, 4), torch.ones(2, 4, dtype=torch.long))
        there = [bool(said.fields), said.tags is not None, said.spans is not None]
        assert there == [name == kind for name in LABELS]


def test_word_vectors_are_the_models_and_frozen(classifier: TextClassifier, word_lm: DiffusionLM) -> None:
    assert_close(classifier.vectors, word_lm.denoiser.embedding.vectors())
    assert "vectors" not in dict(classifier.named_parameters())


def test_padding_and_neighbours_do_not_matter(classifier: TextClassifier) -> None:
    p, t = some_texts(3, 7, classifier)
    p[0, 4:] = 0
    together = verdicts(classifier, p, t)
    elsewhere = t.clone()
    elsewhere[0, 4:] = 0.9 - t[0, 4:]  # a padded position's time says nothing
    assert_close(verdicts(classifier, p, elsewhere)[0], together[0])
    for alone, shared in zip(verdicts(classifier, p[:1, :4], t[:1, :4]), together):
        shared = shared[:1, :4] if shared.ndim == 3 else shared[:1]
        assert_close(alone, shared[:, :5, :5] if shared.ndim == 4 else shared, rtol=1e-4, atol=1e-5)
    for alone, shared in zip(verdicts(classifier, p[2:], t[2:]), together):
        assert_close(alone, shared[2:], rtol=1e-4, atol=1e-5)


def test_all_of_the_text_and_its_noise_matter(classifier: TextClassifier) -> None:
    p, t = some_texts(1, 6, classifier)
    before = verdicts(classifier, p, t)
    later, other = t.clone(), p.clone()
    later[0, 5] = 1 - later[0, 5]
    other[0, 5] = other[0, 5].flip(0)
    for changed in (verdicts(classifier, p, later), verdicts(classifier, other, t)):
        assert all((a - b).abs().max() > 1e-3 for a, b in zip(before, changed))


def test_a_span_is_the_difference_of_its_ends(classifier: TextClassifier) -> None:
    """No difference, no information: spans between places that look alike are told apart by nothing."""
    hidden = torch.randn(1, 3, 16, generator=torch.Generator().manual_seed(0))
    hidden = hidden[:, [0, 1, 0, 1, 2]]  # places 1 and 3 stand between the same tokens
    same, alike, other = classifier.span_logits(hidden, torch.tensor([1, 3, 2]), torch.tensor([4, 4, 4]))[0]
    assert_close(same, alike)
    assert (same - other).abs().max() > 1e-3


def test_a_saved_classifier_is_the_same(classifier: TextClassifier, word_lm: DiffusionLM, tmp_path) -> None:
    classifier.save_pretrained(tmp_path / "new")
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [
        "classifier.json", "classifier.safetensors",
    ]  # fmt: skip
    loaded = TextClassifier.from_pretrained(tmp_path / "new", word_lm.vocabulary)
    assert loaded.config == classifier.config and not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    p, t = some_texts(2, 6, classifier)
    for before, after in zip(verdicts(classifier, p, t), verdicts(loaded, p, t)):
        assert torch.equal(before, after)


def test_loading_leaves_the_random_state_alone(classifier, word_lm, tmp_path) -> None:
    classifier.save_pretrained(tmp_path)
    before = torch.get_rng_state()
    TextClassifier.from_pretrained(tmp_path, word_lm.vocabulary)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_fingerprint_is_that_of_the_tokens(word_lm: DiffusionLM, bpe_lm: DiffusionLM) -> None:
    mine = fingerprint(word_lm.vocabulary)
    assert len(mine) == 64 and mine != fingerprint(bpe_lm.vocabulary)
    again = Vocabulary(word_lm.tokenizer.from_str(word_lm.tokenizer.to_str()), 90)
    assert fingerprint(again) == mine
    one, turned = (Vocabulary(train_word_level([text], min_count=1), 6) for text in ("a a b", "b b a"))
    assert fingerprint(one) != fingerprint(turned)


def test_another_vocabulary_is_refused(classifier, bpe_lm: DiffusionLM, tmp_path) -> None:
    classifier.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="was made for another vocabulary than this model's"):
        TextClassifier.from_pretrained(tmp_path, bpe_lm.vocabulary)
    p = torch.full((1, 3, 7), 1 / 7)
    with pytest.raises(ValueError, match=r"over \d+ tokens, and these are over 7: it was made for another"):
        classifier.read(p, torch.zeros(1, 3))


def test_a_text_beyond_the_window_is_refused(classifier: TextClassifier) -> None:
    with pytest.raises(ValueError, match="has 25 tokens, but the classifier reads at most 24"):
        classifier.read(*some_texts(1, 25, classifier))


def test_a_model_without_distributions_takes_no_classifier(word_lm: DiffusionLM) -> None:
    regression = TextDenoiser(replace(word_lm.denoiser.config, categorical=False))
    with pytest.raises(ValueError, match="no distributions over tokens"):
        TextClassifier.for_model(regression, word_lm.vocabulary, **LABELS)


def test_damaged_folders_are_refused(classifier, word_lm: DiffusionLM, tmp_path) -> None:
    def refusal() -> str:
        with pytest.raises((ValueError, FileNotFoundError)) as caught:
            TextClassifier.from_pretrained(tmp_path, word_lm.vocabulary)
        return str(caught.value)

    assert "No classifier at" in refusal()
    classifier.save_pretrained(tmp_path)
    config, weights = tmp_path / "classifier.json", tmp_path / "classifier.safetensors"
    content, bytes_ = json.loads(config.read_text(encoding="utf-8")), weights.read_bytes()
    for damage in ("{", "[]", json.dumps({**content, "colour": 1}), json.dumps({**content, "fields": 3})):
        config.write_text(damage, encoding="utf-8")
        assert "classifier.json is damaged (" in refusal()
    config.write_text(json.dumps({**content, "tags": ["A", "B"]}), encoding="utf-8")
    assert "not of the same classifier" in refusal()
    config.write_text(json.dumps(content), encoding="utf-8")
    weights.write_bytes(bytes_[:-9])
    assert "is damaged or not" in refusal()
    weights.unlink()
    assert "No classifier at" in refusal()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"fields": {}, "tags": [], "spans": []}, "nothing to classify"),
        ({"fields": {"mood": ["glad"]}}, "field 'mood' are ['glad']: give at least 2"),
        ({"fields": {"mood": ["glad", "glad"]}}, "must be different words"),
        ({"fields": {"mood": ["glad", ""]}}, "none empty"),
        ({"tags": ["DET"]}, "labels for tags are ['DET']: give at least 2"),
        ({"spans": ["NP", "NP"]}, "must be different words"),
        ({"hidden_size": 0}, "hidden_size is 0: give a whole number"),
        ({"hidden_size": 18, "num_attention_heads": 4}, "an even multiple of its 4 attention heads"),
        ({"num_hidden_layers": 1.5}, "num_hidden_layers is 1.5"),
        ({"dropout": 1.0}, "dropout is 1.0"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(change: dict, said: str) -> None:
    config = ClassifierConfig(**LABELS)
    assert ClassifierConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    with pytest.raises(ValueError) as caught:
        replace(config, **change)
    assert said in str(caught.value)
