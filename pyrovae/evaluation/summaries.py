"""Numbers as the summaries of evaluations write them."""

import math


def counted(number: int, what: str) -> str:
    """A number of things, in words.

    Example:
        >>> counted(1, "row"), counted(2000, "row")
        ('1 row', '2,000 rows')
    """
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def decimals(value: float, digits: int) -> str:
    """A number with so many decimals, zero without a sign; an error that is not known, that over one row, is so called.

    Example:
        >>> decimals(-0.25, 3), decimals(-0.0004, 3), decimals(float("nan"), 3)
        ('-0.250', '0.000', 'unknown')
    """
    return "unknown" if math.isnan(value) else f"{value:z.{digits}f}"


def means_table(means: dict[str, tuple[float, float, float]]) -> list[str]:
    """Lines of a table of ``row_means``."""
    lines = [f"{'nats per row':<14}{'mean':>12}{'se (rows)':>12}{'se (draws)':>12}"]
    for name, (mean, rows, draws) in means.items():
        # Without the sign of a mean that is rounded to zero.
        lines.append(f"{name:<14} {mean:>z11.3f} {decimals(rows, 3):>11} {decimals(draws, 4):>11}")
    return lines
