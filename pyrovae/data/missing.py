"""Missing entries of rows: NaN."""

from __future__ import annotations

import torch
from torch import Tensor

from pyrovae.data.conversion import way_to_tensor


def mark_missing(x: Tensor, missing: Tensor) -> Tensor:
    """Mark entries as missing, by NaN.

    Args:
        x: Rows, shape ``(rows, *data_shape)``.
        missing: True where an entry is missing; boolean, of the shape of `x`.

    Returns:
        A copy of `x`, of floats.

    Raises:
        ValueError: If `x` is no tensor, or the mask is not boolean, has another shape, or leaves nothing of a row.

    Example:
        >>> import torch
        >>> mark_missing(torch.tensor([[1, 2], [3, 4]]), torch.tensor([[False, True], [False, False]]))
        tensor([[1., nan],
                [3., 4.]])
    """
    if not isinstance(x, Tensor):
        raise ValueError(
            f"x is a {type(x).__name__}; expected a tensor (rows, *data_shape): use {way_to_tensor('x', x)}"
        )
    if not isinstance(missing, Tensor) or missing.dtype != torch.bool:
        given = missing.dtype if isinstance(missing, Tensor) else f"a {type(missing).__name__}"
        raise ValueError(f"missing is {given}; expected a boolean tensor, True where an entry is missing")
    if missing.shape != x.shape:
        raise ValueError(
            f"missing has shape {tuple(missing.shape)} and x {tuple(x.shape)}; expected one truth value for each "
            "entry of x"
        )
    values = x if x.is_floating_point() else x.to(torch.get_default_dtype())
    marked = values.masked_fill(missing, torch.nan)
    empty = marked.isnan().reshape(len(x), -1).all(1)
    if bool(empty.any()):
        raise ValueError(
            f"missing leaves no entry of row {int(empty.nonzero()[0, 0])} ({int(empty.sum())} such rows): a row "
            "without entries says nothing, so leave it out"
        )
    return marked
