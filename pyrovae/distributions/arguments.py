"""Checks of the numbers that parts are built from, and positive parameters."""

from math import expm1, log
from numbers import Integral

import torch.nn.functional as F
from torch import Tensor

# softplus underflows to zero in float32, and a scale of zero is no distribution.
SCALE_FLOOR = 1e-6


def check_counts(part: str, **counts: int) -> None:
    """Refuse what is no positive integer, by the names of the part and of the argument."""
    for name, value in counts.items():
        if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
            raise ValueError(f"{part}: {name} is {value!r}; expected a positive integer")


def positive_scale(raw: Tensor, floor: float = SCALE_FLOOR) -> Tensor:
    """A standard deviation from a free number: softplus and a small floor."""
    return F.softplus(raw) + floor


def raw_scale(scale: float, floor: float = SCALE_FLOOR) -> float:
    """The free number whose ``positive_scale`` is ``scale``."""
    return scale - floor + log(-expm1(floor - scale))
