"""The posterior with several modes."""

import pyro.distributions as dist
from torch import Tensor, nn

from pyrovae.distributions.arguments import check_called, check_counts, positive_scale
from pyrovae.distributions.mixture_of_normals import MixtureOfNormals as MixtureDistribution
from pyrovae.posteriors.shapes import encoder_size_error


class MixtureOfNormals(nn.Module):
    r"""A mixture of Gaussians with independent dimensions, all its parameters given by the encoder.

    .. math:: q(z \mid x) = \sum_k \pi_k(x) \prod_d \mathrm{Normal}(z_d;\ \mu_{kd}(x),\ \sigma_{kd}(x))

    The encoder's output is a logit for each component, then the means of all components, then their scales before a
    softplus. Draws carry gradients to all of them (Figurnov, Mohamed and Mnih, 2018). There is no closed form of the
    KL.

    Args:
        encoder: network from x ``(*batch, *data_shape)`` to ``(*batch, num_components * (1 + 2 * latent_dim))``.
        num_components: number of Gaussians.

    Raises:
        ValueError: ``num_components`` is no positive integer, the encoder's output has a size that does not fit it.

    Example:
        >>> import torch
        >>> from pyrovae import networks
        >>> encoder = networks.MLP(4, MixtureOfNormals.encoder_shape(10, num_components=3))
        >>> MixtureOfNormals(encoder, num_components=3)(torch.zeros(5, 4)).rsample().shape
        torch.Size([5, 10])
    """

    def __init__(self, encoder: nn.Module, num_components: int = 5) -> None:
        super().__init__()
        check_called(type(self).__name__, encoder=encoder)
        check_counts(type(self).__name__, num_components=num_components)
        self.encoder, self.num_components = encoder, num_components

    @classmethod
    def encoder_shape(cls, latent_dim: int, num_components: int = 5) -> int:
        """How many numbers the encoder has to give for each row."""
        return num_components * (1 + 2 * latent_dim)

    def forward(self, x: Tensor) -> dist.TorchDistribution:
        """q(z|x): batch ``(*batch,)``, event ``(latent_dim,)``."""
        output = self.encoder(x)
        count = self.num_components
        each, rest = divmod(output.shape[-1], count)
        if rest or each < 3 or each % 2 == 0:
            raise encoder_size_error(
                output,
                f"MixtureOfNormals(num_components={count})",
                f"{count} * (1 + 2 * latent_dim) of them, a logit, means and raw scales for each component",
            )
        logits, loc, raw_scale = output.split([count, count * (each // 2), count * (each // 2)], dim=-1)
        loc, raw_scale = (value.unflatten(-1, (count, each // 2)) for value in (loc, raw_scale))
        return MixtureDistribution(loc, positive_scale(raw_scale), logits)

    def extra_repr(self) -> str:
        """What the printed module says of itself."""
        return f"num_components={self.num_components}"
