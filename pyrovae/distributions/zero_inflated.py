"""Counts that are zero more often than their distribution says."""

from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import constraints


class ZeroInflated(dist.ZeroInflatedDistribution):
    """Pyro's ZeroInflatedDistribution, which knows its gate by its log-odds alone.

    Pyro's computes the gate for draws and means and keeps it; from then on the log density has lost the digits that
    log-odds keep near 0 and 1, and ``expand`` raises an error, as it finds both.

    Args:
        base_dist: distribution of the counts that are not extra zeros.
        gate_logits: log-odds of an extra zero.

    Example:
        >>> import pyro.distributions as dist
        >>> import torch
        >>> law = ZeroInflated(dist.Poisson(torch.tensor(3.0)), gate_logits=torch.tensor(0.0))
        >>> law.mean, law.expand((2,)).mean
        (tensor(1.5000), tensor([1.5000, 1.5000]))
    """

    arg_constraints = {"gate_logits": constraints.real}  # noqa: RUF012

    def __init__(self, base_dist: Any, *, gate_logits: Tensor, validate_args: bool | None = None) -> None:
        super().__init__(base_dist, gate_logits=gate_logits, validate_args=validate_args)

    @property
    def gate(self) -> Tensor:
        """Probability of an extra zero."""
        return torch.sigmoid(self.gate_logits)
