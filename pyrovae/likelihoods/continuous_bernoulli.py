"""The continuous Bernoulli likelihood of grey values."""

import pyro.distributions as dist
from torch import Tensor, nn

from pyrovae.distributions import ContinuousBernoulli as ContinuousBernoulliDistribution
from pyrovae.distributions.arguments import check_called
from pyrovae.distributions.continuous_bernoulli import logits_of_mean
from pyrovae.likelihoods.shapes import data_dims, start_decoder
from pyrovae.likelihoods.starts import entry_mean


class ContinuousBernoulli(nn.Module):
    r"""Independent values in [0, 1], the decoder giving the slopes of their log densities.

    .. math:: p(x \mid z) = \prod_d \frac{l_d}{e^{l_d} - 1} e^{l_d x_d}, \qquad l_d = f_d(z)

    It is what a Bernoulli likelihood of grey values lacks to be a density (Loaiza-Ganem and Cunningham, 2019).

    Args:
        decoder: network from z ``(*batch, latent_dim)`` to log-odds ``(*batch, *data_shape)``.

    Raises:
        ValueError: a decoder that does not keep the leading dimensions of z.

    Example:
        >>> import torch
        >>> from pyrovae import networks
        >>> likelihood = ContinuousBernoulli(networks.MLP(2, (1, 8, 8)))
        >>> likelihood(torch.zeros(5, 2)).event_shape
        torch.Size([1, 8, 8])
    """

    def __init__(self, decoder: nn.Module) -> None:
        super().__init__()
        check_called(type(self).__name__, decoder=decoder)
        self.decoder = decoder

    def forward(self, z: Tensor) -> dist.TorchDistribution:
        """p(x|z): batch ``(*batch,)``, event ``data_shape``."""
        logits = self.decoder(z)
        return ContinuousBernoulliDistribution(logits).to_event(data_dims(logits, z, self))

    def initialize(self, rows: Tensor) -> None:
        """Start at the mean of each entry, kept between 0.01 and 0.99, where log-odds are within 100."""
        start_decoder(self, logits_of_mean(entry_mean(rows, self.decoder).clamp(0.01, 0.99)))
