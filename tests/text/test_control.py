"""Wishes in words: spelled as the vocabulary spells them, granted by an untrained model, refused where impossible."""

import pytest
import torch

from textdiff.text.control import keywords, spelling, without
from textdiff.text.language_model import DiffusionLM


def certain(lm: DiffusionLM, text: str) -> torch.Tensor:
    """A text without doubt, [1, L, V]."""
    ids = torch.tensor([lm.vocabulary.encode(text)])
    return torch.nn.functional.one_hot(ids, lm.denoiser.config.vocab_size).double()


@pytest.mark.parametrize("lm", ["bpe_lm", "word_lm"])
def test_a_text_costs_nothing_with_its_words_and_much_without(lm: str, request: pytest.FixtureRequest) -> None:
    lm = request.getfixturevalue(lm)
    p = certain(lm, "A cat sat on the mat, and it was happy." if lm.vocabulary.words is False else "A cat sat on the")
    t = torch.zeros(p.shape[:2])
    assert keywords(lm.vocabulary, ["cat", "on the"])(p, t).item() == pytest.approx(0, abs=1e-4)
    assert keywords(lm.vocabulary, ["cat", "dog"])(p, t).item() > 10
    assert without(lm.vocabulary, ["dog", "red"])(p, t).item() == pytest.approx(0, abs=1e-4)
    assert without(lm.vocabulary, ["dog", "cat"])(p, t).item() > 10


def test_a_longer_word_is_not_the_word(bpe_lm: DiffusionLM) -> None:
    p = certain(bpe_lm, "We saw the sunny cats.")
    assert keywords(bpe_lm.vocabulary, ["cat"])(p, torch.zeros(p.shape[:2])).item() > 10


@pytest.mark.parametrize("lm", ["bpe_lm", "word_lm"])
def test_words_come_where_they_are_wanted(lm: str, request: pytest.FixtureRequest) -> None:
    """From a model that knows nothing, so that only the control can bring them."""
    lm = request.getfixturevalue(lm)
    options = {"length": 10, "num_inference_steps": 12, "seed": 0}
    wanted = keywords(lm.vocabulary, ["cat"]) + keywords(lm.vocabulary, ["dog"])
    texts = lm.generate(8, control=wanted, guidance_scale=20.0, **options)
    assert sum(" cat" in f" {text}" and " dog" in f" {text}" for text in texts) >= 7
    placed = lm.generate(8, control=keywords(lm.vocabulary, ["sat"], place=3), guidance_scale=20.0, **options)
    ids = spelling(lm.vocabulary, "sat")
    assert sum(lm.vocabulary.encode(text)[3 : 3 + len(ids)] == ids for text in placed) >= 6


def test_words_stay_away(word_lm: DiffusionLM) -> None:
    options = {"length": 12, "num_inference_steps": 8, "seed": 0}
    plain = word_lm.generate(8, **options)
    common = max(set(" ".join(plain).split()), key=" ".join(plain).split().count)
    texts = word_lm.generate(8, control=without(word_lm.vocabulary, [common]), guidance_scale=20.0, **options)
    assert sum(common in text.split() for text in plain) >= 4
    assert sum(common in text.split() for text in texts) <= 1


def test_what_cannot_be_written_is_refused(word_lm: DiffusionLM) -> None:
    for wrong in ("zebra", "", "  "):
        with pytest.raises(ValueError, match="cannot be written"):
            keywords(word_lm.vocabulary, [wrong])
        with pytest.raises(ValueError, match="cannot be written"):
            without(word_lm.vocabulary, [wrong])
    with pytest.raises(ValueError, match="no keyword"):
        keywords(word_lm.vocabulary, [])
    with pytest.raises(ValueError, match="no word"):
        without(word_lm.vocabulary, [])
    with pytest.raises(ValueError, match="2 keywords for one place"):
        keywords(word_lm.vocabulary, ["cat", "dog"], place=1)
