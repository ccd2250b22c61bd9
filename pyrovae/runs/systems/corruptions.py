"""Damage to rows, from plain options."""

import sys
from collections.abc import Callable, Mapping
from math import prod
from typing import Any

import torch
from torch import Tensor

from pyrovae.data import AnyRows, Corruption, DataSplits, GaussianNoise, Masking, SaltAndPepper, value_range

CORRUPTION_OPTIONS = ("corruption", "corruption_level")

CORRUPTIONS: dict[str, Callable[[float], Corruption]] = {
    "gaussian": GaussianNoise,
    "masking": Masking,
    "salt-and-pepper": SaltAndPepper,
}
"""Corruptions by the name that ``--corruption`` takes."""

_LEVEL = 0.3


def check_corruption(config: Mapping[str, Any]) -> None:
    """Refuse a level out of range or without a kind.

    Raises:
        ValueError: what was given and what was expected.
    """
    kind, level = (config[name] for name in CORRUPTION_OPTIONS)
    if kind is None and level is not None:
        raise ValueError(
            f"--corruption-level {level:g} has no effect without --corruption: add it, as in --corruption masking, or "
            "leave --corruption-level out"
        )
    if level is not None:
        most, expected = 1.0, "a fraction of the entries, above 0 and at most 1"
        if kind == "gaussian":
            most, expected = sys.float_info.max, "a standard deviation above 0"
        if not 0 < level <= most:
            raise ValueError(f"--corruption-level is {level:g}; expected {expected}, for --corruption {kind}")
    if kind is not None and config["missing"] == "keep":
        raise ValueError(
            "--corruption damages whole rows, and --missing keep has rows with gaps: leave one of them out"
        )


def check_corrupted_values(config: Mapping[str, Any], data: DataSplits[AnyRows]) -> None:
    """Refuse salt and pepper, which are 0 and 1, on values of another range.

    Raises:
        ValueError: the range of the values.
    """
    if config.get("corruption") == "salt-and-pepper" and data.support not in ("binary", "unit_interval"):
        low, high = value_range(data.train)
        raise ValueError(
            f"--corruption salt-and-pepper sets entries to 0 or 1, and the data range from {low:g} to {high:g}: scale "
            "them to [0, 1], or take --corruption gaussian or masking"
        )


def make_corruption(config: Mapping[str, Any]) -> Corruption | None:
    """The corruption of a configuration; None for none."""
    if config.get("corruption") is None:
        return None
    level = config["corruption_level"]
    return CORRUPTIONS[config["corruption"]](_LEVEL if level is None else level)


class OfValues(Corruption):
    """Damages the values of a row, and leaves what stands behind them.

    Args:
        corruption: of the values.
        data_shape: shape of one row without what stands behind.
    """

    def __init__(self, corruption: Corruption, data_shape: tuple[int, ...]) -> None:
        self.corruption, self.size = corruption, prod(data_shape)

    def __call__(self, x: Tensor) -> Tensor:
        """The rows with their values damaged."""
        return torch.cat([self.corruption(x[..., : self.size]), x[..., self.size :]], -1)

    def __repr__(self) -> str:
        return repr(self.corruption)
