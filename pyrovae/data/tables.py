"""Reading the user's own tables: .csv files."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyrovae.data.arrays import to_labels, to_tensors
from pyrovae.data.source import Rows, Source
from pyrovae.data.typed import (
    ColumnsAsked,
    KnownColumns,
    Missing,
    are_words,
    asked_kinds,
    encode_columns,
)

if TYPE_CHECKING:
    import pandas as pd

LABEL_COLUMN = "label"
# Words of a first row that name no column: pandas takes them for missing cells, or others write them there.
_MISSING_WORDS = frozenset(["?", "-", ".", "na", "n/a", "#na", "#n/a", "<na>", "nan", "-nan", "null", "none"])

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
    import pandas as pd

    with _damage(path), path.open(encoding="utf-8-sig") as file:
        first_lines = file.readline(), file.readline()
    _check_separator(path, *first_lines)
    with _damage(path), path.open(encoding="utf-8-sig", newline="") as file:
        first_row = [cell.strip() for cell in next(csv.reader(file), [])]
    header = first_row if _names_columns(path, first_row) else None
    words = [name for name, levels in known.categories.items() if are_words(levels)] if known else []
    with _damage(path):
        # Blank lines are kept, and then refused as missing cells, so that row numbers are line numbers.
        frame = pd.read_csv(
            _without_blank_end(path),
            header=None,
            skiprows=1 if header else 0,
            skip_blank_lines=False,
            low_memory=False,
            # Words that look like numbers stay as they are written where others of their column are words.
            dtype={number: str for number, name in enumerate(header or ()) if name in words},
        )
    if header:
        _check_header(path, header, frame.shape[1])
    names = header or [str(number) for number in range(1, frame.shape[1] + 1)]
    levels = None if known is None else known.categories
    frame = pd.DataFrame(
        {number: _stripped(frame[number], (levels or {}).get(name, ())) for number, name in enumerate(names)}
    )
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
        cells = encode_columns([found], [LABEL_COLUMN], ["real"], "refuse", where, _LABELS)
        labels = to_labels(f"{path}, column {LABEL_COLUMN!r},", cells.values[:, 0], len(frame))
        frame = frame.drop(columns=frame.columns[position])
        names = names[:position] + names[position + 1 :]
    if not names:
        raise ValueError(f"{path} holds no value beside the labels; give it columns of data.")
    # Columns without names and kinds are those that were known by their number alone.
    named = known if header or columns is not None else None
    order = list(range(len(names))) if named is None else named.positions(str(path), names)
    kinds = ["real"] * len(names) if columns is None else asked_kinds(str(path), names, columns)
    names, kinds = [names[position] for position in order], [kinds[position] for position in order]
    if named is not None:
        named.check_kinds(str(path), names, kinds)
    encoded = encode_columns(
        [frame.iloc[:, position] for position in order], names, kinds, missing, where, _NUMBERS, levels
    )
    tensors, variant = to_tensors({str(path): encoded.values}, missing)
    return Source(
        path.name,
        variant,
        Rows(tensors[str(path)], labels),
        column_names=tuple(names) if header or columns is not None else None,
        column_kinds=None if columns is None else encoded.kinds,
        categories=encoded.categories,
    )


# What pandas takes for a missing cell where no space is around it.
_NA = frozenset({"", "#N/A", "#N/A N/A", "#NA", "<NA>", "N/A", "NA", "n/a", "NULL", "null", "None"}) | {
    *("NaN", "nan", "-NaN", "-nan", "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN"),
}


def _stripped(column: pd.Series[Any], known: Sequence[str]) -> pd.Series[Any]:
    """A column without spaces around its cells: blank ones are missing, and numbers are numbers.

    Args:
        column: As pandas reads it, spaces and all where a cell is no number.
        known: Levels that it is known to have. Runs of earlier versions may have blank ones.
    """
    import pandas as pd

    if column.dtype.kind != "O":
        return column
    cells = column.map(lambda cell: cell.strip() if isinstance(cell, str) else cell)
    cells = cells.mask(cells.isin(_NA - set(known)))
    numbers = pd.to_numeric(cells, errors="coerce")
    return cells if are_words(known) or (numbers.isna() & cells.notna()).any() else numbers


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    """Whatever goes wrong where a file is read, as the error about it."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} cannot be read as a table ({error.reason}); expected UTF-8 text: save it as CSV UTF-8, as "
            "spreadsheets call it."
        ) from error
    except Exception as error:
        raise ValueError(
            f"{path} cannot be read as a table ({' '.join(str(error).split())}); expected UTF-8 text with "
            "the same number of comma-separated numbers in every row, and at least one such row."
        ) from error


def _without_blank_end(path: Path) -> Path | io.StringIO:
    """The file, or its text where blank lines at the end have to be left out."""
    blank = 0
    with path.open(encoding="utf-8-sig") as file:
        for line in file:
            blank = 0 if line.strip() else blank + 1
    if not blank:
        return path
    with path.open(encoding="utf-8-sig", newline="") as file:
        return io.StringIO("".join(file.readlines()[:-blank]))


def _names_columns(path: Path, cells: list[str]) -> bool:
    if len(cells) > 2 and cells == [str(number) for number in range(len(cells))]:
        raise ValueError(
            f"{path}: row 1 reads {', '.join(cells[:3])} and so on, which may be column numbers or data; "
            "put a row of column names there, or above it if it is data."
        )
    has_text = any(_is_name(cell) for cell in cells)
    # A row such as "0.5, high, 0.7" is data with a bad cell; only whole numbers can be names beside text.
    return has_text and all(cell.isdigit() or not _is_number(cell) for cell in cells)


def _is_name(cell: str) -> bool:
    """Whether a cell is a word or a sign, and none that stands for a missing value."""
    return bool(cell) and not _is_number(cell) and cell.lower() not in _MISSING_WORDS


def _is_number(cell: str) -> bool:
    if cell.lower() in ("true", "false"):
        return True
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _check_separator(path: Path, first: str, second: str) -> None:
    """Refuse a table whose cells are between other signs than commas, which may stand in its numbers then."""
    for separator in (";", "\t"):
        # Commas separate the cells where they end them, and a tab or a semicolon may be beside each.
        if any(cell.rstrip().endswith(",") for cell in first.split(separator)):
            continue
        numbers = all(_is_number(cell.replace(",", ".")) for cell in first.split(separator))
        if 0 < first.count(separator) == second.count(separator) and (numbers or "," not in first):
            read, write = (", header=None", ", header=False") if numbers else ("", "")
            raise ValueError(
                f"{path}: cells are separated by {separator!r} here, and commas are expected, with points in numbers: "
                f"save it by pandas.read_csv(path, sep={separator!r}, decimal=','{read}).to_csv(path, "
                f"index=False{write})."
            )


def _check_header(path: Path, header: list[str], columns: int) -> None:
    if len(header) != columns and header[0].startswith("#"):
        raise ValueError(
            f"{path}: row 1 reads {header[0][:40]!r}, and the next row has {columns} cells; remove the comment line, "
            "so that the first row names the columns or is data."
        )
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
