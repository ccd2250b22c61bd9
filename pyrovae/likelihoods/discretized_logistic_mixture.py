"""The likelihood of levels by mixtures of discretised logistics."""

from collections.abc import Sequence
from math import pi

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyrovae.distributions import DiscretizedLogistic
from pyrovae.distributions.arguments import check_called, is_whole_number
from pyrovae.likelihoods.choices import Positive
from pyrovae.likelihoods.levels import check_num_levels, check_range
from pyrovae.likelihoods.shapes import split_params, start_decoder
from pyrovae.likelihoods.starts import entry_mean, entry_variance
from pyrovae.networks.shapes import as_shape


class DiscretizedLogisticMixture(nn.Module):
    r"""Independent levels, each a mixture of logistic variables rounded to the nearest.

    .. math:: p(x \mid z) = \prod_d \sum_k \pi_{kd}(z)\, P(x_d;\ \mu_{kd}(z), s_{kd}(z))

    with P as in ``DiscretizedLogistic``, so that one entry may have several likely values (Salimans, Karpathy, Chen and
    Kingma, 2017; here the channels of a pixel are independent given z).

    Args:
        decoder: network from z ``(*batch, latent_dim)`` to ``(*batch, 3 * num_components, *data_shape)``: logits of
            the components, their locations in the units of the data, their raw scales.
        num_components: number of components K.
        num_levels: number of levels, equally spaced from ``low`` to ``high``; the default is k / 255.
        low: lowest level.
        high: highest level.
        initial_scale: scale where the decoder gives 0, in parts of ``high - low``.
        scale_floor: scales stay above it, in parts of ``high - low``.

    Raises:
        ValueError: no component, fewer than two levels, an empty range, a decoder's output of another shape.

    Example:
        >>> import torch
        >>> from pyrovae import networks
        >>> decoder = networks.MLP(2, DiscretizedLogisticMixture.decoder_shape((1, 8, 8), num_components=3))
        >>> DiscretizedLogisticMixture(decoder, num_components=3)(torch.zeros(5, 2)).event_shape
        torch.Size([1, 8, 8])
    """

    def __init__(
        self,
        decoder: nn.Module,
        num_components: int = 5,
        num_levels: int = 256,
        low: float = 0.0,
        high: float = 1.0,
        initial_scale: float = 0.1,
        scale_floor: float = 1e-3,
    ) -> None:
        super().__init__()
        check_called(type(self).__name__, decoder=decoder)
        if not is_whole_number(num_components) or num_components < 1:
            raise ValueError(
                f"{type(self).__name__}: num_components is {num_components!r}; expected a positive whole number"
            )
        check_range(low, high, self)
        self.decoder, self.num_components = decoder, int(num_components)
        self.scales = Positive(self, "scale", "predicted", initial_scale, scale_floor, None, unit=high - low)
        self.low, self.high, self.num_levels = low, high, check_num_levels(num_levels, self)

    @classmethod
    def decoder_shape(cls, data_shape: Sequence[int], num_components: int = 5) -> tuple[int, ...]:
        """Output shape that the decoder needs."""
        return (3 * num_components, *as_shape(data_shape, "data_shape"))

    def forward(self, z: Tensor) -> dist.TorchDistribution:
        """p(x|z): batch ``(*batch,)``, event ``data_shape``."""
        params = split_params(self.decoder(z), z, 3 * self.num_components, self)
        logits, loc, raw_scale = torch.stack(params, dim=-1).chunk(3, dim=-1)
        scale = self.scales.bounded(raw_scale + self.scales.start)
        components = DiscretizedLogistic(loc, scale, self.low, self.high, self.num_levels)
        mixture = dist.MixtureSameFamily(dist.Categorical(logits=logits), components)
        return mixture.to_event(loc.dim() - z.dim())

    def initialize(self, rows: Tensor) -> None:
        """Start with equal components spread evenly over two standard deviations around the mean of each entry."""
        mean, deviation = entry_mean(rows), entry_variance(rows).sqrt()
        offsets = torch.linspace(-1, 1, self.num_components) if self.num_components > 1 else torch.zeros(1)
        offsets = offsets.to(mean).reshape(-1, *(1 for _ in mean.shape))
        # Locations and components share the variance.
        within = deviation * (1 - offsets.square().mean()).clamp(min=0.25).sqrt()
        raw_scale = self.scales.unbounded(self.scales.inside(3**0.5 / pi * within)) - self.scales.start
        loc = mean + offsets * deviation
        start_decoder(self, torch.cat([torch.zeros_like(loc), loc, raw_scale.expand_as(loc)]))

    def extra_repr(self) -> str:
        """What the printed module says of itself."""
        return (
            f"num_components={self.num_components}, num_levels={self.num_levels}, low={self.low:g}, high={self.high:g}"
        )
