"""The Gaussian posterior with some covariances."""

import pyro.distributions as dist
from torch import Tensor, nn

# Registers the KL to priors with independent dimensions.
import pyrovae.distributions.kl  # noqa: F401
from pyrovae.distributions import LowRankMultivariateNormal
from pyrovae.distributions.arguments import check_called, check_counts, positive_scale
from pyrovae.posteriors.shapes import encoder_size_error

# Smaller scales beside factors of about one are beyond float32 in the determinant.
_SCALE_FLOOR = 1e-3


class LowRankNormal(nn.Module):
    r"""A Gaussian q(z|x) whose covariance is a matrix of low rank plus a diagonal.

    .. math:: q(z \mid x) = \mathrm{Normal}(z;\ \mu(x),\ W(x) W(x)^\top + \mathrm{diag}(\sigma(x)^2))

    The encoder's output is the mean, :math:`\sigma` before a softplus (0.001 at least), and W row by row. For many
    latent dimensions it asks far less of the encoder than all covariances (Ong, Nott and Smith, 2018). The KL to a
    Gaussian or Laplace prior is taken in closed form.

    Args:
        encoder: network from x ``(*batch, *data_shape)`` to ``(*batch, (2 + rank) * latent_dim)``.
        rank: number of columns of W.

    Raises:
        ValueError: a rank that is no positive integer, an encoder's output of a size that is no multiple of 2 + rank.

    Example:
        >>> import torch
        >>> from pyrovae import networks
        >>> posterior = LowRankNormal(networks.MLP(4, LowRankNormal.encoder_shape(10, rank=2)), rank=2)
        >>> posterior(torch.zeros(5, 4)).cov_factor.shape
        torch.Size([5, 10, 2])
    """

    def __init__(self, encoder: nn.Module, rank: int = 2) -> None:
        super().__init__()
        check_called(type(self).__name__, encoder=encoder)
        check_counts(type(self).__name__, rank=rank)
        self.encoder, self.rank = encoder, rank

    @classmethod
    def encoder_shape(cls, latent_dim: int, rank: int = 2) -> int:
        """How many numbers the encoder has to give for each row."""
        return (2 + rank) * latent_dim

    def forward(self, x: Tensor) -> dist.TorchDistribution:
        """q(z|x): batch ``(*batch,)``, event ``(latent_dim,)``."""
        output = self.encoder(x)
        latent_dim, rest = divmod(output.shape[-1], 2 + self.rank)
        if rest:
            raise encoder_size_error(
                output,
                f"LowRankNormal(rank={self.rank})",
                f"{2 + self.rank} * latent_dim of them, a mean, a raw scale and {self.rank} factors for each dimension",
            )
        loc, raw_scale, factor = output.split([latent_dim, latent_dim, self.rank * latent_dim], dim=-1)
        return LowRankMultivariateNormal(
            loc,
            cov_factor=factor.unflatten(-1, (latent_dim, self.rank)),
            cov_diag=positive_scale(raw_scale, _SCALE_FLOOR).square(),
        )

    def extra_repr(self) -> str:
        """What the printed module says of itself."""
        return f"rank={self.rank}"
