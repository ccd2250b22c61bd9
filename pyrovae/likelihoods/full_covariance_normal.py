"""The Gaussian likelihood with any covariance over a row."""

from collections.abc import Sequence
from math import prod

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyrovae.distributions import MultivariateNormal
from pyrovae.likelihoods.covariance import Covariance, CovarianceNormal
from pyrovae.networks.shapes import as_shape


class FullCovarianceNormal(CovarianceNormal):
    r"""Gaussian rows with a full covariance, the decoder giving their means.

    .. math:: p(x \mid z) = \mathrm{Normal}(x;\ f(z),\ L L^\top), \qquad L = \mathrm{diag}(s)\, (I + B)

    over the D numbers of the flattened row, with B strictly lower triangular and s positive: it needs D * D numbers.

    Args:
        decoder: network from z ``(*batch, latent_dim)`` to means ``(*batch, *data_shape)``; with a predicted
            covariance to means and, for each entry, its row of B with the raw scale on the diagonal
            ``(*batch, 1 + D, *data_shape)``.
        data_shape: shape of one row, of D entries.
        covariance: ``"shared"`` learns one for all rows, ``"predicted"`` takes it from the decoder.
        initial_scale: where s starts, in the units of the data.
        scale_floor: s stays above it.

    Raises:
        ValueError: another covariance, a floor that is not below the initial scale, a decoder's output of another
            shape.

    Example:
        >>> import torch
        >>> from pyrovae import networks
        >>> likelihood = FullCovarianceNormal(networks.MLP(2, (1, 2, 3)), (1, 2, 3))
        >>> likelihood(torch.zeros(5, 2)).event_shape
        torch.Size([1, 2, 3])
    """

    def __init__(
        self,
        decoder: nn.Module,
        data_shape: Sequence[int],
        covariance: Covariance = "shared",
        initial_scale: float = 1.0,
        scale_floor: float = 1e-3,
    ) -> None:
        numbers = prod(as_shape(data_shape, "data_shape"))
        super().__init__(decoder, data_shape, covariance, numbers, initial_scale, scale_floor)

    @classmethod
    def decoder_shape(cls, data_shape: Sequence[int], covariance: Covariance = "shared") -> tuple[int, ...]:
        """Output shape that the decoder needs."""
        shape = as_shape(data_shape, "data_shape")
        return shape if covariance == "shared" else (1 + prod(shape), *shape)

    def vector(self, loc: Tensor, raw: Tensor) -> dist.TorchDistribution:
        """The distribution of a flattened row."""
        scale = self.bounded_scale(raw.diagonal(dim1=-2, dim2=-1))
        unit = raw.tril(-1) + torch.eye(raw.shape[-1], dtype=raw.dtype, device=raw.device)
        return MultivariateNormal(loc, scale_tril=scale[..., None] * unit)

    def raw_start(self, raw_scale: Tensor) -> Tensor:
        """Raw numbers of a diagonal covariance."""
        return raw_scale.diag()
