"""The mean of weights that are given as logarithms."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class LogMean:
    """The log mean weight of each row, with its error bar.

    Attributes:
        value: ``(rows,)``; minus infinity where every weight is zero.
        standard_error: of ``value``, by the delta method; NaN for a single weight, infinite where all are zero.
        ess: effective number of weights, between 1 and their number; 0 where all are zero.
    """

    value: Tensor
    standard_error: Tensor
    ess: Tensor


def log_mean(log_weights: Tensor) -> LogMean:
    r"""The log mean of independent weights, a column at a time.

    .. math::
        \log \frac1K \sum_k w_k \pm \frac{\mathrm{sd}(w)}{\bar w \sqrt K}, \qquad
        \mathrm{ESS} = \frac{(\sum_k w_k)^2}{\sum_k w_k^2}

    Args:
        log_weights: ``(weights, rows)``.

    Example:
        >>> import torch
        >>> result = log_mean(torch.tensor([[0.0], [0.0], [-torch.inf], [-torch.inf]]))
        >>> result.value.exp(), result.ess
        (tensor([0.5000]), tensor([2.]))
    """
    count = len(log_weights)
    value = torch.logsumexp(log_weights, 0) - math.log(count)
    empty = value == -torch.inf
    relative = torch.exp(log_weights - torch.where(empty, 0.0, value))
    error = standard_error(relative)
    ess = relative.sum(0).square() / relative.square().sum(0)
    return LogMean(value, error.masked_fill(empty, math.inf), ess.masked_fill(empty, 0.0))


def standard_error(terms: Tensor) -> Tensor:
    """The standard error of a mean over the first dimension, of independent terms ``(draws, rows)`` or ``(rows,)``."""
    return spread(terms) / math.sqrt(len(terms))


def spread(terms: Tensor) -> Tensor:
    """The standard deviation over the first dimension; one term says nothing of it."""
    return terms.std(0) if len(terms) > 1 else torch.full_like(terms[0], math.nan)


def error_of_mean(errors: Tensor) -> Tensor:
    """The standard error of a mean over rows, from those of the rows."""
    return errors.square().sum(0).sqrt() / len(errors)


def row_means(terms: dict[str, tuple[Tensor, Tensor]]) -> dict[str, tuple[float, float, float]]:
    """Means over rows with two standard errors: that of the rows as a sample, and that of the draws alone.

    Args:
        terms: values and their standard errors, each ``(rows,)``, by name.
    """
    return {
        name: (value.mean().item(), standard_error(value).item(), error_of_mean(error).item())
        for name, (value, error) in terms.items()
    }
