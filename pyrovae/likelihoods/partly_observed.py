"""A likelihood of rows with missing entries, made of one without."""

from collections.abc import Sequence
from typing import Any

import pyro.distributions as dist
from torch import Tensor, nn

from pyrovae.distributions import PartlyObserved as PartlyObservedDistribution
from pyrovae.distributions.arguments import check_called
from pyrovae.networks.shapes import as_shape


class PartlyObserved(nn.Module):
    r"""Another likelihood, for rows whose missing entries are NaN: those count for nothing.

    .. math:: p(x_\mathrm{observed} \mid z) = \int p(x \mid z)\, \mathrm{d}x_\mathrm{missing}

    This is right where what is missing does not depend on the missing values (Rubin, 1976). The posterior has to take
    NaN too: wrap it in ``posteriors.PartlyObserved``, or use an encoder that does, such as ``networks.ColumnEncoder``.

    Args:
        likelihood: module from z to a distribution over whole rows with independent entries, or one with a method
            ``marginal_log_prob``; see ``distributions.PartlyObserved``.

    Example:
        >>> import torch
        >>> from pyrovae import likelihoods, networks
        >>> likelihood = PartlyObserved(likelihoods.Normal(networks.MLP(2, 3)))
        >>> likelihood(torch.zeros(2)).log_prob(torch.tensor([0.5, torch.nan, 1.0])).isfinite()
        tensor(True)
    """

    def __init__(self, likelihood: nn.Module) -> None:
        super().__init__()
        check_called(type(self).__name__, likelihood=likelihood)
        self.likelihood = likelihood

    @classmethod
    def decoder_shape(
        cls, data_shape: Sequence[int], likelihood: nn.Module | type[nn.Module], **arguments: Any
    ) -> tuple[int, ...]:
        """The output shape that the decoder of ``likelihood`` needs, the module or its class."""
        shape_of = getattr(likelihood, "decoder_shape", None)
        return as_shape(data_shape, "data_shape") if shape_of is None else shape_of(data_shape, **arguments)

    def initialize(self, rows: Tensor) -> None:
        """Start from training rows, as the likelihood does."""
        start = getattr(self.likelihood, "initialize", None)
        if start is not None:
            start(rows)

    def forward(self, z: Tensor) -> dist.TorchDistribution:
        """p(x|z): batch ``(*batch,)``, event ``data_shape``."""
        return PartlyObservedDistribution(self.likelihood(z))
