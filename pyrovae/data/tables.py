"""Reading the user's own tables: .csv files."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING

from pyrovae.data.arrays import check_whole_numbers, to_labels, to_tensors
from pyrovae.data.cells import cells_as_written, damage, keep_names, read_cells
from pyrovae.data.headers import check_first_row, check_header, check_separator, names_columns
from pyrovae.data.source import Rows, Source
from pyrovae.data.typed import ColumnsAsked, KnownColumns, Missing, asked_kinds, encode_columns

if TYPE_CHECKING:
    import pandas as pd

LABEL_COLUMN = "label"

_NUMBERS = (
    "every cell must be a number, or a word in a column that columns= (--columns) says is categorical, and commas "
    "separate the cells."
)
_LABELS = "the column holds classes: number them from 0, or give the column another name to have it as data."


def read_csv(
    path: Path, missing: Missing = "refuse", columns: ColumnsAsked | None = None, known: KnownColumns | None = None
) -> Source:
    """Read a table, one row a line; a column named "label" holds the labels.

    Args:
        path: An existing file with cells separated by commas.
        missing: Whether missing cells are kept, as NaN.
        columns: Kinds of the columns but that of the labels, by name or in their order; None if all are numbers.
        known: The columns of a table that this one has to agree with, in whose order they come; None for a new one.

    Raises:
        ValueError: If the file is no table, or a cell is missing and not to be, or has no value of its column's kind.
    """
    with damage(path), path.open(encoding="utf-8-sig") as file:
        first_lines = file.readline(), file.readline()
    check_separator(path, *first_lines)
    first_row = _first_row(path)
    header = first_row if names_columns(path, first_row) else None
    frame = read_cells(path, header is not None)
    if header:
        check_header(path, header, frame.shape[1])
    else:
        check_first_row(path, first_row, frame)
    names = header or [str(number) for number in range(1, frame.shape[1] + 1)]
    first_line = 2 if header else 1

    def where(row: int) -> str:
        return f"{path}: the cell in row {row + first_line} (line of the file)"

    labels = None
    if LABEL_COLUMN in names:
        position = names.index(LABEL_COLUMN)
        found = frame.iloc[:, position]
        if absent := int(found.isna().sum()):
            raise ValueError(
                f"{where(int(found.isna().argmax()))}, column {LABEL_COLUMN!r} is missing ({absent} such cells); "
                "every row needs a class: write -1 where it is not known, or leave the column out.",
            )
        numbers = encode_columns([found], [LABEL_COLUMN], ["real"], "refuse", where, _LABELS)
        labels = to_labels(f"{path}, column {LABEL_COLUMN!r},", numbers.values[:, 0], len(frame))
        frame = frame.drop(columns=frame.columns[position])
        names = names[:position] + names[position + 1 :]
    if not names:
        raise ValueError(f"{path} holds no value beside the labels; give it columns of data.")
    # Columns without names and kinds are those that were known by their number alone.
    named = known if header or columns is not None else None
    order = list(range(len(names))) if named is None else named.positions(str(path), names)
    kinds = ["real"] * len(names) if columns is None else asked_kinds(str(path), names, columns)
    levels = None if known is None else known.categories
    of_levels = {
        number: (levels or {}).get(name, ())
        for number, name, kind in zip(map(int, frame.columns), names, kinds, strict=True)
        if kind == "categorical" or name in (levels or {})
    }
    keep_names(frame, path, header is not None, of_levels)
    names, kinds = [names[position] for position in order], [kinds[position] for position in order]
    if named is not None:
        named.check_kinds(str(path), names, kinds)
    cells = [frame.iloc[:, position] for position in order]
    encoded = encode_columns(cells, names, kinds, missing, where, _NUMBERS, levels)
    check_whole_numbers(path, cells, names, kinds)
    tensors, variant, _ = to_tensors({str(path): encoded.values}, missing)
    return Source(
        path.name,
        variant,
        Rows(tensors[str(path)], labels),
        column_names=tuple(names) if header or columns is not None else None,
        column_kinds=None if columns is None else encoded.kinds,
        categories=encoded.categories,
    )


def table_as_written(path: Path) -> tuple[tuple[str, ...] | None, pd.DataFrame]:
    """The names of a table's columns, if it has them, and its cells as text, without spaces around them.

    Missing cells are NaN.

    Args:
        path: A file that `read_csv` has read.
    """
    first_row = _first_row(path)
    has_names = names_columns(path, first_row)
    cells = cells_as_written(path, has_names, dict.fromkeys(range(len(first_row)), ()))
    return (tuple(first_row) if has_names else None), cells


def _first_row(path: Path) -> list[str]:
    with damage(path), path.open(encoding="utf-8-sig", newline="") as file:
        return [cell.strip() for cell in next(csv.reader(file), [])]
