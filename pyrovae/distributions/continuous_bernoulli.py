"""The continuous Bernoulli distribution, exact at every log-odds."""

from typing import Any

import pyro.distributions as dist
import torch
from torch import Size, Tensor
from torch.distributions import constraints

# Below it four terms of the series are exact, and the closed forms lose digits.
_SMALL = 0.2
# The same of five terms for draws, where the gradient of the closed form loses digits.
_SMALL_FOR_DRAWS = 0.01
_NO_SHAPE = Size()


class ContinuousBernoulli(dist.TorchDistribution):
    r"""A number in [0, 1] whose log density is a straight line (Loaiza-Ganem and Cunningham, 2019).

    .. math:: p(x) = \frac{l}{e^l - 1} e^{l x}, \qquad l = \text{logits}

    PyTorch's class clamps the probabilities: in float32 its density loses mass from log-odds of 15 on (0.6 nats at 30),
    and its mean is wrong by 0.0003 near log-odds of 0.

    Args:
        logits: the slope l, any real number.

    Example:
        >>> import torch
        >>> round(ContinuousBernoulli(logits=torch.tensor(100.0)).log_prob(torch.tensor(1.0)).exp().item(), 3)
        100.0
    """

    arg_constraints = {"logits": constraints.real}  # noqa: RUF012
    support = constraints.unit_interval
    has_rsample = True

    def __init__(self, logits: Tensor, validate_args: bool | None = None) -> None:
        self.logits = logits
        super().__init__(logits.shape, validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "ContinuousBernoulli":
        """The same distribution with a larger batch shape."""
        new = self._get_checked_instance(ContinuousBernoulli, _instance)
        new.logits = self.logits.expand(batch_shape)
        super(ContinuousBernoulli, new).__init__(Size(batch_shape), validate_args=False)
        new._validate_args = self._validate_args
        return new

    def log_prob(self, value: Tensor) -> Tensor:
        """Log density of each entry, in nats."""
        if self._validate_args:
            self._validate_sample(value)
        # Near zero the normaliser around the middle of [0, 1] is log(sinh(l / 2) / (l / 2)), an even function of l;
        # far from it large numbers would cancel unless x is measured from the end where the density is higher.
        small, near, far = _split(self.logits)
        square = near.square()
        series = square * (1 / 24 - square * (1 / 2880 - square * (1 / 181440 - square / 9676800)))
        distance = torch.where(self.logits > 0, 1 - value, value)
        closed = -far * distance - torch.log(-torch.expm1(-far) / far)
        return torch.where(small, self.logits * (value - 0.5) - series, closed)

    def rsample(self, sample_shape: Any = _NO_SHAPE) -> Tensor:
        """Draws by the inverse of the distribution function."""
        u = torch.rand(self._extended_shape(sample_shape), dtype=self.logits.dtype, device=self.logits.device)
        small, near, far = _split(self.logits, _SMALL_FOR_DRAWS)
        # The draw is the cumulant generating function of a Bernoulli variable with mean u, divided by the log-odds.
        spread, skew = u * (1 - u), 1 - 2 * u
        third, fourth = skew / 6, (1 - 6 * spread) / 24
        fifth = skew * (1 - 12 * spread) / 120
        series = u + near * spread * (0.5 + near * (third + near * (fourth + near * fifth)))
        # Distance from the end where the density is higher.
        distance = (-torch.log1p(u * torch.expm1(-far)) / far).clamp(0, 1)
        closed = torch.where(self.logits > 0, 1 - distance, distance)
        return torch.where(small, series, closed)

    @property
    def mean(self) -> Tensor:
        """Mean of each entry."""
        return _mean(self.logits)

    @property
    def variance(self) -> Tensor:
        """Variance of each entry."""
        small, near, far = _split(self.logits)
        square = near.square()
        series = 1 / 12 - square * (1 / 240 - square * (1 / 6048 - square / 172800))
        return torch.where(small, series, 1 / far.square() - torch.exp(-far) / torch.expm1(-far).square())


def logits_of_mean(mean: Tensor) -> Tensor:
    """The log-odds at which a continuous Bernoulli has these means, by bisection; means within (0.001, 0.999)."""
    low, high = torch.full_like(mean, -1001.0), torch.full_like(mean, 1001.0)
    for _ in range(60):
        middle = (low + high) / 2
        above = _mean(middle) > mean
        low, high = torch.where(above, low, middle), torch.where(above, middle, high)
    return (low + high) / 2


def _mean(logits: Tensor) -> Tensor:
    small, near, far = _split(logits)
    square = near.square()
    series = near * (1 / 12 - square * (1 / 720 - square * (1 / 30240 - square / 1209600)))
    closed = -1 / torch.expm1(-far) - 1 / far - 0.5
    return 0.5 + torch.where(small, series, logits.sign() * closed)


def _split(logits: Tensor, bound: float = _SMALL) -> tuple[Tensor, Tensor, Tensor]:
    """Where the series is used, the log-odds for it, and the size of the log-odds for the closed form.

    Where one is not used its argument is a harmless number, so that its gradient is finite.
    """
    size = logits.abs()
    small = size < bound
    return small, torch.where(small, logits, 0), torch.where(small, 1, size)
