"""The binomial distribution, scored with all its digits."""

import pyro.distributions as dist
from torch import Tensor


class Binomial(dist.Binomial):
    r"""PyTorch's Binomial, scored in float64.

    .. math:: \log p(x) = \log \binom{N}{x} + x\, l - N \log(1 + e^l), \qquad l = \text{logits}

    The logarithms of factorials are large where their difference is not: in float32 that costs 0.7 nats for an image of
    64 x 64 x 3 entries and 255 trials.

    Example:
        >>> import torch
        >>> law = Binomial(1_000_000, logits=torch.tensor(0.0))
        >>> round(law.log_prob(torch.tensor(5e5)).item(), 4)  # -0.5 * log(pi * 1e6 / 2)
        -7.1335
    """

    def log_prob(self, value: Tensor) -> Tensor:
        """Log probability of each count, in nats."""
        if self._validate_args:
            self._validate_sample(value)
        exact = dist.Binomial(self.total_count.double(), logits=self.logits.double(), validate_args=False)
        return exact.log_prob(value.double()).to(self.logits.dtype)
