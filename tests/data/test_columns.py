"""Columns that a network does not take well as they are."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_breast_cancer, load_digits, load_iris

from pyrovae.data import trouble_of_scale

DRAWS = np.random.default_rng(0).normal(size=(400, 6))
SPREADS = np.array([1e-4, 1e-2, 1.0, 10.0, 1e4, 1e6])


@pytest.mark.parametrize("missing", [False, True])
def test_the_spreads_that_are_said_are_those_of_numpy(missing):
    values = DRAWS * SPREADS
    if missing:
        values[::3, 0], values[1::3, 5] = np.nan, np.nan
    spreads = np.nanstd(values, axis=0)
    said = f"columns have standard deviations from {spreads.min():.1g} to {spreads.max():.1g}"
    assert trouble_of_scale(torch.tensor(values)) == said


def test_the_size_that_is_said_is_the_largest_of_a_column():
    assert (
        trouble_of_scale(torch.tensor(DRAWS + np.array([0, 0, 0, 0, 0, -2e4]))) == "columns have values of about 2e+04"
    )


ORDINARY = {
    "digits in [0, 1]": load_digits().data / 16,
    "digits as levels": load_digits().data,
    "white digits": 1 - load_digits().data / 16,
    "flowers": load_iris().data,
    "up to 80 times apart": DRAWS * np.array([1, 2, 4, 8, 40, 60]),
    "a constant column": np.column_stack([DRAWS, np.full(400, 7.0)]),
    "a rare category": np.column_stack([20 * DRAWS, np.arange(400) == 9]),
    "few rows": DRAWS[:9] * np.minimum(SPREADS, 10),
    "a reading that is nearly always 0": np.column_stack([DRAWS, 1e-3 * (DRAWS[:, 0] > 0.7)]),
}


@pytest.mark.parametrize("rows", ORDINARY.values(), ids=ORDINARY.keys())
def test_ordinary_rows_are_no_trouble(rows):
    assert trouble_of_scale(torch.tensor(rows, dtype=torch.float32)) is None


def test_measurements_in_their_own_units_are_trouble():
    rows = torch.tensor(load_breast_cancer().data)
    assert trouble_of_scale(rows) == "columns have standard deviations from 0.003 to 6e+02"
