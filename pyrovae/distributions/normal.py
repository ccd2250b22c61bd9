"""Vectors of independent normal values, scored with fewer steps than one value at a time, or in any unit."""

import math
from typing import Any

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
        >>> import pyro.distributions as dist
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


class NormalInUnits(dist.Normal):
    r"""Independent normal values, each in a unit of its own, like ``Normal(center + unit * loc, unit * scale)``.

    .. math:: \log p(x) = \log \mathrm{Normal}((x - c) / u;\ \mu, \sigma) - \log u

    Numbers around 1 are squared, as the square of a mass in kilograms may be too small for a float.

    Args:
        center: where 0 is.
        unit: what 1 is, positive.
        loc: mean in units.
        scale: standard deviation in units.

    Example:
        >>> import torch
        >>> mass = NormalInUnits(torch.tensor(3e-26), torch.tensor(1e-27), torch.tensor(0.5), torch.tensor(2.0))
        >>> mass.log_prob(torch.tensor(3e-26))
        tensor(60.5265)
    """

    def __init__(
        self, center: Tensor, unit: Tensor, loc: Tensor, scale: Tensor, validate_args: bool | None = None
    ) -> None:
        self.center, self.unit = center, unit
        self.in_units = dist.Normal(loc, scale, validate_args=False)
        super().__init__(center + unit * loc, unit * scale, validate_args=validate_args)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density of each value."""
        if self._validate_args:
            self._validate_sample(value)
        return self.in_units.log_prob((value - self.center) / self.unit) - self.unit.log()

    def expand(self, batch_shape: Any, _instance: Any = None) -> "NormalInUnits":
        """The same with a larger batch shape."""
        inside = self.in_units.expand(batch_shape)
        return NormalInUnits(self.center, self.unit, inside.loc, inside.scale, self.__dict__.get("_validate_args"))
