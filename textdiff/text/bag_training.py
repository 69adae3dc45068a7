"""What a bag of tokens learns: logistic regression on counts of tokens, as sharp as held-out texts allow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from textdiff.text.bag import BagOfTokens
from textdiff.text.label_rows import MISSING
from textdiff.text.labelled import LabelledText
from textdiff.text.vocabulary import Vocabulary

PENALTIES = (1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5)  # of the squared scores, in nats; each fit begins at the last
ROUNDS = 100  # of L-BFGS at most, for each of them


def fit_bag(
    bag: BagOfTokens, texts: Sequence[LabelledText], held_out: Sequence[LabelledText], vocabulary: Vocabulary
) -> dict[str, Any]:
    """Fit the scores on some texts with the penalty under which others are likeliest. Deterministic.

    Args:
        bag: whose scores are replaced.
        texts: to learn from; labels that a text lacks do not count.
        held_out: to choose the penalty by.
        vocabulary: of its model.

    Raises:
        ValueError: if no text of either kind has a label that the bag knows.

    Returns:
        penalty, loss (nats a label, held out) and the accuracy of every field there.
    """
    seen, unseen = (Counted(some, vocabulary, bag) for some in (texts, held_out))
    for counted, which in ((seen, "training"), (unseen, "held-out")):
        if all((labels == MISSING).all() for labels in counted.labels.values()):
            raise ValueError(f"No {which} text has one of the labels that are to be told apart: give others.")
    for parameter in bag.parameters():
        nn.init.zeros_(parameter)
    best: tuple[float, float, dict[str, Tensor]] | None = None
    for penalty in PENALTIES:
        _fit(bag, seen, penalty)
        with torch.no_grad():
            loss = unseen.loss(bag).item()
        if best is None or loss < best[0]:
            best = (loss, penalty, {name: value.clone() for name, value in bag.state_dict().items()})
    assert best is not None
    loss, penalty, state = best
    bag.load_state_dict(state)
    return {"penalty": penalty, "loss": loss} | unseen.accuracies(bag)


class Counted:
    """Texts as counts of tokens, a sparse [N, V], and their labels [N] of every field."""

    def __init__(self, texts: Sequence[LabelledText], vocabulary: Vocabulary, bag: BagOfTokens) -> None:
        ids = [vocabulary.encode(text.text) for text in texts]
        rows = torch.tensor([row for row, one in enumerate(ids) for _ in one], dtype=torch.long)
        columns = torch.tensor([token for one in ids for token in one], dtype=torch.long)
        size = (len(ids), bag.config.vocab_size)
        places, ones = torch.stack([rows, columns]), torch.ones(len(rows))
        self.counts = torch.sparse_coo_tensor(places, ones, size, check_invariants=True).coalesce()
        self.labels = {
            name: torch.tensor([_place(text.labels.get(name), values) for text in texts])
            for name, values in bag.config.fields.items()
        }

    def logits(self, bag: BagOfTokens) -> list[Tensor]:
        """Of every field, [N, values]."""
        return bag.by_field(torch.sparse.mm(self.counts, bag.scores.weight.T) + bag.scores.bias)

    def loss(self, bag: BagOfTokens) -> Tensor:
        """Cross-entropy in nats, the mean over known labels."""
        each = [
            F.cross_entropy(logits, labels, ignore_index=MISSING, reduction="sum")
            for logits, labels in zip(self.logits(bag), self.labels.values())
        ]
        known = sum(int((labels != MISSING).sum()) for labels in self.labels.values())
        return torch.stack(each).sum() / max(known, 1)

    @torch.no_grad()
    def accuracies(self, bag: BagOfTokens) -> dict[str, float]:
        """Share of right labels of every field of which one is known."""
        found = {}
        for (name, labels), logits in zip(self.labels.items(), self.logits(bag)):
            known = labels != MISSING
            if known.any():
                found[f"accuracy_{name}"] = (logits.argmax(1) == labels)[known].float().mean().item()
        return found


def _place(value: str | None, values: Sequence[str]) -> int:
    return values.index(value) if value in values else MISSING


def _fit(bag: BagOfTokens, texts: Counted, penalty: float) -> None:
    """From the present scores to those with the least loss and penalty."""
    bag.requires_grad_(True)
    optimizer = torch.optim.LBFGS(bag.parameters(), max_iter=ROUNDS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = texts.loss(bag) + penalty * bag.scores.weight.pow(2).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    bag.requires_grad_(False)
