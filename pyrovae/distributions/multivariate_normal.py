"""Gaussian vectors that give the density of some of their entries, in the shape of the data."""

import math
from collections.abc import Sequence
from typing import Any

import pyro.distributions as dist
import torch
from torch import Size, Tensor
from torch.distributions import constraints

_NO_SHAPE = Size()


class MultivariateNormal(dist.MultivariateNormal):
    """PyTorch's MultivariateNormal, with the densities of its marginals, in float64.

    A covariance has the squares of the scales: where they are a thousandth of one another, float32 keeps no digit of
    the smaller.
    """

    def marginal_log_prob(self, value: Tensor, observed: Tensor) -> Tensor:
        """Log density of the observed entries of each vector, the others integrated out.

        Args:
            value: vectors ``(*batch, D)``; what stands in entries that are not observed is not looked at.
            observed: bool, which entries count ``(*batch, D)``.
        """
        both = observed[..., :, None] & observed[..., None, :]
        identity = torch.eye(self.event_shape[0], dtype=torch.float64, device=self.loc.device)
        covariance = torch.where(both, exact_covariance(self), identity)
        difference = value.double() - self.loc.double()
        return _padded_log_prob(dist.MultivariateNormal, difference, observed, covariance).to(self.loc.dtype)


class LowRankMultivariateNormal(dist.LowRankMultivariateNormal):
    """PyTorch's LowRankMultivariateNormal, scored in float64, with the densities of its marginals.

    Its squared distance is a difference of two numbers that are large where the diagonal is small beside the factor: in
    float32 that costs 60 nats at 784 dimensions, a factor of 1 and a diagonal scale of 0.01. Where the factor has more
    columns than the vector has entries, the determinant of :math:`I + W^T D^{-1} W` is of such numbers too.
    """

    def __init__(self, loc: Tensor, cov_factor: Tensor, cov_diag: Tensor, validate_args: bool | None = None) -> None:
        dtype = torch.promote_types(torch.promote_types(loc.dtype, cov_factor.dtype), cov_diag.dtype)
        super().__init__(loc.double(), cov_factor.double(), cov_diag.double(), validate_args=validate_args)
        for name in (
            "loc",
            "cov_factor",
            "cov_diag",
            "_unbroadcasted_cov_factor",
            "_unbroadcasted_cov_diag",
            "_capacitance_tril",
        ):
            setattr(self, name, getattr(self, name).to(dtype))

    def expand(self, batch_shape: Any, _instance: Any = None) -> "LowRankMultivariateNormal":
        """The same distribution with a larger batch shape."""
        new = self._get_checked_instance(LowRankMultivariateNormal, _instance)
        return super().expand(batch_shape, _instance=new)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log density of each vector, in nats."""
        if self._validate_args:
            self._validate_sample(value)
        factor, diagonal = self._unbroadcasted_cov_factor.double(), self._unbroadcasted_cov_diag.double()
        exact = dist.LowRankMultivariateNormal(self.loc.double(), factor, diagonal, validate_args=False)
        return exact.log_prob(value.double()).to(self.loc.dtype)

    def marginal_log_prob(self, value: Tensor, observed: Tensor) -> Tensor:
        """Log density of the observed entries of each vector, the others integrated out.

        Args:
            value: vectors ``(*batch, D)``; what stands in entries that are not observed is not looked at.
            observed: bool, which entries count ``(*batch, D)``.
        """
        factor = torch.where(observed[..., None], self.cov_factor.double(), 0)
        diagonal = torch.where(observed, self.cov_diag.double(), 1)
        difference = value.double() - self.loc.double()
        return _padded_log_prob(LowRankMultivariateNormal, difference, observed, factor, diagonal).to(self.loc.dtype)


def exact_covariance(distribution: Any) -> Tensor:
    """The covariance ``(*batch, D, D)`` of a Gaussian vector in float64, from what it was made from."""
    if isinstance(distribution, torch.distributions.MultivariateNormal):
        factor = distribution.scale_tril.double()
        return factor @ factor.mT
    if isinstance(distribution, torch.distributions.LowRankMultivariateNormal):
        factor = distribution.cov_factor.double()
        return factor @ factor.mT + torch.diag_embed(distribution.cov_diag.double())
    return distribution.covariance_matrix.double()


def _padded_log_prob(family: Any, difference: Tensor, observed: Tensor, *covariance: Tensor) -> Tensor:
    """Entries that are not observed stand at 0 as independent standard normals, whose density is taken off again."""
    difference = torch.where(observed, difference, 0)
    padding = 0.5 * math.log(2 * math.pi) * (~observed).to(difference).sum(-1)
    return family(torch.zeros_like(difference), *covariance).log_prob(difference) + padding


class Reshaped(dist.TorchDistribution):
    """A distribution over real vectors, shown with the shape of one row of data.

    Args:
        base_dist: distribution with event shape ``(D,)`` and real values.
        data_shape: event shape, of D entries.

    Example:
        >>> import torch
        >>> from pyrovae.distributions import MultivariateNormal
        >>> image = Reshaped(MultivariateNormal(torch.zeros(5, 6), torch.eye(6)), (1, 2, 3))
        >>> image.batch_shape, image.sample().shape
        (torch.Size([5]), torch.Size([5, 1, 2, 3]))
    """

    arg_constraints = {}  # noqa: RUF012

    def __init__(self, base_dist: Any, data_shape: Sequence[int], validate_args: bool | None = None) -> None:
        self.base_dist, self.has_rsample = base_dist, base_dist.has_rsample
        super().__init__(base_dist.batch_shape, Size(data_shape), validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "Reshaped":
        """The same distribution with a larger batch shape."""
        new = self._get_checked_instance(Reshaped, _instance)
        new.base_dist, new.has_rsample = self.base_dist.expand(batch_shape), self.has_rsample
        super(Reshaped, new).__init__(Size(batch_shape), self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    @constraints.dependent_property
    def support(self) -> Any:
        """Real values."""
        return constraints.independent(constraints.real, len(self.event_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        """Log density of each row, in nats."""
        if self._validate_args:
            self._validate_sample(value)
        return self.base_dist.log_prob(self._flat(value))

    def marginal_log_prob(self, value: Tensor, observed: Tensor) -> Tensor:
        """Log density of the observed entries of each row, the others integrated out.

        Args:
            value: rows ``(*batch, *data_shape)``; what stands in entries that are not observed is not looked at.
            observed: bool, which entries count, of the same shape.
        """
        return self.base_dist.marginal_log_prob(self._flat(value), self._flat(observed))

    def sample(self, sample_shape: Any = _NO_SHAPE) -> Tensor:
        """Draws of rows."""
        return self._shaped(self.base_dist.sample(sample_shape))

    def rsample(self, sample_shape: Any = _NO_SHAPE) -> Tensor:
        """Draws of rows, with gradients."""
        return self._shaped(self.base_dist.rsample(sample_shape))

    @property
    def mean(self) -> Tensor:
        """Mean of each entry."""
        return self._shaped(self.base_dist.mean)

    @property
    def variance(self) -> Tensor:
        """Variance of each entry."""
        return self._shaped(self.base_dist.variance)

    def _flat(self, rows: Tensor) -> Tensor:
        return rows.flatten(-len(self.event_shape))

    def _shaped(self, vectors: Tensor) -> Tensor:
        return vectors.unflatten(-1, self.event_shape)
