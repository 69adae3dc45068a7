"""The trainable pair of a picture encoder and a text model: forward is the training loss of both."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

from textdiff.cross_modal.picture_encoder import PictureEncoder, PictureEncoderConfig
from textdiff.diffusion.losses import sample_uniform
from textdiff.text.denoiser import Prefix
from textdiff.text.model import DiffusionLMConfig, DiffusionLMModel, DiffusionLMOutput

PICTURE_DROPOUT = 0.1  # share of training rows without their picture, for classifier-free guidance (arXiv 2207.12598)


@dataclass
class CaptionerOutput(DiffusionLMOutput):
    """The text model's terms, and -log p(length | picture), all in nats per word: their sum bounds a caption's."""

    length: Tensor | None = None


class CaptionerModel(nn.Module):
    """A text model that is told what an encoder reads in a picture, trained jointly by the text model's own loss.

    Args:
        text: shape of the text model; its hidden size and window are the encoder's width and length.
        picture: shape of the encoder.
    """

    accepts_loss_kwargs = False

    def __init__(self, text: DiffusionLMConfig, picture: PictureEncoderConfig) -> None:
        super().__init__()
        self.text, self.encoder = DiffusionLMModel(text), PictureEncoder(picture)

    def forward(self, pixel_values: Tensor, input_ids: Tensor, sample_index: Tensor) -> CaptionerOutput:
        """One training step's loss, the mean over rows; see `DiffusionLMModel`.

        Args:
            pixel_values: [B, C, H, W] in [-1, 1].
            input_ids: captions [B, N], 0 = padding.
            sample_index: integers [B] that name the rows' noise.
        """
        prefix, length_logits = self.encoder(pixel_values)
        words = (input_ids > 0).long()
        if self.training:
            told = sample_uniform(sample_index, self.text.config.noise_seed + 3) >= PICTURE_DROPOUT
            prefix = Prefix(prefix.vectors, prefix.mask & told[:, None])
        found = self.text(input_ids, words, sample_index=sample_index, prefix=prefix)
        count = words.sum(1)
        length = (functional.cross_entropy(length_logits, count - 1, reduction="none") / count).mean()
        return CaptionerOutput(**{**found, "loss": found.loss + length, "length": length.detach()})
