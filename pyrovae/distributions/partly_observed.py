"""Rows of which some entries are missing."""

from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import Independent, constraints, transform_to
from torch.distributions.constraints import Constraint

from pyrovae.distributions.constraints import EquallySpaced
from pyrovae.distributions.layers import entry_support
from pyrovae.distributions.multivariate_normal import exact_covariance


class EntryOrMissing(Constraint):
    """The values that an entry may have, and NaN, which stands for a missing one.

    Args:
        entry: constraint of the entry itself.
    """

    event_dim = 0

    def __init__(self, entry: Any) -> None:
        self.entry = entry
        self.is_discrete = entry.is_discrete
        super().__init__()

    def check(self, value: Tensor) -> Tensor:
        """Whether each entry is missing or has a value that it may have."""
        return value.isnan() | self.entry.check(value)

    def __repr__(self) -> str:
        return f"{self.entry} or NaN"


class PartlyObserved(dist.TorchDistribution):
    r"""A distribution over rows whose missing entries, marked by NaN, count for nothing.

    .. math:: \log p(x_\mathrm{observed}) = \log \int p(x)\, \mathrm{d}x_\mathrm{missing}

    Where entries are independent it is the sum over the observed ones. Other distributions need a method
    ``marginal_log_prob(value, observed)``, the log-density of the entries at which the boolean ``observed``, of the
    shape of ``value``, is true; the others hold 0 and have no part in it.

    Draws and moments are those of whole rows; ``sample_missing`` and ``mean_missing`` keep the observed entries.

    Args:
        base: distribution over whole rows.

    Raises:
        ValueError: the density of some entries alone is not known.

    Example:
        >>> import torch
        >>> import pyro.distributions as dist
        >>> x = torch.tensor([[1.0, torch.nan], [1.0, 2.0]])
        >>> PartlyObserved(dist.Normal(torch.zeros(2, 2), 1.0).to_event(1)).log_prob(x)
        tensor([-1.4189, -4.3379])
    """

    arg_constraints: dict[str, Constraint] = {}  # noqa: RUF012 the name and the type are torch's

    def __init__(self, base: Any, validate_args: bool | None = None) -> None:
        self.base_dist = base
        # The distribution of single entries, or of those that belong together, and how many dimensions are around it.
        self.entries: Any = base
        self._num_dims = 0
        while isinstance(self.entries, Independent):
            self._num_dims += self.entries.reinterpreted_batch_ndims
            self.entries = self.entries.base_dist
        self._joint = hasattr(self.entries, "marginal_log_prob")
        if self.entries.event_shape and not self._joint:
            raise ValueError(
                f"{type(self.entries).__name__} is one distribution over {tuple(self.entries.event_shape)}, and the "
                "density of some of its entries alone is not known: use independent entries (.to_event(n)), or give "
                "it a method marginal_log_prob(value, observed)"
            )
        super().__init__(base.batch_shape, base.event_shape, validate_args=validate_args)

    @property
    def support(self) -> Any:
        """The base's support, with NaN for each entry."""
        entry: Any = self.base_dist.support
        dims = 0
        while isinstance(entry, constraints.independent):
            entry, dims = entry.base_constraint, dims + entry.reinterpreted_batch_ndims
        with_missing: Any = EntryOrMissing(entry)
        return constraints.independent(with_missing, dims) if dims else with_missing

    @property
    def has_rsample(self) -> bool:  # type: ignore[override]
        """As the base."""
        return bool(self.base_dist.has_rsample)

    @property
    def mean(self) -> Tensor:
        """The mean of whole rows."""
        return self.base_dist.mean

    @property
    def variance(self) -> Tensor:
        """The variance of whole rows."""
        return self.base_dist.variance

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008 torch's own default
        """Whole rows."""
        return self.base_dist.sample(sample_shape)

    def rsample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008 torch's own default
        """Whole rows, with a gradient."""
        return self.base_dist.rsample(sample_shape)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "PartlyObserved":
        """The same with another batch shape."""
        return type(self)(self.base_dist.expand(batch_shape), validate_args=self.__dict__.get("_validate_args"))

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density of the entries that are not NaN."""
        if self._validate_args:
            self._validate_sample(value)
        observed = ~value.isnan()
        if self._joint:
            terms = self.entries.marginal_log_prob(torch.where(observed, value, 0.0), observed)
        else:
            # A value to compute with, since a NaN would come through where() in the gradient.
            filled = torch.where(observed, value, _feasible(self.entries.support).to(value))
            terms = torch.where(observed, self.entries.log_prob(filled), 0.0)
        return terms.sum(tuple(range(-self._num_dims, 0))) if self._num_dims else terms

    def sample_missing(self, value: Tensor) -> Tensor:
        """Rows whose missing entries are drawn given the observed ones."""
        return self._given_observed(self._of_rows(value).sample(), value)

    def mean_missing(self, value: Tensor) -> Tensor:
        """Rows whose missing entries have their mean given the observed ones."""
        return self._given_observed(self._of_rows(value).mean, value)

    def _of_rows(self, value: Tensor) -> "PartlyObserved":
        """The same for each of the rows, where it is one for all of them."""
        batch_shape = torch.broadcast_shapes(self.batch_shape, value.shape[: value.dim() - len(self.event_shape)])
        return self if batch_shape == self.batch_shape else self.expand(batch_shape)

    def _given_observed(self, whole: Tensor, value: Tensor) -> Tensor:
        """What becomes of a draw, or of the mean, of whole rows once some entries are observed.

        Raises:
            ValueError: entries depend on each other, and not as those of a Gaussian do.
        """
        observed = ~value.isnan()
        if not self._joint or getattr(self.entries, "independent_entries", False):
            return torch.where(observed, value, whole)
        covariance = _covariance(self.entries)
        if covariance is None:
            raise ValueError(
                f"{type(self.entries).__name__} does not say how its entries depend on each other, so missing ones "
                "cannot be drawn given the others: it needs a covariance_matrix, or independent_entries = True"
            )
        return _conditioned_gaussian(whole, covariance, value, observed, len(self.event_shape))


def _covariance(distribution: Any) -> Tensor | None:
    """The covariance of a distribution, or of the one that it reshapes, in float64."""
    while not hasattr(distribution, "covariance_matrix") and hasattr(distribution, "base_dist"):
        distribution = distribution.base_dist
    return exact_covariance(distribution) if hasattr(distribution, "covariance_matrix") else None


def _conditioned_gaussian(whole: Tensor, covariance: Tensor, value: Tensor, observed: Tensor, num_dims: int) -> Tensor:
    r"""A Gaussian draw y (or its mean) moved to the observed entries o of x.

    .. math:: y + \Sigma_{\cdot o} \Sigma_{oo}^{-1} (x_o - y_o)

    has the distribution of a draw given :math:`x_o` (Matheron's rule; Journel and Huijbregts, 1978).
    """
    distance = torch.where(observed, value.double() - whole.double(), 0.0)
    known = observed.expand_as(whole).flatten(-num_dims)
    # Rows and columns of missing entries are those of the identity, so that one solve serves every pattern.
    both = known[..., :, None] & known[..., None, :]
    identity = torch.eye(covariance.shape[-1], dtype=covariance.dtype, device=covariance.device)
    pull = torch.linalg.solve(torch.where(both, covariance, identity), distance.flatten(-num_dims)[..., None])
    moved = whole.double() + (covariance @ pull)[..., 0].reshape(whole.shape)
    return torch.where(observed, value, moved.to(whole.dtype))


def _feasible(support: Any) -> Tensor:
    """A value inside a support, where a density is finite and has a gradient."""
    support = entry_support(support)
    if support is constraints.boolean:
        return torch.zeros(())
    if isinstance(support, EquallySpaced):
        return torch.as_tensor(support.low)
    bounds = [torch.as_tensor(getattr(support, end)) for end in ("lower_bound", "upper_bound") if hasattr(support, end)]
    if bounds and support.is_discrete:
        return bounds[0]
    if len(bounds) == 2:
        return (bounds[0] + bounds[1]) / 2
    try:
        return transform_to(support)(torch.zeros(()))
    except NotImplementedError as error:
        raise ValueError(
            f"the support {support} is not one that values are known of, so missing entries cannot be left out: give "
            "the distribution a support from torch.distributions.constraints"
        ) from error
