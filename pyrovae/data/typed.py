"""Turning the cells of a table into numbers, by the kinds of its columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from pyrovae.data.columns import PLAIN_KINDS, num_categories
from pyrovae.data.levels import are_words
from pyrovae.data.words import repair_of_words

if TYPE_CHECKING:
    import pandas as pd

Missing = Literal["refuse", "keep"]
ColumnsAsked = Mapping[str, str] | Sequence[str]

# Levels that an error lists.
_LEVELS_SAID = 10

_EXPECTED = "'real', 'count', 'binary', 'categorical' or 'categorical(k)' with the number k of categories"


class UnusableValuesError(ValueError):
    """Values that are refused.

    Args:
        wrong: Which, and why.
        repair: What to do about them, where ``load_data`` has all of its arguments.
        any_missing: Whether cells of a table are missing, or NaN is in an array.
    """

    def __init__(self, wrong: str, repair: str, any_missing: bool = False) -> None:
        super().__init__(f"{wrong}; {repair}")
        self.wrong, self.any_missing = wrong, any_missing


@dataclass(frozen=True)
class KnownColumns:
    """The columns of a table that a model was fitted to, for another table that has to mean the same.

    Args:
        names: Their names, in their order; None if they had none.
        categories: By the name of a column, what its numbers 0, 1, ... stand for.
        kinds: By the name of a column, its kind as `columns` of `load_data` takes it; None if none were asked for.
    """

    names: tuple[str, ...] | None
    categories: Mapping[str, Sequence[str]]
    kinds: Mapping[str, str] | None = None

    def positions(self, title: str, names: Sequence[str]) -> list[int]:
        """Where each of the known columns stands among those of another table.

        Raises:
            ValueError: If the other table lacks one of them, or has one more.
        """
        if self.names is None:
            return list(range(len(names)))
        for one, other, has, repair in (
            (self.names, names, "lacks the columns", "add them, empty ones where missing cells are kept"),
            (names, self.names, "has the columns", "leave them out"),
        ):
            if apart := [name for name in one if name not in other]:
                raise ValueError(
                    f"{title} {has} {', '.join(map(repr, apart))}, and the rows that the run was fitted to have "
                    f"{', '.join(map(repr, self.names))}: {repair}."
                )
        return [names.index(name) for name in self.names]

    def check_kinds(self, title: str, names: Sequence[str], kinds: Sequence[str]) -> None:
        """Refuse columns of categories whose numbers are not known, as they would be numbered anew.

        Raises:
            ValueError: If there is one.
        """
        for name, kind in zip(names, kinds, strict=True):
            if kind == "categorical" and name not in self.categories:
                raise ValueError(
                    f"{title}: column {name!r} is to be categorical, and the rows that the run was fitted to have no "
                    "categories there; give it the kind that it had."
                )


@dataclass(frozen=True)
class Encoded:
    """Numbers of a table, and what they stand for.

    Args:
        values: Float64, shape (rows, columns); NaN for a missing cell.
        kinds: Kind of each column.
        categories: By the name of a column, what its numbers 0, 1, ... stand for.
    """

    values: NDArray[np.float64]
    kinds: tuple[str, ...]
    categories: dict[str, tuple[str, ...]]


def asked_kinds(title: str, names: Sequence[str], columns: ColumnsAsked) -> list[str]:
    """The kind that is asked for each column: one word is that of all; those that a mapping does not name are real.

    Raises:
        ValueError: If a name or a kind is unknown, or a sequence has another length than the table has columns.
    """
    if isinstance(columns, Mapping):
        if unknown := [name for name in columns if name not in names]:
            raise ValueError(f"{title} has no column {unknown[0]!r}, which columns names; it has {', '.join(names)}.")
        kinds = [columns.get(name, "real") for name in names]
    else:
        kinds = [columns] * len(names) if isinstance(columns, str) else list(columns)
        if len(kinds) != len(names):
            raise ValueError(
                f"columns has {len(kinds)} kinds, but {title} has {len(names)} columns; give one kind for each, one "
                "word for all, such as columns='count' (--columns count), or a mapping from names to kinds."
            )
    for name, kind in zip(names, kinds, strict=True):
        if kind not in (*PLAIN_KINDS, "categorical") and num_categories(kind) is None:
            if isinstance(columns, str):
                raise ValueError(
                    f"columns is {columns!r}; expected one kind for all columns, {_EXPECTED}; or one for each, or a "
                    "mapping from names to kinds, such as {age: count} for --columns."
                )
            raise ValueError(f"columns says {kind!r} for column {name!r}; expected {_EXPECTED}.")
    return kinds


def encode_columns(
    cells: Sequence[pd.Series[Any]],
    names: Sequence[str],
    kinds: Sequence[str],
    missing: Missing,
    where: Callable[[int], str],
    repair: str,
    levels: Mapping[str, Sequence[str]] | None = None,
) -> Encoded:
    """Turn the cells of each column into numbers.

    Args:
        cells: The columns; cells that pandas takes for missing are so.
        names: Their names.
        kinds: Their kinds as asked. Levels of "categorical" columns are numbered in their order, and so are the two
            levels of "binary" columns of text.
        missing: Whether missing cells are kept, as NaN.
        where: Says where a row is, for errors.
        repair: What else an error says of cells that are no numbers.
        levels: What the numbers of columns stand for by their names, where that is settled; None numbers the levels
            that are found.

    Raises:
        ValueError: If a cell has no value of its column, or is missing and not to be, or all of a row are missing.
    """
    for column, name, kind in zip(cells, names, kinds, strict=True):
        row = _first_rounded(column) if kind == "categorical" else None
        if row is not None:
            raise ValueError(
                f"{where(row)}, column {name!r} is a whole number with more digits than float64 has, so that "
                "categories would be merged: write names, with a letter before each number"
            )
    columns = [
        _encode(column, kind, levels if levels is None else levels.get(name, ()))
        for column, name, kind in zip(cells, names, kinds, strict=True)
    ]
    values = np.stack([column for column, _ in columns], axis=1)
    absent = np.stack([column.isna().to_numpy(dtype=bool) for column in cells], axis=1)
    wrong = ~np.isfinite(values) & ~absent
    full_kinds = [
        f"categorical({len(numbered)})" if kind == "categorical" else kind
        for kind, (_, numbered) in zip(kinds, columns, strict=True)
    ]
    refused = wrong | absent if missing == "refuse" else wrong
    if refused.any():
        row, position = (int(index) for index in np.argwhere(refused)[0])
        is_missing, known = bool(absent[row, position]), columns[position][1]
        alike, others = (absent, wrong) if is_missing else (wrong, refused & absent)
        complaint = _complaint(cells[position].iloc[row], full_kinds[position], is_missing, known)
        if kinds[position] == "binary" and not known and _is_check_box(cells[position]):
            repair = _CHECK_BOX
        elif not is_missing and not known and (of_words := repair_of_words(cells[position], names[position])):
            repair = of_words
        else:
            repair = f"{_MISSING if is_missing else ''}{repair if is_missing or not known else _UNKNOWN}"
        raise UnusableValuesError(
            f"{where(row)}, column {names[position]!r} {complaint} {_counts(alike, position, others, names)}",
            repair,
            bool(absent.any()),
        )
    empty = absent.all(axis=1)
    if empty.any():
        raise ValueError(
            f"{where(int(np.argmax(empty)))} and all others of the row are missing ({int(empty.sum())} such rows); "
            "leave out rows without any value."
        )
    if "categorical(0)" in full_kinds:
        raise ValueError(
            f"{where(0)}, column {names[full_kinds.index('categorical(0)')]!r} and all others of the column are "
            "missing, so that it has no categories; leave the column out."
        )
    categories = {name: numbered for name, (_, numbered) in zip(names, columns, strict=True) if numbered}
    return Encoded(values, tuple(full_kinds), categories)


_MISSING = 'to keep missing cells, use missing="keep" (--missing keep), and a likelihood that takes them; otherwise '
_UNKNOWN = "leave such rows out, or fit a run to data that have them."
_CHECK_BOX = "blank cells are missing: where they mean the other value of the column, write a word for it into them."


def _is_check_box(column: pd.Series[Any]) -> bool:
    """Whether all cells are one word or blank."""
    return bool(column.isna().any()) and column.nunique() == 1 and are_words(column.dropna().tolist())


def _counts(alike: NDArray[np.bool_], position: int, others: NDArray[np.bool_], names: Sequence[str]) -> str:
    """How many cells are refused for the same reason, and which columns have some that are for another."""
    here, everywhere = int(alike[:, position].sum()), int(alike.sum())
    also = ", ".join(repr(names[number]) for number in np.unique(np.argwhere(others)[:, 1]).tolist())
    elsewhere = f", {everywhere} in all columns" if everywhere > here else ""
    return f"({here} such cells{elsewhere}{f'; cells are refused for another reason in {also}' if also else ''})"


def _first_rounded(column: pd.Series[Any]) -> int | None:
    """The first row whose whole number was rounded, in a column that pandas read as numbers with a fraction."""
    if column.dtype.kind != "f":
        return None
    numbers = column.to_numpy(dtype=np.float64)
    rounded = (np.abs(numbers) >= 2.0**53) & np.isfinite(numbers)
    return int(np.argmax(rounded)) if rounded.any() else None


def _encode(
    column: pd.Series[Any], kind: str, known: Sequence[str] | None
) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Numbers of a column, NaN or infinite where a cell has none, and the levels that they number.

    Args:
        column: Its cells.
        kind: Its kind as asked.
        known: The levels, empty where it has none; None finds them.
    """
    import pandas as pd

    numbers = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    present = ~column.isna().to_numpy(dtype=bool)
    # Columns of text are those of words, which may all look like numbers.
    is_text = are_words(known) if known else column.dtype.kind == "O"
    if known or kind == "categorical" or (kind == "binary" and is_text and known is None):
        # Whole numbers with more digits than float64 has are names, too.
        found = column.to_numpy() if column.dtype.kind in "iu" else numbers
        if is_text:
            found = column.map(str).to_numpy(dtype=object)
        if known:
            numbered = {level: float(number) for number, level in enumerate(known)}
            coded = np.array([numbered.get(_as_text(level), np.nan) for level in found])
            return np.where(present, coded, np.nan), tuple(known)
        levels = sorted(set(found[present]))
        if kind == "categorical" or len(levels) == 2:
            order = {level: float(number) for number, level in enumerate(levels)}
            coded = np.array([order.get(level, np.nan) for level in found], dtype=np.float64)
            coded[~present] = np.nan
            return coded, tuple(map(_as_text, levels))
    with np.errstate(invalid="ignore"):
        whole = (numbers >= 0) & (numbers == np.round(numbers))
        most = 1 if kind == "binary" else (num_categories(kind) or np.inf) - 1
        inside = np.isfinite(numbers) if kind == "real" else whole & (numbers <= most) & np.isfinite(numbers)
    return np.where(inside, numbers, np.nan), ()


def _as_text(level: Any) -> str:
    return str(int(level)) if isinstance(level, float) and level.is_integer() else str(level)


def _complaint(cell: Any, kind: str, missing: bool, known: Sequence[str]) -> str:
    if missing:
        return "is missing"
    if known:
        more = f" and {len(known) - _LEVELS_SAID} more" if len(known) > _LEVELS_SAID else ""
        said = ", ".join(map(repr, known[:_LEVELS_SAID]))
        return f"holds {str(cell)!r}, which the run does not know; it knows {said}{more}"
    allowed = {
        "real": "not a finite number",
        "count": "not a count 0, 1, 2, ...",
        "binary": "neither 0 nor 1, nor one of two words",
    }
    return f"holds {str(cell)!r}, which is {allowed.get(kind, f'not one of 0 to {(num_categories(kind) or 1) - 1}')}"
