"""A mixture that costs little for many draws and many components."""

import math
from typing import Any

import pyro.distributions as dist
import torch
from torch import Size, Tensor
from torch.distributions import (
    Categorical,
    Distribution,
    Independent,
    LowRankMultivariateNormal,
    MultivariateNormal,
    Normal,
    constraints,
)

from pyrovae.distributions.multivariate_normal import exact_covariance


class SharedMixture(dist.TorchDistribution):
    r"""A mixture whose components are the same for all of its batch.

    .. math:: p(z) = \sum_k \pi_k\ p_k(z)

    ``MixtureSameFamily`` of PyTorch repeats the components for each element of the batch, and draws from all of them
    to keep one. Here nothing is repeated; and Gaussians are compared with z by matrix products, in float64, as the
    terms that cancel there are large.

    Args:
        logits: unnormalised log weights ``(components,)``.
        components: distribution with batch shape ``(components,)``.

    Example:
        >>> p = SharedMixture(torch.zeros(3), dist.Normal(torch.randn(3, 2), torch.ones(3, 2)).to_event(1))
        >>> p.expand((5,)).sample().shape
        torch.Size([5, 2])
    """

    arg_constraints = {"logits": constraints.real_vector}  # noqa: RUF012

    def __init__(self, logits: Tensor, components: Any, validate_args: bool | None = None) -> None:
        self.logits, self.components = logits, components
        super().__init__(Size(), components.event_shape, validate_args=validate_args)

    @property
    def support(self) -> Any:
        """That of the components."""
        return self.components.support

    def expand(self, batch_shape: Any, _instance: Any = None) -> "SharedMixture":
        """The same mixture for a batch."""
        new = self._get_checked_instance(SharedMixture, _instance)
        new.logits, new.components = self.logits, self.components
        Distribution.__init__(new, Size(batch_shape), self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    def log_prob(self, value: Tensor) -> Tensor:
        """Log p(z)."""
        if self._validate_args:
            self._validate_sample(value)
        terms = _gaussian_log_probs(self.components, value)
        if terms is None:
            terms = self.components.log_prob(value.unsqueeze(-1 - len(self.event_shape)))
        log_prob = torch.logsumexp(terms + self.logits.log_softmax(-1), -1).to(self.logits.dtype)
        shape = torch.broadcast_shapes(log_prob.shape, self.batch_shape)
        return log_prob.expand(shape)

    @torch.no_grad()
    def sample(self, sample_shape: Any = Size()) -> Tensor:  # noqa: B008
        """Draws from the mixture."""
        shape = self._extended_shape(Size(sample_shape))
        count = shape[: len(shape) - len(self.event_shape)].numel()
        if not count:
            return self.mean.new_empty(shape)
        which = Categorical(logits=self.logits).sample((count,))
        # Each component is drawn as often as the one that is chosen most; its draws are taken in turn.
        order, counts = which.argsort(stable=True), which.bincount(minlength=len(self.logits))
        firsts = counts.cumsum(0) - counts
        turn = torch.empty_like(which)
        turn[order] = torch.arange(count, device=which.device) - firsts[which[order]]
        draws = self.components.sample((int(counts.max()),))
        return draws[turn, which].reshape(shape)

    @property
    def mean(self) -> Tensor:
        """The mean."""
        return self._average(self.components.mean).expand(self._extended_shape())

    @property
    def variance(self) -> Tensor:
        """The variance of each number."""
        mean = self.components.mean
        within = self._average(self.components.variance)
        return (within + self._average((mean - self._average(mean)).square())).expand(self._extended_shape())

    def _average(self, values: Tensor) -> Tensor:
        return torch.tensordot(self.logits.softmax(-1), values, 1)


def _gaussian_log_probs(components: Any, value: Tensor) -> Tensor | None:
    r"""The log-densities ``(*batch, components)`` of Gaussians over a vector; None for others.

    .. math:: -\tfrac12 \mathrm{tr}(P z z^\top) + z^\top P \mu - \tfrac12 \mu^\top P \mu + \tfrac12 \log |P| + c

    with P the inverse of the covariance, which leaves one product of matrices for all pairs of z and component.
    """
    # Apple's GPUs have no float64.
    if len(components.event_shape) != 1 or value.device.type == "mps":
        return None
    z = value.double()
    if isinstance(components, Independent) and isinstance(components.base_dist, Normal):
        loc, scale = components.base_dist.loc.double(), components.base_dist.scale.double()
        precision = scale.pow(-2)
        log_scale, shift, square = scale.log().sum(-1), loc * precision, z.square()
    elif isinstance(components, MultivariateNormal | LowRankMultivariateNormal):
        loc = components.loc.double()
        if isinstance(components, MultivariateNormal):
            scale_tril = components.scale_tril.double()
        else:
            scale_tril = torch.linalg.cholesky(exact_covariance(components))
        inverse = torch.cholesky_inverse(scale_tril)
        log_scale = scale_tril.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        shift = (inverse @ loc.unsqueeze(-1)).squeeze(-1)
        precision, square = inverse.flatten(1), (z.unsqueeze(-1) * z.unsqueeze(-2)).flatten(-2)
    else:
        return None
    constant = -0.5 * (loc * shift).sum(-1) - log_scale - 0.5 * value.shape[-1] * math.log(2 * math.pi)
    return constant + z @ shift.T - 0.5 * square @ precision.T
