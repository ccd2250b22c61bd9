"""The binomial likelihood of counts out of a known total."""

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyrovae.distributions import Binomial as BinomialDistribution
from pyrovae.distributions.arguments import check_called, is_whole_number
from pyrovae.likelihoods.shapes import data_dims, start_decoder
from pyrovae.likelihoods.starts import entry_mean, probability


class Binomial(nn.Module):
    r"""Independent counts of successes out of ``total_count``, the decoder giving log-odds of success.

    .. math:: p(x \mid z) = \prod_d \mathrm{Binomial}(x_d;\ N,\ \sigma(f_d(z)))

    Args:
        decoder: network from z ``(*batch, latent_dim)`` to log-odds ``(*batch, *data_shape)``.
        total_count: the number of trials N; the data are whole numbers from 0 to N.

    Raises:
        ValueError: a total count that is no positive whole number, a decoder that does not keep the leading
            dimensions of z.

    Example:
        >>> import torch
        >>> from pyrovae import networks
        >>> likelihood = Binomial(networks.MLP(2, 3), total_count=16)
        >>> likelihood(torch.zeros(5, 2)).sample().max().item() <= 16
        True
    """

    def __init__(self, decoder: nn.Module, total_count: int) -> None:
        super().__init__()
        check_called(type(self).__name__, decoder=decoder)
        if not is_whole_number(total_count) or total_count < 1:
            raise ValueError(
                f"{type(self).__name__}: total_count is {total_count!r}; the number of trials has to "
                "be a positive whole number"
            )
        self.decoder, self.total_count = decoder, int(total_count)

    def forward(self, z: Tensor) -> dist.TorchDistribution:
        """p(x|z): batch ``(*batch,)``, event ``data_shape``."""
        logits = self.decoder(z)
        return BinomialDistribution(self.total_count, logits=logits).to_event(data_dims(logits, z, self))

    def initialize(self, rows: Tensor) -> None:
        """Start at the mean of each entry."""
        start_decoder(self, torch.logit(probability(entry_mean(rows, self.decoder) / self.total_count)))

    def extra_repr(self) -> str:
        """What the printed module says of itself."""
        return f"total_count={self.total_count}"
