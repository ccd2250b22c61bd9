"""The categorical likelihood over levels."""

from collections.abc import Sequence

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyrovae.distributions import CategoricalLevels
from pyrovae.distributions.arguments import check_called
from pyrovae.likelihoods.levels import check_num_levels
from pyrovae.likelihoods.shapes import split_params, start_decoder
from pyrovae.networks.shapes import as_shape


class Categorical(nn.Module):
    r"""Independent levels 0, ..., L - 1, the decoder giving unnormalised log probabilities of each.

    .. math:: p(x \mid z) = \prod_d \mathrm{softmax}(f_{\cdot d}(z))_{x_d}

    No order of the levels is assumed. The mean of p(x|z), which reconstructions show, is that of the level number.

    Args:
        decoder: network from z ``(*batch, latent_dim)`` to logits ``(*batch, num_levels, *data_shape)``.
        num_levels: L; the data are whole numbers from 0 to L - 1.

    Raises:
        ValueError: fewer than two levels, a decoder's output of another shape.

    Example:
        >>> import torch
        >>> from pyrovae import networks
        >>> decoder = networks.MLP(2, Categorical.decoder_shape((1, 8, 8), num_levels=17))
        >>> Categorical(decoder, num_levels=17)(torch.zeros(5, 2)).event_shape
        torch.Size([1, 8, 8])
    """

    def __init__(self, decoder: nn.Module, num_levels: int = 256) -> None:
        super().__init__()
        check_called(type(self).__name__, decoder=decoder)
        self.decoder, self.num_levels = decoder, check_num_levels(num_levels, self)

    @classmethod
    def decoder_shape(cls, data_shape: Sequence[int], num_levels: int = 256) -> tuple[int, ...]:
        """Output shape that the decoder needs."""
        return (num_levels, *as_shape(data_shape, "data_shape"))

    def forward(self, z: Tensor) -> dist.TorchDistribution:
        """p(x|z): batch ``(*batch,)``, event ``data_shape``."""
        logits = torch.stack(split_params(self.decoder(z), z, self.num_levels, self), dim=-1)
        return CategoricalLevels(logits=logits).to_event(logits.dim() - z.dim())

    def initialize(self, rows: Tensor) -> None:
        """Start at the frequencies of the levels in each entry, with one more row spread over all levels."""
        counts = torch.stack([(rows == level).sum(0) for level in range(self.num_levels)])
        probs = (counts + 1 / self.num_levels) / (counts.sum(0) + 1)
        start_decoder(self, probs.log())

    def extra_repr(self) -> str:
        """What the printed module says of itself."""
        return f"num_levels={self.num_levels}"
