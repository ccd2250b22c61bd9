"""When two runs are told apart by few test rows."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from pyrovae import RunComparison


def compared(difference, error, rows, draws_error=0.0):
    """Two runs that differ by so much, with such a standard error."""
    table = pd.DataFrame(
        {
            "run": ["a", "b"],
            "num_samples": 1000,
            "difference": [0.0, -difference],
            "difference_standard_error": [0.0, error],
            "difference_draws_error": [0.0, draws_error],
            "unreliable_rows": 0,
        }
    )
    return RunComparison(
        table, rows, {}, {"a": "log p(x)", "b": "log p(x)"}, {"a": None, "b": None}, {"a": [], "b": []}
    )


LEVEL = stats.norm.cdf(2)


@pytest.mark.parametrize(
    ("rows", "errors"),
    [
        # Student's t is Cauchy's with one degree of freedom, and has a closed form with two.
        (2, math.tan(math.pi * (LEVEL - 0.5))),
        (3, 2 * (LEVEL - 0.5) * math.sqrt(2 / (4 * LEVEL * (1 - LEVEL)))),
        (5, stats.t.ppf(LEVEL, 4)),
        (180, stats.t.ppf(LEVEL, 179)),
        (100_000_000, 2.0),
    ],
)
def test_it_takes_more_errors_with_few_rows(rows, errors):
    assert not compared(0.999999 * errors * 0.3, 0.3, rows).apart
    assert compared(1.000001 * errors * 0.3, 0.3, rows).apart


@pytest.mark.parametrize("rows", [2, 3, 5])
def test_equal_runs_of_few_rows_are_seldom_told_apart(rows):
    """In 4.55 % of 4,000 cases; four standard errors of that, so one seed in 16,000 fails."""
    differences = np.random.default_rng(rows).normal(size=(4000, rows))
    means, errors = np.abs(differences.mean(1)), differences.std(1, ddof=1) / math.sqrt(rows)
    apart = [compared(mean, error, rows).apart for mean, error in zip(means, errors, strict=True)]
    level = 2 * stats.norm.sf(2)
    assert abs(np.mean(apart) - level) < 4 * math.sqrt(level * (1 - level) / 4000)


def test_runs_that_differ_by_rounding_alone_are_not_told_apart():
    """Two errors of the draws have to lie between them, however equal the differences of the rows are."""
    assert compared(1e-6, 1e-8, 100).apart
    assert not compared(1e-6, 1e-8, 100, draws_error=0.01).apart
    assert compared(0.021, 1e-8, 100, draws_error=0.01).apart
    # Of one draw the error is unknown.
    assert compared(1e-6, 1e-8, 100, draws_error=math.nan).apart


def test_with_one_row_nothing_can_be_told():
    comparison = compared(100.0, math.nan, 1)
    assert not comparison.apart
    assert comparison.verdict() == "a cannot be told from b: 100.000 nats per row, and one row has no standard error."
