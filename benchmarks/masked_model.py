"""The discrete rival: masked diffusion (MDLM, arXiv 2406.07524) on the trunk of our diffusion model.

Each token of a text is masked with chance t; the network, not told t, predicts what stood there. The bound is

    -log p(text) <= integral over t from 0 to 1 of 1/t E[sum over masked i of -log p(w_i | unmasked)] dt.

Of n tokens k are masked with chance C(n, k) t^k (1 - t)^(n - k), all sets of k alike, and the integral of
C(n, k) t^(k - 1) (1 - t)^(n - k) is 1/k. So the bound is also

    sum over k = 1..n of 1/k E[sum over a random set of k] = n E[mean over a random set of random size 1..n].

Sets are drawn in this second form: the loss is the same, while the weight 1/t of the first form gives its
estimate an infinite variance.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.initialization import guard_torch_init_functions
from transformers.utils import ModelOutput

from textdiff.diffusion.losses import low_discrepancy_uniform, sample_normal
from textdiff.text.denoiser import DenoiserConfig, init_weights
from textdiff.text.model import draw_sample_index
from textdiff.text.plans import Plan, batch
from textdiff.text.tokenizer import load_tokenizer
from textdiff.text.transformer import Transformer, segment_positions
from textdiff.text.vocabulary import Vocabulary

ROWS_AT_ONCE = 64
SEGMENT_STRIDE = 2.0**0.5  # irrational: a row's segments spread evenly over the sizes
OURS_ALONE = {"embedding_dim", "unit_norm", "categorical", "copies", "sides", "reading_layers"}  # without use here
SHAPE = {field.name: field.default for field in fields(DenoiserConfig) if field.name not in OURS_ALONE}


class MaskedConfig(PreTrainedConfig):
    """Shape of the network, as in `DenoiserConfig`, and of its training.

    Args:
        noise_seed: seed of all training masks.
        length_counts: how many training texts have 0, 1, 2, ... tokens.
        **kwargs: fields of `DenoiserConfig` but for the word vectors', and what `PreTrainedConfig` takes.
    """

    model_type = "textdiff-masked"

    def __init__(self, noise_seed: int = 0, length_counts: list[int] | None = None, **kwargs: Any) -> None:
        for name, default in SHAPE.items():
            setattr(self, name, kwargs.pop(name, default))
        self.noise_seed, self.length_counts = noise_seed, length_counts
        super().__init__(**kwargs)

    @classmethod
    def like(cls, shape: DenoiserConfig, **kwargs: Any) -> MaskedConfig:
        """The trunk of a diffusion model of this shape."""
        return cls(**{name: getattr(shape, name) for name in SHAPE}, **kwargs)


@dataclass
class MaskedOutput(ModelOutput):
    """The loss: an unbiased estimate of the bound, nats per token."""

    loss: Tensor | None = None


class MaskedModel(PreTrainedModel):
    """Tokens, some of them masked -> logits of what stood there. The mask is token V."""

    config_class = MaskedConfig
    base_model_prefix = "model"
    main_input_name = "input_ids"
    accepts_loss_kwargs = False
    _no_split_modules = ["Block"]

    def __init__(self, config: MaskedConfig) -> None:
        super().__init__(config)
        H = config.hidden_size
        self.token_in = nn.Embedding(config.vocab_size + 1, H)
        self.from_start = nn.Embedding(config.max_position_embeddings, H)
        self.from_end = nn.Embedding(config.max_position_embeddings, H)
        self.transformer = Transformer(
            H, config.num_hidden_layers, config.num_attention_heads, config.intermediate_size, config.dropout
        )
        self.head = nn.Linear(H, config.vocab_size)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        init_weights(module)

    @torch.no_grad()
    @guard_torch_init_functions()
    def initialize_weights(self) -> None:
        """Initialise what is not loaded; transformers 5 passes over modules that own no parameter."""
        self.apply(init_weights)

    def logits(self, input_ids: Tensor, attention_mask: Tensor, positions: Tensor) -> Tensor:
        """Logits of the N tokens at some positions, [N, V].

        Args:
            input_ids: [B, L], V where masked.
            attention_mask: [B, L]; 0 = padding, else the number of the segment, whose length is seen.
            positions: bool [B, L].
        """
        start, end = segment_positions(attention_mask)
        h = self.token_in(input_ids) + self.from_start(start) + self.from_end(end)
        return self.head(self.transformer(h, attention_mask, start)[positions])

    def set_nats(self, input_ids: Tensor, attention_mask: Tensor, masked: Tensor, weight: Tensor) -> Tensor:
        """-log p of masked tokens given the others, times their weights, added up by row; [B, L] -> [B]."""
        logits = self.logits(input_ids.masked_fill(masked, self.config.vocab_size), attention_mask, masked)
        nats = F.cross_entropy(logits.float(), input_ids[masked], reduction="none") * weight[masked].float()
        return nats.new_zeros(len(masked)).index_add(0, masked.nonzero()[:, 0], nats)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        known: Tensor | None = None,
        sample_index: Tensor | None = None,
        **ignored: Any,
    ) -> MaskedOutput:
        """One training step's loss, the mean over rows; every segment has a set of its own.

        Args:
            input_ids: [B, L].
            attention_mask: [B, L]; 0 = padding, else the number of the segment. All ones if left out.
            known: bool [B, L], True = given: neither masked nor counted. Nothing is given if left out.
            sample_index: integers [B] that name the rows' noise; drawn if left out.
            **ignored: columns that other models read.
        """
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        if known is None:
            known = torch.zeros_like(input_ids, dtype=torch.bool)
        if sample_index is None:
            sample_index = draw_sample_index(len(input_ids)).to(input_ids.device)
        counted = (attention_mask > 0) & ~known.bool()
        start = low_discrepancy_uniform(sample_index, self.config.noise_seed)
        uniform = (start[:, None] + attention_mask.double() * SEGMENT_STRIDE) % 1.0
        noise = sample_normal(tuple(input_ids.shape[1:]), sample_index, self.config.noise_seed)
        nats = self.set_nats(input_ids, attention_mask, *random_sets(attention_mask, counted, uniform, noise))
        return MaskedOutput(loss=(nats / counted.sum(1).clamp(min=1)).mean())


def random_sets(segments: Tensor, counted: Tensor, uniform: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """A set of k of each segment's n counted positions, bool [B, L], and its weight in the bound, n/k [B, L].

    Args:
        segments: integers [B, L].
        counted: bool [B, L].
        uniform: in [0, 1), one number a segment, broadcastable to [B, L]: picks k from 1 to n.
        noise: [B, L], independent: its order picks the set.
    """
    peers = (segments[:, :, None] == segments[:, None, :]) & counted[:, None, :]
    place = noise.argsort(dim=1).argsort(dim=1)  # without ties
    before = (peers & (place[:, None, :] < place[:, :, None])).sum(2)
    n = peers.sum(2).clamp(min=1)
    k = torch.minimum(1 + (uniform * n).long(), n)
    return counted & (before < k), n / k


@torch.inference_mode()
def masked_bound(
    model: MaskedModel, texts: Sequence[Sequence[int]], *, levels: int, seed: int
) -> tuple[Tensor, Tensor]:
    """The bound on -log p of every text given its length, and the variance of its estimate: nats, [N] each.

    The variance is from above: that the sets' sizes are spread evenly makes it smaller.

    Args:
        model: in eval mode.
        texts: token ids, one at least, no more than the model's window.
        levels: sets of each text, at least 2.
        seed: of the sets; a text's depend on its place in the list alone.

    Raises:
        ValueError: if a text is empty or too long, there is none, or levels is below 2.
    """
    if levels < 2:
        raise ValueError(f"levels is {levels}: it must be at least 2.")
    lengths = [len(text) for text in texts]
    check_lengths(model, lengths)
    starts = torch.rand(len(texts), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    uniform = ((torch.arange(levels) + starts[:, None]) / levels).flatten()
    nats = torch.zeros(len(uniform), dtype=torch.float64)
    order = torch.tensor(lengths).repeat_interleave(levels).argsort()  # little padding
    for rows in order.split(ROWS_AT_ONCE):
        chosen = [texts[i // levels] for i in rows.tolist()]
        ids, real, _ = batch([Plan(tuple(text), (False,) * len(text), (), ()) for text in chosen])
        noise = sample_normal(tuple(ids.shape[1:]), rows, seed)
        sets = random_sets(real, real > 0, uniform[rows][:, None], noise)
        nats[rows] = model.set_nats(*(part.to(model.device) for part in (ids, real, *sets))).double().cpu()
    nats = nats.view(len(texts), levels)
    return nats.mean(1), nats.var(1) / levels


def check_lengths(model: MaskedModel, lengths: Sequence[int]) -> None:
    """Refuse texts that the model cannot take.

    Raises:
        ValueError: if there is none, one is empty, or one is beyond the window.
    """
    window = model.config.max_position_embeddings
    wrong = [length for length in lengths if not 1 <= length <= window]
    if wrong:
        raise ValueError(f"A text has {wrong[0]} tokens: the model takes 1 to {window}, so cut it.")
    if not lengths:
        raise ValueError("There is no text: give one at least.")


def read_masked(folder: str | os.PathLike) -> tuple[MaskedModel, Vocabulary]:
    """A model that benchmarks/masked.py trained, in eval mode, and its vocabulary.

    Raises:
        ValueError: if the folder holds no such model.
        FileNotFoundError: if it has no tokenizer.
    """
    path = Path(folder, "config.json")
    kind = json.loads(path.read_text(encoding="utf-8")).get("model_type") if path.is_file() else None
    if kind != MaskedConfig.model_type:
        raise ValueError(f"{folder} holds no masked-diffusion model: train one with benchmarks/masked.py.")
    model = MaskedModel.from_pretrained(folder, use_safetensors=True)
    return model.eval(), Vocabulary(load_tokenizer(folder), model.config.vocab_size)
