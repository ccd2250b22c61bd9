"""Reading the user's own arrays: .npy and .npz files."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib.npyio import NpzFile
from torch import Tensor

from pyrovae.data.arrays import (
    Array,
    are_byte_images,
    broken_values,
    check_arrays,
    check_digits,
    check_whole_numbers,
    rows_without_values,
    to_labels,
    to_tensors,
    unreadable,
    variant_of,
)
from pyrovae.data.row_readers import open_array
from pyrovae.data.source import Rows, Source
from pyrovae.data.streaming import StreamedRows, rows_at_once
from pyrovae.data.typed import ColumnsAsked, KnownColumns, Missing, asked_kinds, encode_columns

SPLITS = ("train", "validation", "test")
VALUE_KEYS = ("data", "x")
LABEL_KEYS = ("labels", "y")

_ROWS_LOOKED_AT = 10_000
# Layouts of the matrices that scipy.sparse.save_npz writes.
_SPARSE = ("csr", "csc", "coo", "bsr", "dia")


def read_npy(
    path: Path,
    missing: Missing = "refuse",
    columns: ColumnsAsked | None = None,
    known: KnownColumns | None = None,
    divided: bool | None = None,
) -> Source:
    """Read one array from a .npy file.

    Args:
        path: An existing file.
        missing: Whether NaN is kept, as a missing entry.
        columns: Kinds of the columns of a table, by number ("1" is the first) or in their order; or None.
        known: The columns of a table that this one has to agree with, or None.
        divided: Whether uint8 images are divided by 255; None for those that hold more than 0 and 1.

    Raises:
        ValueError: If the file is no array, its array cannot be used, or it is too large for memory.
    """
    _refuse_beyond_memory(path)
    with path.open("rb") as file:
        array = _load(path, file)
    if not isinstance(array, np.ndarray):
        raise ValueError(f"{path} holds an archive of arrays, not one array; rename it to end in .npz.")
    tensors, variant, typed = _tensors(path, {str(path): array}, missing, columns, known, divided)
    return Source(path.name, variant, Rows(tensors[str(path)]), **typed)


def stream_npy(path: Path, missing: Missing = "refuse", divided: bool | None = None) -> Source:
    """Rows of a .npy file that are read when they are needed; they are gone over here, to check them.

    Args:
        path: An existing file.
        missing: Whether NaN is kept, as a missing entry.
        divided: Whether uint8 images are divided by 255; None for those that hold more than 0 and 1.

    Raises:
        ValueError: If the file is no array, or its array cannot be used.
    """
    rows = StreamedRows(path, divided)
    _check_values(str(path), rows, missing)
    # Some rows stand for all: the others are read as float32.
    check_digits(str(path), open_array(path)[:_ROWS_LOOKED_AT])
    of_bytes = are_byte_images(rows.stored_dtype, 1 + rows.stored_dims)
    variant = variant_of(rows.stored_dtype, rows.divided)
    return Source(path.name, variant, Rows(rows), divided=rows.divided if of_bytes else None)


def _check_values(title: str, rows: StreamedRows, missing: Missing) -> None:
    """Refuse what rows in memory are refused for."""
    broken, absent, empty = 0, 0, list[int]()
    first: tuple[str, int, tuple[int, ...]] = "", 0, ()
    for numbers in rows.non_finite.split(rows_at_once(rows)):
        values = rows[numbers]
        isnan, wrong = values.isnan(), ~values.isfinite() if missing == "refuse" else values.isinf()
        if not broken and wrong.any():
            row, *position = (int(index) for index in wrong.nonzero()[0])
            first = (f"{values[(row, *position)].item()}", int(numbers[row]), tuple(position[-rows.stored_dims :]))
        broken, absent = broken + int(wrong.sum()), absent + int(isnan.sum())
        empty += numbers[isnan.flatten(1).all(1)].tolist()
    if broken:
        raise broken_values(title, broken, *first, absent > 0)
    if empty:
        raise rows_without_values(title, empty[0], len(empty))


def read_npz(
    path: Path,
    missing: Missing = "refuse",
    columns: ColumnsAsked | None = None,
    known: KnownColumns | None = None,
    divided: bool | None = None,
) -> Source:
    """Read all rows, or splits that are already made, from a .npz file.

    Args:
        path: An existing file.
        missing: Whether NaN is kept, as a missing entry.
        columns: Kinds of the columns of a table, by number ("1" is the first) or in their order; or None.
        known: The columns of a table that this one has to agree with, or None.
        divided: Whether uint8 images are divided by 255; None for those that hold more than 0 and 1.

    Raises:
        ValueError: If the file is no archive, its keys are unclear, or its arrays cannot be used.
    """
    # Arrays of an archive are read only when asked for, so the file stays open until then.
    with path.open("rb") as file:
        archive = _load(path, file)
        if isinstance(archive, np.ndarray):
            raise ValueError(f"{path} holds one array, not an archive of arrays; rename it to end in .npy.")
        if {"format", "shape", "data"}.issubset(archive.files):
            _refuse_sparse(path, archive)
        chosen = _choose_keys(path, archive.files)
        arrays = {key: _member(path, archive, key) for keys in chosen.values() for key in keys if key}
        _refuse_mask(path, archive, set(arrays), {arrays[key].shape for key, _ in chosen.values()})
    title = {key: f"{path}, array {key!r}," for key in arrays}
    values = {title[key]: arrays[key] for key, _ in chosen.values()}
    tensors, variant, typed = _tensors(path, values, missing, columns, known, divided)
    parts: dict[str, Rows] = {}
    for split, (key, label_key) in chosen.items():
        rows = tensors[title[key]]
        labels = to_labels(title[label_key], arrays[label_key], len(rows)) if label_key else None
        parts[split] = Rows(rows, labels)
    left_out = tuple(key for key in archive.files if key not in arrays)
    return Source(
        path.name, variant, parts["train"], parts.get("validation"), parts.get("test"), left_out=left_out, **typed
    )


def _tensors(
    path: Path,
    arrays: dict[str, Array],
    missing: Missing,
    columns: ColumnsAsked | None,
    known: KnownColumns | None,
    divided: bool | None,
) -> tuple[dict[str, Tensor], str, dict[str, Any]]:
    """Float32 tensors under the same keys, what their values are, and what else is known of them or their columns."""
    if columns is None:
        tensors, variant, divided = to_tensors(arrays, missing, divided)
        return tensors, variant, {"divided": divided}
    check_arrays(arrays)
    dtype = next(iter(arrays.values())).dtype
    # Numbers that are names of categories may have more digits than float32.
    arrays, typed = _typed(path, arrays, missing, columns, known)
    return to_tensors(arrays, missing)[0], variant_of(dtype, divided=False), typed


def _typed(
    path: Path, arrays: dict[str, Array], missing: Missing, columns: ColumnsAsked, known: KnownColumns | None
) -> tuple[dict[str, Array], dict[str, Any]]:
    """The arrays with categories as numbers from 0, and what is known of the columns."""
    import pandas as pd

    shape = next(iter(arrays.values())).shape[1:]
    if len(shape) != 1:
        raise ValueError(f"columns is for tables, but {path} holds rows of shape {tuple(shape)}; leave it out.")
    names = [str(number) for number in range(1, shape[0] + 1)]
    if known is not None:
        known.positions(str(path), names)
    kinds = asked_kinds(str(path), names, columns)
    places = [(title, row) for title, array in arrays.items() for row in range(len(array))]

    def where(row: int) -> str:
        return "{} row {} (counted from 0)".format(*places[row])

    whole = np.concatenate(list(arrays.values()))
    frame = pd.DataFrame(whole.astype(whole.dtype.newbyteorder("=")))
    cells = [frame.iloc[:, number] for number in range(len(names))]
    levels = None if known is None else known.categories
    encoded = encode_columns(cells, names, kinds, missing, where, "correct the file or columns.", levels)
    check_whole_numbers(path, cells, names, kinds)
    ends = np.cumsum([len(array) for array in arrays.values()])[:-1]
    parts = dict(zip(arrays, np.split(encoded.values, ends), strict=True))
    return parts, {"column_names": tuple(names), "column_kinds": encoded.kinds, "categories": encoded.categories}


def _refuse_beyond_memory(path: Path) -> None:
    """Refuse an array that fills half of the memory as float32: loading takes twice that, for the copy."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    # Values take a byte at least, so no smaller file can be too large.
    if path.stat().st_size < memory // 8:
        return
    needed = 4 * math.prod(open_array(path).shape)
    if needed > memory // 2:
        raise ValueError(
            f"{path} takes {needed / 2**30:.1f} GiB as float32 and twice that while it is loaded, and this machine has "
            f"{memory / 2**30:.1f} GiB of memory: read its rows when they are needed, with stream=True (--stream)."
        )


def _load(path: Path, file: BinaryIO) -> Array | NpzFile:
    try:
        loaded: Array | NpzFile = np.load(file, allow_pickle=False)
    except Exception as error:  # a damaged file fails in any way
        raise unreadable(path, error) from error
    return loaded


def _member(path: Path, archive: NpzFile, key: str) -> Array:
    try:
        member = archive[key]
    except Exception as error:  # a damaged file fails in any way
        raise unreadable(path, error) from error
    # An archive made by another program can hold files that are no arrays; numpy returns their bytes.
    return np.asarray(member)


def _beside(archive: NpzFile, key: str) -> Array | None:
    """An array that holds no rows; None where it cannot be read, as objects such as None cannot."""
    try:
        return np.asarray(archive[key])
    except Exception:  # what is damaged beside the rows does them no harm
        return None


def _choose_keys(path: Path, keys: list[str]) -> dict[str, tuple[str, str | None]]:
    """Choose the keys of values and labels for every split; a file that is not split is all "train"."""
    value_keys = [key for key in VALUE_KEYS if key in keys]
    label_keys = [key for key in LABEL_KEYS if key in keys]
    if len(keys) == 1:
        return {"train": (keys[0], None)}
    if {"train", "test"}.issubset(keys) and not value_keys and not label_keys:
        splits = [split for split in SPLITS if split in keys]
        split_labels = [f"{split}_labels" for split in SPLITS if f"{split}_labels" in keys]
        if not split_labels:
            return {split: (split, None) for split in splits}
        if split_labels == [f"{split}_labels" for split in splits]:
            return {split: (split, f"{split}_labels") for split in splits}
    elif len(value_keys) == 1 and len(label_keys) <= 1 and not {"train", "test"}.intersection(keys):
        return {"train": (value_keys[0], label_keys[0] if label_keys else None)}
    raise ValueError(
        f"{path} holds the arrays {', '.join(map(repr, keys)) or '(none)'}, which leaves open what to read. "
        "Expected one array; or 'data' or 'x', with 'labels' or 'y' if there are labels; or 'train' and "
        "'test', with 'validation' if there is one, and labels for all of them as 'train_labels', "
        "'validation_labels' and 'test_labels', or for none. Save the arrays under such names."
    )


def _refuse_sparse(path: Path, archive: NpzFile) -> None:
    """Refuse an archive that SciPy wrote."""
    layout = _beside(archive, "format")
    if layout is not None and layout.tolist() in (*_SPARSE, *(name.encode() for name in _SPARSE)):
        raise ValueError(
            f"{path} holds a sparse matrix of SciPy, and rows of numbers are expected: save "
            "scipy.sparse.load_npz(path).toarray() with numpy.save."
        )


def _refuse_mask(path: Path, archive: NpzFile, read: set[str], shapes: set[tuple[int, ...]]) -> None:
    """Refuse an array that is not read and says which entries of the rows, of such a shape, are missing."""
    for key in archive.files:
        if key in read or not ("mask" in key.lower() or key in ("missing", "observed")):
            continue
        mask = _beside(archive, key)
        if mask is not None and mask.shape in shapes:
            raise ValueError(
                f"{path} holds an array {key!r} beside the rows, which would say nothing here: write NaN into the rows "
                f'where an entry is missing, which missing="keep" (--missing keep) keeps so, and leave {key!r} out.'
            )
