"""Checks of levels that likelihoods share."""

from torch import nn

from pyrovae.distributions.arguments import is_finite_number, is_whole_number


def check_num_levels(num_levels: int, part: nn.Module) -> int:
    """The number of levels, if it is one."""
    if not is_whole_number(num_levels) or num_levels < 2:
        raise ValueError(f"{type(part).__name__}: num_levels is {num_levels!r}; expected a whole number, at least 2")
    return int(num_levels)


def check_range(low: float, high: float, part: nn.Module) -> None:
    """Refuse a range that is empty or without end."""
    if not (is_finite_number(low) and is_finite_number(high) and low < high):
        raise ValueError(
            f"{type(part).__name__}: low is {low!r} and high {high!r}; expected finite numbers with "
            "low < high, in units of the data"
        )
