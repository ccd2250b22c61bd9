"""Normal values at the scale that fits the values best."""

from collections.abc import Callable
from typing import Any

import pyro.distributions as dist
import torch
from torch import Size, Tensor
from torch.distributions import constraints

_NO_SHAPE = Size()


class OptimalNormal(dist.TorchDistribution):
    r"""Independent normal values whose one scale is the best for all values that are scored together.

    .. math:: \sigma^2 = \overline{(x - \text{loc})^2}

    the mean over all rows and entries (Rybkin, Daniilidis and Levine, 2021). The scale is taken as a constant: where
    it is optimal the density does not change with it, so the gradient of loc is the one at the optimum. It is a loss
    for training, no density: rows share what they are scored by. Draws have the scale that is given.

    Args:
        loc: means ``(*batch, *data_shape)``.
        scale: standard deviation of draws.
        event_dim: number of data dimensions.
        scale_floor: the optimal scale stays above it.
        record: called with the mean squared error of each score.
    """

    arg_constraints = {}  # noqa: RUF012
    has_rsample = True

    def __init__(
        self,
        loc: Tensor,
        scale: Tensor,
        event_dim: int,
        scale_floor: float,
        record: Callable[[Tensor], None],
        validate_args: bool | None = None,
    ) -> None:
        self.loc, self.scale, self.scale_floor, self.record = loc, scale, scale_floor, record
        batch_dim = loc.dim() - event_dim
        super().__init__(loc.shape[:batch_dim], loc.shape[batch_dim:], validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "OptimalNormal":
        """The same distribution with a larger batch shape."""
        new = self._get_checked_instance(OptimalNormal, _instance)
        new.loc = self.loc.expand(Size(batch_shape) + self.event_shape)
        new.scale, new.scale_floor, new.record = self.scale, self.scale_floor, self.record
        super(OptimalNormal, new).__init__(Size(batch_shape), self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    @constraints.dependent_property
    def support(self) -> Any:
        """Real values."""
        return constraints.independent(constraints.real, len(self.event_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        """Log density of each row at the optimal scale, in nats."""
        if self._validate_args:
            self._validate_sample(value)
        return self.marginal_log_prob(value, torch.ones_like(value, dtype=torch.bool))

    def marginal_log_prob(self, value: Tensor, observed: Tensor) -> Tensor:
        """Log density of the observed entries of each row, at their optimal scale.

        Args:
            value: rows ``(*batch, *data_shape)``; what stands in entries that are not observed is not looked at.
            observed: bool, which entries count, of the same shape.
        """
        difference = torch.where(observed, value - self.loc, 0)
        count = observed.expand(difference.shape).sum()
        mean_square = difference.detach().square().sum() / count
        self.record(mean_square)
        scale = mean_square.sqrt().clamp(min=self.scale_floor)
        entries = dist.Normal(torch.zeros_like(scale), scale).log_prob(difference)
        return torch.where(observed, entries, 0).flatten(len(difference.shape) - self.event_dim).sum(-1)

    def rsample(self, sample_shape: Any = _NO_SHAPE) -> Tensor:
        """Draws at the given scale, with gradients."""
        return self.loc + self.scale * torch.randn(
            self._extended_shape(sample_shape), dtype=self.loc.dtype, device=self.loc.device
        )

    @property
    def mean(self) -> Tensor:
        """Mean of each entry."""
        return self.loc

    @property
    def variance(self) -> Tensor:
        """Variance of draws."""
        return self.scale.square().expand_as(self.loc)
