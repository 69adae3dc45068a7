"""The denoiser whose tokens leave the noise one after another, or a few together: what is clean is read once.

Tokens that are still noise tell the network nothing: their evidence enters by Bayes' rule (`estimate`), as a factor
beside what the clean ones say. So a token alone on its way costs the bound exactly its cross-entropy given those before
it in the order, whichever order that is: left to right, in blocks, or at random.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from textdiff.diffusion.stagger import ranks_of
from textdiff.text.denoiser import (
    SURE,
    DenoiserConfig,
    DenoiserOutput,
    Prefix,
    TextDenoiser,
    output_prior_scale,
)
from textdiff.text.embedding import TokenEmbedding
from textdiff.text.ordered import Memory, OrderedTransformer, View, chosen_places, view_at, whom_they_see


class OrderedDenoiser(TextDenoiser):
    """Noisy vectors x_t [B, L, D] at log signal-to-noise ratio [B] or [B, L] -> logits and x0_hat."""

    def __init__(self, config: DenoiserConfig) -> None:
        nn.Module.__init__(self)
        self.config = config
        D, H = config.embedding_dim, config.hidden_size
        if not 0 < config.reading_layers < config.num_hidden_layers or not (config.categorical and config.unit_norm):
            raise ValueError(
                f"reading_layers is {config.reading_layers} of {config.num_hidden_layers} layers: give 1 to "
                f"{config.num_hidden_layers - 1}, in a categorical model with word vectors of length 1."
            )
        self.embedding = TokenEmbedding(config.vocab_size, D)
        self.noisy_in = nn.Linear(D, H)
        self.asked_flag = nn.Parameter(torch.zeros(H))
        self.from_start = nn.Embedding(config.max_position_embeddings, H)
        self.from_end = nn.Embedding(config.max_position_embeddings, H)
        self.token_in = nn.Embedding(config.vocab_size, H)
        self.transformer: OrderedTransformer = OrderedTransformer(  # type: ignore[assignment]
            H, config.reading_layers, config.num_hidden_layers - config.reading_layers,
            config.num_attention_heads, config.intermediate_size, config.dropout,
        )  # fmt: skip
        self.head = nn.Linear(H, config.vocab_size)
        self.copy_head = nn.Linear(H, H, bias=False) if config.copies else None
        self.reset_parameters()

    def forward(
        self,
        x_t: Tensor,
        logsnr: Tensor,
        *,
        attention_mask: Tensor,
        known: Tensor | None = None,
        x0_known: Tensor | None = None,
        x0_prev: Tensor | None = None,
        shown: tuple[Tensor, Tensor] | None = None,
        wanted: Tensor | None = None,
        temperature: float = 1.0,
        barred: Tensor | None = None,
        prefix: Prefix | None = None,
        rank: Tensor | None = None,
        memory: Memory | None = None,
    ) -> DenoiserOutput:
        """Denoise; arguments as in `TextDenoiser.forward`, and two more.

        What is read of x_t are the words of clean tokens; x0_prev and `shown` are not read, and there is no prefix.

        Args:
            x_t: noisy word vectors, [B, L, D].
            logsnr: noise level, [B] or [B, L].
            attention_mask: [B, L]; 0 = padding, otherwise the number of the segment.
            known: bool [B, L], True = given.
            x0_known: clean vectors, [B, L, D], read only where `known`.
            x0_prev: not read.
            shown: not read.
            wanted: bool [B, L], the N positions that are asked for; the output is [N, ...] then.
            temperature: divides the transformer's logits, not the evidence of x_t.
            barred: bool like the logits, tokens that may not stand there.
            prefix: None.
            rank: [B, L], the turns at which tokens are clean (`stagger.ranks_of`); by noise level, then from left to
                right, if left out.
            memory: of calls on the same texts at which fewer tokens were clean.

        Raises:
            ValueError: for a prefix.
        """
        if prefix is not None:
            raise ValueError("A model that reads tokens in order takes no prefix: make one with reading_layers=0.")
        shape = attention_mask.shape
        known = torch.zeros(shape, dtype=torch.bool, device=x_t.device) if known is None else known
        words = x_t if x0_known is None else torch.where(known[..., None], x0_known.to(x_t.dtype), x_t)
        logsnr = logsnr.view(len(x_t), -1).expand(shape)
        clean = (known | (output_prior_scale(logsnr) >= SURE)) & (attention_mask > 0)
        rank = rank_by_noise(logsnr, attention_mask, known) if rank is None else rank
        asked = ~clean if wanted is None else wanted & ~clean
        said = self.answers(words, attention_mask, known, clean, asked, rank, memory)
        if wanted is not None:
            asked, x_t, logsnr = asked[wanted], x_t[wanted], logsnr[wanted]
        network = said.new_zeros(*asked.shape, said.shape[-1])  # nothing to say where the word is plain to see
        network[asked] = said
        return self.combine(network, self.prior_logits(x_t, logsnr), temperature=temperature, barred=barred)

    def answers(
        self, words: Tensor, attention_mask: Tensor, known: Tensor, clean: Tensor, asked: Tensor, rank: Tensor,
        memory: Memory | None,
    ) -> Tensor:  # fmt: skip
        """The network's logits at the N positions `asked`, bool [B, L], given those `clean`; [N, V]."""
        if not asked.any():
            return self.head.weight.new_zeros(0, self.config.vocab_size)
        memory = Memory(clean.shape[1]) if memory is None else memory
        (fresh, _), (at, real) = chosen_places(memory.unread(clean)), chosen_places(asked)
        places, position = self._places(attention_mask, known)
        seen = [whom_they_see(attention_mask, rank, clean, themselves=which) for which in (True, False)]
        views = [
            view_at(self.transformer, where, places, *who, self._dtype()) for where, who in zip((fresh, at), seen)
        ]
        ids = self.embedding.round(taken(words.float(), fresh))
        tokens = self._read(ids, taken(position, fresh))
        questions = taken(position, at) + self.asked_flag
        return self.predict(self.transformer(tokens, views[0], questions, views[1], memory)[real])

    def lessons(self, input_ids: Tensor, attention_mask: Tensor, known: Tensor, rank: Tensor) -> Tensor:
        """Last states [B, L, H] of the questions at all positions of a text, each given the tokens of lower rank.

        Args:
            input_ids: [B, L].
            attention_mask: [B, L], 0 = padding, otherwise the number of the segment.
            known: bool [B, L], True = given.
            rank: [B, L], the turns at which tokens are clean (`stagger.ranks_of`).
        """
        places, position = self._places(attention_mask, known)
        rotary = self.transformer.rotary(places, self._dtype())
        views = []
        for themselves in (True, False):
            seen, edges = whom_they_see(attention_mask, rank, attention_mask > 0, themselves=themselves)
            views.append(View(None, seen[:, None], (edges[0][..., None], edges[1][..., None]), rotary))
        tokens = self._read(input_ids, position)
        return self.transformer(tokens, views[0], position + self.asked_flag, views[1], Memory(0))

    def _places(self, attention_mask: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
        """Places of tokens within their segments, [B, L], and the vectors that tell them, [B, L, H]."""
        start, end = self.places(attention_mask, known)
        return start, self.from_start(start) + self.from_end(end)

    def _read(self, ids: Tensor, position: Tensor) -> Tensor:
        """Clean tokens as they enter: ids [B, m], position [B, m, H]."""
        vectors = self.embedding.embed(ids) * self.config.embedding_dim**0.5
        return self.noisy_in(vectors.to(self.noisy_in.weight.dtype)) + self.token_in(ids) + position

    def _dtype(self) -> torch.dtype:
        """That of matrix products."""
        kind = self.head.weight.device.type
        return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else self.head.weight.dtype


def rank_by_noise(logsnr: Tensor, attention_mask: Tensor, known: Tensor) -> Tensor:
    """Ranks [B, L] by which those with less noise, logsnr [B, L], come first, then those further left."""
    order = (-logsnr).argsort(dim=1, stable=True).argsort(dim=1).double()
    return ranks_of(order, attention_mask, ~known)


def taken(values: Tensor, at: Tensor) -> Tensor:
    """Values [B, L, X] at positions [B, m]; beyond the end, the last."""
    inside = at.clamp(max=values.shape[1] - 1)[..., None]
    return values.gather(1, inside.expand(-1, -1, values.shape[-1]))


def make_denoiser(config: DenoiserConfig) -> TextDenoiser:
    """A fresh denoiser of a shape."""
    return OrderedDenoiser(config) if config.reading_layers else TextDenoiser(config)


def usual_order(denoiser: TextDenoiser, *, drawing: bool = False) -> str:
    """The order in which a model's tokens leave the noise if no other is asked for: one at a time, or while drawing."""
    if isinstance(denoiser, OrderedDenoiser):
        return "stretches" if drawing else "left"
    return "spread" if drawing else "random"
