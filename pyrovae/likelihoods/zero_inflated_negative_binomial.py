"""The negative binomial likelihood of counts with too many zeros."""

from collections.abc import Sequence

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyrovae.distributions import NegativeBinomial, ZeroInflated
from pyrovae.likelihoods.choices import LogOdds, PositiveByLogarithm, Source
from pyrovae.likelihoods.counts import (
    bounded_log_rate,
    excess_of_zeros,
    log_rate,
    start_of_total_count,
    total_count_of_moments,
)
from pyrovae.likelihoods.elementwise import Elementwise, params_shape
from pyrovae.likelihoods.shapes import data_dims
from pyrovae.likelihoods.starts import entry_mean, entry_variance


class ZeroInflatedNegativeBinomial(Elementwise):
    r"""Independent counts that are 0 with a probability of its own, else negative binomial with means by the decoder.

    .. math:: p(x \mid z) = \prod_d \left[ g_d\, 1(x_d = 0) + (1 - g_d)\, \mathrm{NB}(x_d;\ m_d, r_d) \right],
        \qquad m_d = \exp f_d(z)

    where NB has mean m and variance :math:`m + m^2 / r`, as in ``NegativeBinomial``.

    Args:
        decoder: network from z ``(*batch, latent_dim)`` to log means ``(*batch, *data_shape)``, kept within 30 of 0;
            with P - 1 predicted parameters to ``(*batch, P, *data_shape)``: log means, raw total counts, log-odds of
            the gate.
        total_count: r: a positive number keeps it fixed, ``"shared"`` learns one for all entries,
            ``"per_dimension"`` one for each, ``"predicted"`` takes it from the decoder.
        gate: g, probability of the extra zeros: a number in (0, 1), or chosen in the same way.
        data_shape: shape of one row; needed for ``"per_dimension"`` only.
        initial_total_count: where a total count that is not fixed starts.
        total_count_floor: a total count that is not fixed stays above it.
        initial_gate: where a gate that is not fixed starts.

    Raises:
        ValueError: a total count that is not positive, a gate that is no probability, no data_shape, a decoder's
            output of another shape.

    Example:
        >>> import torch
        >>> from pyrovae import networks
        >>> ZeroInflatedNegativeBinomial(networks.MLP(2, 3))(torch.zeros(5, 2)).event_shape
        torch.Size([3])
    """

    def __init__(
        self,
        decoder: nn.Module,
        total_count: float | Source = "shared",
        gate: float | Source = "shared",
        data_shape: Sequence[int] | None = None,
        initial_total_count: float = 10.0,
        total_count_floor: float = 1e-3,
        initial_gate: float = 0.1,
    ) -> None:
        super().__init__(
            decoder,
            data_shape,
            PositiveByLogarithm(
                self,
                "total_count",
                total_count,
                initial_total_count,
                total_count_floor,
                data_shape,
                meaning="a total count",
            ),
            LogOdds(self, "gate", gate, initial_gate, data_shape),
        )

    @classmethod
    def decoder_shape(
        cls, data_shape: Sequence[int], total_count: float | Source = "shared", gate: float | Source = "shared"
    ) -> tuple[int, ...]:
        """Output shape that the decoder needs."""
        return params_shape(data_shape, 1 + (total_count == "predicted") + (gate == "predicted"))

    @property
    def total_count(self) -> Tensor:
        """The total count now: shape () or ``data_shape``."""
        return self.value_of("total_count")

    @property
    def gate(self) -> Tensor:
        """The probability of extra zeros now: shape () or ``data_shape``."""
        return torch.sigmoid(self.value_of("gate"))

    def forward(self, z: Tensor) -> dist.TorchDistribution:
        """p(x|z): batch ``(*batch,)``, event ``data_shape``."""
        log_mean, total_count, gate_logits = self.entries(z)
        logits = bounded_log_rate(log_mean) - total_count.log()
        base = NegativeBinomial(total_count, logits=logits)
        return ZeroInflated(base, gate_logits=gate_logits).to_event(data_dims(logits, z, self))

    def initialize(self, rows: Tensor) -> None:
        """Start at the mean of each entry, and at a total count and a gate that share the excess of zeros."""
        mean, variance = entry_mean(rows), entry_variance(rows)
        per_entry = total_count_of_moments(mean, variance, pooled=False)
        # Zeros beyond those of the negative binomial that has mean and variance of the data.
        gate = excess_of_zeros(rows, torch.exp(-per_entry * torch.log1p(mean / per_entry)))
        if self.pooled("gate"):
            gate = gate.mean()
        self.start_at(
            log_rate(mean / (1 - self.choices["gate"].number_or(gate))),
            total_count=start_of_total_count(mean, variance, pooled=self.pooled("total_count")),
            gate=gate,
        )
