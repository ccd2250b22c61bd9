"""The Poisson distribution, exact also at large counts."""

import pyro.distributions as dist
from torch import Tensor


class Poisson(dist.Poisson):
    r"""PyTorch's Poisson, scored in float64.

    .. math:: \log p(x) = x \log \lambda - \lambda - \log x!

    The three terms are large where their sum is not: in float32 that costs 0.09 nats at counts of 100,000.

    Example:
        >>> import torch
        >>> round(Poisson(torch.tensor(1e5)).log_prob(torch.tensor(1e5)).item(), 4)
        -6.6754
    """

    def log_prob(self, value: Tensor) -> Tensor:
        """Log probability of each count, in nats."""
        if self._validate_args:
            self._validate_sample(value)
        exact = dist.Poisson(self.rate.double(), validate_args=False)
        return exact.log_prob(value.double()).to(self.rate.dtype)
