"""The text denoiser: noisy word vectors in, a distribution over tokens and an estimate of the clean vectors out.

The logits are a transformer's plus the exact posterior of an independent token, alpha / sigma^2 <x_t, e_w> (the
"output prior" of Plaid, arXiv 2305.18619, section 4.3); x0_hat is their softmax's mean word vector, so it lies in the
hull of the vocabulary. With `categorical=False` the network regresses x0_hat instead (Diffusion-LM, arXiv 2205.14217).
Given positions enter as clean vectors with a learned flag; the noise level is one more input of every position. Plain
torch: inference needs nothing else.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from textdiff.text.embedding import TokenEmbedding
from textdiff.text.transformer import LocalMix, Transformer, segment_positions


@dataclass
class DenoiserConfig:
    """Shape of a `TextDenoiser`; every field is a JSON value."""

    vocab_size: int = 4096
    embedding_dim: int = 64              # D, dimension of the space that is diffused
    hidden_size: int = 256
    num_hidden_layers: int = 6
    num_attention_heads: int = 4
    intermediate_size: int = 1024
    max_position_embeddings: int = 64    # longest text, in tokens
    dropout: float = 0.0
    unit_norm: bool = True               # word vectors on the unit sphere
    categorical: bool = True             # softmax head with output prior; False regresses x0
    stagger: float = 0.0                 # how long a token leaves the noise after the one before it, in units of a
                                         # token's own way (`diffusion.stagger`); 0 = all tokens at once
    stagger_least: float = 0.0           # training varies it from here
    copies: float = 0.0                  # strength of a second head, which copies tokens that entered; 0 = none
    reading_layers: int = 0              # layers that read clean tokens in order (`ordered`); 0 = all see everything
    sides: bool = False                  # places are counted anew where what is given ends: a pair's source and target

    def to_dict(self) -> dict[str, Any]:
        """The fields as a JSON-able dictionary."""
        return asdict(self)


FOURIER_FREQUENCIES = 32
CERTAIN = 1e3  # alpha / sigma^2 of a given position
SURE = 100.0  # from this alpha / sigma^2 on, x_t's posterior is the nearest word
NOTHING = 0.06  # up to here it is even over all words


class DenoiserOutput(NamedTuple):
    """What one call of the denoiser tells."""

    logits: Tensor  # [..., V], natural log scale, not normalised
    x0_hat: Tensor  # [..., D]


class Prefix(NamedTuple):
    """Clean vectors that stand before the first text of every row; the denoiser does not know where they come from.

    Attributes:
        vectors: [B, P, H], never noised, not part of the output.
        mask: bool [B, P], True = looked at; a row without any is a row without a prefix.
    """

    vectors: Tensor
    mask: Tensor

    def rows(self, chosen: Tensor | slice) -> Prefix:
        """That of some of the rows."""
        return Prefix(self.vectors[chosen], self.mask[chosen])


class NoiseLevelEmbedding(nn.Module):
    """logsnr [...] -> a vector [..., H], by Fourier features and a small MLP."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        width = 2 * FOURIER_FREQUENCIES
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, hidden))

    def forward(self, logsnr: Tensor) -> Tensor:
        """logsnr: [...], natural log of alpha^2 / sigma^2."""
        frequencies = torch.linspace(-5.0, 3.0, FOURIER_FREQUENCIES, device=logsnr.device).exp()
        angles = logsnr.float()[..., None] * frequencies
        features = torch.cat([angles.sin(), angles.cos()], dim=-1)
        return self.mlp(features.to(next(self.mlp.parameters()).dtype))


class TextDenoiser(nn.Module):
    """Noisy vectors x_t [B, L, D] at log signal-to-noise ratio [B] or [B, L] -> logits and x0_hat."""

    def __init__(self, config: DenoiserConfig) -> None:
        super().__init__()
        self.config = config
        D, H = config.embedding_dim, config.hidden_size
        self.embedding = TokenEmbedding(config.vocab_size, D, unit_norm=config.unit_norm)
        self.noisy_in = nn.Linear(D, H)
        self.previous_in = nn.Linear(D, H, bias=False)
        self.noise_level = NoiseLevelEmbedding(H)
        self.known_flag = nn.Parameter(torch.zeros(H))
        self.from_start = nn.Embedding(config.max_position_embeddings, H)
        self.from_end = nn.Embedding(config.max_position_embeddings, H)
        self.transformer = Transformer(
            H, config.num_hidden_layers, config.num_attention_heads, config.intermediate_size, config.dropout
        )
        if config.categorical:
            self.token_in = nn.Embedding(config.vocab_size, H)
        self.head = nn.Linear(H, config.vocab_size if config.categorical else D)
        self.copy_head = nn.Linear(H, H, bias=False) if config.categorical and config.copies else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialise all weights: small normal; blocks add and the head says nothing, so that the first output is the
        output prior."""
        self.apply(init_weights)

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
    ) -> DenoiserOutput:
        """Denoise.

        Args:
            x_t: noisy word vectors, [B, L, D].
            logsnr: noise level, [B], or [B, L] where texts packed into one row have their own.
            attention_mask: [B, L]; 0 = padding, otherwise the number of the segment (1 where there is one text).
            known: bool [B, L], True = given.
            x0_known: clean vectors, [B, L, D], read only where `known`.
            x0_prev: an earlier estimate of x0 for self-conditioning (Analog Bits, arXiv 2208.04202), [B, L, D]; not
                read where `known`.
            shown: what the transformer sees in place of x_t and logsnr, [B, L, D] and [B, L]; the output prior still
                takes its evidence from x_t.
            wanted: bool [B, L], the N positions that are asked for; the output is [N, ...] then.
            temperature: divides the transformer's logits, not the evidence of x_t.
            barred: bool like the logits, tokens that may not stand there.
            prefix: what stands before segment 1 and is seen from there.
        """
        logsnr = logsnr.view(len(x_t), -1)
        hidden = self.hidden(*(shown or (x_t, logsnr)), attention_mask, known, x0_known, x0_prev, prefix)
        if wanted is not None:
            hidden, x_t, logsnr = hidden[wanted], x_t[wanted], logsnr.expand(wanted.shape)[wanted]
        return self.read_out(hidden, x_t, logsnr, temperature=temperature, barred=barred)

    def hidden(
        self,
        x_t: Tensor,
        logsnr: Tensor,
        attention_mask: Tensor,
        known: Tensor | None,
        x0_known: Tensor | None,
        x0_prev: Tensor | None,
        prefix: Prefix | None = None,
    ) -> Tensor:
        """The transformer's last states, [B, L, H]; arguments as in `forward`, logsnr [B, 1] or [B, L]."""
        D = self.config.embedding_dim
        x_in = x_t.float() * self.input_scale(logsnr)[..., None]
        if known is not None and x0_known is not None:
            x_in = torch.where(known[..., None], x0_known.float() * (D**0.5 if self.config.unit_norm else 1.0), x_in)
        dtype = self.noisy_in.weight.dtype  # below float32 where the weights were cast
        h = self.noisy_in(x_in.to(dtype)) + self.noise_level(logsnr)
        if self.config.categorical:
            h = h + self.expected_token(x_t, logsnr, known, x0_known)
        if known is not None:
            h = h + known[..., None] * self.known_flag
        if x0_prev is not None:
            seen = attention_mask > 0 if known is None else (attention_mask > 0) & ~known
            h = h + self.previous_in(torch.where(seen[..., None], x0_prev.float() * D**0.5, 0.0).to(dtype))
        start, end = self.places(attention_mask, known)
        h = h + self.from_start(start) + self.from_end(end)
        if prefix is None:
            return self.transformer(h, attention_mask, start)
        vectors, mask = prefix
        before = torch.arange(-vectors.shape[1], 0, device=h.device).expand(len(h), -1)
        parts = ((vectors.to(h.dtype), h), (mask.to(attention_mask.dtype), attention_mask), (before, start))
        return self.transformer(*(torch.cat(part, dim=1) for part in parts))[:, vectors.shape[1] :]

    def places(self, attention_mask: Tensor, known: Tensor | None) -> tuple[Tensor, Tensor]:
        """`segment_positions`, or those of what is given and what is not, each counted for itself."""
        if self.config.sides and known is not None:
            attention_mask = torch.where(attention_mask > 0, 2 * attention_mask + known, 0)
        return segment_positions(attention_mask)

    def input_scale(self, logsnr: Tensor) -> Tensor:
        """Factor that makes x_t the best linear estimate of x0, in units of a word vector's coordinate.

        Noise so enters small. Free vectors, whose size is not known, enter as they are. logsnr: [...].
        """
        if not self.config.unit_norm:
            return torch.ones_like(logsnr, dtype=torch.float32)
        D = self.config.embedding_dim
        alpha2, sigma2 = torch.sigmoid(logsnr), torch.sigmoid(-logsnr)
        return (alpha2.sqrt() / (alpha2 / D + sigma2) / D**0.5).float()

    def expected_token(self, x_t: Tensor, logsnr: Tensor, known: Tensor | None, x0_known: Tensor | None) -> Tensor:
        """Mean input vector of a token under the posterior that x_t alone gives, [B, L, H]; no gradient into x_t.

        A transformer would have to learn to tell V points in D dimensions apart; this hands it the words, as sharply as
        the noise allows. Where that is all or next to nothing, one word or the mean of all of them stands for the sum.
        """
        x, scale = x_t.detach().float(), output_prior_scale(logsnr).expand(x_t.shape[:2])
        if known is not None and x0_known is not None:
            x = torch.where(known[..., None], x0_known.detach().float(), x)
            scale = scale.masked_fill(known, CERTAIN)
        sure, torn = scale >= SURE, (scale > NOTHING) & (scale < SURE)
        words = self.token_in.weight
        with torch.no_grad(), torch.autocast(x_t.device.type, enabled=False):
            nearest = self.embedding.round(x[sure])
            posterior = torch.softmax(self.embedding.logits(x[torn] * scale[torn][:, None]), dim=-1)
        expected = words.mean(0).expand(*x.shape[:2], -1).clone()
        expected[sure] = nn.functional.embedding(nearest, words)
        expected[torn] = nn.functional.linear(posterior.to(words.dtype), words.T).to(words.dtype)
        return expected

    def read_out(
        self, hidden: Tensor, x_t: Tensor, logsnr: Tensor, *, temperature: float = 1.0, barred: Tensor | None = None
    ) -> DenoiserOutput:
        """Hidden states [..., H] with their x_t [..., D] and logsnr [...] -> logits and x0_hat; see `forward`."""
        network = self.predict(hidden)
        if self.config.categorical:
            return self.combine(network, self.prior_logits(x_t, logsnr), temperature=temperature, barred=barred)
        x0_hat = network.float()
        logits = self.embedding.logits(x0_hat)
        return DenoiserOutput(logits if barred is None else logits.masked_fill(barred, -torch.inf), x0_hat)

    def predict(self, hidden: Tensor) -> Tensor:
        """The head's part: hidden states [..., H] -> logits [..., V], or x0_hat [..., D].

        By the tokens' own input vectors (tied, as in Press & Wolf, arXiv 1608.05859) copying is learned for all tokens
        at once, rare ones too; the head's table beside them learns language sooner than a tied one alone (docs/log.md).
        """
        read = self.head(hidden)
        if self.copy_head is None:
            return read
        copied = nn.functional.linear(self.copy_head(hidden), self.token_in.weight.to(read.dtype))
        return read + copied * (self.config.copies * self.config.hidden_size**-0.5)

    def prior_logits(self, x_t: Tensor, logsnr: Tensor) -> Tensor:
        """The output prior -|x_t - alpha e_w|^2 / (2 sigma^2) up to a constant, [..., V] in float32.

        With unit vectors it is alpha / sigma^2 <x_t, e_w>. x_t: [..., D], logsnr: [...].
        """
        with torch.autocast(x_t.device.type, enabled=False):
            if self.config.unit_norm:
                return self.embedding.logits(x_t.float() * output_prior_scale(logsnr)[..., None])
            snr, alpha = logsnr.exp().float()[..., None], torch.sigmoid(logsnr).sqrt().float()[..., None]
            return snr * self.embedding.logits(x_t.float() / alpha)

    def combine(
        self, network: Tensor, prior: Tensor, *, temperature: float = 1.0, barred: Tensor | None = None
    ) -> DenoiserOutput:
        """The head's logits and the output prior, [..., V] each -> logits and x0_hat, in float32; see `forward`."""
        with torch.autocast(network.device.type, enabled=False):
            logits = torch.add(prior, network.float(), alpha=1 / temperature)
            if barred is not None:
                logits = logits.masked_fill(barred, -torch.inf)
            return DenoiserOutput(logits, self.embedding.mean(logits))


def output_prior_scale(logsnr: Tensor) -> Tensor:
    """alpha / sigma^2 in float32, computed in float64: how strongly x_t speaks for the words it is close to."""
    logsnr = logsnr.double()
    return (torch.exp(0.5 * logsnr) * torch.rsqrt(torch.sigmoid(-logsnr))).float()


def init_weights(module: nn.Module) -> None:
    """Initialise one module in place, with functions that leave already loaded weights alone in transformers 5."""
    if isinstance(module, TokenEmbedding | LocalMix):
        module.reset_parameters()
    elif isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=module.in_features**-0.5)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.LayerNorm):
        nn.init.ones_(module.weight)
        nn.init.zeros_(module.bias)
    elif isinstance(module, nn.RMSNorm):
        nn.init.ones_(module.weight)
    elif isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight, std=0.5)  # words and places weigh in beside the noisy vectors' unit variance
    for name in ("attention_out", "mlp_out", "head", "copy_head", "previous_in"):
        silent = getattr(module, name, None)
        if isinstance(silent, nn.Linear):
            nn.init.zeros_(silent.weight)
    if isinstance(flag := getattr(module, "known_flag", None), nn.Parameter):
        nn.init.zeros_(flag)
