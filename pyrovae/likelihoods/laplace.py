"""The Laplace likelihood of real data with outliers."""

from collections.abc import Sequence

import pyro.distributions as dist
from torch import Tensor, nn

from pyrovae.likelihoods.choices import ScaleByLogarithm, Source
from pyrovae.likelihoods.elementwise import LocScale
from pyrovae.likelihoods.shapes import data_dims
from pyrovae.likelihoods.starts import entry_mean


class Laplace(LocScale):
    r"""Independent Laplace values, the decoder giving their locations: absolute error in place of squared.

    .. math:: p(x \mid z) = \prod_d \frac{1}{2 b_d} \exp\left(-\frac{|x_d - f_d(z)|}{b_d}\right)

    Args:
        decoder: network from z ``(*batch, latent_dim)`` to locations ``(*batch, *data_shape)``; with a predicted scale
            to locations and raw scales ``(*batch, 2, *data_shape)``.
        scale: b in the units of the data, the mean absolute deviation (the standard deviation is
            :math:`\sqrt 2 b`): a positive number keeps it fixed, ``"shared"`` learns one for all entries,
            ``"per_dimension"`` one for each, ``"predicted"`` takes it from the decoder.
        data_shape: shape of one row; needed for ``"per_dimension"`` only.
        initial_scale: where a scale that is not fixed starts.
        scale_floor: a scale that is not fixed stays above it.

    Raises:
        ValueError: a scale that is not positive, a floor that is not below the initial scale, no data_shape, a
            decoder's output of another shape.

    Example:
        >>> import torch
        >>> from pyrovae import networks
        >>> Laplace(networks.MLP(2, 3), scale=0.5)(torch.zeros(5, 2)).event_shape
        torch.Size([3])
    """

    def __init__(
        self,
        decoder: nn.Module,
        scale: float | Source = "shared",
        data_shape: Sequence[int] | None = None,
        initial_scale: float = 1.0,
        scale_floor: float = 1e-3,
    ) -> None:
        super().__init__(
            decoder, data_shape, ScaleByLogarithm(self, "scale", scale, initial_scale, scale_floor, data_shape)
        )

    def forward(self, z: Tensor) -> dist.TorchDistribution:
        """p(x|z): batch ``(*batch,)``, event ``data_shape``."""
        loc, scale = self.entries(z)
        return dist.Laplace(loc, scale).to_event(data_dims(loc, z, self))

    def initialize(self, rows: Tensor) -> None:
        """Start at the mean of each entry, and the scale that has the standard deviation where ``Normal`` starts."""
        self.start_at(entry_mean(rows), scale=self.spread(rows, "scale") / 2**0.5)
