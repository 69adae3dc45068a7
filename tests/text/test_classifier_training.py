"""A toy language whose labels are functions of the text: learnt in seconds, and the model steered by them."""

from collections.abc import Callable, Iterator
from itertools import product

import pytest
import torch
from torch.testing import assert_close

from textdiff.text.classified import FieldIs, SpansAre, TagsAre
from textdiff.text.classifier import TextClassifier, Verdicts
from textdiff.text.classifier_training import (
    THIRDS,
    ClassifierTraining,
    Estimates,
    accuracies,
    row_losses,
    tally,
)
from textdiff.text.energies import TextEnergy
from textdiff.text.label_rows import MISSING, LabelRows, collate, encode
from textdiff.text.labelled import LabelledText, label_names
from textdiff.text.language_model import DiffusionLM
from textdiff.text.objectives import Rows, draw_rows
from textdiff.text.tokenizer import train_word_level

KINDS = {
    "DET": ["the", "a"], "ADJ": ["big", "old"], "NOUN": ["cat", "dog", "bird"], "VERB": ["sleeps", "sings"],
    "ADV": ["today", "here"],
}  # fmt: skip
TAG = {word: tag for tag, words in KINDS.items() for word in words}
PATTERNS = ["DET NOUN VERB", "DET ADJ NOUN VERB", "DET NOUN VERB ADV", "DET ADJ NOUN VERB ADV"]
SENTENCES = [
    " ".join(words) for pattern in PATTERNS for words in product(*(KINDS[tag] for tag in pattern.split()))
]
SMALL = {
    "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64,
    "dropout": 0.0,
}  # fmt: skip


def labelled(sentence: str) -> LabelledText:
    """A sentence with its truth."""
    tags = [TAG[word] for word in sentence.split()]
    noun = tags.index("NOUN")
    spans = ((0, noun + 1, "NP"), (noun + 1, len(tags), "VP"))
    labels = {"animal": sentence.split()[noun], "loud": "yes" if "sings" in sentence else "no"}
    return LabelledText(sentence, labels, tuple(tags), spans)


def fit(forward: Callable[[int], torch.Tensor], parameters: Iterator, steps: int, rate: float) -> None:
    """Minimise a loss."""
    optimizer = torch.optim.AdamW(parameters, lr=rate, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=0.1)
    for step in range(steps):
        optimizer.zero_grad()
        forward(step).backward()
        optimizer.step()
        schedule.step()


@pytest.fixture(scope="module")
def toy() -> DiffusionLM:
    """A model of the toy language, trained here."""
    from textdiff.text.model import DiffusionLMConfig, DiffusionLMModel

    tokenizer = train_word_level(SENTENCES, min_count=1)
    ids = [torch.tensor(tokenizer.encode(sentence).ids) for sentence in SENTENCES]
    torch.manual_seed(0)
    config = DiffusionLMConfig(
        vocab_size=tokenizer.get_vocab_size(), embedding_dim=16, max_position_embeddings=8, stagger=1.0,
        length_counts=[0, 0, 0, 1, 2, 1], self_conditioning_rate=0.0, **SMALL,
    )  # fmt: skip
    model = DiffusionLMModel(config).train()
    source = torch.Generator().manual_seed(0)

    def forward(step: int) -> torch.Tensor:
        chosen = [ids[i] for i in torch.randint(len(ids), (32,), generator=source)]
        rows = torch.nn.utils.rnn.pad_sequence(chosen, batch_first=True)
        mask = torch.tensor([[int(k < len(one)) for k in range(rows.shape[1])] for one in chosen])
        return model(rows, mask, sample_index=torch.arange(32) + 32 * step).loss

    fit(forward, model.parameters(), 250, 1e-2)
    return DiffusionLM(model.denoiser, model.scheduler, tokenizer, config=config.to_dict())


@pytest.fixture(scope="module")
def rows(toy: DiffusionLM) -> LabelRows:
    """All sentences, labelled, endlessly."""
    texts = [labelled(sentence) for sentence in SENTENCES]
    names = label_names(texts)
    torch.manual_seed(0)
    made = TextClassifier.for_model(
        toy.denoiser, toy.vocabulary, fields=names.fields, tags=names.tags, spans=names.spans, **SMALL
    )
    found = LabelRows(encode(texts, toy.vocabulary, made.config), total=10**6)
    found.classifier = made
    return found


@pytest.fixture(scope="module")
def model(toy: DiffusionLM, rows: LabelRows) -> ClassifierTraining:
    """A classifier of the toy language, trained here."""
    made = ClassifierTraining(rows.classifier, toy).train()

    def forward(step: int) -> torch.Tensor:
        return made(**collate([rows[32 * step + i] for i in range(32)]))["loss"]

    fit(forward, made.parameters(), 200, 5e-3)
    made.classifier.requires_grad_(False)
    return made.eval()


@pytest.fixture(scope="module")
def judge(model: ClassifierTraining) -> TextClassifier:
    """The trained classifier."""
    return model.classifier


def share(texts: list[str], holds: Callable[[LabelledText], bool]) -> float:
    """How many texts are of the language and as wanted; nearly all are of the language."""
    assert sum(text in SENTENCES for text in texts) >= 0.85 * len(texts)
    return sum(holds(labelled(text)) for text in texts if text in SENTENCES) / len(texts)


def test_it_learns_what_can_be_known(model: ClassifierTraining, rows: LabelRows) -> None:
    figures = model(**collate([rows[i] for i in range(96)]))["tallies"]
    mean = {name: float(total / count) for name, (total, count) in figures.items()}
    right = [name for name in mean if name.startswith(("accuracy", "precision", "recall"))]
    assert {name: mean[name] for name in right} == dict.fromkeys(
        ["accuracy_animal", "accuracy_loud", "accuracy_tags", "precision_spans", "recall_spans"], 1.0
    )
    by_noise = [mean["loss_clean"], *(mean[f"loss_{third}_noise"] for third in THIRDS)]
    assert by_noise == sorted(by_noise)
    assert by_noise[0] < 0.25 and by_noise[-1] > 1.2  # all labels together are worth about 3 nats


def test_it_knows_what_it_cannot_know(judge: TextClassifier, toy: DiffusionLM) -> None:
    """From noise, the animals are equally likely, log 3 nats each; from the text, one is certain."""
    energies = [FieldIs(judge, "animal", animal) for animal in KINDS["NOUN"]]
    p = noise_estimates(toy, length=4)
    assert [energy(p, torch.ones(1, 4)).item() for energy in energies] == pytest.approx([1.1] * 3, abs=0.5)
    ids = torch.tensor([toy.vocabulary.encode("the old dog sings")])
    p = torch.nn.functional.one_hot(ids, p.shape[2]).float()
    cat, dog, bird = (energy(p, torch.zeros(1, 4)).item() for energy in energies)
    assert dog < 0.2 and min(cat, bird) > 2


def noise_estimates(toy: DiffusionLM, length: int) -> torch.Tensor:
    """What the model thinks of where it has seen nothing, [1, length, V]."""
    x_t = torch.randn(1, length, 16, generator=torch.Generator().manual_seed(0))
    logits = toy.denoiser(
        x_t, torch.full((1,), -20.0), attention_mask=torch.ones(1, length, dtype=torch.long)
    ).logits
    return logits.masked_fill(toy.vocabulary.banned, -torch.inf).softmax(-1).detach()


WISHES: dict[str, tuple[Callable[[TextClassifier], TextEnergy], Callable[[LabelledText], bool]]] = {
    "field": (lambda it: FieldIs(it, "animal", "bird"), lambda text: text.labels["animal"] == "bird"),
    "tags": (
        lambda it: TagsAre(it, ["DET", "ADJ", "NOUN", "VERB"]),
        lambda text: text.tags == ("DET", "ADJ", "NOUN", "VERB"),
    ),
    "span": (lambda it: SpansAre(it, [(0, 2, "NP")]), lambda text: (0, 2, "NP") in text.spans),
    "tree": (
        lambda it: SpansAre(it, [(0, 3, "NP"), (3, 4, "VP")], whole=True),
        lambda text: text.spans == ((0, 3, "NP"), (3, 4, "VP")),
    ),
    "both": (
        lambda it: FieldIs(it, "loud", "yes") + TagsAre(it, ["DET", "NOUN", "VERB", "ADV"]),
        lambda text: text.labels["loud"] == "yes" and text.tags == ("DET", "NOUN", "VERB", "ADV"),
    ),
}


@pytest.mark.parametrize("name", WISHES)
def test_its_energies_steer_the_model(toy: DiffusionLM, judge: TextClassifier, name: str) -> None:
    wish, holds = WISHES[name]
    options = {"length": 4, "num_inference_steps": 16, "temperature": 1.0, "seed": 0}
    before = share(toy.generate(60, **options), holds)
    after = share(toy.generate(60, control=wish(judge), guidance_scale=3.0, **options), holds)
    assert after >= 0.7 and 1 - after < (1 - before) / 2


# What it is told.


def noised(toy: DiffusionLM, texts: list[str]) -> Rows:
    """Texts with their noise."""
    ids = [torch.tensor(toy.vocabulary.encode(text)) for text in texts]
    rows = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True)
    mask = torch.nn.utils.rnn.pad_sequence([torch.ones_like(one) for one in ids], batch_first=True)
    known, index = torch.zeros_like(rows).bool(), torch.arange(len(texts))
    return draw_rows(rows, mask, known, index, dim=16, seed=0, self_conditioning_rate=0.5)


def test_estimates_go_from_noise_to_the_text(toy: DiffusionLM) -> None:
    rows, estimates = noised(toy, [SENTENCES[0], SENTENCES[40]]), Estimates(toy)
    x0, real = toy.denoiser.embedding.embed(rows.input_ids), (rows.attention_mask > 0)[..., None]
    clean, t = estimates(rows, torch.full_like(rows.level, -0.1))
    assert_close(clean, x0 * real)
    assert (t == 0).all()
    almost, t = estimates(rows, torch.zeros_like(rows.level))
    assert_close(almost, x0 * real, atol=0.1, rtol=0)
    assert (t == 0).all()
    unknown, t = estimates(rows, torch.ones_like(rows.level))
    assert_close(t, torch.ones_like(t))
    assert (unknown[0, 3:] == 0).all()
    assert (unknown[:, 2].norm(dim=-1) < 0.95).all()  # a mean of several words, which have norm 1
    _, between = estimates(rows, torch.full_like(rows.level, 0.5))
    assert len(between[1, :4].unique()) > 1  # staggered


def test_given_tokens_are_certain(toy: DiffusionLM) -> None:
    rows = noised(toy, [SENTENCES[40]])
    rows.known[0, 1] = True
    found, _ = Estimates(toy)(rows, torch.ones_like(rows.level))
    x0 = toy.denoiser.embedding.embed(rows.input_ids)
    assert_close(found[0, 1], x0[0, 1])
    assert (found[0, 2] - x0[0, 2]).norm() > 0.2


def test_a_rows_loss_does_not_depend_on_its_neighbours(model: ClassifierTraining, rows: LabelRows) -> None:
    some = [rows[i] for i in range(40, 48)]
    together = model(**collate(some))["tallies"]
    alone = [model(**collate([row]))["tallies"] for row in some]
    for name in together:
        assert_close(sum(one[name] for one in alone), together[name], rtol=1e-3, atol=1e-4)
    model.train()
    losses = [float(model(**collate([row]))["loss"]) for row in some]
    assert float(model(**collate(some))["loss"]) == pytest.approx(sum(losses) / 8, rel=1e-3)
    model.eval()


def test_the_language_model_stays_as_it_is(toy: DiffusionLM, rows: LabelRows) -> None:
    made = ClassifierTraining(rows.classifier, toy)
    assert all(name.startswith("classifier.") for name, _ in made.named_parameters())
    assert all(name.startswith("classifier.") for name in made.state_dict())
    fresh = TextClassifier.for_model(toy.denoiser, toy.vocabulary, tags=["A", "B"], **SMALL)
    labels = {"field_labels": torch.zeros(1, 0).long(), "span_labels": torch.zeros(1, 5, 5).long()}
    loss = ClassifierTraining(fresh, toy)(
        torch.tensor([[4, 5, 6, 7]]), torch.ones(1, 4).long(), torch.zeros(1, 4), torch.tensor([3]),
        tag_labels=torch.tensor([[0, 1, 0, 1]]), **labels,
    )["loss"]  # fmt: skip
    toy.denoiser.zero_grad()
    loss.backward()
    assert all(parameter.grad is None for parameter in toy.denoiser.parameters())
    assert fresh.tag_head.weight.grad.abs().max() > 0


def test_a_model_without_distributions_is_refused(small_model, toy: DiffusionLM) -> None:
    regression = DiffusionLM(small_model(categorical=False).denoiser, toy.scheduler, toy.tokenizer)
    with pytest.raises(ValueError, match="no distributions over tokens"):
        Estimates(regression)


# What it pays.


def labels_of(fields: list, tags: list, chart: list) -> dict[str, torch.Tensor]:
    """Labels of one text of two tokens."""
    return {
        "field_labels": torch.tensor([fields]), "tag_labels": torch.tensor([tags]),
        "span_labels": torch.tensor([chart]),
    }  # fmt: skip


def test_losses_are_cross_entropies_of_what_is_known() -> None:
    uniform = Verdicts([torch.zeros(1, 4), torch.zeros(1, 2)], torch.zeros(1, 2, 3), torch.zeros(1, 3, 5))
    mask, nothing = torch.ones(1, 2).long(), [MISSING] * 3
    whole = labels_of([3, 1], [0, 2], [[0, 0, 4], [0, 0, 0], [0, 0, 0]])
    found = {name: loss.item() for name, loss in row_losses(uniform, mask, **whole).items()}
    logs = torch.tensor([8.0, 3.0, 5.0]).log().tolist()
    assert found == pytest.approx({"fields": logs[0], "tags": logs[1], "spans": 1.5 * logs[2]})
    part = labels_of([MISSING, 1], [MISSING, 2], [nothing] * 3)
    found = {name: loss.item() for name, loss in row_losses(uniform, mask, **part).items()}
    assert found == pytest.approx({"fields": torch.tensor(2.0).log().item(), "tags": logs[1], "spans": 0.0})


def test_accuracy_counts_what_is_known() -> None:
    said = Verdicts(
        [torch.tensor([[0.0, 1.0]]), torch.tensor([[1.0, 0.0]])],
        torch.tensor([[[1.0, 0.0], [1.0, 0.0]]]),
        torch.tensor([[[0.0, 1.0], [0.0, 1.0], [1.0, 0.0]]]),  # spans (0, 1) and (0, 2), not (1, 2)
    )
    truth = labels_of([1, MISSING], [1, MISSING], [[0, 1, 0], [0, 0, 1], [0, 0, 0]])
    found = {name: counted.tolist() for name, counted in accuracies(said, ["a", "b"], **truth).items()}
    assert found == {
        "accuracy_a": [1, 1], "accuracy_b": [0, 0], "accuracy_tags": [0, 1],
        "precision_spans": [1, 2], "recall_spans": [1, 2],
    }  # fmt: skip


def test_a_tally_is_a_sum_and_a_number() -> None:
    assert tally(torch.tensor([1.0, 2.5, 0.5])).tolist() == [4, 3]
    assert tally(torch.zeros(0)).tolist() == [0, 0]
