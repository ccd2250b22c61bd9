"""Whether two computations of the same numbers agree."""

from collections.abc import Sequence

import torch
from torch import Tensor

# Sums in another order, and exponentials rounded otherwise, in single precision.
_OF_ITSELF, _OF_THE_LARGEST = 1e-4, 1e-6


def agree(ours: Sequence[Tensor | None], theirs: Sequence[Tensor | None]) -> bool:
    """Whether the tensors of two lists are the same, up to rounding.

    The numbers of the first tensor are compared one by one. Of each other one, a gradient for example, the norm of the
    difference is compared: with a ten-thousandth of its own norm, and a millionth of the largest norm of all.
    """
    if len(ours) != len(theirs) or any((a is None) != (b is None) for a, b in zip(ours, theirs, strict=True)):
        return False
    pairs = [(a, b) for a, b in zip(ours, theirs, strict=True) if a is not None and b is not None]
    if any(a.shape != b.shape or a.dtype != b.dtype for a, b in pairs):
        return False
    if not pairs:
        return True
    first, *others = [(a.detach().double(), b.detach().double()) for a, b in pairs]
    bound = _OF_ITSELF * first[0].abs() + _OF_THE_LARGEST * first[0].abs().max()
    if not bool(((first[0] - first[1]).abs() <= bound).all()):
        return False
    norms = torch.tensor([float(a.norm()) for a, _ in others])
    differences = torch.tensor([float((a - b).norm()) for a, b in others])
    return bool((differences <= _OF_ITSELF * norms + _OF_THE_LARGEST * norms.max()).all()) if others else True
