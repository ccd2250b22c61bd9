"""Reading the user's own tables: .csv files."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pyrovae.data.arrays import to_labels, to_tensors
from pyrovae.data.source import Rows, Source

if TYPE_CHECKING:
    import pandas as pd

LABEL_COLUMN = "label"


def read_csv(path: Path) -> Source:
    """Read a table of numbers, one row a line; a column named "label" holds the labels.

    Args:
        path: An existing file with cells separated by commas.

    Raises:
        ValueError: If the file is no table, or a cell is missing, not a number or not finite.
    """
    import pandas as pd

    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            first_row = [cell.strip() for cell in next(csv.reader(file), [])]
        header = first_row if _names_columns(path, first_row) else None
        # Blank lines are kept, and then refused as missing cells, so that row numbers are line numbers.
        frame = pd.read_csv(path, header=None, skiprows=1 if header else 0, skip_blank_lines=False, low_memory=False)
    except (csv.Error, UnicodeDecodeError, pd.errors.EmptyDataError, pd.errors.ParserError) as error:
        raise ValueError(
            f"{path} cannot be read as a table ({' '.join(str(error).split())}); expected UTF-8 text with "
            "the same number of comma-separated numbers in every row, and at least one such row."
        ) from error
    if header:
        _check_header(path, header, frame.shape[1])
    names = header or [str(number) for number in range(1, frame.shape[1] + 1)]
    cells = _numbers(path, frame, names, first_line=2 if header else 1)
    labels = None
    if LABEL_COLUMN in names:
        position = names.index(LABEL_COLUMN)
        labels = to_labels(f"{path}, column {LABEL_COLUMN!r},", cells[:, position], len(cells))
        cells = np.delete(cells, position, axis=1)
    tensors, variant = to_tensors({str(path): cells})
    return Source(path.name, variant, Rows(tensors[str(path)], labels))


def _names_columns(path: Path, cells: list[str]) -> bool:
    if len(cells) > 2 and cells == [str(number) for number in range(len(cells))]:
        raise ValueError(
            f"{path}: row 1 reads {', '.join(cells[:3])} and so on, which may be column numbers or data; "
            "put a row of column names there, or above it if it is data."
        )
    has_text = any(cell and not _is_number(cell) for cell in cells)
    # A row such as "0.5, high, 0.7" is data with a bad cell; only whole numbers can be names beside text.
    return has_text and all(cell.isdigit() or not _is_number(cell) for cell in cells)


def _is_number(cell: str) -> bool:
    if cell.lower() in ("true", "false"):
        return True
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _check_header(path: Path, header: list[str], columns: int) -> None:
    if len(header) != columns:
        raise ValueError(
            f"{path}: the header in row 1 names {len(header)} columns, but the next row has {columns}; "
            "give every column one name."
        )
    for number, name in enumerate(header, start=1):
        if not name:
            raise ValueError(
                f"{path}: column {number} has no name in the header; name it, or leave it out "
                "(pandas writes its row index so, unless given index=False)."
            )
        if name in header[: number - 1]:
            raise ValueError(f"{path}: the header names {name!r} twice; give every column its own name.")


def _numbers(path: Path, frame: pd.DataFrame, names: list[str], first_line: int) -> np.ndarray:
    import pandas as pd

    numbers = np.empty(frame.shape, dtype=np.float64)
    for position in range(frame.shape[1]):
        numbers[:, position] = pd.to_numeric(frame.iloc[:, position], errors="coerce")
    broken = np.argwhere(~np.isfinite(numbers))
    if len(broken):
        row, position = (int(index) for index in broken[0])
        missing = bool(frame.isna().iat[row, position])
        cell = str(frame.iat[row, position])
        wrong = "is missing" if missing else f"holds {cell!r}, which is not a finite number"
        raise ValueError(
            f"{path}: the cell in row {row + first_line} (line of the file), column {names[position]!r} "
            f"{wrong} ({len(broken)} such cells in all); every cell must be a number, and commas "
            "separate the cells."
        )
    return numbers
