"""Whether rows are those that a fit began with."""

import zlib

import torch
from torch import Tensor

from pyrovae.data import AnyRows

# Rows that stay where they are are not all read for it.
_STREAMED_ROWS = 1000
_ROWS_AT_ONCE = 4096


def fingerprint(rows: AnyRows) -> str:
    """A short text that other rows all but certainly do not have: type, shape, and a checksum of the values.

    Args:
        rows: all of those in memory are read, and of others a thousand that lie evenly.

    Example:
        >>> import torch
        >>> fingerprint(torch.zeros(3, 2))
        'torch.float32 (3, 2) a3c1ca20'
    """
    in_memory = isinstance(rows, torch.Tensor)
    numbers = torch.arange(len(rows)) if in_memory else _spread(len(rows))
    checksum = 0
    for some in numbers.split(_ROWS_AT_ONCE):
        part = rows[int(some[0]) : int(some[-1]) + 1] if in_memory else rows[some]
        checksum = zlib.crc32(part.detach().cpu().contiguous().view(torch.uint8).numpy().data, checksum)
    return f"{rows.dtype} {(len(rows), *rows.shape[1:])} {checksum:08x}"


def _spread(num_rows: int) -> Tensor:
    # In float32, as in checkpoints of earlier versions; above 2**24 the last number may be rounded up.
    return torch.linspace(0, num_rows - 1, _STREAMED_ROWS).long().clamp(max=num_rows - 1).unique()
