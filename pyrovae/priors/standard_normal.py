"""The usual prior."""

import pyro.distributions as dist
import torch
from torch import nn

from pyrovae.distributions import IndependentNormal
from pyrovae.distributions.arguments import check_counts


class StandardNormal(nn.Module):
    r"""The standard normal prior.

    .. math:: p(z) = \mathrm{Normal}(z;\ 0, I)

    Args:
        latent_dim: number of latent dimensions.

    Raises:
        ValueError: ``latent_dim`` is not a positive integer.

    Example:
        >>> StandardNormal(3)().event_shape
        torch.Size([3])
    """

    loc: torch.Tensor
    scale: torch.Tensor

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        check_counts(type(self).__name__, latent_dim=latent_dim)
        # Buffers follow the module to a device or another dtype; there is nothing in them to store.
        self.register_buffer("loc", torch.zeros(latent_dim), persistent=False)
        self.register_buffer("scale", torch.ones(latent_dim), persistent=False)

    def forward(self) -> dist.TorchDistribution:
        """p(z): batch (), event ``(latent_dim,)``."""
        return IndependentNormal(dist.Normal(self.loc, self.scale), 1)

    def extra_repr(self) -> str:
        """What the printed module says of itself."""
        return f"latent_dim={len(self.loc)}"
