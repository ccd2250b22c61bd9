"""The negative binomial likelihood of overdispersed counts."""

from collections.abc import Sequence

import pyro.distributions as dist
from torch import Tensor, nn

from pyrovae.distributions import NegativeBinomial as NegativeBinomialDistribution
from pyrovae.likelihoods.choices import PositiveByLogarithm, Source
from pyrovae.likelihoods.counts import bounded_log_rate, log_rate, start_of_total_count
from pyrovae.likelihoods.elementwise import Elementwise, params_shape
from pyrovae.likelihoods.shapes import data_dims
from pyrovae.likelihoods.starts import entry_mean, entry_variance


class NegativeBinomial(Elementwise):
    r"""Independent counts that vary more than Poisson counts, the decoder giving the logarithms of their means.

    .. math:: p(x \mid z) = \prod_d \frac{\Gamma(x_d + r_d)}{x_d!\, \Gamma(r_d)}
        \left(\frac{m_d}{m_d + r_d}\right)^{x_d} \left(\frac{r_d}{m_d + r_d}\right)^{r_d}, \qquad m_d = \exp f_d(z)

    The variance is :math:`m + m^2 / r`: a small total count r is a large dispersion, a large one gives the Poisson
    distribution.

    Args:
        decoder: network from z ``(*batch, latent_dim)`` to log means ``(*batch, *data_shape)``, kept within 30 of 0;
            with a predicted total count to log means and raw total counts ``(*batch, 2, *data_shape)``.
        total_count: r, not only whole: a positive number keeps it fixed, ``"shared"`` learns one for all entries,
            ``"per_dimension"`` one for each, ``"predicted"`` takes it from the decoder.
        data_shape: shape of one row; needed for ``"per_dimension"`` only.
        initial_total_count: where a total count that is not fixed starts.
        total_count_floor: a total count that is not fixed stays above it.

    Raises:
        ValueError: a total count that is not positive, a floor that is not below the initial one, no data_shape, a
            decoder's output of another shape.

    Example:
        >>> import torch
        >>> from pyrovae import networks
        >>> NegativeBinomial(networks.MLP(2, 3), total_count=4.0)(torch.zeros(5, 2)).event_shape
        torch.Size([3])
    """

    def __init__(
        self,
        decoder: nn.Module,
        total_count: float | Source = "shared",
        data_shape: Sequence[int] | None = None,
        initial_total_count: float = 10.0,
        total_count_floor: float = 1e-3,
    ) -> None:
        choice = PositiveByLogarithm(
            self,
            "total_count",
            total_count,
            initial_total_count,
            total_count_floor,
            data_shape,
            meaning="a total count",
        )
        super().__init__(decoder, data_shape, choice)

    @classmethod
    def decoder_shape(cls, data_shape: Sequence[int], total_count: float | Source = "shared") -> tuple[int, ...]:
        """Output shape that the decoder needs."""
        return params_shape(data_shape, 1 + (total_count == "predicted"))

    @property
    def total_count(self) -> Tensor:
        """The total count now: shape () or ``data_shape``."""
        return self.value_of("total_count")

    def forward(self, z: Tensor) -> dist.TorchDistribution:
        """p(x|z): batch ``(*batch,)``, event ``data_shape``."""
        log_mean, total_count = self.entries(z)
        logits = bounded_log_rate(log_mean) - total_count.log()
        return NegativeBinomialDistribution(total_count, logits=logits).to_event(data_dims(logits, z, self))

    def initialize(self, rows: Tensor) -> None:
        """Start at the mean of each entry, and at the total count that has the variance around it, 1 at least."""
        mean, variance = entry_mean(rows), entry_variance(rows)
        total_count = start_of_total_count(mean, variance, pooled=self.pooled("total_count"))
        self.start_at(log_rate(mean), total_count=total_count)
