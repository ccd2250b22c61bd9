"""A posterior that sees damaged rows in training."""

from collections.abc import Callable

import pyro.distributions as dist
from torch import Tensor, nn

from pyrovae.distributions.arguments import check_called


class Denoising(nn.Module):
    r"""Another posterior, which sees a corrupted copy of each row in training, and the row itself in evaluation.

    .. math:: E_{c(\tilde x|x)} E_{q(z|\tilde x)} \left[ \log p(x, z) - \log q(z|\tilde x) \right] \le \log p(x)

    The likelihood still scores the clean row, so training maximises a lower bound of log p(x), at most the ELBO of the
    mixture of q over corruptions (Im, Ahn, Memisevic and Bengio, 2017). Evaluation reports the bound of q(z|x).

    Args:
        posterior: module from x to a distribution over z.
        corruption: function from rows to rows of the same shape, ``data.Masking(0.3)`` for example.

    Example:
        >>> import torch
        >>> from pyrovae import networks, posteriors
        >>> from pyrovae.data import Masking
        >>> encoder = networks.MLP(3, 2 * 2)
        >>> posterior = posteriors.Denoising(posteriors.DiagonalNormal(encoder), Masking(0.3))
        >>> posterior(torch.zeros(5, 3)).event_shape
        torch.Size([2])
    """

    def __init__(self, posterior: nn.Module, corruption: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        check_called(type(self).__name__, posterior=posterior)
        self.posterior, self.corruption = posterior, corruption

    def forward(self, x: Tensor) -> dist.TorchDistribution:
        """q(z|x), or q(z|corrupted x) in training: batch ``(*batch,)``, event ``(latent_dim,)``."""
        return self.posterior(self.corruption(x) if self.training else x)

    def extra_repr(self) -> str:
        """What the printed module says of itself."""
        return f"corruption={self.corruption!r}"
