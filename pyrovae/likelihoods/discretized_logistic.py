"""The discretised logistic likelihood of levels such as those of pixels."""

from collections.abc import Sequence
from math import pi

import pyro.distributions as dist
from torch import Tensor, nn

from pyrovae.distributions import DiscretizedLogistic as DiscretizedLogisticDistribution
from pyrovae.likelihoods.choices import ScaleByLogarithm, Source
from pyrovae.likelihoods.elementwise import LocScale
from pyrovae.likelihoods.levels import check_num_levels, check_range
from pyrovae.likelihoods.shapes import data_dims
from pyrovae.likelihoods.starts import entry_mean


class DiscretizedLogistic(LocScale):
    r"""Independent levels, each a logistic variable rounded to the nearest, the decoder giving the locations.

    .. math:: p(x \mid z) = \prod_d \left[ \sigma\!\left(\frac{x_d + w/2 - f_d(z)}{s_d}\right) -
        \sigma\!\left(\frac{x_d - w/2 - f_d(z)}{s_d}\right) \right], \qquad w = \frac{\text{high} - \text{low}}{L - 1}

    The lowest and the highest level take the tails (Kingma, Salimans, Jozefowicz et al., 2016; Salimans et al., 2017).
    Probabilities, not densities: log p(x) gives bits per dimension.

    Args:
        decoder: network from z ``(*batch, latent_dim)`` to locations in the units of the data
            ``(*batch, *data_shape)``; with a predicted scale to locations and raw scales ``(*batch, 2, *data_shape)``.
        scale: s in the units of the data (the standard deviation before rounding is :math:`\pi s / \sqrt 3`): a
            positive number keeps it fixed, ``"shared"`` learns one for all entries, ``"per_dimension"`` one for each,
            ``"predicted"`` takes it from the decoder.
        num_levels: L, equally spaced from ``low`` to ``high``; the default is k / 255, as images are loaded.
        low: lowest level.
        high: highest level.
        data_shape: shape of one row; needed for ``"per_dimension"`` only.
        initial_scale: where a scale that is not fixed starts, in parts of ``high - low``.
        scale_floor: a scale that is not fixed stays above it, in parts of ``high - low``.

    Raises:
        ValueError: fewer than two levels, an empty range, a scale that is not positive, no data_shape, a decoder's
            output of another shape.

    Example:
        >>> import torch
        >>> from pyrovae import networks
        >>> likelihood = DiscretizedLogistic(networks.MLP(2, 3), scale=0.05)
        >>> likelihood(torch.zeros(2)).log_prob(torch.tensor([0.0, 17 / 255, 1.0])).shape
        torch.Size([])
    """

    def __init__(
        self,
        decoder: nn.Module,
        scale: float | Source = "shared",
        num_levels: int = 256,
        low: float = 0.0,
        high: float = 1.0,
        data_shape: Sequence[int] | None = None,
        initial_scale: float = 0.1,
        scale_floor: float = 1e-3,
    ) -> None:
        check_range(low, high, self)
        choice = ScaleByLogarithm(self, "scale", scale, initial_scale, scale_floor, data_shape, unit=high - low)
        super().__init__(decoder, data_shape, choice)
        self.low, self.high, self.num_levels = low, high, check_num_levels(num_levels, self)

    def forward(self, z: Tensor) -> dist.TorchDistribution:
        """p(x|z): batch ``(*batch,)``, event ``data_shape``."""
        loc, scale = self.entries(z)
        levels = DiscretizedLogisticDistribution(loc, scale, self.low, self.high, self.num_levels)
        return levels.to_event(data_dims(loc, z, self))

    def initialize(self, rows: Tensor) -> None:
        """Start at the mean of each entry, and the scale that has the standard deviation where ``Normal`` starts."""
        self.start_at(entry_mean(rows), scale=3**0.5 / pi * self.spread(rows, "scale"))

    def extra_repr(self) -> str:
        """What the printed module says of itself."""
        return f"{super().extra_repr()}, num_levels={self.num_levels}, low={self.low:g}, high={self.high:g}"
