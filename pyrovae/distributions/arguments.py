"""Checks of the numbers that parts are built from, and positive parameters."""

from math import expm1, isfinite, log
from numbers import Integral, Real
from typing import TypeGuard

import torch.nn.functional as F
from torch import Tensor

# softplus underflows to zero in float32, and a scale of zero is no distribution.
SCALE_FLOOR = 1e-6


def check_counts(part: str, **counts: int) -> None:
    """Refuse what is no positive integer, by the names of the part and of the argument."""
    for name, value in counts.items():
        if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
            raise ValueError(f"{part}: {name} is {value!r}; expected a positive integer")


def check_called(part: str, **networks: object) -> None:
    """Refuse what is no network or part, by the names of the part and of the argument."""
    for name, network in networks.items():
        if isinstance(network, type) or not callable(network):
            given = f"the class {network.__name__}" if isinstance(network, type) else repr(network)
            raise ValueError(f"{part}: {name} is {given}; expected a module, such as networks.MLP(inputs, outputs)")


def is_whole_number(value: object) -> TypeGuard[int]:
    """Whether a value is a whole number, one of NumPy too, and no truth value."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def is_finite_number(value: object) -> TypeGuard[float]:
    """Whether a value is a number, one of NumPy too, no truth value, and neither NaN nor infinite."""
    return isinstance(value, Real) and not isinstance(value, bool) and isfinite(float(value))


def positive_scale(raw: Tensor, floor: float = SCALE_FLOOR) -> Tensor:
    """A standard deviation from a free number: softplus and a small floor."""
    return F.softplus(raw) + floor


def raw_scale(scale: float) -> float:
    """The free number whose ``positive_scale`` is ``scale``."""
    return scale - SCALE_FLOOR + log(-expm1(SCALE_FLOOR - scale))
