"""A prior with clusters."""

from math import sqrt

import pyro.distributions as dist
import torch
from torch import nn

from pyrovae.distributions.arguments import check_counts, positive_scale, raw_scale
from pyrovae.distributions.mixture import SharedMixture


class GaussianMixture(nn.Module):
    r"""A mixture of Gaussians with independent dimensions, all of it learned with the rest of the model.

    .. math:: p(z) = \sum_k \pi_k \prod_d \mathrm{Normal}(z_d;\ \mu_{kd},\ \sigma_{kd})

    It starts with equal weights, and means drawn from a normal such that the whole has about mean zero and unit
    variance, half of it within and half of it between components. Scales are softplus of a parameter.

    Args:
        latent_dim: number of latent dimensions.
        num_components: number of Gaussians.

    Raises:
        ValueError: a number that is not a positive integer.

    Example:
        >>> p_z = GaussianMixture(3, num_components=5)()
        >>> p_z.sample((7,)).shape
        torch.Size([7, 3])
    """

    def __init__(self, latent_dim: int, num_components: int = 10) -> None:
        super().__init__()
        check_counts(type(self).__name__, latent_dim=latent_dim, num_components=num_components)
        self.logits = nn.Parameter(torch.zeros(num_components))
        self.loc = nn.Parameter(torch.randn(num_components, latent_dim) * sqrt(0.5))
        self.raw_scale = nn.Parameter(torch.full((num_components, latent_dim), raw_scale(sqrt(0.5))))

    def forward(self) -> dist.TorchDistribution:
        """p(z): batch (), event ``(latent_dim,)``."""
        return SharedMixture(self.logits, dist.Normal(self.loc, positive_scale(self.raw_scale)).to_event(1))

    def extra_repr(self) -> str:
        """What the printed module says of itself."""
        num_components, latent_dim = self.loc.shape
        return f"latent_dim={latent_dim}, num_components={num_components}"
