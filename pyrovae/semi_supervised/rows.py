"""Rows of data as they are given, as tensors for the networks."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pyrovae.programs import borrowed, check_rows, check_support, which_rows

# Rows that are scored together.
BLOCK = 1000


def as_rows(x: Any, argument: str, *, missing: bool = False) -> Tensor:
    """Rows ``(rows, *data_shape)`` from a tensor or an array; integers become numbers of the default type.

    Args:
        x: the rows.
        argument: their name in the caller's signature.
        missing: whether entries may be NaN.

    Raises:
        ValueError: a masked array, no numbers, no rows, infinite or missing values.
    """
    if not isinstance(x, Tensor):
        if hasattr(x, "toarray"):
            raise ValueError(f"{argument} is sparse, a {type(x).__name__}; expected a full array: give x.toarray()")
        if np.ma.is_masked(x):
            raise ValueError(
                f"{argument} is a masked array, and what is under its mask would count; expected a full array: give "
                "x.astype(float).filled(np.nan) to a model that takes missing entries, else fill them with numbers"
            )
        values = np.asarray(x)
        if values.dtype.kind not in "fiub":
            raise ValueError(
                f"{argument} holds values of type {values.dtype}; expected numbers (rows, *data_shape): turn words "
                "into numbers first"
            )
        # PyTorch knows neither foreign orders of bytes nor more than 64 bits, and writes where it pleases.
        kind = np.dtype(float) if values.dtype.itemsize > 8 else values.dtype.newbyteorder("=")
        x = torch.from_numpy(np.require(values, kind, ["C", "W"]))
    x = x.detach() if x.is_floating_point() else x.detach().to(torch.get_default_dtype())
    if x.dim() < 2:
        raise ValueError(
            f"{argument} has shape {tuple(x.shape)}; expected (rows, *data_shape): give one row as x[None]"
        )
    check_rows(x, argument)
    if not missing and bool(x.isnan().any()):
        raise ValueError(f"{argument} has NaN or infinite values in {which_rows(x.isnan())}: remove or fill them")
    return x


def column_names(x: Any) -> tuple[str, ...] | None:
    """Names of the columns of a table, of pandas for example; None where they have none, or numbers alone."""
    names = tuple(getattr(x, "columns", ()))
    return names if names and all(isinstance(name, str) for name in names) else None


def check_column_names(x: Any, known: tuple[str, ...] | None, argument: str) -> None:
    """Refuse a table whose columns are others than those of the fit, or in another order.

    Args:
        x: the rows, as they were given.
        known: names of the columns of the fit; None where its rows had none.
        argument: the rows' name in the caller's signature.

    Raises:
        ValueError: the first column that differs.
    """
    # More columns or fewer are refused as rows of another shape.
    for number, (given, expected) in enumerate(zip(column_names(x) or (), known or (), strict=False)):
        if given != expected:
            raise ValueError(
                f"{argument} has the columns of the fit in another order, or others: column {number} is {given!r}, and "
                f"was {expected!r} in the fit; give the same columns in the same order"
            )


def pair_of(validation: Any) -> tuple[Any, Any]:
    """Validation rows and their labels.

    Raises:
        ValueError: no pair of them.
    """
    if not isinstance(validation, tuple | list) or len(validation) != 2:
        length = f" of length {len(validation)}" if hasattr(validation, "__len__") else ""
        given = f"a {type(validation).__name__}{length}"
        raise ValueError(f"validation is {given}; expected a pair (x, y), rows and their labels, or None")
    return validation[0], validation[1]


def check_shape(x: Tensor, data_shape: tuple[int, ...]) -> None:
    """Refuse rows to be scored of another shape than those of the fit.

    Raises:
        ValueError: the two shapes.
    """
    if tuple(x.shape[1:]) != data_shape:
        raise ValueError(
            f"x has rows of shape {tuple(x.shape[1:])}, the model was fitted to rows of shape {data_shape}: reshape "
            "them, or fit again"
        )


def check_held_out_shape(x: Tensor, data_shape: tuple[int, ...]) -> None:
    """Refuse validation rows of another shape than those to be fitted to.

    Raises:
        ValueError: the two shapes.
    """
    if tuple(x.shape[1:]) != data_shape:
        raise ValueError(
            f"validation x has rows of shape {tuple(x.shape[1:])}, the training rows have shape {data_shape}: give "
            "both the same"
        )


def check_density(programs: Any, x: Tensor) -> None:
    """Refuse rows that the likelihood is no density for; the programs and the random generators stay as they are.

    Args:
        programs: with ``model`` and ``guide``.
        x: rows ``(rows, *data_shape)``, as the parameters are.

    Raises:
        ValueError: values outside the support, with the first of them and the repairs.
    """
    with borrowed(programs.model, programs.guide, x.device):
        check_support(programs.model, programs.guide, x)


def blocks(x: Tensor, like: Tensor, rows_at_once: int = BLOCK) -> Iterator[Tensor]:
    """So many rows at a time, of the type and on the device of ``like``."""
    for block in x.split(rows_at_once):
        yield block.to(like)
