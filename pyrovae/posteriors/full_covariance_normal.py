"""The Gaussian posterior with all covariances."""

from math import isqrt

import pyro.distributions as dist
import torch
from torch import Tensor, nn

# Registers the KL to priors with independent dimensions.
import pyrovae.distributions.kl  # noqa: F401
from pyrovae.distributions.arguments import check_called, positive_scale
from pyrovae.posteriors.shapes import encoder_size_error


class FullCovarianceNormal(nn.Module):
    r"""A Gaussian q(z|x) with any covariance, the encoder giving its Cholesky factor.

    .. math:: q(z \mid x) = \mathrm{Normal}(z;\ \mu(x),\ L(x) L(x)^\top)

    The encoder's output is the mean, the diagonal of L before a softplus, and its numbers below the diagonal row by
    row, in units of the row's diagonal divided by D: so many of them, at their full size, would drown the mean in noise
    while training is young. The KL to a Gaussian or Laplace prior is taken in closed form.

    Args:
        encoder: network from x ``(*batch, *data_shape)`` to ``(*batch, D + D (D + 1) / 2)`` for D latent dimensions.

    Raises:
        ValueError: the encoder's output has a size that no D gives.

    Example:
        >>> import torch
        >>> from pyrovae import networks
        >>> posterior = FullCovarianceNormal(networks.MLP(4, FullCovarianceNormal.encoder_shape(3)))
        >>> posterior(torch.zeros(5, 4)).covariance_matrix.shape
        torch.Size([5, 3, 3])
    """

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        check_called(type(self).__name__, encoder=encoder)
        self.encoder = encoder

    @classmethod
    def encoder_shape(cls, latent_dim: int) -> int:
        """How many numbers the encoder has to give for each row."""
        return latent_dim + latent_dim * (latent_dim + 1) // 2

    def forward(self, x: Tensor) -> dist.TorchDistribution:
        """q(z|x): batch ``(*batch,)``, event ``(latent_dim,)``."""
        output = self.encoder(x)
        size = output.shape[-1]
        # The D of D + D (D + 1) / 2 = size.
        latent_dim = (isqrt(9 + 8 * size) - 3) // 2
        if latent_dim < 1 or self.encoder_shape(latent_dim) != size:
            raise encoder_size_error(
                output,
                "FullCovarianceNormal",
                "D + D (D + 1) / 2 for D latent dimensions, a mean and a Cholesky factor",
            )
        loc, diagonal, below = output.split([latent_dim, latent_dim, size - 2 * latent_dim], dim=-1)
        rows, columns = torch.tril_indices(latent_dim, latent_dim, -1, device=output.device)
        scale = positive_scale(diagonal)
        scale_tril = torch.diag_embed(scale)
        scale_tril[..., rows, columns] = below * scale[..., rows] / latent_dim
        return dist.MultivariateNormal(loc, scale_tril=scale_tril)
