"""What a block of importance weights says: estimates, their errors, and how far to believe them."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from pyrovae.evaluation.arviz_interface import pareto_smooth
from pyrovae.evaluation.log_mean import log_mean, spread, standard_error

# With fewer groups than this their own spread says less than the spread of the single weights.
_MIN_GROUPS = 20


def estimates(log_w: Tensor, sweep: Sequence[int]) -> dict[str, Tensor]:
    """The numbers of some rows from their log weights.

    Args:
        log_w: ``(draws, rows)``.
        sweep: numbers of draws K to give the K-sample bound for.

    Returns:
        The columns of ``BoundComparison`` by name, each ``(rows,)`` or ``(len(sweep), rows)``, in float64.
    """
    resolution = torch.finfo(log_w.dtype).eps
    log_w = log_w.cpu().double()
    elbo, mean = log_w.mean(0), log_mean(log_w)
    # Weights relative to their mean.
    relative = torch.exp(log_w - mean.value)
    bounds, errors = zip(*(_bound(log_w, relative, k) for k in sweep), strict=True)
    k_hat, smoothed = pareto_smooth(np.ascontiguousarray(log_w.T.numpy()), resolution)
    return {
        "elbo": elbo,
        "elbo_standard_error": standard_error(log_w),
        "log_px": mean.value,
        "standard_error": mean.standard_error,
        "bias": -0.5 * mean.standard_error.square(),
        "log_px_smoothed": torch.from_numpy(smoothed),
        "gap": mean.value - elbo,
        "gap_standard_error": standard_error(relative - log_w),
        "ess": mean.ess,
        "k_hat": torch.from_numpy(k_hat),
        "sweep_bounds": torch.stack(bounds),
        "sweep_standard_errors": torch.stack(errors),
    }


def _bound(log_w: Tensor, relative: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The K-sample bound as a mean over disjoint groups of K draws, and its standard error."""
    num_groups = len(log_w) // k
    groups = log_w[: num_groups * k].reshape(num_groups, k, -1)
    values = torch.logsumexp(groups, 1) - math.log(k)
    if num_groups >= _MIN_GROUPS or k == 1:
        return values.mean(0), standard_error(values)
    return values.mean(0), spread(relative) / math.sqrt(num_groups * k)
