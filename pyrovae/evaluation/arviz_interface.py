"""The one place that knows which ArviZ is installed: 0.23 on Python 3.11, 1.x from 3.12 on."""

import importlib.util
import warnings
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def _tail_index() -> Callable[[Floats], Floats]:
    """ArviZ's k-hat of ``(rows, draws)`` log weights, a row at a time."""
    if importlib.util.find_spec("arviz_stats") is not None:
        from arviz_stats.base import array_stats

        # It is made for leave-one-out and takes minus the log weights.
        return lambda log_weights: array_stats.psislw(-log_weights)[1]
    with warnings.catch_warnings():
        # On import ArviZ 0.23 announces version 1, which this module already serves.
        warnings.filterwarnings("ignore", message=r"\s*ArviZ is undergoing", category=FutureWarning)
        from arviz import psislw
    # It works in place.
    return lambda log_weights: psislw(log_weights.copy())[1]


def pareto_k(log_weights: Floats, resolution: float) -> Floats:
    """The estimated tail index k-hat of the importance weights of each row.

    Above 0.7 neither an estimate by these weights nor its standard error is to be believed (Vehtari, Simpson,
    Gelman, Yao and Gabry, 2024). Where five draws or more share the largest weight, the weights are bounded and
    there is no tail to fit: the index is then 0, as it is in the limit of an exact guide.

    Args:
        log_weights: ``(rows, draws)``.
        resolution: relative rounding error of a log weight; weights that differ by less are taken as equal.

    Returns:
        ``(rows,)``; NaN where no tail can be fitted: too few draws, or weights that are not finite.
    """
    k_hat = np.full(len(log_weights), np.nan)
    largest = log_weights.max(axis=1)
    usable = np.isfinite(largest)
    near = resolution * np.maximum(1.0, np.abs(largest))
    with np.errstate(invalid="ignore"):
        ties = (log_weights >= (largest - near)[:, None]).sum(axis=1)
    k_hat[usable & (ties >= 5)] = 0.0
    # ArviZ takes the upper fifth as the tail, and needs five draws in it.
    if log_weights.shape[1] >= 25:
        fitted = usable & (ties < 5)
        if fitted.any():
            values = np.asarray(_tail_index()(log_weights[fitted]), dtype=np.float64)
            k_hat[fitted] = np.where(np.isfinite(values), values, np.nan)
    return k_hat
