"""What to do about columns of words that are neither numbers nor categories."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

_DATES = ("ISO8601", "%Y/%m/%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y", "%d %b %Y", "%d-%b-%Y")
# Of the words, so that single bad cells do not hide what the others are.
_NEARLY_ALL = 0.9
# Categories of fewer rows may all differ.
_FEW_ROWS = 20


def repair_of_words(column: pd.Series[Any], name: str) -> str | None:
    """What to do about a column of dates, or of words that nearly all differ; None about others.

    Args:
        column: its cells; missing ones are so.
        name: its name.

    Example:
        >>> import pandas
        >>> repair_of_words(pandas.Series([f"item {number}" for number in range(50)]), "barcode")
        'leave the column out: nearly all of its words differ, so they are no categories.'
    """
    import pandas as pd

    cells = column.dropna()
    words = cells[pd.to_numeric(cells, errors="coerce").isna()].astype(str)
    for form in _DATES:
        if pd.to_datetime(words, format=form, errors="coerce", utc=True).notna().mean() >= _NEARLY_ALL:
            return (
                f"dates become numbers as days since the first: d = pandas.to_datetime(table[{name!r}], "
                f"format={form!r}, utc=True), and table[{name!r}] = (d - d.min()) / pandas.Timedelta(days=1)."
            )
    if len(cells) >= _FEW_ROWS and words.nunique() >= _NEARLY_ALL * len(cells):
        return "leave the column out: nearly all of its words differ, so they are no categories."
    return None
