"""The one place that knows which ArviZ is installed: 0.23 on Python 3.11, 1.x from 3.12 on."""

import importlib.util
import math
import warnings
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# In nats: weights rounded more coarsely than this, log p(x) of -100,000 in float32, show no tail.
_COARSEST = 0.01


def k_hat_limit(num_samples: int) -> float:
    """The largest k-hat at which an estimate from so many draws can be believed.

    It is min(1 - 1 / log10(S), 0.7) for S draws (Vehtari, Simpson, Gelman, Yao and Gabry, 2024).
    """
    return min(1 - 1 / math.log10(num_samples), 0.7) if num_samples > 1 else -math.inf


def pareto_smooth(log_weights: Floats, resolution: float) -> tuple[Floats, Floats]:
    """The tail index k-hat of each row's importance weights, and the log of their mean with a smoothed tail.

    The largest weights are replaced by quantiles of the generalised Pareto distribution fitted to them (Vehtari,
    Simpson, Gelman, Yao and Gabry, 2024). Where five draws or more share the largest weight, the weights are
    bounded and there is no tail to fit: the index is then 0, as it is in the limit of an exact guide.

    Args:
        log_weights: ``(rows, draws)``.
        resolution: relative spacing of the numbers that the log weights were computed in; weights that differ by a
            few of these are taken as equal.

    Returns:
        k-hat and log mean, each ``(rows,)``. k-hat is NaN where no tail can be fitted: too few draws, weights that
        are not finite, or so large that their rounding hides the tail; the log mean is then the plain one.
    """
    k_hat = np.full(len(log_weights), np.nan)
    log_mean = _log_mean(log_weights)
    largest = log_weights.max(axis=1)
    rounding = resolution * np.maximum(1.0, np.abs(largest))
    usable = np.isfinite(largest) & (rounding <= _COARSEST)
    # Each log weight is a difference of sums, with many rounding errors.
    near = np.minimum(64 * rounding, _COARSEST)
    with np.errstate(invalid="ignore"):
        ties = (log_weights >= (largest - near)[:, None]).sum(axis=1)
    k_hat[usable & (ties >= 5)] = 0.0
    # ArviZ takes the upper fifth as the tail, and needs five draws in it.
    fitted = usable & (ties < 5) & (log_weights.shape[1] >= 25)
    if fitted.any():
        raw = log_weights[fitted]
        smoothed, values = _psislw()(raw)
        believable = np.isfinite(values)
        k_hat[fitted] = np.where(believable, values, np.nan)
        # ArviZ normalises; the smallest weight is never in the tail and gives the scale back.
        body = np.argmin(np.where(np.isfinite(raw), raw, np.inf), axis=1)[:, None]
        offset = np.take_along_axis(raw, body, 1) - np.take_along_axis(smoothed, body, 1)
        log_mean[fitted] = np.where(believable, _log_mean(smoothed + offset), log_mean[fitted])
    return k_hat, log_mean


def pareto_k(log_weights: Floats, resolution: float) -> Floats:
    """The tail index k-hat of each row's importance weights; see ``pareto_smooth``."""
    return pareto_smooth(log_weights, resolution)[0]


def _log_mean(log_weights: Floats) -> Floats:
    with np.errstate(invalid="ignore"):
        return np.asarray(np.logaddexp.reduce(log_weights, axis=1) - math.log(log_weights.shape[1]))


def _psislw() -> Callable[[Floats], tuple[Floats, Floats]]:
    """ArviZ's Pareto smoothing of ``(rows, draws)`` log weights: normalised weights and k-hat."""
    if importlib.util.find_spec("arviz_stats") is not None:
        from arviz_stats.base import array_stats

        # It is made for leave-one-out and takes minus the log weights.
        return lambda log_weights: array_stats.psislw(-log_weights)
    with warnings.catch_warnings():
        # On import ArviZ 0.23 announces version 1, which this module already serves.
        warnings.filterwarnings("ignore", message=r"\s*ArviZ is undergoing", category=FutureWarning)
        from arviz import psislw
    # It works in place.
    return lambda log_weights: psislw(log_weights.copy())
