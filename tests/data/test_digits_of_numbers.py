"""Numbers of arrays and tables whose digits a narrower type would lose."""

import numpy as np
import numpy.lib.recfunctions
import pandas as pd
import pytest
import torch
from stored_arrays import RANDOM, save, savez

from pyrovae.data import load_data


def test_categories_in_half_precision(tmp_path):
    data = load_data(save(tmp_path, np.arange(30).reshape(15, 2).astype(np.float16) % 3), columns="categorical")
    assert data.categories == {"1": ("0", "1", "2"), "2": ("0", "1", "2")}


@pytest.mark.parametrize("start", [20_230_101, 2**53 + 1])
@pytest.mark.parametrize("kind", ["npy", "npz"])
def test_categories_have_all_digits_of_whole_numbers(tmp_path, start, kind):
    numbers = start + np.arange(150) % 4
    array = np.stack([numbers, np.arange(150)], axis=1)
    path = save(tmp_path, array) if kind == "npy" else savez(tmp_path, data=array)
    splits = load_data(path, columns=["categorical", "real"])
    assert splits.categories == {"1": tuple(str(start + number) for number in range(4))}
    assert splits.column_kinds == ("categorical(4)", "real")
    order = splits.train[:, 1].long()
    assert torch.equal(splits.train[:, 0], (order % 4).float())


TOLD_APART = {
    "dates in seconds": 1.7e9 + np.arange(150),
    "whole numbers above 2^24": 2**24 + np.arange(100),
    "shares near one": 1 - 1e-6 * np.linspace(0, 1, 50),
}


@pytest.mark.parametrize("column", TOLD_APART.values(), ids=TOLD_APART)
def test_numbers_that_float32_does_not_tell_apart_are_refused(tmp_path, column):
    array = np.stack([RANDOM.normal(size=len(column)), column], axis=1)
    np.savetxt(tmp_path / "table.csv", array, delimiter=",", fmt="%.17g", header="a,b", comments="")
    paths = [save(tmp_path, array), tmp_path / "table.csv"]
    for path, options in ((paths[0], {}), (paths[1], {}), (paths[0], {"stream": True})):
        with pytest.raises(
            ValueError,
            match=r"(at position \(1,\), counted from 0|column 'b', .*), which float32 rounds to multiples of",
        ):
            load_data(path, **options)
    assert len(np.unique(load_data(save(tmp_path, array - array.min(0))).train[:, 1])) > 0.7 * len(column)


FINE = {
    "exact in float32": 1e7 + np.arange(50),
    "constant up to rounding": 0.3 + 1e-16 * np.arange(50),
    "far from zero, and spread": 5e6 + 1e3 * RANDOM.normal(size=50),
    "some missing": np.where(np.arange(50) % 3, RANDOM.normal(size=50), np.nan),
    "none there": np.full(50, np.nan),
}


@pytest.mark.parametrize("column", FINE.values(), ids=FINE)
def test_numbers_that_float32_tells_apart_are_taken(tmp_path, column):
    path = save(tmp_path, np.stack([RANDOM.normal(size=50), column], axis=1))
    assert load_data(path, missing="keep").data_shape == (2,)


def test_whole_numbers_that_differ_by_little_of_themselves_are_no_rounding(tmp_path):
    """Nanoseconds a microsecond apart, which float32 takes for one number."""
    table = np.stack([1_700_000_000_000_000_000 + 1000 * np.arange(80), np.arange(80)], 1)
    np.save(tmp_path / "stamps.npy", table)
    with pytest.raises(ValueError, match="float32"):
        load_data(tmp_path / "stamps.npy")


@pytest.mark.parametrize("kinds", [None, {"b": "count"}, {"b": "real"}])
def test_whole_numbers_of_a_table_that_float64_does_not_tell_apart_are_refused(tmp_path, kinds):
    """Beside a column of fractions they would become float64, and be a constant."""
    table = pd.DataFrame({"a": np.arange(60) / 7, "b": 2**60 + np.arange(60) % 5})
    table.to_csv(tmp_path / "table.csv", index=False)
    with pytest.raises(ValueError, match=f"column 'b', has values from {2**60} to {2**60 + 4}, which float32 rounds"):
        load_data(tmp_path / "table.csv", columns=kinds)
    table.assign(b=table["b"] - table["b"].min()).to_csv(tmp_path / "table.csv", index=False)
    assert load_data(tmp_path / "table.csv", columns=kinds).train[:, 1].unique().tolist() == [0, 1, 2, 3, 4]


def test_whole_numbers_of_an_array_with_kinds_that_float64_does_not_tell_apart_are_refused(tmp_path):
    np.save(tmp_path / "array.npy", np.stack([np.arange(60) % 3, 2**60 + np.arange(60) % 5], axis=1))
    with pytest.raises(ValueError, match=f"column '2', has values from {2**60} to {2**60 + 4}"):
        load_data(tmp_path / "array.npy", columns={"1": "categorical"})
    names = load_data(tmp_path / "array.npy", columns="categorical").categories["2"]
    assert names == tuple(str(2**60 + number) for number in range(5))
