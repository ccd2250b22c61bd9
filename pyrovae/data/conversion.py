"""How what holds rows becomes a tensor of them."""

from __future__ import annotations

import numpy as np


def way_to_tensor(name: str, rows: object) -> str:
    """The line of Python, for errors, that makes a tensor of an array, a list, a table, or a sparse matrix of SciPy.

    Args:
        name: What the line calls the rows.
        rows: They themselves.

    Example:
        >>> way_to_tensor("x", [[1, 2]])
        "torch.as_tensor(numpy.asarray(x, 'float32'))"
    """
    if hasattr(rows, "toarray"):
        return f"torch.as_tensor({name}.toarray()).float()"
    # NumPy and PyTorch take what is under a mask for values.
    if np.ma.is_masked(rows):
        return f"torch.as_tensor({name}.astype('float32').filled(numpy.nan))"
    return f"torch.as_tensor(numpy.asarray({name}, 'float32'))"
