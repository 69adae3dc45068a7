"""What `transformers.Trainer` needs to teach a classifier to read the estimates of a frozen language model.

Texts are noised as in the language model's own training: each has a clock and an order in which its tokens
leave the noise. The frozen model then says which tokens it thinks of, as it does while it samples, and the
classifier is told their mean vectors: so it learns p(label | x_t), which is what guidance wants (Dhariwal &
Nichol, arXiv 2105.05233, section 4). Every row's noise is a function of (seed, sample index) alone.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from textdiff.diffusion.stagger import own_times
from textdiff.text.classifier import TextClassifier, Verdicts, all_spans
from textdiff.text.estimate import estimate
from textdiff.text.label_rows import MISSING
from textdiff.text.language_model import DiffusionLM
from textdiff.text.objectives import Rows, draw_rows
from textdiff.text.training import DiffusionTrainer

CLEAN = 0.1  # share of training rows without noise
SELF_CONDITIONED = 0.5  # share of rows with a first estimate
THIRDS = ("low", "middle", "high")  # of the clock, as evaluation names their noise

Tallies = dict[str, Tensor]  # of every figure the sum and the number of what it is the mean of, [2]


class Estimates:
    """What a language model, frozen, makes of noised texts.

    Raises:
        ValueError: if the model has no distributions over tokens.
    """

    def __init__(self, lm: DiffusionLM) -> None:
        if not lm.denoiser.config.categorical:
            raise ValueError("This model has no distributions over tokens: it takes no classifier.")
        self.denoiser, self.scheduler, self.banned = lm.denoiser, lm.scheduler, lm.vocabulary.banned

    @torch.no_grad()
    def __call__(self, rows: Rows, clock: Tensor) -> tuple[Tensor, Tensor]:
        """Mean word vectors [B, L, D], zero on padding, and every token's own time [B, L].

        Args:
            rows: texts and their noise.
            clock: when each is looked at, [B, L]; below 0: when all of it is certain.
        """
        denoiser, clean = self.denoiser.to(clock.device), clock < 0
        start, wait = rows.clock(denoiser.config.stagger_least, denoiser.config.stagger)
        t = own_times(clock.clamp(min=0.0), start, wait)
        x0 = denoiser.embedding.embed(rows.input_ids)
        x_t = self.scheduler.add_noise(x0, rows.eps, t)
        given: dict[str, Any] = {"attention_mask": rows.attention_mask, "known": rows.known, "x0_known": x0}
        first, chosen = torch.zeros_like(x0), rows.self_conditioned
        if chosen.any():
            some = {name: value[chosen] for name, value in given.items()}
            first[chosen] = estimate(denoiser, self.scheduler, x_t[chosen], t[chosen], None, **some).x0_hat
        barred = self.banned.to(x0.device).expand(*x0.shape[:2], -1)
        x0_hat = estimate(denoiser, self.scheduler, x_t, t, first, barred=barred, **given).x0_hat
        seen = torch.where((clean | rows.known)[..., None], x0, x0_hat)
        return seen * (rows.attention_mask > 0)[..., None], torch.where(clean, 0.0, t)


class ClassifierTraining(nn.Module):
    """A classifier as Trainer steps it: `forward` is the loss. Only the classifier is saved and averaged.

    Args:
        classifier: made for the language model.
        lm: the language model; it is read, and moved to where the data are, nothing else.
        seed: of all noise.
    """

    def __init__(self, classifier: TextClassifier, lm: DiffusionLM, *, seed: int = 0) -> None:
        super().__init__()
        self.classifier, self.estimates, self.seed = classifier, Estimates(lm), seed

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, known: Tensor, sample_index: Tensor, **labels: Tensor
    ) -> dict[str, Any]:
        """The loss, the mean over rows, and what it consists of; arguments are those of `label_rows.collate`.

        In evaluation, the loss is the mean over the thirds of the clock; `figures` says what else there is.

        Returns:
            loss, and tallies: sums and counts, [2] each.
        """
        rows = draw_rows(
            input_ids, attention_mask, known.bool(), sample_index,
            dim=self.classifier.config.embedding_dim, seed=self.seed, self_conditioning_rate=SELF_CONDITIONED,
        )  # fmt: skip
        if self.training:
            losses, _ = self.losses(rows, (rows.level - CLEAN) / (1 - CLEAN), labels)
            tallies = {f"{name}_loss": tally(loss) for name, loss in losses.items()}
            return {"loss": torch.stack(list(losses.values())).sum(0).mean(), "tallies": tallies}
        tallies = self.figures(rows, labels)
        means = [tallies[f"loss_{third}_noise"] for third in THIRDS]
        return {"loss": torch.stack([total / count for total, count in means]).mean(), "tallies": tallies}

    def losses(
        self, rows: Rows, clock: Tensor, labels: dict[str, Tensor]
    ) -> tuple[dict[str, Tensor], Verdicts]:
        """Every head's loss, [B] each in nats, and what the classifier said."""
        verdicts = self.classifier(*self.estimates(rows, clock), rows.attention_mask)
        return row_losses(verdicts, rows.attention_mask, **labels), verdicts

    def figures(self, rows: Rows, labels: dict[str, Tensor]) -> Tallies:
        """The loss by third of the clock and on clean text, and how much is right on clean text."""
        tallies = {}
        for part, third in enumerate(THIRDS):
            losses, _ = self.losses(rows, (part + rows.level) / len(THIRDS), labels)
            tallies[f"loss_{third}_noise"] = tally(torch.stack(list(losses.values())).sum(0))
        losses, verdicts = self.losses(rows, torch.full_like(rows.level, -1.0), labels)
        tallies["loss_clean"] = tally(torch.stack(list(losses.values())).sum(0))
        return tallies | accuracies(verdicts, list(self.classifier.config.fields), **labels)


def row_losses(
    verdicts: Verdicts,
    attention_mask: Tensor,
    *,
    field_labels: Tensor,
    tag_labels: Tensor,
    span_labels: Tensor,
) -> dict[str, Tensor]:
    """Cross-entropy of every head, [B] each in nats; labels as in `label_rows.collate`, MISSING not counted.

    "fields": the sum over fields; "tags": the mean over tokens that have one; "spans": the sum over all
    spans, the empty ones too, divided by the text's tokens.
    """
    losses = {}
    if verdicts.fields:
        each = [_nats(logits, field_labels[:, i]) for i, logits in enumerate(verdicts.fields)]
        losses["fields"] = torch.stack(each).sum(0)
    if verdicts.tags is not None:
        count = (tag_labels != MISSING).sum(1).clamp(min=1)
        losses["tags"] = _nats(verdicts.tags, tag_labels).sum(1) / count
    if verdicts.spans is not None:
        nats = _nats(verdicts.spans, packed(span_labels))
        losses["spans"] = nats.sum(1) / attention_mask.sum(1).clamp(min=1)
    return losses


def _nats(logits: Tensor, labels: Tensor) -> Tensor:
    """-log p(label), zero where it is MISSING: logits [..., C], labels [...]."""
    flat = F.cross_entropy(
        logits.float().flatten(0, -2), labels.flatten(), ignore_index=MISSING, reduction="none"
    )
    return flat.view(labels.shape)


def packed(span_labels: Tensor) -> Tensor:
    """A chart [B, L + 1, L + 1] in the order of `all_spans`, [B, L (L + 1) / 2]."""
    starts, ends = all_spans(span_labels.shape[1] - 1, span_labels.device)
    return span_labels[:, starts, ends]


def accuracies(
    verdicts: Verdicts, fields: list[str], *, field_labels: Tensor, tag_labels: Tensor, span_labels: Tensor
) -> Tallies:
    """Shares of right labels: accuracy of every field and of tags; precision and recall of labelled spans."""
    found = {}
    for i, (name, logits) in enumerate(zip(fields, verdicts.fields)):
        found[f"accuracy_{name}"] = _hits(
            logits.argmax(-1), field_labels[:, i], field_labels[:, i] != MISSING
        )
    if verdicts.tags is not None:
        found["accuracy_tags"] = _hits(verdicts.tags.argmax(-1), tag_labels, tag_labels != MISSING)
    if verdicts.spans is not None:
        said, true = verdicts.spans.argmax(-1), packed(span_labels)
        found["precision_spans"] = _hits(said, true, (true != MISSING) & (said > 0))
        found["recall_spans"] = _hits(said, true, true > 0)
    return found


def _hits(said: Tensor, true: Tensor, counted: Tensor) -> Tensor:
    return tally((said == true)[counted].float())


def tally(values: Tensor) -> Tensor:
    """Sum and number of values [N]: [2]."""
    return torch.stack([values.detach().float().sum(), values.new_tensor(float(values.numel())).float()])


class ClassifierTrainer(DiffusionTrainer):
    """Trainer that logs a classifier's figures, each as the mean of what it counts, over all processes."""

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, **kwargs: Any
    ) -> Any:
        """The model's loss; its tallies are kept for the next log line."""
        outputs = model(**inputs)
        for name, counted in outputs["tallies"].items():
            self._terms[name].append(counted)
        return (outputs["loss"], outputs) if return_outputs else outputs["loss"]

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Add every figure that counted anything since the last line."""
        sums = {
            name: self.accelerator.reduce(torch.stack(self._terms[name]).sum(0), reduction="sum")
            for name in sorted(self._terms)
        }
        counted = {name: [total] for name, total in sums.items() if float(total[1]) > 0}
        self._terms = defaultdict(list, counted)
        super().log(logs, *args, **kwargs)
