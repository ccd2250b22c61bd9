"""A logistic distribution rounded to equally spaced levels."""

from collections.abc import Iterator
from typing import Any

import pyro.distributions as dist
import torch
import torch.nn.functional as F
from torch import Size, Tensor
from torch.distributions import constraints
from torch.distributions.utils import broadcast_all

from pyrovae.distributions.constraints import EquallySpaced

_NO_SHAPE = Size()


class DiscretizedLogistic(dist.TorchDistribution):
    r"""A logistic variable rounded to the nearest of equally spaced levels; the end levels take the tails.

    .. math:: P(x) = \sigma\!\left(\frac{x + w/2 - \text{loc}}{s}\right) -
        \sigma\!\left(\frac{x - w/2 - \text{loc}}{s}\right), \qquad w = \frac{\text{high} - \text{low}}{L - 1}

    with the first term 1 at the highest level and the second 0 at the lowest (Salimans, Karpathy, Chen and Kingma,
    2017, PixelCNN++). The difference is never formed: its logarithm is
    :math:`\log\sigma(a) + \log\sigma(-b) + \log(1 - e^{-w/s})` at the edges a and b, exact far in the tails too,
    where PixelCNN++ puts a density in its place.

    Args:
        loc: location in the units of x.
        scale: s, in the units of x; the standard deviation before rounding is :math:`\pi s / \sqrt 3`.
        low: lowest level.
        high: highest level.
        num_levels: number of levels L.

    Example:
        >>> import torch
        >>> pixel = DiscretizedLogistic(torch.tensor(0.5), torch.tensor(0.1))
        >>> round(pixel.log_prob(torch.arange(256) / 255).exp().sum().item(), 5)
        1.0
    """

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}  # noqa: RUF012
    has_rsample = False

    def __init__(
        self,
        loc: Tensor,
        scale: Tensor,
        low: float = 0.0,
        high: float = 1.0,
        num_levels: int = 256,
        validate_args: bool | None = None,
    ) -> None:
        self.loc, self.scale = broadcast_all(loc, scale)
        self._levels = EquallySpaced(low, high, num_levels)
        super().__init__(self.loc.shape, validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "DiscretizedLogistic":
        """The same distribution with a larger batch shape."""
        new = self._get_checked_instance(DiscretizedLogistic, _instance)
        new.loc, new.scale = self.loc.expand(batch_shape), self.scale.expand(batch_shape)
        new._levels = self._levels
        super(DiscretizedLogistic, new).__init__(Size(batch_shape), validate_args=False)
        new._validate_args = self._validate_args
        return new

    @constraints.dependent_property(is_discrete=True, event_dim=0)
    def support(self) -> EquallySpaced:
        """The levels."""
        return self._levels

    def log_prob(self, value: Tensor) -> Tensor:
        """Log probability of each level, in nats."""
        if self._validate_args:
            self._validate_sample(value)
        loc, scale = self._in_levels()
        index = self._levels.index(value)
        upper, lower = (index + 0.5 - loc) / scale, (index - 0.5 - loc) / scale
        below, above = F.logsigmoid(upper), F.logsigmoid(-lower)
        inside = below + above + torch.log(-torch.expm1(-1 / scale))
        ends = torch.where(index == 0, below, inside)
        return torch.where(index == self._levels.num_levels - 1, above, ends)

    @torch.no_grad()
    def sample(self, sample_shape: Any = _NO_SHAPE) -> Tensor:
        """Draws of a logistic variable, rounded."""
        loc, scale = self._in_levels()
        u = torch.rand(self._extended_shape(sample_shape), dtype=loc.dtype, device=loc.device)
        # torch.rand can be 0, whose log-odds are infinite.
        draws = loc + scale * torch.logit(u, eps=torch.finfo(u.dtype).eps / 2)
        return self._levels.level(draws.round().clamp(0, self._levels.num_levels - 1))

    @property
    def mean(self) -> Tensor:
        """Mean of the level."""
        return self._levels.level(self._mean_index().to(self.loc))

    @property
    def variance(self) -> Tensor:
        """Variance of the level."""
        mean = self._mean_index()
        # About a level near the mean, as squares of numbers up to that of levels would cost the digits.
        centre = mean.round()
        square = torch.zeros_like(mean)
        for index, odds in self._edges():
            above, below = torch.sigmoid(odds), torch.sigmoid(-odds)
            square = square + torch.where(
                index > centre, (2 * (index - centre) - 1) * above, (2 * (centre - index) + 1) * below
            )
        return ((square - (mean - centre).square()).clamp(min=0) * self._levels.width**2).to(self.loc)

    def _in_levels(self) -> tuple[Tensor, Tensor]:
        """Loc and scale where levels are 0, 1, 2 ...: the edges of the bins are then exact also in float32."""
        return (self.loc - self._levels.low) / self._levels.width, self.scale / self._levels.width

    def _edges(self) -> Iterator[tuple[int, Tensor]]:
        """Each level's number but the first, and the log-odds that a draw is that level or a higher one."""
        loc, scale = (value.double() for value in self._in_levels())
        for index in range(1, self._levels.num_levels):
            yield index, (loc - index + 0.5) / scale

    def _mean_index(self) -> Tensor:
        """Mean of the level's number, the sum of P(number >= k); one level after the other."""
        return sum((torch.sigmoid(odds) for _, odds in self._edges()), torch.zeros_like(self.loc, dtype=torch.float64))
