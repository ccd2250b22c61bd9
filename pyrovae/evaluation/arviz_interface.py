"""The one place that knows which ArviZ is installed: 0.23 on Python 3.11, 1.x from 3.12 on."""

import importlib
import importlib.util
import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# In nats: weights rounded more coarsely than this, log p(x) of -100,000 in float32, show no tail.
_COARSEST = 0.01

# Beyond it the ratio of two weights is zero in float64.
_EXPONENT_RANGE = 700.0

# Said where no row has a k-hat. ArviZ takes the upper fifth of the draws as the tail, and needs five in it.
WHEN_K_HAT = (
    "k-hat needs at least 25 draws, and finite weights that float32 does not round too coarsely (below -100,000 nats, "
    "use float64)"
)

# Groups of numbers that have no dimensions of chains and draws.
_WITHOUT_DRAWS = ("observed_data", "constant_data", "r_hat", "ess")


def _is_version_1() -> bool:
    return importlib.util.find_spec("arviz_stats") is not None


def _arviz_0() -> Any:
    """ArviZ 0.23, which announces version 1 on import; this module already serves that."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"\s*ArviZ is undergoing", category=FutureWarning)
        return importlib.import_module("arviz")


def _array_stats() -> Any:
    """ArviZ 1's statistics of arrays."""
    return importlib.import_module("arviz_stats.base").array_stats


def is_path(name: str) -> bool:
    """Whether ArviZ takes the name of a variable for a path: a ``DataTree`` holds no name with a slash."""
    return "/" in name and _is_version_1()


def k_hat_limit(num_samples: int) -> float:
    """The largest k-hat at which an estimate from so many draws can be believed.

    It is min(1 - 1 / log10(S), 0.7) for S draws (Vehtari, Simpson, Gelman, Yao and Gabry, 2024), and below ten draws
    zero: k-hat is then 0, where the largest weights tie, or unknown.
    """
    return min(1 - 1 / math.log10(max(num_samples, 10)), 0.7)


def pareto_smooth(log_weights: Floats, resolution: float) -> tuple[Floats, Floats]:
    """The tail index k-hat of each row's importance weights, and the log of their mean with a smoothed tail.

    The largest weights are replaced by quantiles of the generalised Pareto distribution fitted to them (Vehtari,
    Simpson, Gelman, Yao and Gabry, 2024). Where five draws or more share the largest weight, the weights are
    bounded and there is no tail to fit: the index is then 0, as it is in the limit of an exact guide. Weights alone do
    not tell whether they tie because all draws of discrete latents were one value.

    Args:
        log_weights: ``(rows, draws)``.
        resolution: relative spacing of the numbers that the log weights were computed in; weights that differ by a
            few of these are taken as equal.

    Returns:
        k-hat and log mean, each ``(rows,)``. k-hat is NaN where no tail can be fitted: too few draws, weights that
        are not finite, or so large that their rounding hides the tail. It is infinite where the tail is longer than
        the range of floating-point numbers, so that its weights vanish beside the largest. The log mean is the plain
        one where k-hat is not a finite number.
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
    num_draws = log_weights.shape[1]
    fitted = usable & (ties < 5) & (num_draws >= 25)
    if not fitted.any():
        return k_hat, log_mean
    tail = math.ceil(min(0.2 * num_draws, 3 * math.sqrt(num_draws)))
    # The largest weight below the tail.
    cutoff = np.partition(log_weights, -tail - 1, axis=1)[:, -tail - 1]
    with np.errstate(invalid="ignore"):
        # ArviZ 1 takes weights that have underflowed to zero for a short tail.
        endless = fitted & (largest - cutoff > _EXPONENT_RANGE)
    k_hat[endless] = np.inf
    fitted &= ~endless
    if fitted.any():
        raw = log_weights[fitted]
        smoothed, values = _psislw(raw)
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


def _psislw(log_weights: Floats) -> tuple[Floats, Floats]:
    """ArviZ's Pareto smoothing of ``(rows, draws)`` log weights: normalised log weights and k-hat."""
    # The largest quantiles may overflow before ArviZ cuts them at the largest weight.
    with np.errstate(over="ignore", invalid="ignore"):
        if _is_version_1():
            # It is made for leave-one-out and takes minus the log weights.
            smoothed, k_hat = _array_stats().psislw(-log_weights)
        else:
            # It works in place.
            smoothed, k_hat = _arviz_0().psislw(log_weights.copy())
    return np.asarray(smoothed), np.asarray(k_hat, dtype=np.float64)


def make_arviz(
    groups: Mapping[str, Mapping[str, NDArray[Any]]],
    dims: Mapping[str, Sequence[str]],
    coords: Mapping[str, Sequence[Any]],
) -> Any:
    """An ArviZ object of arrays: ``InferenceData`` from ArviZ 0.23, ``DataTree`` from ArviZ 1.

    Both give a group as ``result["posterior"]`` and a variable of it as ``result["posterior"]["z"]``.

    Args:
        groups: arrays by name, by name of the group. They start with ``(chain, draw)``, except in the groups
            ``observed_data``, ``constant_data``, ``r_hat`` and ``ess``.
        dims: names of the dimensions after those, by name of the variable, or by ``group.variable`` for one group.
        coords: labels along a dimension, by its name.
    """

    def options(group: str) -> dict[str, Any]:
        names = {name: dims.get(f"{group}.{name}", dims.get(name)) for name in groups[group]}
        return {
            "dims": {name: list(value) for name, value in names.items() if value is not None},
            "coords": {name: list(value) for name, value in coords.items()},
        }

    if _is_version_1():
        to_dataset = importlib.import_module("arviz_base").dict_to_dataset
        data_tree = importlib.import_module("xarray").DataTree
        return data_tree.from_dict(
            {
                group: to_dataset(arrays, sample_dims=_sample_dims(group), **options(group))
                for group, arrays in groups.items()
            }
        )
    arviz = _arviz_0()
    return arviz.InferenceData(
        **{
            group: arviz.dict_to_dataset(arrays, default_dims=_sample_dims(group), **options(group))
            for group, arrays in groups.items()
        }
    )


def _sample_dims(group: str) -> list[str]:
    return [] if group in _WITHOUT_DRAWS else ["chain", "draw"]


def convergence(draws: Floats) -> tuple[Floats, Floats]:
    """ArviZ's rank-normalised split R-hat and bulk ESS (Vehtari, Gelman, Simpson, Carpenter and Bürkner, 2021).

    Args:
        draws: ``(chains, draws, *shape)``.

    Returns:
        R-hat and effective sample sizes, each ``(*shape,)``.
    """
    shape = draws.shape[2:]
    flat = draws.reshape(*draws.shape[:2], -1)
    if _is_version_1():
        r_hat, ess = (getattr(_array_stats(), name)(flat, chain_axis=0, draw_axis=1) for name in ("rhat", "ess"))
    else:
        r_hat, ess = (
            [getattr(_arviz_0(), name)(flat[:, :, d]) for d in range(flat.shape[2])] for name in ("rhat", "ess")
        )
    return np.asarray(r_hat).reshape(shape), np.asarray(ess).reshape(shape)
