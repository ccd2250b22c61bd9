"""A categorical distribution whose values are level numbers, as numbers."""

from typing import Any

import pyro.distributions as dist
import torch
from torch import Size, Tensor

_NO_SHAPE = Size()


class CategoricalLevels(dist.Categorical):
    r"""PyTorch's Categorical over the levels 0, ..., L - 1, drawn as floating-point numbers and with their moments.

    .. math:: p(x) = \mathrm{softmax}(\text{logits})_x

    Args:
        logits: unnormalised log probabilities ``(*batch, L)``; or ``probs``.

    Example:
        >>> import torch
        >>> CategoricalLevels(probs=torch.tensor([0.5, 0.25, 0.25])).mean
        tensor(0.7500)
    """

    def sample(self, sample_shape: Any = _NO_SHAPE) -> Tensor:
        """Level numbers, in the data type of the logits."""
        return super().sample(sample_shape).to(self.logits.dtype)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log probability of the level; minus infinity for what is no level."""
        if self._validate_args:
            self._validate_sample(value)
        # A level that is not there would be read from beyond the logits.
        nearest = value.round().clamp(0, self.logits.shape[-1] - 1)
        return torch.where(nearest == value, super().log_prob(nearest), -torch.inf)

    @property
    def mean(self) -> Tensor:
        """Mean of the level number."""
        return (self.probs * self._levels()).sum(-1)

    @property
    def variance(self) -> Tensor:
        """Variance of the level number."""
        return (self.probs * (self._levels() - self.mean[..., None]).square()).sum(-1)

    def _levels(self) -> Tensor:
        return torch.arange(self.probs.shape[-1], dtype=self.probs.dtype, device=self.probs.device)
