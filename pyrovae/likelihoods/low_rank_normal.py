"""The Gaussian likelihood with a low-rank plus diagonal covariance over a row."""

from collections.abc import Sequence

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyrovae.distributions import LowRankMultivariateNormal
from pyrovae.distributions.arguments import is_whole_number
from pyrovae.likelihoods.covariance import Covariance, CovarianceNormal
from pyrovae.networks.shapes import as_shape


class LowRankNormal(CovarianceNormal):
    r"""Gaussian rows with correlations along a few directions, the decoder giving their means.

    .. math:: p(x \mid z) = \mathrm{Normal}\left(x;\ f(z),\ \mathrm{diag}(s)\, (I + F F^\top)\, \mathrm{diag}(s)\right)

    over the D numbers of the flattened row, with F of shape (D, rank) and s positive: it needs (1 + rank) * D numbers,
    where a full covariance needs D * D (Monteiro et al., 2020, use it for images).

    Args:
        decoder: network from z ``(*batch, latent_dim)`` to means ``(*batch, *data_shape)``; with a predicted
            covariance to means, raw scales and columns of F ``(*batch, 2 + rank, *data_shape)``.
        data_shape: shape of one row, of D entries.
        rank: number of directions.
        covariance: ``"shared"`` learns one for all rows, ``"predicted"`` takes it from the decoder.
        initial_scale: where s starts, in the units of the data.
        scale_floor: s stays above it.

    Raises:
        ValueError: a rank that is not positive, another covariance, a floor that is not below the initial scale, a
            decoder's output of another shape.

    Example:
        >>> import torch
        >>> from pyrovae import networks
        >>> likelihood = LowRankNormal(networks.MLP(2, (1, 8, 8)), (1, 8, 8), rank=3)
        >>> likelihood(torch.zeros(5, 2)).event_shape
        torch.Size([1, 8, 8])
    """

    def __init__(
        self,
        decoder: nn.Module,
        data_shape: Sequence[int],
        rank: int = 5,
        covariance: Covariance = "shared",
        initial_scale: float = 1.0,
        scale_floor: float = 1e-3,
    ) -> None:
        if not is_whole_number(rank) or rank < 1:
            raise ValueError(f"{type(self).__name__}: rank is {rank!r}; expected a positive whole number")
        rank = int(rank)
        super().__init__(decoder, data_shape, covariance, 1 + rank, initial_scale, scale_floor)
        if self.raw_covariance is not None:
            # At F = 0 its gradient is 0 too.
            nn.init.normal_(self.raw_covariance[1:], std=0.1 * rank**-0.5)

    @classmethod
    def decoder_shape(
        cls, data_shape: Sequence[int], rank: int = 5, covariance: Covariance = "shared"
    ) -> tuple[int, ...]:
        """Output shape that the decoder needs."""
        shape = as_shape(data_shape, "data_shape")
        return shape if covariance == "shared" else (2 + rank, *shape)

    def vector(self, loc: Tensor, raw: Tensor) -> dist.TorchDistribution:
        """The distribution of a flattened row."""
        scale = self.bounded_scale(raw[..., 0, :])
        factor = scale[..., None] * raw[..., 1:, :].transpose(-1, -2)
        return LowRankMultivariateNormal(loc, factor, scale.square())

    def raw_start(self, raw_scale: Tensor) -> Tensor:
        """The scales, and the directions that are there."""
        directions = (
            torch.zeros(self.numbers - 1, len(raw_scale)) if self.raw_covariance is None else self.raw_covariance[1:]
        )
        return torch.cat([raw_scale[None], directions.to(raw_scale)])

    def extra_repr(self) -> str:
        """What the printed module says of itself."""
        return f"{super().extra_repr()}, rank={self.numbers - 1}"
