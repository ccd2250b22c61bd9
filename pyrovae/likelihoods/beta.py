"""The Beta likelihood of fractions."""

from collections.abc import Sequence

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyrovae.distributions import Beta as BetaDistribution
from pyrovae.likelihoods.choices import PositiveByLogarithm, Source
from pyrovae.likelihoods.elementwise import Elementwise, params_shape
from pyrovae.likelihoods.shapes import data_dims
from pyrovae.likelihoods.starts import entry_mean, probability

# Keeps the gradient of the log density finite where the mean is all but 0 or 1.
_SMALLEST_CONCENTRATION = 1e-6


class Beta(Elementwise):
    r"""Independent values strictly between 0 and 1, the decoder giving the log-odds of their means.

    .. math:: p(x \mid z) = \prod_d \mathrm{Beta}(x_d;\ c_d m_d,\ c_d (1 - m_d)), \qquad m_d = \sigma(f_d(z))

    The concentration c is that of both sides together: the variance is :math:`m (1 - m) / (c + 1)`.

    Args:
        decoder: network from z ``(*batch, latent_dim)`` to log-odds ``(*batch, *data_shape)``; with a predicted
            concentration to log-odds and raw concentrations ``(*batch, 2, *data_shape)``.
        concentration: c: a positive number keeps it fixed, ``"shared"`` learns one for all entries,
            ``"per_dimension"`` one for each, ``"predicted"`` takes it from the decoder.
        data_shape: shape of one row; needed for ``"per_dimension"`` only.
        initial_concentration: where a concentration that is not fixed starts.
        concentration_floor: a concentration that is not fixed stays above it.

    Raises:
        ValueError: a concentration that is not positive, a floor that is not below the initial one, no data_shape, a
            decoder's output of another shape.

    Example:
        >>> import torch
        >>> from pyrovae import networks
        >>> x = Beta(networks.MLP(2, 3))(torch.zeros(5, 2)).sample()
        >>> bool(((0 < x) & (x < 1)).all())
        True
    """

    def __init__(
        self,
        decoder: nn.Module,
        concentration: float | Source = "shared",
        data_shape: Sequence[int] | None = None,
        initial_concentration: float = 10.0,
        concentration_floor: float = 1e-3,
    ) -> None:
        choice = PositiveByLogarithm(
            self,
            "concentration",
            concentration,
            initial_concentration,
            concentration_floor,
            data_shape,
            meaning="a concentration",
        )
        super().__init__(decoder, data_shape, choice)

    @classmethod
    def decoder_shape(cls, data_shape: Sequence[int], concentration: float | Source = "shared") -> tuple[int, ...]:
        """Output shape that the decoder needs."""
        return params_shape(data_shape, 1 + (concentration == "predicted"))

    @property
    def concentration(self) -> Tensor:
        """The concentration now: shape () or ``data_shape``."""
        return self.value_of("concentration")

    def forward(self, z: Tensor) -> dist.TorchDistribution:
        """p(x|z): batch ``(*batch,)``, event ``data_shape``."""
        logits, concentration = self.entries(z)
        # The sigmoid of the negative log-odds keeps the digits that 1 - mean would lose.
        ones = (concentration * torch.sigmoid(logits)).clamp(min=_SMALLEST_CONCENTRATION)
        zeros = (concentration * torch.sigmoid(-logits)).clamp(min=_SMALLEST_CONCENTRATION)
        return BetaDistribution(ones, zeros).to_event(data_dims(logits, z, self))

    def initialize(self, rows: Tensor) -> None:
        """Start at the mean of each entry, and at the concentration that has the variance around it."""
        mean = probability(entry_mean(rows))
        largest = mean * (1 - mean)
        if self.pooled("concentration"):
            largest = largest.mean()
        concentration = (largest / self.spread(rows, "concentration").square() - 1).clamp(0.1, 1000.0)
        self.start_at(torch.logit(mean), concentration=concentration)
