"""The Poisson likelihood of counts with too many zeros."""

from collections.abc import Sequence

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyrovae.distributions import Poisson, ZeroInflated
from pyrovae.likelihoods.choices import LogOdds, Source
from pyrovae.likelihoods.counts import bounded_rate, gate_of_zeros, log_rate
from pyrovae.likelihoods.elementwise import Elementwise, params_shape
from pyrovae.likelihoods.shapes import data_dims
from pyrovae.likelihoods.starts import entry_mean


class ZeroInflatedPoisson(Elementwise):
    r"""Independent counts that are 0 with a probability of its own, else Poisson with log rates by the decoder.

    .. math:: p(x \mid z) = \prod_d \left[ g_d\, 1(x_d = 0) + (1 - g_d)\, \mathrm{Poisson}(x_d;\ \exp f_d(z)) \right]

    Args:
        decoder: network from z ``(*batch, latent_dim)`` to log rates ``(*batch, *data_shape)``, kept within 30 of 0;
            with a predicted gate to log rates and log-odds of the gate ``(*batch, 2, *data_shape)``.
        gate: g, probability of the extra zeros: a number in (0, 1) keeps it fixed, ``"shared"`` learns one for all
            entries, ``"per_dimension"`` one for each, ``"predicted"`` takes it from the decoder.
        data_shape: shape of one row; needed for ``"per_dimension"`` only.
        initial_gate: where a gate that is not fixed starts.

    Raises:
        ValueError: a gate that is no probability, no data_shape, a decoder's output of another shape.

    Example:
        >>> import torch
        >>> from pyrovae import networks
        >>> likelihood = ZeroInflatedPoisson(networks.MLP(2, 3), gate=0.3)
        >>> round(likelihood.gate.item(), 4)
        0.3
    """

    def __init__(
        self,
        decoder: nn.Module,
        gate: float | Source = "shared",
        data_shape: Sequence[int] | None = None,
        initial_gate: float = 0.1,
    ) -> None:
        super().__init__(decoder, data_shape, LogOdds(self, "gate", gate, initial_gate, data_shape))

    @classmethod
    def decoder_shape(cls, data_shape: Sequence[int], gate: float | Source = "shared") -> tuple[int, ...]:
        """Output shape that the decoder needs."""
        return params_shape(data_shape, 1 + (gate == "predicted"))

    @property
    def gate(self) -> Tensor:
        """The probability of extra zeros now: shape () or ``data_shape``."""
        return torch.sigmoid(self.value_of("gate"))

    def forward(self, z: Tensor) -> dist.TorchDistribution:
        """p(x|z): batch ``(*batch,)``, event ``data_shape``."""
        log_rates, gate_logits = self.entries(z)
        base = Poisson(bounded_rate(log_rates))
        return ZeroInflated(base, gate_logits=gate_logits).to_event(data_dims(log_rates, z, self))

    def initialize(self, rows: Tensor) -> None:
        """Start at the mean of each entry, and at its share of zeros where the gate is one for each."""
        mean = entry_mean(rows)
        gate = gate_of_zeros(rows, mean)
        if self.pooled("gate"):
            gate = gate.mean()
        share = 1 - self.choices["gate"].number_or(gate)
        self.start_at(log_rate(mean / share), gate=gate)
