"""A prior with a peak at zero."""

from math import sqrt

import pyro.distributions as dist
import torch
from torch import nn

from pyrovae.distributions.arguments import check_counts


class Laplace(nn.Module):
    r"""Independent Laplace values of mean zero and unit variance, as the standard normal has.

    .. math:: p(z) = \prod_d \tfrac{1}{\sqrt 2} \exp(-\sqrt 2\, |z_d|)

    Unlike the normal it is not the same in all directions, so that dimensions have a meaning of their own. Another
    variance would only stretch z, which the decoder can do.

    Args:
        latent_dim: number of latent dimensions.

    Raises:
        ValueError: ``latent_dim`` is not a positive integer.

    Example:
        >>> Laplace(3)().variance
        tensor([1.0000, 1.0000, 1.0000])
    """

    loc: torch.Tensor

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        check_counts(type(self).__name__, latent_dim=latent_dim)
        self.register_buffer("loc", torch.zeros(latent_dim), persistent=False)

    def forward(self) -> dist.TorchDistribution:
        """p(z): batch (), event ``(latent_dim,)``."""
        # Computed here, in the dtype of now: a float32 buffer would lose digits that float64 models need.
        return dist.Laplace(self.loc, torch.full_like(self.loc, 1 / sqrt(2))).to_event(1)

    def extra_repr(self) -> str:
        """What the printed module says of itself."""
        return f"latent_dim={len(self.loc)}"
