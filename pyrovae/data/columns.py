"""The kinds of columns that a table may have."""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
from torch import Tensor

PLAIN_KINDS = ("real", "count", "binary")

# A network that takes numbers as they are learns little where they are larger, or spread so much more in one column
# than in another.
_LARGE, _APART = 1000.0, 100.0
# Of fewer rows a spread says little.
_FEW_ROWS, _ROWS_LOOKED_AT = 20, 10_000

_CATEGORICAL = re.compile(r"categorical\(([1-9]\d*)\)")


def check_column_kinds(column_kinds: Sequence[str]) -> tuple[str, ...]:
    """The kinds as a tuple, once each of them is known to be one.

    Args:
        column_kinds: One for each column: "real", "count" (0, 1, 2, ...), "binary" (0 or 1) or "categorical(k)"
            (one of 0 to k - 1).

    Raises:
        ValueError: If there is no column, or a kind is none of these.

    Example:
        >>> check_column_kinds(["real", "categorical(3)"])
        ('real', 'categorical(3)')
    """
    kinds = (column_kinds,) if isinstance(column_kinds, str) else tuple(column_kinds)
    if not kinds:
        raise ValueError("column_kinds is empty; give one kind for each column")
    for position, kind in enumerate(kinds):
        if kind not in PLAIN_KINDS and num_categories(kind) is None:
            raise ValueError(
                f"column_kinds has {kind!r} for column {position}; expected 'real', 'count', 'binary' or "
                "'categorical(k)' with the number k of categories, such as 'categorical(3)'"
            )
    return kinds


def num_categories(kind: str) -> int | None:
    """The number of categories of a kind; None for one without categories."""
    match = _CATEGORICAL.fullmatch(kind) if isinstance(kind, str) else None
    return int(match[1]) if match else None


def column_moments(values: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of the observed entries of columns; 0 where they are all equal, or there are none."""
    least, most = values.nan_to_num(nan=torch.inf).amin(0), values.nan_to_num(nan=-torch.inf).amax(0)
    # Floats hold neither the squares nor the sums of all that they hold; a power of 2 rounds nothing.
    largest = torch.maximum(least.abs(), most.abs())
    size = torch.where((largest > 0) & largest.isfinite(), largest.log2().floor().exp2(), 1.0)
    scaled = values / size
    count = (~values.isnan()).sum(0).clamp(min=1)
    mean = scaled.nansum(0) / count
    spread = ((scaled - mean).square().nansum(0) / count).sqrt()
    # A constant column has a spread of its own, by rounding of the mean.
    return size * mean, torch.where(least < most, size * spread, 0.0)


def trouble_of_scale(values: Tensor) -> str | None:
    """What is said of columns that are too large, or too far apart in scale, to be taken as they are; None of others.

    Spreads are compared of columns with fewer than half of their entries at one end: where most are, as at the border
    of an image and for rare categories, a spread is smaller than the scale. The first ten thousand rows are looked at.

    Example:
        >>> import torch
        >>> trouble_of_scale(torch.tensor([[3000.0], [1000.0], [2000.0]]))
        'columns have values of about 2e+03'
    """
    values = values[:_ROWS_LOOKED_AT]
    mean, spread = column_moments(values)
    observed = (~values.isnan()).sum(0)
    ends = (values.nan_to_num(nan=torch.inf).amin(0), values.nan_to_num(nan=-torch.inf).amax(0))
    at_one_end = torch.stack([(values == end).sum(0) for end in ends]).amax(0)
    compared = spread[(spread > 0) & (observed >= _FEW_ROWS) & (at_one_end < observed / 2)]
    if len(compared) and bool(compared.max() > _APART * compared.min()):
        return f"columns have standard deviations from {compared.min():.1g} to {compared.max():.1g}"
    size = torch.hypot(mean, spread).max()
    return f"columns have values of about {size:.1g}" if bool(size > _LARGE) else None


def columns_by_kind(column_kinds: Sequence[str]) -> dict[str, list[int]]:
    """Positions of the columns of each kind: real, count and binary ones first, then categories by their number.

    Example:
        >>> columns_by_kind(["binary", "real", "categorical(3)", "real"])
        {'real': [1, 3], 'binary': [0], 'categorical(3)': [2]}
    """
    kinds = check_column_kinds(column_kinds)
    ordered = [*PLAIN_KINDS, *sorted(set(kinds) - set(PLAIN_KINDS), key=lambda kind: num_categories(kind) or 0)]
    found = {kind: [position for position, other in enumerate(kinds) if other == kind] for kind in ordered}
    return {kind: positions for kind, positions in found.items() if positions}
