"""What is found by going over all rows: their support, range, gaps and checksum."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from pyrovae.data.streaming import AnyRows, blocks_of, rows_at_once

Support = Literal["binary", "unit_interval", "count", "real"]

_WITHIN: dict[Support, Callable[[Tensor], Tensor]] = {
    "binary": lambda values: (values == 0) | (values == 1),
    "unit_interval": lambda values: (values >= 0) & (values <= 1),
    "count": lambda values: (values >= 0) & (values == values.round()),
}


@dataclass(frozen=True)
class Facts:
    """What rows have in common that are read once.

    Args:
        checksum: Sha256 over shapes, dtypes and bytes.
        lowest: The least value that is not missing.
        highest: The largest one.
    """

    checksum: str
    lowest: float
    highest: float


def facts_of(*splits: AnyRows) -> Facts:
    """Checksum and range of all rows, which are read once."""
    digest, ends = hashlib.sha256(), list[float]()
    for split in splits:
        digest.update(f"{tuple(split.shape)} {split.dtype} ".encode())
        for block in blocks_of(split):
            digest.update(block.detach().cpu().contiguous().numpy().data)
            ends += _ends(block)
    return Facts(digest.hexdigest(), min(ends), max(ends))


def support_of(*splits: AnyRows) -> Support:
    """Find the smallest support that holds every value; missing ones are in each."""
    for support, within in _WITHIN.items():
        if all(bool((within(block) | block.isnan()).all()) for split in splits for block in blocks_of(split)):
            return support
    return "real"


def value_range(*splits: AnyRows) -> tuple[float, float]:
    """The least and the largest value that is not missing."""
    ends = [end for split in splits for block in blocks_of(split) for end in _ends(block)]
    return min(ends), max(ends)


def missing_entries(rows: AnyRows) -> int:
    """Number of missing entries; of streamed rows those alone are read that are not finite."""
    if isinstance(rows, Tensor):
        return int(rows.isnan().sum())
    return sum(int(rows[numbers].isnan().sum()) for numbers in rows.non_finite.split(rows_at_once(rows)))


def _ends(block: Tensor) -> list[float]:
    if not len(block):
        return []
    low, high = block.aminmax()
    if low.isnan():
        observed = block[~block.isnan()]
        if not len(observed):
            return []
        low, high = observed.aminmax()
    return [low.item(), high.item()]
