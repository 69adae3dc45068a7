"""A classifier of texts that are not yet decided: what energies of topics, tags and trees read.

It is told every position's mean word vector, x0 = p @ E, and every token's own time t, so that it knows how
far to trust them (noise-aware guidance: Dhariwal & Nichol, arXiv 2105.05233, section 4; Diffusion-LM, arXiv
2205.14217, section 5). The vectors E are the language model's, frozen, and are saved with it: it serves every
model of the same vocabulary. Heads are optional: labels of the text, one tag a token, one label a span (from
the difference of its ends: Stern et al., arXiv 1705.03919). Plain torch: inference needs nothing else.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from textdiff.text.classifier_config import ClassifierConfig, fingerprint
from textdiff.text.classifier_files import load_parts, save_parts
from textdiff.text.denoiser import NoiseLevelEmbedding, TextDenoiser, init_weights
from textdiff.text.transformer import Transformer, segment_positions
from textdiff.text.vocabulary import Vocabulary

FILES = "classifier"  # their name in a folder
LEVELS = 6.0  # t in [0, 1] enters the noise embedding, which was made for log-SNR, as a number from 6 to -6
UNLABELLED = 5.0  # logit of the empty label before training: most spans have none


class Verdicts(NamedTuple):
    """Logits of every head that a classifier has, natural log scale, not normalised."""

    fields: list[Tensor]  # of each field, [B, values]
    tags: Tensor | None  # [B, L, tags]
    spans: Tensor | None  # of `all_spans`, [B, L (L + 1) / 2, 1 + spans]; the first is the empty label


class TextClassifier(nn.Module):
    """Mean word vectors x0 [B, L, D] and times t [B, L] -> labels of a text, of its tokens and of its spans.

    Args:
        config: shape and labels.
        vectors: the language model's word vectors, [V, D]; zeros if left out, for weights soon to be loaded.
    """

    def __init__(self, config: ClassifierConfig, vectors: Tensor | None = None) -> None:
        super().__init__()
        self.config = config
        H = config.hidden_size
        empty = torch.zeros(config.vocab_size, config.embedding_dim)
        self.vectors: Tensor
        self.register_buffer("vectors", empty if vectors is None else vectors.detach().float().cpu().clone())
        self.vector_in = nn.Linear(config.embedding_dim, H)
        self.time = NoiseLevelEmbedding(H)
        self.from_start = nn.Embedding(config.max_position_embeddings, H)
        self.from_end = nn.Embedding(config.max_position_embeddings, H)
        self.transformer = Transformer(
            H, config.num_hidden_layers, config.num_attention_heads, config.intermediate_size, config.dropout
        )
        if config.fields:
            self.queries = nn.Linear(H, len(config.fields), bias=False)
            self.field_heads = nn.ModuleList(nn.Linear(H, len(values)) for values in config.fields.values())
        if config.tags:
            self.tag_head = nn.Linear(H, len(config.tags))
        if config.spans:
            self.left, self.right = (nn.Linear(H, H // 2, bias=False) for _ in range(2))
            self.span_norm = nn.LayerNorm(H // 2)
            self.span_head = nn.Linear(H // 2, 1 + len(config.spans))
        self.reset_parameters()

    @property
    def longest(self) -> int:
        """Tokens that it reads at most."""
        return self.config.max_position_embeddings

    @classmethod
    def for_model(
        cls,
        denoiser: TextDenoiser,
        vocabulary: Vocabulary,
        *,
        fields: Mapping[str, Sequence[str]] | None = None,
        tags: Sequence[str] = (),
        spans: Sequence[str] = (),
        **shape: Any,
    ) -> TextClassifier:
        """A fresh classifier that reads a language model's estimates.

        Args:
            denoiser: of the language model, whose word vectors are copied.
            vocabulary: its tokens.
            fields: labels of the text, field -> values; one of them may say that the field is absent.
            tags: labels of a token.
            spans: labels of a span; that it has none is one label more.
            **shape: hidden_size and the like, see `ClassifierConfig`.

        Raises:
            ValueError: as for `ClassifierConfig`, or if the model has no distributions over tokens.
        """
        if not denoiser.config.categorical:
            raise ValueError("This model has no distributions over tokens: it takes no classifier.")
        vectors, window = denoiser.embedding.vectors(), denoiser.config.max_position_embeddings
        labels = {name: list(values) for name, values in (fields or {}).items()}
        config = ClassifierConfig(
            vocabulary=fingerprint(vocabulary), vocab_size=len(vectors), embedding_dim=vectors.shape[1],
            max_position_embeddings=window, fields=labels, tags=list(tags), spans=list(spans), **shape,
        )  # fmt: skip
        return cls(config, vectors)

    def reset_parameters(self) -> None:
        """Draw fresh weights; heads say nothing at first, but that most spans have no label."""
        self.apply(init_weights)
        for name, module in self.named_modules():
            if isinstance(module, nn.Linear) and ("_head" in name or name == "queries"):
                nn.init.zeros_(module.weight)
        if self.config.spans:
            self.span_head.bias.data[0] = UNLABELLED

    def forward(self, x0: Tensor, t: Tensor, attention_mask: Tensor) -> Verdicts:
        """Every verdict.

        Args:
            x0: mean word vectors, [B, L, D].
            t: every token's own time in [0, 1], [B, L]; 0 is clean.
            attention_mask: [B, L]; 0 = padding, 1 = text.
        """
        hidden = self.hidden(x0, t, attention_mask)
        return Verdicts(
            self.field_logits(hidden, attention_mask),
            self.tag_logits(hidden) if self.config.tags else None,
            self.span_logits(hidden, *all_spans(x0.shape[1], x0.device)) if self.config.spans else None,
        )

    def read(self, p: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """Hidden states [B, L, H] and attention mask [B, L] of distributions over tokens.

        Args:
            p: [B, L, V]; zeros on padding.
            t: [B, L].

        Raises:
            ValueError: if it is another vocabulary's, or the text is too long.
        """
        attention_mask = mask_of(p, self.config.vocab_size)
        return self.hidden(p.to(self.vectors.dtype) @ self.vectors, t, attention_mask), attention_mask

    def read_tokens(self, ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Hidden states [B, L, H] of texts without noise: token ids and mask, [B, L] each."""
        x0 = self.vectors[ids] * attention_mask[..., None]
        return self.hidden(x0, torch.zeros_like(ids, dtype=x0.dtype), attention_mask)

    def hidden(self, x0: Tensor, t: Tensor, attention_mask: Tensor) -> Tensor:
        """The transformer's last states, [B, L, H], zero on padding; arguments as in `forward`."""
        if x0.shape[1] > self.longest:
            raise ValueError(
                f"The text has {x0.shape[1]} tokens, but the classifier reads at most {self.longest}."
            )
        start, end = segment_positions(attention_mask)
        scale = self.vectors.pow(2).mean().rsqrt()  # coordinates of unit variance where the text is certain
        h = self.vector_in((x0 * scale).to(self.vector_in.weight.dtype)) + self.time(LEVELS * (1 - 2 * t))
        h = h + self.from_start(start) + self.from_end(end)
        return self.transformer(h, attention_mask, start) * attention_mask[..., None]

    def field_logits(self, hidden: Tensor, attention_mask: Tensor) -> list[Tensor]:
        """Logits of every field's values, [B, values] each; each field looks where it is spoken of."""
        if not self.config.fields:
            return []
        scores = self.queries(hidden).masked_fill(attention_mask[..., None] == 0, -torch.inf)
        pooled = scores.softmax(1).to(hidden.dtype).transpose(1, 2) @ hidden  # [B, fields, H]
        return [head(pooled[:, i]) for i, head in enumerate(self.field_heads)]

    def tag_logits(self, hidden: Tensor) -> Tensor:
        """Logits of every token's tags, [B, L, tags]."""
        return self.tag_head(hidden)

    def span_logits(self, hidden: Tensor, starts: Tensor, ends: Tensor) -> Tensor:
        """Logits of N spans, [B, N, 1 + spans]; a span's tokens are those from start to before end."""
        before = nn.functional.pad(hidden, (0, 0, 1, 0))
        after = nn.functional.pad(hidden, (0, 0, 0, 1))
        places = self.left(before) + self.right(
            after
        )  # those between tokens, told what stands on either side
        return self.span_head(nn.functional.gelu(self.span_norm(places[:, ends] - places[:, starts])))

    def save_pretrained(self, folder: str | os.PathLike) -> None:
        """Write what `from_pretrained` reads; the folder is made where it is missing."""
        save_parts(folder, FILES, self.config, self)

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike, vocabulary: Vocabulary) -> TextClassifier:
        """Load a classifier for a model with this vocabulary; float32, frozen.

        Raises:
            FileNotFoundError: if there is none in the folder.
            ValueError: if it is damaged, or was made for another vocabulary.
        """
        return load_parts(cls, folder, FILES, ClassifierConfig, vocabulary)


def mask_of(p: Tensor, vocab_size: int) -> Tensor:
    """Attention mask [B, L] of distributions over a classifier's tokens, [B, L, V]; zeros on padding.

    Raises:
        ValueError: if it is another vocabulary's.
    """
    if p.shape[-1] != vocab_size:
        raise ValueError(
            f"The classifier reads distributions over {vocab_size} tokens, and these are over "
            f"{p.shape[-1]}: it was made for another vocabulary."
        )
    return (p.detach().sum(-1) > 0).long()


def all_spans(length: int, device: torch.device | None = None) -> tuple[Tensor, Tensor]:
    """Start and end of every span, start < end <= length: two integer tensors [length (length + 1) / 2]."""
    starts, ends = torch.triu_indices(length + 1, length + 1, offset=1, device=device)
    return starts, ends
