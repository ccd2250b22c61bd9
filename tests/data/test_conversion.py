"""Rows that are no tensor: how an error says to make one of them."""

import re

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.sparse import csr_matrix

from pyrovae.data import StreamedRows, load_data
from pyrovae.programs import check_any_rows, check_are_rows

MASKED = np.ma.masked_array([[1, 2], [3, 4]], [[False, True], [False, False]])


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (np.array([[1, 2], [3, 4]], ">i4"), [[1, 2], [3, 4]]),
        ([[1, 2], [3, 4]], [[1, 2], [3, 4]]),
        (csr_matrix([[0, 2], [3, 4]]), [[0, 2], [3, 4]]),
        (MASKED, [[1, np.nan], [3, 4]]),
    ],
    ids=["big-endian", "list", "sparse", "masked"],
)
def test_rows_in_the_place_of_a_file_are_refused_with_a_way_that_works(tmp_path, rows, expected):
    with pytest.raises(ValueError, match=r"load_data takes a name or .*: save the rows by numpy.save, or give") as e:
        load_data(rows)
    way = str(e.value).partition(" as ")[2]
    given = eval(way, {"torch": torch, "numpy": np, "rows": rows})
    assert given.dtype == torch.float32
    np.testing.assert_array_equal(given, expected)
    np.save(tmp_path / "rows.npy", given)
    assert len(load_data(tmp_path / "rows.npy", missing="keep", test_fraction=1).test) == 2
    with pytest.raises(ValueError, match=re.escape(way.replace("rows", "x"))):
        check_are_rows(rows, "x")


def test_a_table_of_pandas_is_refused_with_a_way_that_works(tmp_path):
    table = pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0]})
    with pytest.raises(ValueError, match=r"not DataFrame: save the table by its to_csv\(path, index=False\)"):
        load_data(table)
    table.to_csv(tmp_path / "a.csv", index=False)
    assert load_data(tmp_path / "a.csv", test_fraction=1).test.tolist() == table.to_numpy().tolist()


def test_what_is_under_a_mask_is_not_streamed():
    with pytest.raises(ValueError, match=r"masked array, .*: give rows.astype\(float\).filled\(numpy.nan\)"):
        StreamedRows(MASKED)
    assert StreamedRows(MASKED.astype(float).filled(np.nan)).non_finite.tolist() == [0]


def test_sparse_tensors_are_refused():
    with pytest.raises(ValueError, match=r"x is a sparse tensor; expected a full one: give x.to_dense\(\)"):
        check_any_rows(torch.eye(3).to_sparse(), "x")
