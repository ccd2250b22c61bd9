"""A Gaussian prior that is learned."""

import pyro.distributions as dist
import torch
from torch import nn

from pyrovae.distributions.arguments import check_counts, positive_scale, raw_scale


class DiagonalNormal(nn.Module):
    r"""A Gaussian with independent dimensions, its means and scales learned with the rest of the model.

    .. math:: p(z) = \prod_d \mathrm{Normal}(z_d;\ \mu_d,\ \sigma_d)

    It starts as the standard normal. Scales are softplus of a parameter.

    Args:
        latent_dim: number of latent dimensions.

    Raises:
        ValueError: ``latent_dim`` is not a positive integer.

    Example:
        >>> DiagonalNormal(3)().event_shape
        torch.Size([3])
    """

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        check_counts(type(self).__name__, latent_dim=latent_dim)
        self.loc = nn.Parameter(torch.zeros(latent_dim))
        self.raw_scale = nn.Parameter(torch.full((latent_dim,), raw_scale(1.0)))

    def forward(self) -> dist.TorchDistribution:
        """p(z): batch (), event ``(latent_dim,)``."""
        return dist.Normal(self.loc, positive_scale(self.raw_scale)).to_event(1)

    def extra_repr(self) -> str:
        """What the printed module says of itself."""
        return f"latent_dim={len(self.loc)}"
