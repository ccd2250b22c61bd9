"""Checks of numbers and of rows that every entry point shares."""

import torch
from torch import Tensor


def check_positive(**numbers: int | None) -> None:
    """Refuse numbers that are given and are no positive integers.

    Raises:
        ValueError: the number, by its name.
    """
    for name, value in numbers.items():
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
            raise ValueError(f"{name} is {value!r}; expected a positive integer")


def check_rows(x: Tensor, argument: str) -> None:
    """Refuse what cannot be rows of data; missing entries, NaN, are left to ``check_missing``.

    Args:
        x: rows of data ``(rows, *data_shape)``.
        argument: its name in the caller's signature.

    Raises:
        ValueError: no tensor of numbers, no rows, infinite values.
    """
    if not isinstance(x, Tensor):
        raise ValueError(
            f"{argument} is a {type(x).__name__}; expected a tensor (rows, *data_shape): use torch.as_tensor, or "
            "load_data(...) and its .train"
        )
    if x.dim() < 1 or x.numel() == 0:
        raise ValueError(f"{argument} has shape {tuple(x.shape)}; expected (rows, *data_shape) with rows in it")
    if bool(torch.isinf(x).any()):
        raise ValueError(f"{argument} has NaN or infinite values in {which_rows(torch.isinf(x))}: remove or fill them")


def which_rows(bad: Tensor) -> str:
    """How many rows have a bad entry, and the first of them, for errors."""
    rows = bad.reshape(len(bad), -1).any(dim=1)
    return f"{int(rows.sum())} of {len(rows)} rows, the first of them row {int(rows.nonzero()[0, 0])}"
