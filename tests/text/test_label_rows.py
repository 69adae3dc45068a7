"""Labels of words on tokens, by hand; rows that depend on their index alone; padding that counts nothing."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from textdiff.text.classifier_config import ClassifierConfig
from textdiff.text.label_rows import MISSING, LabelRows, collate, encode, first_tokens
from textdiff.text.labelled import LabelledText
from textdiff.text.language_model import DiffusionLM

CONFIG = ClassifierConfig(
    fields={"mood": ["glad", "sad"], "food": ["fish", "meat"]}, tags=["D", "N", "V"], spans=["NP", "S"],
    max_position_embeddings=24,
)  # fmt: skip
TEXT = LabelledText(
    "The little dog ran home.", {"mood": "sad"}, ("D", "D", "N", "V", "N"), ((0, 3, "NP"), (0, 5, "S"))
)


def test_words_and_tokens_are_one_to_one_in_word_level_vocabularies(word_lm: DiffusionLM) -> None:
    (found,) = encode([TEXT], word_lm.vocabulary, CONFIG)
    assert found.ids.tolist() == word_lm.vocabulary.encode(TEXT.text)
    assert found.fields == (1, MISSING)
    assert found.tags == (0, 0, 1, 2, 1)
    assert found.spans == ((0, 3, 1), (0, 5, 2))


@pytest.mark.parametrize("text", ["The little dog", "  The  dog 7 ran", "naïve 🙂 dogs", "x"])
def test_a_words_first_token_begins_with_it(bpe_lm: DiffusionLM, text: str) -> None:
    encoding = bpe_lm.tokenizer.encode(text, add_special_tokens=False)
    first = first_tokens(text, encoding)
    assert len(first) == len(text.split()) + 1 and first[-1] == len(encoding.ids)
    for word, start, end in zip(text.split(), first, first[1:]):
        assert bpe_lm.vocabulary.decode(encoding.ids[start:end]).strip() == word


def test_byte_level_tokens_behind_a_words_first_have_no_tag(bpe_lm: DiffusionLM) -> None:
    (found,) = encode([TEXT], bpe_lm.vocabulary, CONFIG)
    first = first_tokens(TEXT.text, bpe_lm.tokenizer.encode(TEXT.text, add_special_tokens=False))
    assert len(found.ids) > 5
    assert [found.tags[i] for i in first[:-1]] == [0, 0, 1, 2, 1]
    assert sum(tag != MISSING for tag in found.tags) == 5
    assert found.spans == ((0, first[3], 1), (0, len(found.ids), 2))


def test_long_texts_are_cut_with_their_labels(word_lm: DiffusionLM) -> None:
    (found,) = encode([TEXT], word_lm.vocabulary, replace(CONFIG, max_position_embeddings=4))
    assert found.ids.tolist() == word_lm.vocabulary.encode(TEXT.text)[:4]
    assert (found.tags, found.spans, found.fields) == ((0, 0, 1, 2), ((0, 3, 1),), (1, MISSING))


def test_labels_that_the_classifier_does_not_know_are_missing(word_lm: DiffusionLM) -> None:
    strange = LabelledText("The dog", {"mood": "cross", "colour": "red"}, ("X", "N"), ((0, 2, "PP"),))
    (found,) = encode([strange], word_lm.vocabulary, CONFIG)
    assert found.fields == (MISSING, MISSING)
    assert (found.tags, found.spans) == ((MISSING, 1), ((0, 2, MISSING),))


def test_a_text_without_tokens_is_refused(word_lm: DiffusionLM) -> None:
    with pytest.raises(ValueError, match="has no tokens in this model's vocabulary"):
        encode([LabelledText(" ", {"mood": "sad"})], word_lm.vocabulary, CONFIG)


def test_a_batch_counts_nothing_that_is_not_known(word_lm: DiffusionLM) -> None:
    other = LabelledText("A cat", {"food": "fish"}, ("D", "N"), ())
    third = LabelledText("We saw the", {"mood": "glad"})
    rows = LabelRows(encode([TEXT, other, third], word_lm.vocabulary, CONFIG), total=None, conditional=False)
    places = [[text.ids.tolist() for text in rows.texts].index(rows[i][0].ids.tolist()) for i in range(3)]
    batch = collate([rows[places.index(k)] for k in range(3)])
    assert batch["attention_mask"].sum(1).tolist() == [5, 2, 3] and not batch["known"].any()
    assert batch["input_ids"][1].tolist() == [*word_lm.vocabulary.encode("A cat"), 0, 0, 0]
    assert batch["sample_index"].tolist() == [places.index(k) for k in range(3)]
    assert batch["field_labels"].tolist() == [[1, MISSING], [MISSING, 0], [0, MISSING]]
    none = MISSING
    assert batch["tag_labels"].tolist() == [[0, 0, 1, 2, 1], [0, 1, none, none, none], [none] * 5]
    chart = batch["span_labels"]
    assert chart.shape == (3, 6, 6) and (chart[2] == MISSING).all()
    assert chart[0].nonzero().tolist() == [[0, 3], [0, 5]] and chart[0, 0, 3] == 1 and chart[0, 0, 5] == 2
    assert (chart[1, :3, :3] == 0).all()
    assert (chart[1, 3:] == MISSING).all() and (chart[1, :, 3:] == MISSING).all()


def test_rows_are_functions_of_seed_and_index(word_lm: DiffusionLM) -> None:
    dogs = [LabelledText(f"The {'dog ' * n}", {"mood": "sad"}) for n in range(1, 9)]
    texts = encode(dogs, word_lm.vocabulary, CONFIG)
    one, again, other = (LabelRows(texts, total=200, seed=seed) for seed in (0, 0, 1))
    order = [id(one[i][0]) for i in range(200)]
    for i in (150, 3, 77):
        text, known, index = again[i]
        assert id(text) == order[i] and index == i and (known == one[i][1]).all()
    assert len(one) == 200 and [id(other[i][0]) for i in range(200)] != order
    for epoch in range(0, 200, 8):
        assert set(order[epoch : epoch + 8]) == {id(text) for text in texts}
    given = [one[i][1].any() for i in range(200)]
    assert 0.15 < np.mean(given) < 0.45  # half of the rows may, six in ten of those do
    assert not any(LabelRows(texts, total=200, conditional=False)[i][1].any() for i in range(200))
    assert collate([one[i] for i in range(5)])["known"].dtype == torch.bool
