"""A mixture of Gaussians whose draws carry gradients to all parameters."""

import math
from typing import Any

import pyro.distributions as dist
import torch
import torch.nn.functional as F
from torch import Size, Tensor


class MixtureOfNormals(dist.MixtureOfDiagNormals):
    r"""Pyro's mixture of Gaussians with independent dimensions, with draws for any sample shape and dimension.

    .. math:: q(z) = \sum_k \pi_k \prod_d \mathrm{Normal}(z_d;\ \mu_{kd},\ \sigma_{kd})

    A draw z solves :math:`F_d(z_d \mid z_{<d}) = u_d` for uniform u, with F the conditional distribution functions;
    its derivatives follow from that equation without solving it, :math:`dz = -(\partial F / \partial z)^{-1}
    (\partial F / \partial \theta)\ d\theta` (Figurnov, Mohamed and Mnih, 2018). Pyro's own derivatives divide
    densities, which overflow from some twenty dimensions on in float32. They are first derivatives only.

    Args:
        locs: means ``(*batch, components, dimensions)``.
        coord_scale: standard deviations, of the same shape.
        component_logits: unnormalised log weights ``(*batch, components)``.

    Example:
        >>> q = MixtureOfNormals(torch.randn(5, 3, 2), torch.ones(5, 3, 2), torch.zeros(5, 3))
        >>> q.rsample((4,)).shape
        torch.Size([4, 5, 2])
    """

    def rsample(self, sample_shape: Any = Size()) -> Tensor:  # noqa: B008
        """Draws, with derivatives."""
        with torch.no_grad():
            which = self.categorical.sample(sample_shape)[..., None, None].expand(
                *sample_shape, *self.batch_shape, 1, self.dim
            )
            shape = (*sample_shape, *self.locs.shape)
            loc, scale = (v.expand(shape).gather(-2, which).squeeze(-2) for v in (self.locs, self.coord_scale))
            z = torch.normal(loc, scale)
        parameters = (self.locs, self.coord_scale, self.component_logits)
        if not (torch.is_grad_enabled() and any(p.requires_grad for p in parameters)):
            return z
        cdf, weights, distance = self._conditional_terms(z)
        value = (weights * cdf).sum(-2)
        with torch.no_grad():
            # How the weights of dimension d follow z_j for j < d; on the diagonal stands the conditional density.
            score = -distance / self.coord_scale
            density = (-0.5 * distance.square()).exp() / (self.coord_scale * math.sqrt(2 * math.pi))
            jacobian = torch.einsum("...kd,...kj->...dj", weights * (cdf - value.unsqueeze(-2)), score).tril(-1)
            jacobian = jacobian + torch.diag_embed((weights * density).sum(-2))
        change = torch.linalg.solve_triangular(jacobian, (value - value.detach()).unsqueeze(-1), upper=False)
        return z - change.squeeze(-1)

    def sample(self, sample_shape: Any = Size()) -> Tensor:  # noqa: B008
        """Draws, without derivatives."""
        with torch.no_grad():
            return self.rsample(sample_shape)

    @property
    def mean(self) -> Tensor:
        """The mean."""
        return self._average(self.locs)

    @property
    def variance(self) -> Tensor:
        """The variance of each number."""
        spread = (self.locs - self.mean.unsqueeze(-2)).square()
        return self._average(self.coord_scale.square() + spread)

    def _average(self, values: Tensor) -> Tensor:
        return (self.probs.unsqueeze(-1) * values).sum(-2)

    def _conditional_terms(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """For each component and dimension: its distribution function, its weight given z_<d, (z - loc) / scale."""
        distance = (z.unsqueeze(-2) - self.locs) / self.coord_scale
        log_density = -0.5 * distance.square() - self.coord_scale.log()
        # Of the dimensions before each one; subtracting its own term would round where that is large.
        earlier = F.pad(log_density.cumsum(-1)[..., :-1], (1, 0))
        weights = (self.component_logits.unsqueeze(-1) + earlier).softmax(-2)
        return torch.special.ndtr(distance), weights, distance
