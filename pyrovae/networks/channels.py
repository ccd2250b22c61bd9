"""Numbers beside an image, as channels of it."""

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor, nn


class CovariateChannels(nn.Module):
    """An encoder of images that is given covariates too: each is one more channel, the same at all pixels.

    The rows are those of ``ConditionalVAE.join``, an image flattened with its covariates behind it.

    Args:
        encoder: network of images ``(channels + covariate_dim, height, width)``.
        data_shape: ``(channels, height, width)`` of the image alone.
        covariate_dim: numbers behind it.

    Shape:
        ``(*batch, pixels + covariate_dim) -> (*batch, *output_shape)``.

    Example:
        >>> from pyrovae import networks
        >>> encoder = CovariateChannels(networks.ConvEncoder((1 + 10, 8, 8), 4), (1, 8, 8), 10)
        >>> encoder(torch.zeros(3, 64 + 10)).shape
        torch.Size([3, 4])
    """

    def __init__(self, encoder: nn.Module, data_shape: Sequence[int], covariate_dim: int) -> None:
        super().__init__()
        self.encoder, self.data_shape, self.covariate_dim = encoder, tuple(data_shape), covariate_dim

    def forward(self, rows: Tensor) -> Tensor:
        """What the encoder gives for the images with their covariates."""
        size = prod(self.data_shape)
        images = rows[..., :size].unflatten(-1, self.data_shape)
        channels = rows[..., size:, None, None].expand(*rows.shape[:-1], self.covariate_dim, *self.data_shape[1:])
        return self.encoder(torch.cat([images, channels], -3))
