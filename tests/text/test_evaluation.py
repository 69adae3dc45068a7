"""Figures of texts, infill items and fillers against counts by hand; the judge as writer against its odds."""

import math
from collections import Counter

import numpy as np
import pytest
import torch

from textdiff.metrics.judge import Judge
from textdiff.text.continuation import LeftToRight, count_tokens
from textdiff.text.data import held_out
from textdiff.text.evaluation import (
    copy_metrics,
    cut_texts,
    matched_texts,
    source_texts,
    text_metrics,
    token_counts,
)
from textdiff.text.infilling import (
    Item,
    compare_fillers,
    diffusion_fillers,
    infill_items,
    infill_metrics,
    unigram_fills,
)
from textdiff.text.tokenizer import train_bpe, train_word_level
from textdiff.text.vocabulary import Vocabulary, draw

SENTENCES = [
    "The little dog ran home.",
    "A cat sat on the mat, and it was happy.",
    "We saw the big red sun.",
] * 9
TEXTS = ["a b a b", "c d"]


class PerWord:
    """Charges one nat for a word and three for one that follows "bad"."""

    name = "per word"

    def nll(self, texts, batch_size=1):
        words = [text.split() for text in texts]
        return [(sum(3.0 if "bad" in row[:i] else 1.0 for i in range(len(row))), len(row)) for row in words]


@pytest.fixture(scope="module")
def bpe():
    tokenizer = train_bpe(SENTENCES, 300)
    return Vocabulary(tokenizer, tokenizer.get_vocab_size())


def test_text_metrics_by_hand():
    found = text_metrics(TEXTS, judge=PerWord(), training=["x a b a y", "c"])
    assert found["n"] == 2 and found["mean_words"] == 3 and found["judge"] == "per word"
    assert found["judge_nats_per_token"] == 1 and found["judge_perplexity"] == pytest.approx(math.e)
    assert found["judge_bits_per_byte"] == pytest.approx(6 / 10 / math.log(2))
    assert [found[f"distinct_{n}"] for n in range(1, 5)] == pytest.approx([4 / 6, 3 / 4, 1, 1])
    pooled = -(2 * (2 / 6) * math.log(2 / 6) + 2 * (1 / 6) * math.log(1 / 6))
    assert found["entropy_pooled"] == pytest.approx(pooled)
    assert found["entropy_per_text"] == pytest.approx(math.log(2))
    assert found["longest_copy"] == 3 and found["mean_longest_copy"] == 2


def test_text_metrics_of_one_text_and_of_none():
    found = text_metrics(["a b"])
    assert found["self_bleu"] is None and not {"judge", "longest_copy"} & set(found)
    with pytest.raises(ValueError, match="no texts to evaluate"):
        text_metrics([])


class Short(PerWord):
    """Reads three words at most."""

    def nll(self, texts, batch_size=1):
        if any(len(text.split()) > 3 for text in texts):
            raise ValueError("too long")
        return super().nll(texts)


def test_texts_beyond_the_judge_are_left_out_and_counted():
    found = text_metrics(["a b c d", "bad a"], judge=Short())
    assert found["judge_left_out"] == 1 and found["judge_nats_per_token"] == 2 and found["n"] == 2
    with pytest.raises(ValueError, match="too long"):
        text_metrics(["a b c d"] * 2, judge=Short())


def test_copies_of_several_sets_in_one_reading():
    found = copy_metrics({"one": ["a b", "c"], "two": ["b c"]}, iter(["a b c"]))
    assert found == {"one": {"longest_copy": 2, "mean_longest_copy": 1.5},
                     "two": {"longest_copy": 2, "mean_longest_copy": 2.0}}  # fmt: skip


def test_source_texts_take_the_first_column_once_and_only_what_is_held_out(tmp_path):
    file = tmp_path / "pairs.tsv"
    lines = [f"Sentence number {i}." for i in range(300)]
    file.write_text("".join(f"{line}\tSatz.\n" for line in [*lines, lines[0]]), encoding="utf-8")
    assert source_texts(file) == lines
    chosen = source_texts(file, held_out_only=True)
    assert chosen == [line for line in lines if held_out(line)] and 0 < len(chosen) < 20
    file.write_text("no\n", encoding="utf-8")
    assert not held_out("no")
    with pytest.raises(ValueError, match="no held-out text"):
        source_texts(file, held_out_only=True)


def test_cut_texts_are_the_texts(bpe):
    found = cut_texts(SENTENCES[:3], bpe, 24)
    assert sorted(text for text, _ in found) == sorted(SENTENCES[:3])
    assert all(length == len(bpe.encode(text)) for text, length in found)


def test_matched_texts_follow_the_counts():
    pool = [(f"{length}-{i}", length) for i in range(50) for length in (2, 5, 9)]
    chosen = matched_texts(pool, [0, 0, 3, 0, 0, 0, 0, 0, 1], 40)
    lengths = Counter(int(text.split("-")[0]) for text in chosen)
    assert len(set(chosen)) == 40 and set(lengths) == {2, 9} and 20 <= lengths[2] <= 38
    assert matched_texts(pool, [], 2) == ["2-0", "5-0"]
    with pytest.raises(ValueError, match="150 real texts for 151"):
        matched_texts(pool, [1], 151)


def test_infill_items_are_the_sentences_with_one_span_out(bpe):
    texts = [" ".join(SENTENCES[:3]), "Alone!", "It has ___ here.", "word " * 40]
    items = infill_items(texts, bpe, n=3, window=24)
    assert sorted(item.text for item in items) == sorted(SENTENCES[:3])
    for seed in range(30):
        for item in infill_items(texts, bpe, n=3, window=24, seed=seed):
            words = item.fill.replace(",", "").split()
            assert 1 <= len(words) <= 5 and item.prefix + item.suffix.strip(".")
            assert item.fill[0].isalnum() and item.fill[-1].isalnum()
            assert item.free == f"{item.prefix}[MASK]{item.suffix}"
            left, both = (
                len(bpe.encode(t)) for t in (item.prefix.removesuffix(" "), item.prefix + item.fill)
            )
            assert item.tokens == both - left and f"[MASK:{item.tokens}]" in item.fixed
    assert (
        infill_items(texts, bpe, n=3, window=24) == items != infill_items(texts, bpe, n=3, window=24, seed=1)
    )


@pytest.mark.parametrize("n, message", [(0, "must be at least 1"), (4, "only 3 sentences fit")])
def test_infill_items_refuse(bpe, n, message):
    with pytest.raises(ValueError, match=message):
        infill_items([" ".join(SENTENCES[:3])], bpe, n=n, window=24)


def test_count_tokens_at_word_level():
    tokenizer = train_word_level(SENTENCES, min_count=1)
    assert count_tokens(Vocabulary(tokenizer, tokenizer.get_vocab_size()), "the ", "big red") == 2


def test_infill_metrics_by_hand():
    items = [Item("the ", "red", " sun is up", 1), Item("", "a dog", " ran", 2)]
    same = infill_metrics(items, [item.text for item in items], PerWord())
    assert same["context_exact"] == same["exact_match"] == same["fill_rouge_l"] == 1
    assert same["text_bleu"] == pytest.approx(100)
    assert (same["text_nats"], same["span_nats"], same["after_nats"]) == (4, 1.5, 2)
    found = infill_metrics(items, ["the bad thing sun is up", "a dog ran"], PerWord())
    # "bad" costs 1 itself and makes the next word of the fill and the three after it cost 3 each
    assert found["span_nats"] == (1 + 3 + 2) / 2 and found["after_nats"] == (9 + 1) / 2
    assert found["span_and_after_nats"] == 8 and found["text_nats"] == (14 + 3) / 2
    assert found["span_and_after_half_interval"] == pytest.approx(
        1.96 * 5
    )  # 13 and 3: sd 7.07, over the root of 2
    assert found["exact_match"] == 0.5 and found["fill_tokens"] == 2 and found["context_exact"] == 1
    assert 0 < found["text_bleu"] < 100 and found["bleu_signature"].startswith("nrefs:1")


@pytest.mark.parametrize("text", ["The red sun is up", "the red sun is up.", "the  sun", "the sun is up"])
def test_a_changed_context_is_seen(text):
    assert infill_metrics([Item("the ", "red", " sun is up", 1)], [text], PerWord())["context_exact"] == 0


def test_infill_metrics_refuse_other_numbers():
    with pytest.raises(ValueError, match="1 infill items and 2 filled texts"):
        infill_metrics([Item("a ", "b", "", 1)], ["a b", "a c"], PerWord())


def test_unigram_fills_follow_the_counts(bpe):
    the, dot = bpe.encode(" the")[0], bpe.encode(".")[0]
    items = [Item("We saw ", "x", ".", 1)] * 30 + [Item("We saw", "x", ".", 1)] * 400
    fills = unigram_fills(items, bpe, Counter({the: 3, dot: 1, 0: 1000}), seed=0)
    assert set(fills[:30]) == {
        bpe.decode([the]).strip()
    }  # behind a space, a word begins; <pad> is never drawn
    share = sum(fill == "." for fill in fills[30:]) / 400
    assert share == pytest.approx(0.25, abs=0.07)
    assert all(
        len(bpe.encode(f" {fill}")) >= 3
        for fill in unigram_fills([Item("a ", "x", "", 3)] * 5, bpe, Counter({the: 1}))
    )
    with pytest.raises(ValueError, match="no words to draw fills from"):
        unigram_fills(items, bpe, Counter())
    assert token_counts(bpe, ["..", "."])[dot] == 3


def test_draw_inverts_the_cumulative_distribution():
    logits = torch.tensor([[0.0, 0.25, 0.0, 0.75]], dtype=torch.float64).log()
    points = (0.0, 0.24, 0.26, 1 - 1e-16)  # 0 must not draw the first, which cannot come
    assert [draw(logits, torch.tensor([u], dtype=torch.float64)).item() for u in points] == [1, 1, 3, 3]


@pytest.fixture(scope="module")
def judge(bpe):
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(
        vocab_size=300, n_positions=32, n_embd=16, n_layer=2, n_head=2, bos_token_id=1, eos_token_id=2,
        initializer_range=0.4, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = transformers.GPT2LMHeadModel(config)
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=train_bpe(SENTENCES, 300), pad_token="<pad>", bos_token="<s>", eos_token="</s>"
    )
    return Judge(model, tokenizer, "tiny")


def test_left_to_right_fills_are_the_models_own_draws(judge, bpe):
    writer = LeftToRight(judge)
    prefixes = ["The little ", "", "A cat", "We saw the "]
    originals = ["dog ran", "We saw", "s", "big red sun"]
    fills = writer.fills(prefixes, originals, seed=3)
    assert (
        fills
        == writer.fills(prefixes, originals, seed=3, batch_size=1)
        != writer.fills(prefixes, originals, seed=4)
    )
    for row, (prefix, original) in enumerate(zip(prefixes, originals, strict=True)):
        ids = [1, *bpe.encode(prefix.removesuffix(" "))]
        start, count = len(ids), count_tokens(bpe, prefix, original)
        for step, u in enumerate(np.random.default_rng([3, row]).random(count)):
            with torch.no_grad():
                odds = judge.model(torch.tensor([ids])).logits[0, -1].double().softmax(-1)
            odds[bpe.banned | bpe.fragment] = 0
            if step == 0 and prefix.endswith(" "):
                odds[~bpe.spaced] = 0
            if step == 0 and not prefix:
                odds[bpe.white] = 0
            ids.append(int((odds.cumsum(-1) / odds.sum() > u).nonzero()[0]))
        text = bpe.decode(ids[start:])
        assert fills[row] == (text.lstrip(" ") if prefix.endswith(" ") or not prefix else text)


def test_left_to_right_texts_end_where_the_model_ends(judge):
    short, long = (LeftToRight(judge).texts(100, longest=longest, seed=0) for longest in (6, 24))
    ended = [one == other for one, other in zip(short, long, strict=True)]
    assert 0 < sum(ended) < 50 and all(short) and not any("</s>" in text or "<pad>" in text for text in long)
    plain = [(one, other) for one, other in zip(short, long, strict=True) if "\ufffd" not in one]
    assert plain and all(other.startswith(one) for one, other in plain)


def test_left_to_right_follows_the_odds(judge):
    """First tokens of 2,000 texts against the judge's own probabilities."""
    writer = LeftToRight(judge)
    fills = writer.fills([""] * 2000, ["W"] * 2000, seed=0)
    with torch.no_grad():
        odds = judge.model(torch.tensor([[1]])).logits[0, -1].double().softmax(-1)
    odds[writer.vocabulary.banned | writer.vocabulary.fragment | writer.vocabulary.white] = 0
    top = (odds / odds.sum()).topk(5)
    for chance, token in zip(*top, strict=True):
        share = fills.count(writer.vocabulary.decode([int(token)])) / 2000
        assert share == pytest.approx(float(chance), abs=4 * math.sqrt(chance / 2000))


def test_a_judge_without_a_start_cannot_write(judge):
    class Bare:
        name, tokenizer, start_id = "bare", judge.tokenizer, None

    with pytest.raises(ValueError, match="bare cannot write"):
        LeftToRight(Bare())


class Parrot:
    """Fills every blank with its mark's own text, and remembers how it was asked."""

    def __init__(self):
        self.asked = []

    def infill(self, text, *, num_samples, seed, **options):
        self.asked.append((text, num_samples, seed, options))
        return [type("Infill", (), {"text": text.replace("[MASK]", "cat").replace("[MASK:1]", "dog")})]


def test_compare_fillers_asks_the_model_for_each_item_with_a_seed_of_its_own(judge, bpe):
    items = [Item("The ", "dog", " ran home.", 1), Item("A ", "cat", " sat.", 1)]
    model, ticks = Parrot(), []
    fillers = diffusion_fillers(model, num_samples=2, tick=lambda: ticks.append(1), sampler="ddim")
    rows, shown = compare_fillers(items, fillers, judge, bpe, Counter({bpe.encode(" the")[0]: 1}))
    assert [row["filler"] for row in rows] == [
        "original", "diffusion, best of 2, length given", "diffusion, best of 2, length free", "unigram",
        "left to right (judge)",
    ]  # fmt: skip
    assert [row["exact_match"] for row in rows[:4]] == [1, 0.5, 0.5, 0] and len(ticks) == 4
    assert all(row["context_exact"] == 1 for row in rows)
    assert [asked[0] for asked in model.asked] == [item.fixed for item in items] + [
        item.free for item in items
    ]
    seeds = [asked[2] for asked in model.asked]
    assert seeds[:2] == seeds[2:] and seeds[0] != seeds[1]
    assert all(asked[1:2] == (2,) and asked[3] == {"sampler": "ddim"} for asked in model.asked)
    assert (
        shown[0]["blank"] == "The [MASK] ran home."
        and shown[0]["diffusion, best of 2, length free"] == "The cat ran home."
    )
