"""The mean-field Gaussian posterior."""

import pyro.distributions as dist
from torch import Tensor, nn

from pyrovae.distributions import IndependentNormal
from pyrovae.distributions.arguments import check_called, positive_scale
from pyrovae.posteriors.shapes import encoder_size_error


class DiagonalNormal(nn.Module):
    r"""A Gaussian q(z|x) with independent dimensions, its parameters given by the encoder.

    .. math:: q(z \mid x) = \prod_d \mathrm{Normal}(z_d;\ \mu_d(x),\ \sigma_d(x))

    The first half of the encoder's output is the mean, softplus of the second half the standard deviation
    (Kingma and Welling, 2014).

    Args:
        encoder: network from x ``(*batch, *data_shape)`` to ``(*batch, 2 * latent_dim)``.

    Raises:
        ValueError: the encoder's output has an odd last dimension.

    Example:
        >>> import torch
        >>> from pyrovae import networks
        >>> posterior = DiagonalNormal(networks.MLP((1, 8, 8), 2 * 10))
        >>> q = posterior(torch.zeros(5, 1, 8, 8))
        >>> q.batch_shape, q.event_shape
        (torch.Size([5]), torch.Size([10]))
    """

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        check_called(type(self).__name__, encoder=encoder)
        self.encoder = encoder

    @classmethod
    def encoder_shape(cls, latent_dim: int) -> int:
        """How many numbers the encoder has to give for each row."""
        return 2 * latent_dim

    def forward(self, x: Tensor | tuple[Tensor, ...]) -> dist.TorchDistribution:
        """q(z|x): batch ``(*batch,)``, event ``(latent_dim,)``; x is what the encoder takes."""
        output = self.encoder(x)
        if output.shape[-1] % 2:
            raise encoder_size_error(
                output, "DiagonalNormal", "2 * latent_dim of them, a mean and a raw scale for each dimension"
            )
        loc, raw_scale = output.chunk(2, dim=-1)
        return IndependentNormal(dist.Normal(loc, positive_scale(raw_scale)), 1)
