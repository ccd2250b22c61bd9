"""The values that one entry of a distribution may have, read off its support: for sums and integrals over all of them.

Integrals are sums over the middles of equal steps of u in (-pi/2, pi/2), the entry being a smooth function of u.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import constraints

from pyrovae.distributions import ColumnValues, EquallySpaced

F64 = torch.float64
_MOST_COUNTS = 100
_COLUMNS = {"real": constraints.real, "count": constraints.nonnegative_integer, "binary": constraints.boolean}


@dataclass(frozen=True)
class Axis:
    """Points, their weights in a sum or integral, and the bounds between the cells around them."""

    points: Tensor
    weights: Tensor
    bounds: Tensor

    def cell(self, values: Tensor) -> Tensor:
        """The number of the cell that each value lies in."""
        return torch.bucketize(values.contiguous(), self.bounds)


def entry_supports(distribution) -> list:
    """The support of each entry of a row, flattened, and of none that may be missing."""
    support = distribution.support
    while hasattr(support, "base_constraint"):
        support = support.base_constraint
    support = getattr(support, "entry", support)
    if isinstance(support, ColumnValues):
        return [_column(kind) for kind in support.column_kinds]
    return [support] * distribution.event_shape.numel()


def axis(support, points: int) -> Axis:
    """All values that an entry may have; of a real number so many points."""
    if support.is_discrete:
        values = levels(support)
        return Axis(values, torch.ones_like(values), (values[1:] + values[:-1]) / 2)
    step = math.pi / points
    u = (torch.arange(points, dtype=F64) + 0.5) * step - math.pi / 2
    bounds = torch.arange(1, points, dtype=F64) * step - math.pi / 2
    lower, upper = (getattr(support, name, None) for name in ("lower_bound", "upper_bound"))
    if upper is not None:
        half, middle = (upper - lower) / 2, (upper + lower) / 2
        return Axis(middle + half * u.sin(), half * u.cos() * step, middle + half * bounds.sin())
    if lower is not None:
        # Nothing is left out but logarithms beyond 15.
        values = (15 * u.sin()).exp()
        return Axis(values, values * 15 * u.cos() * step, (15 * bounds.sin()).exp())
    return Axis(u.tan(), (1 + u.tan() ** 2) * step, bounds.tan())


def levels(support) -> Tensor:
    """The values of a discrete entry; of counts without end the first ones."""
    if support is constraints.boolean:
        return torch.tensor([0.0, 1.0], dtype=F64)
    if isinstance(support, EquallySpaced):
        return support.values()
    most = torch.as_tensor(getattr(support, "upper_bound", _MOST_COUNTS)).max().item()
    return torch.arange(most + 1, dtype=F64)


def extremes(support) -> list[float]:
    """Values of an entry that are in its support, near its ends and far out."""
    if support.is_discrete:
        found = levels(support)
        endless = support is constraints.nonnegative_integer
        return [*found[:2].tolist(), 10_000.0 if endless else found[-1].item()]
    if hasattr(support, "upper_bound"):
        return [end for end in (0.0, 1.0) if support.check(torch.tensor(end))] + [1e-6, 0.5, 1 - 1e-6]
    return [1e-6, 1.0, 1e6] if hasattr(support, "lower_bound") else [-100.0, -1e-3, 0.0, 100.0]


def _column(kind: str):
    if kind in _COLUMNS:
        return _COLUMNS[kind]
    return constraints.integer_interval(0, int(kind.removeprefix("categorical(").removesuffix(")")) - 1)
