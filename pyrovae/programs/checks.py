"""Checks of numbers and of rows that every entry point shares."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Integral
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from pyrovae.data import AnyRows, StreamedRows, all_in_memory, rows_at_once, way_to_tensor
from pyrovae.distributions.arguments import is_finite_number


def check_positive(**numbers: int | None) -> None:
    """Refuse numbers that are given and are no positive integers.

    Raises:
        ValueError: the number, by its name.
    """
    for name, value in numbers.items():
        if value is not None and (not isinstance(value, Integral) or isinstance(value, bool) or value < 1):
            raise ValueError(f"{name} is {value!r}; expected a positive integer")


def check_not_negative(**numbers: object) -> None:
    """Refuse what is no number, zero or positive.

    Raises:
        ValueError: the number, by its name.
    """
    for name, value in numbers.items():
        if not is_finite_number(value) or value < 0:
            raise ValueError(f"{name} is {value!r}; expected a number, zero or positive")


def check_seed(seed: Any) -> None:
    """Refuse a seed that is no whole number of those that torch's generators take.

    Raises:
        ValueError: what it is instead.
    """
    if isinstance(seed, bool) or not isinstance(seed, Integral):
        raise ValueError(f"seed is {seed!r}; expected a whole number")
    if not -(2**63) <= int(seed) < 2**64:
        raise ValueError(f"seed is {seed}; expected a whole number from -2**63 to 2**64 - 1")


def check_rows(x: Tensor, argument: str) -> None:
    """Refuse what cannot be rows of data in memory; missing entries, NaN, are left to ``check_missing``.

    Args:
        x: rows of data ``(rows, *data_shape)``.
        argument: its name in the caller's signature.

    Raises:
        ValueError: no tensor of numbers, no rows, infinite values.
    """
    check_any_rows(all_in_memory(x, argument), argument)


def check_any_rows(x: AnyRows, argument: str) -> None:
    """Refuse what cannot be rows of data, in memory or streamed; NaN is left to ``check_missing``.

    Args:
        x: rows of data ``(rows, *data_shape)``.
        argument: its name in the caller's signature.

    Raises:
        ValueError: no tensor of numbers, no rows, infinite values.
        OSError: rows that cannot be read.
    """
    check_are_rows(x, argument)
    if not x.shape or x.shape.numel() == 0:
        raise ValueError(f"{argument} has shape {tuple(x.shape)}; expected (rows, *data_shape) with rows in it")
    infinite = rows_where(x, torch.isinf)
    if bool(infinite.any()):
        raise ValueError(f"{argument} has NaN or infinite values in {which_rows(infinite)}: remove or fill them")


def check_are_rows(x: AnyRows, argument: str) -> None:
    """Refuse what is no tensor, and no streamed rows.

    Args:
        x: rows of data ``(rows, *data_shape)``.
        argument: its name in the caller's signature.

    Raises:
        ValueError: what it is, with the repair.
    """
    if not isinstance(x, Tensor | StreamedRows):
        raise ValueError(
            f"{argument} is a {type(x).__name__}; expected a tensor (rows, *data_shape): {_repair(argument, x)}"
        )
    if isinstance(x, Tensor) and x.layout != torch.strided:
        raise ValueError(f"{argument} is a sparse tensor; expected a full one: give {argument}.to_dense()")


def _repair(argument: str, x: object) -> str:
    if isinstance(x, DataLoader):
        return "give data.StreamedRows(loader.dataset), as batches are made here"
    if isinstance(x, Dataset):
        return "give data.StreamedRows(dataset)"
    if isinstance(x, Mapping | tuple | list) and any(isinstance(part, Tensor) for part in _parts(x)):
        return "join its parts by torch.cat as columns of one tensor, and take them apart again in the programs"
    return f"use {way_to_tensor(argument, x)}, or load_data(...) and its .train"


def _parts(x: Mapping[object, object] | Sequence[object]) -> Iterable[object]:
    return x.values() if isinstance(x, Mapping) else x


def rows_where(x: AnyRows, holds: Callable[[Tensor], Tensor]) -> Tensor:
    """Which rows ``(rows,)`` have an entry that is NaN or infinite and of which ``holds`` is True.

    Streamed rows are gone over once, for all calls, and then those alone that are not finite.

    Args:
        x: rows of data ``(rows, *data_shape)``.
        holds: booleans of values, in their shape.
    """
    if isinstance(x, Tensor):
        return holds(x).reshape(len(x), -1).any(1)
    found = torch.zeros(len(x), dtype=torch.bool, device=x.device)
    for numbers in x.non_finite.split(rows_at_once(x)):
        found[numbers] = holds(x[numbers]).flatten(1).any(1)
    return found


def which_rows(bad: Tensor) -> str:
    """How many rows have a bad entry, and the first of them, for errors."""
    rows = bad.reshape(len(bad), -1).any(dim=1)
    return f"{int(rows.sum())} of {len(rows)} rows, the first of them row {int(rows.nonzero()[0, 0])}"
