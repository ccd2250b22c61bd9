"""The cells of a .csv file, as pandas reads them and as they are written."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyrovae.data.levels import are_words, is_plain

if TYPE_CHECKING:
    import pandas as pd

# What pandas takes for a missing cell where no space is around it.
_NA = frozenset({"", "#N/A", "#N/A N/A", "#NA", "<NA>", "N/A", "NA", "n/a", "NULL", "null", "None"}) | {
    *("NaN", "nan", "-NaN", "-nan", "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN"),
}


def read_cells(path: Path, header: bool) -> pd.DataFrame:
    """The cells of a table, by the numbers of their columns, without spaces around them.

    Blank cells are missing, and columns of numbers are numbers.

    Args:
        path: An existing file with cells separated by commas.
        header: Whether its first row names the columns.

    Raises:
        ValueError: If the file is no table, or a row has fewer cells than the others.
    """
    import pandas as pd

    # The default of pandas reads a long column in parts, of which one may be numbers and the other words.
    frame = _read(path, header, low_memory=False)
    if frame.iloc[:, -1].isna().any():
        _refuse_short_rows(path, header, frame.shape[1])
    return pd.DataFrame({number: _numbers_of(frame[number]) for number in frame})


def _refuse_short_rows(path: Path, header: bool, columns: int) -> None:
    """Refuse rows that end before the last column: pandas takes the rest for missing, and so may shift their cells."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.reader(file)
        for number, cells in enumerate(rows):
            if number >= header and len(cells) < columns and "".join(cells).strip():
                raise ValueError(
                    f"{path}: row {rows.line_num} (line of the file) has {len(cells)} cells, and others have "
                    f"{columns}; complete it, with nothing between commas where a cell is missing, or leave it out."
                )


def cells_as_written(path: Path, header: bool, levels: Mapping[int, Sequence[str]]) -> pd.DataFrame:
    """Columns of a table as text, without spaces around the cells; blank ones are missing.

    Args:
        path: An existing file with cells separated by commas.
        header: Whether its first row names the columns.
        levels: By the numbers of the columns, levels that each is known to have. Runs of earlier versions may have
            blank ones.
    """
    import pandas as pd

    frame = _read(path, header, usecols=list(levels), dtype=str)
    return pd.DataFrame({number: _stripped(frame[number], known) for number, known in levels.items()})


def keep_names(frame: pd.DataFrame, path: Path, header: bool, levels: Mapping[int, Sequence[str]]) -> None:
    """Put columns of categories back as they are written, where numbers would merge or shorten their names.

    Args:
        frame: ``read_cells(path, header)``.
        path: An existing file with cells separated by commas.
        header: Whether its first row names the columns.
        levels: By the numbers of the columns, levels that each is known to have; none where these are to be found.
    """
    # Known levels that are numbers are those of numbers, however these are written.
    asked = {number: known for number, known in levels.items() if not known or are_words(known)}
    if not asked:
        return
    written = cells_as_written(path, header, asked)
    for number, known in asked.items():
        if known or not all(map(is_plain, written[number].dropna().unique())):
            frame[number] = written[number]


def _read(path: Path, header: bool, **options: Any) -> pd.DataFrame:
    import pandas as pd

    with damage(path):
        # Blank lines are kept, and then refused as missing cells, so that row numbers are line numbers.
        return pd.read_csv(
            _without_blank_end(path), header=None, skiprows=int(header), skip_blank_lines=False, **options
        )


def _numbers_of(column: pd.Series[Any]) -> pd.Series[Any]:
    import pandas as pd

    if column.dtype.kind != "O":
        return column
    cells = _stripped(column)
    numbers = pd.to_numeric(cells, errors="coerce")
    return cells if (numbers.isna() & cells.notna()).any() else numbers


def _stripped(column: pd.Series[Any], known: Collection[str] = ()) -> pd.Series[Any]:
    cells = column.map(lambda cell: cell.strip() if isinstance(cell, str) else cell)
    return cells.mask(cells.isin(_NA - set(known)))


@contextmanager
def damage(path: Path) -> Iterator[None]:
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
