"""The negative binomial distribution, exact also near its Poisson limit and at large counts."""

import pyro.distributions as dist
import torch
from torch import Tensor

# Above it three terms of Stirling's series are exact to float64.
_LARGE = 30.0


class NegativeBinomial(dist.NegativeBinomial):
    r"""PyTorch's NegativeBinomial, with a log density that keeps its digits at large total counts.

    PyTorch subtracts :math:`\log \Gamma(r)` from :math:`\log \Gamma(x + r)`: in float32 that costs 0.0007 nats at
    r = 1000 and 0.008 at 10,000. Above 30 it is, with mean m and the remainder S of Stirling's formula,

    .. math:: \log p(x) = x \log m - x - \log x! + (r + x) \log\frac{r + x}{r + m} - \tfrac12 \log\frac{r + x}{r}
        + S(r + x) - S(r)

    Example:
        >>> import torch
        >>> rate, total_count = torch.tensor(3.0), torch.tensor(1e7)
        >>> law = NegativeBinomial(total_count, logits=rate.log() - total_count.log())
        >>> round(law.log_prob(torch.tensor(2.0)).exp().item(), 5)  # Poisson: 3**2 / 2 * exp(-3) = 0.22404
        0.22404
    """

    def log_prob(self, value: Tensor) -> Tensor:
        """Log probability of each count, in nats."""
        if self._validate_args:
            self._validate_sample(value)
        # In float64: of counts of a million, logarithms of Gamma functions leave float32 nothing after the point.
        x, total_count, logits = value.double(), self.total_count.double(), self.logits.double()
        plain = dist.NegativeBinomial(total_count, logits=logits, validate_args=False).log_prob(x)
        large = total_count > _LARGE
        r = total_count.clamp(min=_LARGE)
        log_mean = logits + r.log()
        mean = log_mean.exp()
        ratio = (x - mean) / (r + mean)
        log_ratio = torch.where(
            ratio.abs() < 0.5, torch.log1p(ratio.clamp(-0.5, 0.5)), (r + x).log() - (r + mean).log()
        )
        stirling = (
            x * log_mean
            - x
            - torch.lgamma(x + 1)
            + (r + x) * log_ratio
            - 0.5 * torch.log1p(x / r)
            + _remainder(r + x)
            - _remainder(r)
        )
        return torch.where(large, stirling, plain).to(self.logits.dtype)


def _remainder(y: Tensor) -> Tensor:
    """Of Stirling's formula for log Gamma(y)."""
    inverse = 1 / y.square()
    return (1 / 12 - inverse * (1 / 360 - inverse / 1260)) / y
