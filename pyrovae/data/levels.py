"""Levels of categories: which are numbers, and which are words that look like one."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable


def are_words(levels: Iterable[object]) -> bool:
    """Whether one of some levels is no number, or a number that is not written plainly.

    Example:
        >>> are_words(["1", "2.5"]), are_words(["1", "x"]), are_words(["1", "02"])
        (False, True, True)
    """
    return any(_number(level) is None or not is_plain(level) for level in levels)


def is_plain(level: object) -> bool:
    """Whether a number, or a text of one, is written as a program writes it; what is no number is so.

    Others, such as 01234 or 1.10, are names, of which numbers would lose a part.

    Example:
        >>> is_plain("1.0"), is_plain("-2.5"), is_plain("1.10"), is_plain("01234"), is_plain("1E1"), is_plain("x")
        (True, True, False, False, False, True)
    """
    number = _number(level)
    if number is None or not isinstance(level, str):
        return True
    if re.fullmatch(r"-?[0-9]+", level):
        return level == "0" or not level.removeprefix("-").startswith("0")
    # As Python, spreadsheets and numpy.savetxt have it.
    whole = str(int(number)) if math.isfinite(number) else ""
    return level in (repr(number), whole, f"{number:.18e}")


def _number(level: object) -> float | None:
    try:
        number = float(level)  # type: ignore[arg-type]
    except ValueError:
        return None
    return None if math.isnan(number) else number
