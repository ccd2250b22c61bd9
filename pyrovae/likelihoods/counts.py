"""What likelihoods of counts share."""

import torch
from torch import Tensor

# Rates from 1e-13 to 1e13: beyond them float32 overflows in the density or its gradient.
_LARGEST_LOG_RATE = 30.0


def bounded_log_rate(output: Tensor) -> Tensor:
    """A decoder's output as log rates."""
    return output.clamp(-_LARGEST_LOG_RATE, _LARGEST_LOG_RATE)


def bounded_rate(output: Tensor) -> Tensor:
    """A decoder's output, log rates, as rates."""
    return bounded_log_rate(output).exp()


def log_rate(mean: Tensor) -> Tensor:
    """Logarithm of a mean count, kept away from 0."""
    return mean.clamp(min=0.001).log()


def excess_of_zeros(rows: Tensor, log_zero: Tensor) -> Tensor:
    """The share of zeros in each entry beyond those expected: the gate of a zero-inflated distribution.

    Args:
        rows: counts ``(rows, *data_shape)``, NaN where missing.
        log_zero: log probability of a zero without a gate, ``data_shape``.
    """
    zeros = torch.where(rows.isnan(), torch.nan, (rows == 0).to(rows)).nanmean(0).nan_to_num(0.0)
    expected = log_zero.exp()
    return ((zeros - expected) / (1 - expected).clamp(min=1e-6)).clamp(0.01, 0.99)


def total_count_of_moments(mean: Tensor, variance: Tensor, *, pooled: bool) -> Tensor:
    r"""The ``total_count`` r of a negative binomial, whose variance is :math:`m + m^2 / r`; from 0.01 to 1000."""
    square, excess = mean.square(), variance - mean
    if pooled:
        square, excess = square.mean(), excess.mean()
    return (square / excess.clamp(min=1e-12)).clamp(0.01, 1000.0)
