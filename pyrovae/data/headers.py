"""The first lines of a table: what separates its cells, and the names of its columns."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pyrovae.data.cells import cells_as_written

if TYPE_CHECKING:
    import pandas as pd

# In fewer rows of decimals it may be chance that the first alone has none.
_FEW_ROWS = 20
# Words of a first row that name no column: pandas takes them for missing cells, or others write them there.
_MISSING_WORDS = frozenset(["?", "-", ".", "na", "n/a", "#na", "#n/a", "<na>", "nan", "-nan", "null", "none"])


def names_columns(path: Path, cells: list[str]) -> bool:
    """Whether the first row of a table names its columns.

    Raises:
        ValueError: If that cannot be told.
    """
    if len(cells) > 2 and cells == [str(number) for number in range(len(cells))]:
        raise _names_or_data(path, cells)
    has_text = any(_is_name(cell) for cell in cells)
    # A row such as "0.5, high, 0.7" is data with a bad cell; only whole numbers can be names beside text.
    return has_text and all(cell.isdigit() or not _is_number(cell) for cell in cells)


def check_first_row(path: Path, cells: list[str], frame: pd.DataFrame) -> None:
    """Refuse a first row of whole numbers that was read as data, and may be the names of columns of decimals.

    Args:
        path: The file.
        cells: The first row as it is written.
        frame: ``read_cells(path, header=False)``.

    Raises:
        ValueError: If that cannot be told.
    """
    if not all(cell.isdecimal() for cell in cells) or len(set(cells)) < len(cells):
        return
    below = frame.iloc[1:]
    # Tables of counts may begin with any whole numbers.
    if not all(below[column].dtype.kind == "f" and (below[column].dropna() % 1 != 0).any() for column in below):
        return
    numbers = [int(cell) for cell in cells]
    consecutive = len(cells) > 2 and numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    # What moves in time may begin with whole numbers, of which the time is 0.
    if consecutive or (len(below) >= _FEW_ROWS and 0 not in numbers and _all_points(path, len(cells))):
        raise _names_or_data(path, cells)


def _all_points(path: Path, columns: int) -> bool:
    """Whether no cell below the first row is written as a whole number."""
    written = cells_as_written(path, True, dict.fromkeys(range(columns), ()))
    return not any(written[column].dropna().str.fullmatch(r"[+-]?\d+").any() for column in written)


def _names_or_data(path: Path, cells: list[str]) -> ValueError:
    more = " and so on" if len(cells) > 3 else ""
    return ValueError(
        f"{path}: row 1 reads {', '.join(cells[:3])}{more}, which may be column numbers or data; "
        f"put a row of column names there, with a letter in each, such as c{cells[0]}, or above it if it is data."
    )


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


def check_separator(path: Path, first: str, second: str) -> None:
    """Refuse a table whose cells are between other signs than commas, which may stand in its numbers then."""
    for separator in (";", "\t", "|", r"\s+"):
        cells, below = (_separated(line, separator) for line in (first, second))
        # Commas separate the cells where they end or begin them, and a tab or a semicolon may be beside each.
        if any(cell.startswith(",") or cell.endswith(",") for cell in cells):
            continue
        # As numpy.savetxt writes a header.
        commented = separator == r"\s+" and cells[:1] == ["#"]
        cells = cells[1:] if commented else cells
        numbers, numbers_below = (all(_is_number(cell.replace(",", ".")) for cell in line) for line in (cells, below))
        # Spaces may be inside of names and words.
        separates = 1 < len(cells) == len(below) and (separator != r"\s+" or numbers_below)
        if separates and (numbers or "," not in first):
            read, write = (", header=None", ", header=False") if numbers else ("", "")
            if commented:
                read, write = f", names={cells}, skiprows=1", ""
            said = "spaces" if separator == r"\s+" else repr(separator)
            raise ValueError(
                f"{path}: cells are separated by {said} here, and commas are expected, with points in numbers: "
                f"save it by pandas.read_csv(path, sep={separator!r}, decimal=','{read}).to_csv(path, "
                f"index=False{write})."
            )


def _separated(line: str, separator: str) -> list[str]:
    return line.split() if separator == r"\s+" else [cell.strip() for cell in line.split(separator)]


def check_header(path: Path, header: list[str], columns: int) -> None:
    """Refuse a header that does not give each column a name of its own.

    Raises:
        ValueError: If there is another number of columns, or a name is blank or given twice.
    """
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
