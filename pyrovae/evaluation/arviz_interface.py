"""The one place that knows which ArviZ is installed: 0.23 on Python 3.11, 1.x from 3.12 on."""

import importlib
import importlib.util
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Beyond it the ratio of two weights is zero in float64.
_EXPONENT_RANGE = 700.0

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


def _tail_index() -> Callable[[Floats], Floats]:
    """ArviZ's k-hat of ``(rows, draws)`` log weights, a row at a time."""
    if _is_version_1():
        # It is made for leave-one-out and takes minus the log weights.
        return lambda log_weights: _array_stats().psislw(-log_weights)[1]
    # It works in place.
    return lambda log_weights: _arviz_0().psislw(log_weights.copy())[1]


def pareto_k(log_weights: Floats, resolution: float) -> Floats:
    """The estimated tail index k-hat of the importance weights of each row.

    Above 0.7 neither an estimate by these weights nor its standard error is to be believed (Vehtari, Simpson,
    Gelman, Yao and Gabry, 2024). Where five draws or more share the largest weight, the weights are bounded and
    there is no tail to fit: the index is then 0, as it is in the limit of an exact guide.

    Args:
        log_weights: ``(rows, draws)``.
        resolution: relative rounding error of a log weight; weights that differ by less are taken as equal.

    Returns:
        ``(rows,)``; NaN where no tail can be fitted: too few draws, or weights that are not finite. Infinite where the
        tail is longer than the range of floating-point numbers, so that its weights vanish beside the largest.
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
            # Smoothed weights, of no use here, may overflow where the tail is very long.
            with np.errstate(over="ignore", invalid="ignore"):
                values = np.asarray(_tail_index()(log_weights[fitted]), dtype=np.float64)
            k_hat[fitted] = np.where(np.isfinite(values), values, np.nan)
        # ArviZ 1 takes weights that have underflowed to zero for a short tail.
        tail = math.ceil(min(0.2 * log_weights.shape[1], 3 * math.sqrt(log_weights.shape[1])))
        cutoff = np.partition(log_weights, -tail, axis=1)[:, -tail]
        with np.errstate(invalid="ignore"):
            k_hat[fitted & (largest - cutoff > _EXPONENT_RANGE)] = np.inf
    return k_hat


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
        dims: names of the dimensions after those, by name of the variable.
        coords: labels along a dimension, by its name.
    """
    options: dict[str, Any] = {
        "dims": {name: list(value) for name, value in dims.items()},
        "coords": {name: list(value) for name, value in coords.items()},
    }
    if _is_version_1():
        to_dataset = importlib.import_module("arviz_base").dict_to_dataset
        data_tree = importlib.import_module("xarray").DataTree
        return data_tree.from_dict(
            {group: to_dataset(arrays, sample_dims=_sample_dims(group), **options) for group, arrays in groups.items()}
        )
    arviz = _arviz_0()
    return arviz.InferenceData(
        **{
            group: arviz.dict_to_dataset(arrays, default_dims=_sample_dims(group), **options)
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
