"""Rewriting: plans of pairs, guidance by the source, what is refused, and a toy translation that is really learned."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from scripts.rewrite import parse_args
from textdiff.text import run
from textdiff.text.estimate import estimate, source_guided
from textdiff.text.language_model import DiffusionLM
from textdiff.text.presets import PRESETS, Preset
from textdiff.text.rewriting import Rewrite, checked_options

FAST = {"num_inference_steps": 3, "seed": 0}


@pytest.fixture(scope="module")
def pair_lm(bpe_lm: DiffusionLM) -> DiffusionLM:
    """An untrained model of pairs: targets are as long as sources, or one token longer."""
    table = [[0] * n + [30, 70] for n in range(1, 12)]
    return DiffusionLM(bpe_lm.denoiser, bpe_lm.scheduler, bpe_lm.tokenizer, config={"target_lengths": [[], *table]})


def given(lm: DiffusionLM):
    """A noisy batch of two pairs, sources of 3 and 1 tokens, targets of 2: arguments of `estimate`, and the sources."""
    ids = torch.tensor([[40, 41, 42, 1, 50, 51], [43, 1, 52, 53, 0, 0]])
    known = torch.tensor([[1, 1, 1, 1, 0, 0], [1, 1, 0, 0, 0, 0]]).bool()
    mask = torch.tensor([[1] * 6, [1] * 4 + [0] * 2])
    source = torch.tensor([[1, 1, 1, 0, 0, 0], [1, 0, 0, 0, 0, 0]]).bool()
    x0 = lm.denoiser.embedding.embed(ids).detach()
    x_t = torch.randn(x0.shape, generator=torch.Generator().manual_seed(1))
    own = torch.tensor([[0.7], [0.4]], dtype=torch.float64)
    return (lm.denoiser, lm.scheduler, x_t, own, None), {"known": known, "x0_known": x0}, mask, source


@torch.no_grad()
def test_guidance_at_1_is_the_plain_estimate_and_at_0_that_without_a_source(pair_lm: DiffusionLM) -> None:
    at, rest, mask, source = given(pair_lm)
    target = (mask > 0) & ~rest["known"]
    barred = torch.zeros(2, 6, 300, dtype=torch.bool)
    barred[..., :5] = True
    guided = {
        scale: source_guided(*at, attention_mask=mask, source=source, source_guidance=scale, barred=barred, **rest)
        for scale in (0.0, 1.0, 1.0 + 1e-6, 2.0)
    }
    plain = estimate(*at, attention_mask=mask, barred=barred, **rest)
    assert torch.equal(guided[1.0].logits, plain.logits) and torch.equal(guided[1.0].x0_hat, plain.x0_hat)
    torch.testing.assert_close(guided[1.0 + 1e-6].x0_hat[target], plain.x0_hat[target], atol=1e-4, rtol=1e-4)
    without = estimate(*at, attention_mask=mask.masked_fill(source, 0), barred=barred, **rest)
    torch.testing.assert_close(guided[0.0].logits[target], without.logits[target])
    free = ~barred & target[..., None]
    torch.testing.assert_close(
        guided[2.0].logits[free], 2 * plain.logits[free] - without.logits[free], atol=1e-4, rtol=1e-4
    )
    assert guided[2.0].logits[barred].max() == -torch.inf and guided[2.0].x0_hat.isfinite().all()
    assert not torch.allclose(guided[2.0].x0_hat[target], plain.x0_hat[target], atol=1e-3)


@torch.no_grad()
def test_without_its_source_a_pair_is_what_training_left_of_it(pair_lm: DiffusionLM) -> None:
    at, rest, mask, source = given(pair_lm)
    without = source_guided(*at, attention_mask=mask, source=source, source_guidance=0.0, **rest).logits
    denoiser, scheduler, x_t, own, _ = at
    for row, start in ((0, 3), (1, 1)):
        inside = slice(start, start + 3)
        alone = estimate(
            denoiser, scheduler, x_t[[row], inside], own[[row]], None, attention_mask=torch.ones(1, 3),
            known=rest["known"][[row], inside], x0_known=rest["x0_known"][[row], inside],
        ).logits  # fmt: skip
        torch.testing.assert_close(without[row, start + 1 : start + 3], alone[0, 1:], atol=1e-5, rtol=1e-5)


def test_the_source_stays_out_of_the_target_and_special_tokens_too(pair_lm: DiffusionLM) -> None:
    texts = ["The little dog", "A cat sat"]
    drawn = pair_lm.rewriter().samples(texts, {"num_samples": 3, **FAST})
    assert [len(each) for each in drawn] == [3, 3]
    assert not any("<s>" in text or "<pad>" in text for each in drawn for text in each)


def test_candidates_are_distinct_and_the_first_is_what_rewrite_gives(pair_lm: DiffusionLM) -> None:
    for rank in ("mbr", "bound"):
        (found,) = pair_lm.rewrite_candidates("The little dog", num_samples=5, rank=rank, **FAST)
        assert 1 < len(found) <= 5 and len({one.text for one in found}) == len(found)
        assert isinstance(found[0], Rewrite)
        assert pair_lm.rewrite("The little dog", num_samples=5, rank=rank, **FAST) == [found[0].text]
    (likely,) = pair_lm.rewrite_candidates("The little dog", num_samples=5, rank="mbr", **FAST)
    assert [one.score for one in likely] == sorted((one.score for one in likely), reverse=True)
    assert all(0 <= one.score <= 1 for one in likely)


def test_rewriting_is_cooler_than_filling(pair_lm: DiffusionLM) -> None:
    cool, warm = (pair_lm.rewrite("The dog ran.", num_samples=1, **FAST, **t) for t in ({}, {"temperature": 0.7}))
    assert pair_lm.rewrite("The dog ran.", num_samples=1, temperature=0.3, **FAST) == cool != warm
    assert parse_args(["--model", "x", "--text", "y"]).temperature == 0.3


def test_a_text_does_not_notice_the_others(pair_lm: DiffusionLM) -> None:
    texts = ["The little dog", "A cat", "We saw the big sun"]
    for guidance in (1.0, 1.7):
        together = pair_lm.rewrite(texts, num_samples=2, source_guidance=guidance, **FAST)
        assert together == [pair_lm.rewrite(t, num_samples=2, source_guidance=guidance, **FAST)[0] for t in texts]
    assert pair_lm.rewrite(texts, num_samples=2, num_inference_steps=3, seed=1) != together


def test_lengths_are_the_tables_or_those_asked_for(pair_lm: DiffusionLM) -> None:
    rewriter, text = pair_lm.rewriter(), "The little dog"
    size = len(pair_lm.vocabulary.encode(text))

    def lengths(**options):
        checked = checked_options({"num_samples": 6, **options})[0]
        (plans,) = rewriter._all_plans([text], checked, checked_options({})[1], 0)
        assert all(plan.source == size and plan.known.count(True) == size + 1 for plan in plans)
        return [plan.known.count(False) for plan in plans]

    assert set(lengths()) == {size, size + 1}
    assert lengths(length_candidates=1) == [size + 1] * 6
    assert lengths(length_candidates=2) == [size + 1, size] * 3
    assert lengths(length=4) == [4] * 6 and set(lengths(length=(2, 3))) <= {2, 3}


REFUSED = [
    ([], {}, "There is no text to rewrite"),
    (["a", "  "], {}, "Text 2 is empty"),
    (["The dog. " * 9], {}, "source and target together have 23: cut it into sentences"),
    (["The dog"], {"length": 30}, "ask for less, or cut the text"),
    (["The dog"], {"length": 0}, "length is 0"),
    (["The dog"], {"length": (4, 2)}, "a rising range"),
    (["The dog"], {"num_samples": 0}, "num_samples is 0"),
    (["The dog"], {"length_candidates": 0}, "length_candidates is 0"),
    (["The dog"], {"rank": "best"}, "Unknown rank 'best': choose bound or mbr"),
    (["The dog"], {"source_guidance": -1.0}, "source_guidance is -1.0"),
    (["The dog"], {"source_guidance": float("nan")}, "source_guidance is nan"),
    (["The dog"], {"num_inference_steps": 0}, "num_inference_steps is 0"),
    (["The dog"], {"sampler": "magic"}, "Unknown sampler 'magic'"),
]


@pytest.mark.parametrize(("texts", "options", "message"), REFUSED, ids=[message for *_, message in REFUSED])
def test_what_is_refused(pair_lm: DiffusionLM, texts: list[str], options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pair_lm.rewrite(texts, **options)
    with pytest.raises(ValueError, match=message):
        pair_lm.rewriter().check(texts, options)


def test_an_unknown_option_is_refused(pair_lm: DiffusionLM) -> None:
    with pytest.raises(TypeError, match="guidance"):
        pair_lm.rewrite("The dog", guidance=2)


def test_models_of_texts_do_not_rewrite_and_models_of_pairs_do_nothing_else(
    bpe_lm: DiffusionLM, pair_lm: DiffusionLM
) -> None:
    with pytest.raises(ValueError, match="was not trained on pairs and cannot rewrite"):
        bpe_lm.rewrite("The dog")
    for call in (
        lambda: pair_lm.generate(), lambda: pair_lm.infill("The ___"), lambda: pair_lm.complete("The"),
        lambda: pair_lm.score("The dog"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="trained on pairs, not on texts alone: ask it to rewrite"):
            call()


def test_a_model_that_regresses_x0_hat_takes_guidance_too(bpe_lm: DiffusionLM, pair_lm: DiffusionLM) -> None:
    from textdiff.diffusion.scheduler import Scheduler
    from textdiff.text.denoiser import TextDenoiser

    with torch.random.fork_rng():
        torch.manual_seed(0)
        shape = replace(bpe_lm.denoiser.config, categorical=False, unit_norm=False)
        denoiser = TextDenoiser(shape)
        torch.nn.init.normal_(denoiser.head.weight)
    lm = DiffusionLM(denoiser, Scheduler.sqrt(), bpe_lm.tokenizer, config=pair_lm.config | shape.to_dict())
    plain, guided = (lm.rewrite("The dog", num_samples=1, source_guidance=s, **FAST) for s in (1.0, 3.0))
    assert plain != guided


# A toy language: the cipher's words in reversed order.
SOURCE = "eins zwei drei vier rot blau haus hund katze baum see tag".split()
CIPHER = dict(zip(SOURCE, "one two three four red blue house dog cat tree lake day".split(), strict=True))
TOY = Preset(
    name="toy", about="", tokenizer="word", vocab_size=100, batch_size=16, row_length=36, max_steps=220,
    learning_rate=6e-3,
    model={
        "embedding_dim": 16, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
        "intermediate_size": 128, "max_position_embeddings": 12,
    },
)  # fmt: skip


def toy_pairs(count: int, seed: int) -> list[tuple[str, str]]:
    rng = random.Random(seed)
    sources = [[rng.choice(SOURCE) for _ in range(rng.randint(2, 4))] for _ in range(count)]
    return [(" ".join(words), " ".join(CIPHER[word] for word in reversed(words))) for words in sources]


@pytest.fixture(scope="module")
def translator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that scripts/train.py made of pairs; about 8 s of one core."""
    from scripts.train import main

    folder = tmp_path_factory.mktemp("toy")
    file = folder / "pairs.tsv"
    file.write_text("".join(f"{b}\t{a}\n" for a, b in toy_pairs(1500, 0)), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "toy", TOY)
        patch.setattr(run, "VALIDATION_ROWS", 8)
        command = f"--preset toy --pair-columns 2 1 --train-files {file} --output-dir {folder / 'run'} --use-cpu"
        main(f"{command} --no-bf16 --ema-decay 0.97 --save-steps 999 --eval-steps 999 --logging-steps 50".split())
    return folder / "run"


@pytest.mark.slow
def test_a_toy_translation_is_learned(translator: Path) -> None:
    model, trained = DiffusionLM.from_pretrained(translator), {source for source, _ in toy_pairs(1500, 0)}
    unseen = [pair for pair in dict.fromkeys(toy_pairs(120, 1)) if pair[0] not in trained][:40]
    for guidance, least, most in ((1.0, 0.9, 1.0), (1.5, 0.9, 1.0), (0.0, 0.0, 0.05)):
        made = model.rewrite(
            [source for source, _ in unseen], num_samples=3, num_inference_steps=8, seed=0, source_guidance=guidance
        )
        right = [one == target for one, (_, target) in zip(made, unseen, strict=True)]
        assert least <= sum(right) / len(right) <= most


@pytest.mark.slow
def test_what_a_run_of_pairs_leaves(translator: Path, tmp_path: Path) -> None:
    model = DiffusionLM.from_pretrained(translator)
    table = model.config["target_lengths"]
    assert sum(map(sum, table)) > 1000 and all(row[n] == sum(row) for n, row in enumerate(table) if row)
    model.save_pretrained(tmp_path / "copy")
    assert "model.rewrite(" in (tmp_path / "copy" / "README.md").read_text()  # a card of infill would be refused
    copy = DiffusionLM.from_pretrained(tmp_path / "copy")
    assert copy.rewrite("rot haus", **FAST) == model.rewrite("rot haus", **FAST)
