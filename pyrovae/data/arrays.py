"""Checks that turn a user's arrays into tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyrovae.data.typed import Missing, UnusableValuesError

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[Any]

SHAPES = "(N, D) for a table, (N, H, W) or (N, C, H, W) with 1 or 3 channels for images"


def to_tensors(
    arrays: Mapping[str, Array], missing: Missing = "refuse", divided: bool | None = None
) -> tuple[dict[str, Tensor], str, bool | None]:
    """Check arrays of one data set and make them float32 tensors of one layout.

    Args:
        arrays: The arrays under the words by which an error names them, e.g. "faces.npz, array 'train'".
        missing: Whether NaN is kept, as a missing entry.
        divided: Whether uint8 images are divided by 255; None for those that hold more than 0 and 1.

    Returns:
        The tensors, shape (rows, *data_shape), under the same keys; what their values are; and whether they were
        divided, None where they are no uint8 images.

    Raises:
        ValueError: If an array is not numeric, empty, of an unknown layout or not finite, has rows without a value or
            values that float32 does not tell apart, or if the arrays do not fit together.
    """
    check_arrays(arrays)
    first = next(iter(arrays.values()))
    tensors = {title: _to_tensor(title, array, missing) for title, array in arrays.items()}
    if not are_byte_images(first.dtype, first.ndim):
        return tensors, variant_of(first.dtype, divided=False), None
    if divided is None:
        # Images of 0 and 1 are often stored as uint8; dividing those would leave nothing to see.
        divided = any(bool(tensor.max() > 1) for tensor in tensors.values())
    if divided:
        tensors = {title: tensor / 255 for title, tensor in tensors.items()}
    return tensors, variant_of(first.dtype, divided), divided


def are_byte_images(dtype: np.dtype, dims: int) -> bool:
    """Whether an array of this type, of so many dimensions, holds uint8 images, which may be divided by 255."""
    return dtype == np.uint8 and dims > 2


def check_arrays(arrays: Mapping[str, Array]) -> None:
    """Refuse arrays that are no rows of data, or not of one data set.

    Args:
        arrays: The arrays under the words by which an error names them.

    Raises:
        ValueError: If an array is not numeric, empty or of an unknown layout, or differs from the first.
    """
    for title, array in arrays.items():
        check_array(title, array.dtype, array.shape)
    (first_title, first), *others = arrays.items()
    for title, array in others:
        if array.shape[1:] != first.shape[1:] or array.dtype != first.dtype:
            raise ValueError(
                f"{title} has rows of shape {array.shape[1:]} and dtype {array.dtype}, but {first_title} has "
                f"{first.shape[1:]} and {first.dtype}; all splits need rows of one shape and one dtype."
            )


def variant_of(dtype: np.dtype, divided: bool) -> str:
    """What values are that were stored as this type, and divided by 255 or not."""
    if dtype == np.bool_:
        return "booleans as 0 and 1"
    return "uint8 / 255 in [0, 1]" if divided else "values as stored"


def to_labels(title: str, labels: Array, rows: int) -> Tensor:
    """Check labels and make them an int64 tensor of shape (rows,).

    Args:
        title: How an error names the labels.
        labels: Whole numbers, shape (rows,).
        rows: Number of rows they belong to.

    Raises:
        ValueError: If the labels are not one whole number for every row, or one has more digits than float64 has.
    """
    if labels.shape != (rows,):
        raise ValueError(
            f"{title} has shape {labels.shape}, but there are {rows} rows; give one label for every row, "
            f"shape ({rows},), or leave the labels out."
        )
    whole = labels.dtype.kind in "bui" or (
        labels.dtype.kind == "f" and bool(np.isfinite(labels).all()) and bool((labels == labels.round()).all())
    )
    if not whole:
        raise ValueError(
            f"{title} holds {labels.dtype} values that are not whole numbers; "
            "number the classes from 0, or leave the labels out."
        )
    # Those of a table were read as float64, and int64 holds no larger ones of uint64.
    if beyond := labels[(labels >= 2**53) | (labels <= -(2**53))].tolist():
        raise ValueError(f"{title} holds {beyond[0]}, too large for a class; number the classes from 0.")
    return torch.from_numpy(labels.astype(np.int64, order="C"))


def check_array(title: str, dtype: np.dtype, shape: tuple[int, ...]) -> None:
    """Refuse types and layouts that rows of data do not have.

    Args:
        title: How an error names the array.
        dtype: Type of its values.
        shape: Its shape, (rows, *row).

    Raises:
        ValueError: If the array is not numeric, empty or of an unknown layout.
    """
    if dtype.kind not in "buif":
        raise ValueError(
            f"{title} holds values of type {dtype}; real numbers or booleans are expected, so save "
            f"{_as_numbers(dtype)}."
        )
    if not 2 <= len(shape) <= 4:
        raise ValueError(
            f"{title} has shape {shape}, which is {len(shape)}-dimensional; expected {SHAPES}. "
            "Reshape it so that the first dimension counts the rows."
        )
    if 0 in shape:
        raise ValueError(f"{title} has shape {shape} and so holds no value; expected {SHAPES}, none of them 0.")
    if len(shape) == 4 and shape[1] not in (1, 3):
        if shape[3] in (1, 3):
            raise ValueError(
                f"{title} has shape {shape}, channels last; expected channels first, (N, C, H, W). "
                "Save np.moveaxis(x, -1, 1) instead."
            )
        raise ValueError(
            f"{title} has shape {shape}, so {shape[1]} channels; expected (N, C, H, W) with 1 or 3 channels. "
            "Keep 1 or 3 channels, or flatten the rows to (N, D)."
        )


def _as_numbers(dtype: np.dtype) -> str:
    """How an array x of a type that holds no real numbers becomes one that does."""
    if dtype.names is not None:
        return "numpy.lib.recfunctions.structured_to_unstructured(x)"
    ways = {
        "U": "the rows as a .csv file, and say which columns are categorical with columns= (--columns)",
        "M": "days since the first, (x - x.min()) / numpy.timedelta64(1, 'D')",
        "m": "days, x / numpy.timedelta64(1, 'D')",
        "c": "real and imaginary parts, numpy.concatenate([x.real, x.imag], axis=1)",
    }
    return ways.get("U" if dtype.kind == "S" else dtype.kind, "x.astype('float32')")


def _to_tensor(title: str, array: Array, missing: Missing) -> Tensor:
    # A value too large for float32 becomes infinite here and is reported below.
    with np.errstate(over="ignore"):
        values = array.astype(np.float32, order="C")
    absent = np.isnan(values)
    broken = ~np.isfinite(values) if missing == "refuse" else np.isinf(values)
    if broken.any():
        row, *position = (int(axis[0]) for axis in np.nonzero(broken))
        first = array[(row, *position)]
        raise broken_values(title, int(broken.sum()), f"{first}", row, tuple(position), bool(absent.any()))
    empty = absent.reshape(len(values), -1).all(axis=1)
    if empty.any():
        raise rows_without_values(title, int(np.argmax(empty)), int(empty.sum()))
    check_digits(title, array)
    return torch.from_numpy(values[:, None] if values.ndim == 3 else values)


# From the least to the largest value float32 has so many numbers at least; of dates in seconds it often has fewer.
_NUMBERS_TOLD_APART = 500


def check_digits(title: str, array: Array) -> None:
    """Refuse numbers that vary, and hardly do so in float32.

    Args:
        title: How an error names the array.
        array: Finite values or NaN, shape (rows, *row).

    Raises:
        ValueError: If an entry of the rows has numbers that float32 rounds to a few.
    """
    if np.can_cast(array.dtype, np.float32):
        return
    rows = array.reshape(len(array), -1)
    with np.errstate(invalid="ignore"):
        ends = [end.reduce(rows, axis=0) for end in (np.fmin, np.fmax)]
        low, high = (end.astype(np.float64) for end in ends)
    largest = np.fmax(np.abs(low), np.abs(high))
    distance = np.spacing(largest.astype(np.float32)).astype(np.float64)
    # What varies in its last digits only is constant up to its own rounding, which whole numbers have not.
    exact = rows.dtype.kind in "iu"
    varies = ends[1] > ends[0] if exact else high - low > 1e-12 * largest
    for number in np.nonzero(varies & (high - low < _NUMBERS_TOLD_APART * distance))[0]:
        entry = rows[:, number]
        entry = entry[~np.isnan(entry)]
        single = entry.astype(np.float32)
        # NumPy would compare whole numbers as float64.
        if list(map(int, single)) != entry.tolist() if exact else (single != entry).any():
            position = tuple(int(index) for index in np.unravel_index(number, array.shape[1:]))
            place = f" at position {position}, counted from 0" if rows.shape[1] > 1 else ""
            least, most = (f"{end[number]}" if exact else f"{end[number]:.17g}" for end in ends)
            raise ValueError(
                f"{title} has values from {least} to {most}{place}, which float32 rounds to multiples of "
                f"{distance[number]:g}: subtract the least of them, or leave that entry out; numbers that are names "
                "can be a categorical column, with columns= (--columns)."
            )


def check_whole_numbers(
    path: Path, cells: Sequence[pd.Series[Any]], names: Sequence[str], kinds: Sequence[str]
) -> None:
    """``check_digits`` of columns of whole numbers, before they become float64 beside others and some may be equal.

    Args:
        path: Of the table.
        cells: Its columns.
        names: Their names.
        kinds: Their kinds; whole numbers may be names of categories.

    Raises:
        ValueError: As ``check_digits`` does.
    """
    for column, name, kind in zip(cells, names, kinds, strict=True):
        if column.dtype.kind in "iu" and kind != "categorical":
            check_digits(f"{path}, column {name!r},", column.to_numpy()[:, None])


def broken_values(
    title: str, count: int, first: str, row: int, position: tuple[int, ...], has_nan: bool
) -> UnusableValuesError:
    """The error about values that are no numbers of float32.

    Args:
        title: How it names the array.
        count: How many there are.
        first: The first of them.
        row: Its row.
        position: Its place in the row.
        has_nan: Whether NaN is among them.
    """
    return UnusableValuesError(
        f"{title} holds {count} values that are NaN, infinite or too large for float32, the first ({first}) in row "
        f"{row} at position {position}, both counted from 0",
        "remove or replace them"
        + ('; or keep NaN as missing entries, with missing="keep" (--missing keep).' if has_nan else "."),
        has_nan,
    )


def rows_without_values(title: str, first: int, count: int) -> ValueError:
    """The error about rows whose entries are all missing, the first of so many."""
    return ValueError(
        f"{title} has no value in row {first}, counted from 0 ({count} such rows); leave out rows without any value."
    )


def unreadable(path: Path, error: Exception) -> ValueError:
    """The error about a file from which no numbers can be read."""
    # Numpy advises to allow pickles; a pickle can run any code, so that advice is not passed on.
    reason = "it is empty, cut off, or holds text or Python objects"
    return ValueError(
        f"{path} is not a readable {path.suffix} file of numbers: {reason} ({type(error).__name__}). "
        f"Write it with numpy.save{'z' if path.suffix.lower() == '.npz' else ''} from a numeric array."
    )
