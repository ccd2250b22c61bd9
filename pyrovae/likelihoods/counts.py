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


def share_of_zeros(rows: Tensor) -> Tensor:
    """Of the observed counts ``(rows, *data_shape)`` of each entry."""
    return torch.where(rows.isnan(), torch.nan, (rows == 0).to(rows)).nanmean(0).nan_to_num(0.0)


def gate_of_zeros(rows: Tensor, mean: Tensor) -> Tensor:
    """The gate g of a zero-inflated Poisson distribution that has mean and share of zeros of the rows.

    With rate r the mean of the counts above 0 is r / (1 - exp(-r)), and the mean of all is (1 - g) r.
    """
    positive_mean = mean / (1 - share_of_zeros(rows)).clamp(min=1e-6)
    rate = positive_mean
    for _ in range(100):
        rate = positive_mean * -torch.expm1(-rate)
    return (1 - mean / rate.clamp(min=1e-6)).clamp(0.01, 0.99)


def excess_of_zeros(rows: Tensor, expected: Tensor) -> Tensor:
    """The gate that adds to a share of zeros what the rows have more."""
    return ((share_of_zeros(rows) - expected) / (1 - expected).clamp(min=1e-6)).clamp(0.01, 0.99)


def total_count_of_moments(mean: Tensor, variance: Tensor, *, pooled: bool) -> Tensor:
    r"""The ``total_count`` r of a negative binomial, whose variance is :math:`m + m^2 / r`; from 0.01 to 1000.

    Args:
        mean: of each entry.
        variance: of each entry.
        pooled: one for all entries, by their means over entries.
    """
    square, excess = mean.square(), variance - mean
    if pooled:
        square, excess = square.mean(), excess.mean()
    return (square / excess.clamp(min=1e-12)).clamp(0.01, 1000.0)


def start_of_total_count(mean: Tensor, variance: Tensor, *, pooled: bool) -> Tensor:
    """Where a total count starts: at that of the moments, and at 1 at least.

    z is to explain a part of the variance, so that the total count that is left is larger. Below 1 the density says so
    little of the means that the decoder hardly learns them.
    """
    return total_count_of_moments(mean, variance, pooled=pooled).clamp(min=1.0)
