"""Splits of a file that is read row by row: those of the same rows in memory."""

import math
import os

import numpy as np
import pytest
import torch

from pyrovae.data import StreamedRows, load_data

RANDOM = np.random.default_rng(0)
GREY = RANDOM.integers(0, 256, (300, 5, 4), dtype=np.uint8)
TABLE = RANDOM.normal(size=(300, 6))
GAPS = np.where(RANDOM.random((300, 6)) < 0.2, np.nan, TABLE)
GAPS[:, 0] = 1.5


def saved(tmp_path, array):
    np.save(tmp_path / "x.npy", array)
    return tmp_path / "x.npy"


@pytest.mark.parametrize(
    ("array", "support"),
    [
        (TABLE, "real"),
        (GREY, "unit_interval"),
        ((GREY > 100).astype(np.uint8), "binary"),
        (GREY[:, 0] > 100, "binary"),
        (GREY[:, 0], "count"),
    ],
    ids=["table", "grey images", "images of bits", "booleans", "counts"],
)
def test_splits_are_those_of_rows_in_memory(array, support, tmp_path):
    path = saved(tmp_path, array)
    options = {"seed": 3, "validation_fraction": 0.2}
    plain, ours = load_data(path, **options), load_data(path, **options, stream=True)
    assert plain.support == support
    assert ours.provenance() == plain.provenance()
    assert ours.summary() == plain.summary()
    assert ours.column_kinds is None
    for name in ("train", "validation", "test"):
        assert isinstance(getattr(ours, name), StreamedRows)
        assert torch.equal(getattr(ours, name)[:], getattr(plain, name))


def test_missing_entries_are_kept(tmp_path):
    path = saved(tmp_path, GAPS)
    plain, ours = load_data(path, missing="keep"), load_data(path, missing="keep", stream=True)
    assert ours.num_missing == np.isnan(GAPS).sum()
    assert ours.provenance() == plain.provenance()
    assert ours.summary() == plain.summary()
    # What is known of the gaps of all rows is known of those of a part.
    assert torch.equal(ours.test.non_finite, plain.test.isnan().any(1).nonzero().flatten())


@pytest.mark.parametrize("missing", ["refuse", "keep"])
@pytest.mark.parametrize("layout", [(6,), (2, 3)], ids=["table", "images"])
@pytest.mark.parametrize("broken", [{(7, 3): np.nan}, {(7, 3): np.inf, (9, 0): np.nan}, {9: np.nan}], ids=str)
def test_values_are_refused_as_in_memory(broken, layout, missing, tmp_path):
    array = TABLE.copy()
    for place, value in broken.items():
        array[place] = value
    path = saved(tmp_path, array.reshape(300, *layout))
    if missing == "keep" and broken == {(7, 3): np.nan}:
        assert load_data(path, missing=missing, stream=True).num_missing == 1
        return
    with pytest.raises(ValueError, match=r"x\.npy ") as plain:
        load_data(path, missing=missing)
    with pytest.raises(ValueError, match=r"x\.npy ") as ours:
        load_data(path, missing=missing, stream=True)
    assert str(ours.value) == str(plain.value)


def test_what_cannot_stream_is_refused(tmp_path):
    path = saved(tmp_path, TABLE)
    (tmp_path / "x.csv").write_text("1,2\n3,4\n")
    for place in ("digits", tmp_path, tmp_path / "x.csv"):
        with pytest.raises(
            ValueError, match=r"stream=True \(--stream\) reads rows of a .npy file .* is none: leave it"
        ):
            load_data(place, stream=True)
    with pytest.raises(ValueError, match=r"There is no file or folder .*y\.npy.; check the path"):
        load_data(tmp_path / "y.npy", stream=True)
    with pytest.raises(ValueError, match=r"binarize='dynamic' \(--binarize dynamic\) changes them"):
        load_data(path, binarize="dynamic", stream=True)
    with pytest.raises(ValueError, match=r"columns \(--columns\) numbers the categories"):
        load_data(path, columns={"1": "count"}, stream=True)
    with pytest.raises(ValueError, match="2 rows cannot be split into training, validation and test"):
        load_data(saved(tmp_path, TABLE[:2]), stream=True)


def test_a_file_beyond_memory_is_refused_with_the_advice_to_stream(tmp_path):
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    # Bytes that are nowhere on the disk, as nothing was written there.
    rows = math.ceil(memory / 2 / 4 / 2**16) + 1
    np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.uint8, (rows, 2**16))
    with pytest.raises(ValueError, match=r"GiB of memory: read its rows .* with stream=True \(--stream\)"):
        load_data(tmp_path / "x.npy")
