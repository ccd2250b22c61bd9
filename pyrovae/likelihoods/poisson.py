"""The Poisson likelihood of counts."""

import pyro.distributions as dist
from torch import Tensor, nn

from pyrovae.distributions import Poisson as PoissonDistribution
from pyrovae.distributions.arguments import check_called
from pyrovae.likelihoods.counts import bounded_rate, log_rate
from pyrovae.likelihoods.shapes import data_dims, start_decoder
from pyrovae.likelihoods.starts import entry_mean


class Poisson(nn.Module):
    r"""Independent counts, the decoder giving the logarithms of their means.

    .. math:: p(x \mid z) = \prod_d \mathrm{Poisson}(x_d;\ \exp f_d(z))

    The logarithms are kept within 30 of 0, rates from 1e-13 to 1e13.

    Args:
        decoder: network from z ``(*batch, latent_dim)`` to log rates ``(*batch, *data_shape)``.

    Raises:
        ValueError: a decoder that does not keep the leading dimensions of z.

    Example:
        >>> import torch
        >>> from pyrovae import networks
        >>> Poisson(networks.MLP(2, 3))(torch.zeros(5, 2)).event_shape
        torch.Size([3])
    """

    def __init__(self, decoder: nn.Module) -> None:
        super().__init__()
        check_called(type(self).__name__, decoder=decoder)
        self.decoder = decoder

    def forward(self, z: Tensor) -> dist.TorchDistribution:
        """p(x|z): batch ``(*batch,)``, event ``data_shape``."""
        rate = bounded_rate(self.decoder(z))
        return PoissonDistribution(rate).to_event(data_dims(rate, z, self))

    def initialize(self, rows: Tensor) -> None:
        """Start at the mean of each entry, at least 0.001."""
        start_decoder(self, log_rate(entry_mean(rows, self.decoder)))
