"""A prior of any shape."""

from collections.abc import Sequence

import pyro.distributions as dist
import torch
from torch import nn

from pyrovae.distributions.flows import FlowKind, FlowLayers


class Flow(nn.Module):
    r"""A normalising flow: a standard normal, sent through invertible layers that are learned.

    .. math:: p(z) = \mathrm{Normal}(f(z);\ 0, I)\ \left|\det \frac{\partial f(z)}{\partial z}\right|

    ``"autoregressive"`` is a masked autoregressive flow (Papamakarios, Pavlakou and Murray, 2017): densities, which
    training needs, take one call of each layer, draws one for each dimension. ``"coupling"`` (Dinh, Sohl-Dickstein
    and Bengio, 2017) and ``"spline"`` (Durkan et al., 2019, with the linear rational splines of Dolatabadi, Erfani and
    Leckie, 2020, on [-5, 5]) take one call both ways. All start near the standard normal.

    Args:
        latent_dim: number of latent dimensions, two at least.
        kind: the transformation that each layer is.
        num_layers: number of layers.
        hidden_dims: widths of the hidden layers of each one's network; for ``"autoregressive"`` latent_dim at least.

    Raises:
        ValueError: numbers out of range, an unknown kind.

    Example:
        >>> p_z = Flow(3, kind="coupling")()
        >>> p_z.log_prob(p_z.sample((7,))).shape
        torch.Size([7])
    """

    loc: torch.Tensor
    scale: torch.Tensor

    def __init__(
        self,
        latent_dim: int,
        kind: FlowKind = "autoregressive",
        num_layers: int = 4,
        hidden_dims: Sequence[int] = (128, 128),
    ) -> None:
        super().__init__()
        self.flow = FlowLayers(latent_dim, kind, num_layers, hidden_dims, "priors.Flow")
        self.kind = kind
        self.register_buffer("loc", torch.zeros(latent_dim), persistent=False)
        self.register_buffer("scale", torch.ones(latent_dim), persistent=False)

    def forward(self) -> dist.TorchDistribution:
        """p(z): batch (), event ``(latent_dim,)``."""
        # Against their direction, so that the density is the way that costs one call of each.
        layers = [layer.inv for layer in reversed(self.flow.transforms())]
        return dist.TransformedDistribution(dist.Normal(self.loc, self.scale).to_event(1), layers)

    def extra_repr(self) -> str:
        """What the printed module says of itself."""
        return f"latent_dim={len(self.loc)}, kind={self.kind}, num_layers={len(self.flow.layers)}"
