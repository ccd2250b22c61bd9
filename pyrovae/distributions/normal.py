"""Vectors of independent normal values, scored with fewer steps than one value at a time."""

import math

import pyro.distributions as dist
from torch import Tensor


class IndependentNormal(dist.Independent):
    r"""Independent normal values of one vector, like ``Normal(loc, scale).to_event(1)``.

    .. math:: \log p(z) = -\tfrac12 \sum_d \left(\frac{z_d - \mu_d}{\sigma_d}\right)^2 - \sum_d \log \sigma_d
        - \tfrac{D}{2} \log 2\pi

    Args:
        base_distribution: ``Normal`` of the single values.
        reinterpreted_batch_ndims: 1.

    Example:
        >>> import torch
        >>> vector = IndependentNormal(dist.Normal(torch.zeros(5, 3), 1.0), 1)
        >>> vector.log_prob(torch.zeros(3))
        tensor([-2.7568, -2.7568, -2.7568, -2.7568, -2.7568])
    """

    def log_prob(self, value: Tensor) -> Tensor:
        """Log p(z): the batch shape."""
        # Every number is in the support, and what is none gives none: there is nothing to check.
        loc, scale = self.base_dist.loc, self.base_dist.scale
        squares = ((value - loc) / scale).square().sum(-1)
        # Draws along a plate share the scales of their row.
        shared = scale[tuple(slice(0, 1) if stride == 0 else slice(None) for stride in scale.stride()[:-1])]
        return -0.5 * squares - (shared.log().sum(-1) + 0.5 * math.log(2 * math.pi) * scale.shape[-1])
