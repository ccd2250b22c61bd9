"""A prior of two levels."""

import copy
from collections.abc import Sequence

import pyro.distributions as dist
import torch
from torch import nn

from pyrovae.distributions.arguments import check_counts
from pyrovae.distributions.flows import AffineCoupling, Permute, check_hidden_dims


class Hierarchical(nn.Module):
    r"""Two levels of latents, the lower one drawn given the upper one; the decoder sees both.

    .. math::
        p(z) = p(z_2)\ p(z_1 \mid z_2), \qquad p(z_2) = \mathrm{Normal}(0, I), \qquad
        p(z_1 \mid z_2) = \prod_d \mathrm{Normal}(z_{1d};\ \mu_d(z_2),\ \sigma_d(z_2))

    with :math:`z = (z_1, z_2)` in this order in one vector, and :math:`\log\sigma` kept in [-5, 3] (the prior of the
    hierarchical VAE of Tomczak and Welling, 2018). It starts near the standard normal.

    Args:
        latent_dim: latent dimensions of both levels together, two at least.
        top_dim: latent dimensions of the upper level :math:`z_2`, the last ones; half of all if None.
        hidden_dims: widths of the hidden layers of the network from :math:`z_2` to the parameters of :math:`z_1`.

    Raises:
        ValueError: numbers that are not positive, a ``top_dim`` that leaves nothing for the lower level.

    Example:
        >>> Hierarchical(8, top_dim=2)().sample((5,)).shape
        torch.Size([5, 8])
    """

    loc: torch.Tensor
    scale: torch.Tensor
    order: torch.Tensor

    def __init__(self, latent_dim: int, top_dim: int | None = None, hidden_dims: Sequence[int] = (128, 128)) -> None:
        super().__init__()
        check_counts(type(self).__name__, latent_dim=latent_dim)
        if latent_dim < 2:
            raise ValueError("Hierarchical: latent_dim is 1; two levels need two dimensions or more")
        self.top_dim = latent_dim // 2 if top_dim is None else top_dim
        check_counts(type(self).__name__, top_dim=self.top_dim)
        if self.top_dim >= latent_dim:
            raise ValueError(
                f"Hierarchical: top_dim is {self.top_dim} of latent_dim {latent_dim}, which leaves nothing for the "
                f"lower level: take {latent_dim - 1} or less"
            )
        check_hidden_dims(hidden_dims, "Hierarchical")
        # Given z_2, a Gaussian z_1 is a shift and a scale of standard normal noise.
        self.lower = AffineCoupling(self.top_dim, latent_dim - self.top_dim, hidden_dims)
        self.register_buffer("loc", torch.zeros(latent_dim), persistent=False)
        self.register_buffer("scale", torch.ones(latent_dim), persistent=False)
        self.register_buffer("order", torch.arange(latent_dim).roll(-self.top_dim), persistent=False)

    def forward(self) -> dist.TorchDistribution:
        """p(z): batch (), event ``(latent_dim,)``."""
        # A copy, as a transform keeps what it was last called with.
        steps = [copy.copy(self.lower), Permute(self.order)]
        return dist.TransformedDistribution(dist.Normal(self.loc, self.scale).to_event(1), steps)

    def extra_repr(self) -> str:
        """What the printed module says of itself."""
        return f"latent_dim={len(self.loc)}, top_dim={self.top_dim}"
