"""Whether two computations of the same numbers agree."""

from collections.abc import Sequence

import torch
from torch import Tensor

SINGLE = 1e-4
"""Sums in another order, and exponentials rounded otherwise, in single precision: the part of a number that differs."""

BFLOAT16 = 0.05
"""The same where layers round to 8 bits."""

# Differences of large numbers are as exact as these.
_OF_THE_LARGEST = 0.01


def agree(ours: Sequence[Tensor | None], theirs: Sequence[Tensor | None], rounding: float) -> bool:
    """Whether the tensors of two lists are the same, up to rounding.

    The numbers of the first tensor are compared one by one. Of each other one, a gradient for example, the norm of the
    difference is: with ``rounding`` times its own norm, and a hundredth of that times the largest norm of all.
    """
    if len(ours) != len(theirs) or any((a is None) != (b is None) for a, b in zip(ours, theirs, strict=True)):
        return False
    pairs = [(a, b) for a, b in zip(ours, theirs, strict=True) if a is not None and b is not None]
    if any(a.shape != b.shape or a.dtype != b.dtype for a, b in pairs):
        return False
    if not pairs:
        return True
    (first, of_first), *others = [_differences(a.detach().double(), b.detach().double()) for a, b in pairs]
    bound = rounding * (first.abs() + _OF_THE_LARGEST * first.abs().max())
    if not bool((of_first.abs() <= bound).all()):
        return False
    norms = torch.tensor([float(a.norm()) for a, _ in others])
    differences = torch.tensor([float(difference.norm()) for _, difference in others])
    return bool((differences <= rounding * (norms + _OF_THE_LARGEST * norms.max())).all()) if others else True


def _differences(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """What is finite of the first, and how far the second is off: by nothing where both are the same infinity."""
    alike = (a == b) | (a.isnan() & b.isnan())
    finite = a.masked_fill(~a.isfinite(), 0.0)
    return finite, torch.where(alike, 0.0, a - b)
