"""The trainable pair of a caption encoder and an image model: forward is the training loss of both."""

from __future__ import annotations

from torch import Tensor, nn

from textdiff.cross_modal.encoder import CaptionEncoder, CaptionEncoderConfig
from textdiff.image.model import ImageDiffusionConfig, ImageDiffusionModel, ImageDiffusionOutput


class TextToImageModel(nn.Module):
    """A caption encoder whose vectors an image model takes as condition, trained jointly.

    Args:
        image: shape of the image model; its condition_size is the encoder's width.
        encoder: shape of the caption encoder.
    """

    accepts_loss_kwargs = False

    def __init__(self, image: ImageDiffusionConfig, encoder: CaptionEncoderConfig) -> None:
        super().__init__()
        self.image, self.encoder = ImageDiffusionModel(image), CaptionEncoder(encoder)

    def forward(
        self, pixel_values: Tensor, input_ids: Tensor, sample_index: Tensor | None = None
    ) -> ImageDiffusionOutput:
        """One training step's loss; see `ImageDiffusionModel`.

        Args:
            pixel_values: [B, C, H, W] in [-1, 1].
            input_ids: captions [B, N], 0 = padding.
            sample_index: integers [B] that name the rows' noise; 0 to B - 1 if left out.
        """
        embeddings, mask = self.encoder(input_ids)
        return self.image(
            pixel_values, sample_index=sample_index, condition=embeddings, condition_mask=mask
        )
