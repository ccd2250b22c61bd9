"""Supports that PyTorch has no constraint for."""

import torch
from torch import Tensor
from torch.distributions import constraints


class OpenInterval(constraints.Constraint):
    """Numbers between two bounds, without the bounds."""

    def __init__(self, lower_bound: float, upper_bound: float) -> None:
        self.lower_bound = lower_bound
        self.upper_bound = upper_bound
        super().__init__()

    def check(self, value: Tensor) -> Tensor:
        """Whether each value lies inside."""
        return (self.lower_bound < value) & (value < self.upper_bound)

    def __repr__(self) -> str:
        return f"OpenInterval(lower_bound={self.lower_bound}, upper_bound={self.upper_bound})"


class EquallySpaced(constraints.Constraint):
    """``num_levels`` equally spaced numbers from ``low`` to ``high``.

    A thousandth of their distance is allowed for rounding, and what float32 needs where that is more.
    """

    is_discrete = True

    def __init__(self, low: float, high: float, num_levels: int) -> None:
        self.low, self.high, self.num_levels = low, high, num_levels
        super().__init__()

    @property
    def width(self) -> float:
        """Distance of neighbouring levels."""
        return (self.high - self.low) / (self.num_levels - 1)

    def index(self, value: Tensor) -> Tensor:
        """Number of the nearest level, from 0 on, in the data type of the values."""
        return ((value - self.low) / self.width).round()

    def level(self, index: Tensor) -> Tensor:
        """The value of a level, by its number."""
        return self.low + index * self.width

    def check(self, value: Tensor) -> Tensor:
        """Whether each value is one of the levels."""
        index = self.index(value)
        # Data are stored in float32, whatever they are compared in.
        rounding = 2 * torch.finfo(torch.float32).eps * max(abs(self.low), abs(self.high))
        tolerance = max(1e-3 * self.width, min(rounding, 0.25 * self.width))
        near = (value - self.level(index)).abs() < tolerance
        return near & (index >= 0) & (index < self.num_levels)

    def values(self) -> Tensor:
        """All levels, float64."""
        return self.level(torch.arange(self.num_levels, dtype=torch.float64))

    def __repr__(self) -> str:
        return f"EquallySpaced(low={self.low:g}, high={self.high:g}, num_levels={self.num_levels})"
