"""What likelihoods start from: statistics of rows, in which NaN marks a missing entry."""

import torch
from torch import Tensor, nn

# Shares of the mean variance. Means that a new network gives differ by more than a tiny column does, and at its own
# scale the first losses are so large that fits end worse; but the floor that pixels need slows columns in small units.
_FLOOR, _FLOOR_OF_RARE = 0.001, 0.01


def entry_mean(rows: Tensor, decoder: nn.Module | None = None) -> Tensor:
    """Mean of each entry over the rows ``(rows, *data_shape)``; of all entries where one was never observed.

    Args:
        rows: rows of data, NaN where missing.
        decoder: what will start there. If its output has one bias for all pixels of a channel, each of them gets the
            channel's mean: log-odds of the mean start far better than the mean of log-odds.
    """
    rows = rows if rows.is_floating_point() else rows.to(torch.get_default_dtype())
    mean = rows.nanmean(0)
    mean = torch.where(mean.isnan(), rows.nanmean(), mean)
    shared = getattr(decoder, "bias_dims", 0)
    return mean.mean(tuple(range(-shared, 0)), keepdim=True).expand_as(mean) if shared else mean


def entry_variance(rows: Tensor) -> Tensor:
    """Variance of each entry around its mean.

    It is at least a thousandth of the mean over the entries, and a hundredth for an entry that hardly ever changes, as
    a pixel at the border: one whose variance is at most a hundredth of its largest square, or that never changes, which
    is no point mass then.
    """
    squares = (rows - entry_mean(rows)).square()
    variance = entry_mean(squares)
    # The mean of equal values is not always that value, to rounding.
    constant = rows.nan_to_num(nan=-torch.inf).amax(0) <= rows.nan_to_num(nan=torch.inf).amin(0)
    rare = constant | (100 * variance <= squares.nan_to_num(nan=0.0).amax(0))
    mean = variance.mean()
    return torch.maximum(variance, torch.where(rare, _FLOOR_OF_RARE * mean, _FLOOR * mean))


def probability(mean: Tensor) -> Tensor:
    """A mean in [0, 1], kept away from both ends, where log-odds are infinite."""
    return mean.clamp(0.001, 0.999)
