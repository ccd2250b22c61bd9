"""What to do about columns of words that are neither numbers nor categories."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

_DAYS = ("%Y/%m/%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y", "%d %b %Y", "%d-%b-%Y")
_SHORT = ("%m/%d/%y", "%d/%m/%y", "%d.%m.%y")
_DATES = ("ISO8601", *(day + time for time in ("", " %H:%M", " %H:%M:%S") for day in (*_DAYS, *_SHORT)))
# Of the words, so that single bad cells do not hide what the others are.
_NEARLY_ALL = 0.9
# So many are looked at to leave out forms of dates that they have not.
_SOME_WORDS = 100
# Categories of fewer rows may all differ.
_FEW_ROWS = 20

# Signs beside numbers.
_SIGNS = "%$€£¥"
_SPACES = (" ", "\xa0", "\u202f")
# What stands between thousands and before decimals.
_WRITTEN = [
    *(("", "."), (",", "."), *((space, ".") for space in _SPACES)),
    *(("", ","), (".", ","), *((space, ",") for space in _SPACES)),
]


def repair_of_words(column: pd.Series[Any], name: str) -> str | None:
    """What to do about a column of dates, of numbers with signs, or of words that nearly all differ; None about others.

    Args:
        column: its cells; missing ones are so.
        name: its name.

    Example:
        >>> import pandas
        >>> repair_of_words(pandas.Series([f"item {number}" for number in range(50)]), "barcode")
        'leave the column out: nearly all of its words differ, so they are no categories.'
        >>> repair_of_words(pandas.Series(["7.5%", "8%"]), "a").partition(" by ")[2]
        "table['a'] = pandas.to_numeric(table['a'].astype(str).str.replace('%', ''))."
    """
    import pandas as pd

    cells = column.dropna()
    words = cells[pd.to_numeric(cells, errors="coerce").isna()].astype(str)
    if (form := _form_of_dates(words)) is not None:
        return (
            f"dates become numbers as days since the first: d = pandas.to_datetime(table[{name!r}], "
            f"format={form!r}, utc=True), and table[{name!r}] = (d - d.min()) / pandas.Timedelta(days=1)."
        )
    if (replaced := _signs_replaced(cells.astype(str), words)) is not None:
        return (
            f"numbers with signs become plain ones by table[{name!r}] = "
            f"pandas.to_numeric(table[{name!r}].astype(str){replaced}."
        )
    if len(cells) >= _FEW_ROWS and words.nunique() >= _NEARLY_ALL * len(cells):
        return "leave the column out: nearly all of its words differ, so they are no categories."
    return None


def _form_of_dates(words: pd.Series[str]) -> str | None:
    """The form in which nearly all words are dates."""
    import pandas as pd

    some = words.iloc[:: max(1, len(words) // _SOME_WORDS)]
    for form in _DATES:
        shares = (
            pd.to_datetime(looked_at, format=form, errors="coerce", utc=True).notna().mean()
            for looked_at in (some, words)
        )
        if next(shares) > _NEARLY_ALL / 2 and next(shares) >= _NEARLY_ALL:
            return form
    return None


def _signs_replaced(cells: pd.Series[str], words: pd.Series[str]) -> str | None:
    """How nearly all words, and cells, become numbers: the end of a line of Python; None if they do not."""
    steps = [(sign, "") for sign in _SIGNS if words.str.contains(sign, regex=False).any()]
    for sign, _ in steps:
        cells, words = (texts.str.replace(sign, "", regex=False).str.strip() for texts in (cells, words))
    for thousands, decimal in _WRITTEN:
        if _are_written(words, thousands, decimal) and _are_written(cells, thousands, decimal):
            steps += [(thousands, "")] if thousands else []
            steps += [(",", ".")] if decimal == "," else []
            line = "".join(f".str.replace({old!r}, {new!r})" for old, new in steps) + ")"
            doubt = thousands == "," and _are_written(words, "", ",")
            return line + doubt * " (',' taken for thousands; where it is before decimals, replace it by '.')"
    return None


def _are_written(texts: pd.Series[str], thousands: str, decimal: str) -> bool:
    """Whether nearly all of some texts are numbers with these signs, or none."""
    groups = rf"|[1-9]\d{{0,2}}({re.escape(thousands)}\d{{3}})+" if thousands else ""
    # A point is none of a decimal where it stands between thousands.
    points = "," if thousands == "." else rf"[.{decimal}]"
    number = rf"[+-]?(?=.?\d)(\d*{groups})({points}\d*)?"
    # pandas takes no digits of other scripts.
    return bool(texts.str.fullmatch(number, flags=re.ASCII).mean() >= _NEARLY_ALL)
