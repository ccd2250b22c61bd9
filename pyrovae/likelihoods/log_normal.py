"""The log-normal likelihood of positive data."""

from collections.abc import Sequence

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyrovae.likelihoods.choices import ScaleByLogarithm, Source
from pyrovae.likelihoods.elementwise import LocScale
from pyrovae.likelihoods.shapes import data_dims
from pyrovae.likelihoods.starts import entry_mean


class LogNormal(LocScale):
    r"""Independent positive values, the decoder giving the means of their logarithms.

    .. math:: p(x \mid z) = \prod_d \frac{1}{x_d} \mathrm{Normal}(\log x_d;\ f_d(z),\ \sigma_d)

    Args:
        decoder: network from z ``(*batch, latent_dim)`` to means of log x ``(*batch, *data_shape)``; with a predicted
            scale to means and raw scales ``(*batch, 2, *data_shape)``.
        scale: standard deviation of log x: a positive number keeps it fixed, ``"shared"`` learns one for all entries,
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
        >>> bool((LogNormal(networks.MLP(2, 3))(torch.zeros(5, 2)).sample() > 0).all())
        True
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
        return dist.LogNormal(loc, scale).to_event(data_dims(loc, z, self))

    def initialize(self, rows: Tensor) -> None:
        """Start at mean and standard deviation of each entry's logarithm."""
        # What is not positive is refused when fitting starts; here it only must not become infinite.
        rows = rows if rows.is_floating_point() else rows.to(torch.get_default_dtype())
        logarithms = rows.clamp(min=torch.finfo(rows.dtype).tiny).log()
        self.start_at(entry_mean(logarithms), scale=self.spread(logarithms, "scale"))
