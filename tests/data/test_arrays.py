"""Arrays, ``.npy``: layouts, types, values, damaged files."""

import numpy as np
import numpy.lib.recfunctions
import pytest
import torch
from stored_arrays import RANDOM, all_values, save, sorted_rows

from pyrovae.data import load_data


@pytest.mark.parametrize(
    ("shape", "data_shape"),
    [
        ((10, 5), (5,)),
        ((10, 1), (1,)),
        ((10, 4, 6), (1, 4, 6)),
        ((10, 4, 3), (1, 4, 3)),
        ((10, 1, 4, 6), (1, 4, 6)),
        ((10, 3, 4, 6), (3, 4, 6)),
        ((10, 3, 3, 3), (3, 3, 3)),
        ((10, 1, 28, 1), (1, 28, 1)),
        ((10, 3, 28, 1), (3, 28, 1)),
    ],
)
def test_layouts(tmp_path, shape, data_shape):
    array = RANDOM.normal(size=shape).astype(np.float32)
    splits = load_data(save(tmp_path, array))
    assert splits.data_shape == data_shape
    assert splits.train.shape == (8, *data_shape)
    assert all_values(splits) == sorted_rows(torch.from_numpy(array))
    assert splits.train_labels is splits.validation_labels is splits.test_labels is None
    assert splits.name == "array.npy"
    assert splits.support == "real"


@pytest.mark.parametrize("shape", [(10, 28, 28, 1), (10, 32, 32, 3), (3, 28, 3, 1)])
def test_channels_last(tmp_path, shape):
    path = save(tmp_path, np.zeros(shape))
    match = (
        rf"array.npy has shape \({', '.join(map(str, shape))}\), channels last; expected .*\(N, C, H, W\)"
        r".*np\.moveaxis\(x, -1, 1\)"
    )
    with pytest.raises(ValueError, match=match):
        load_data(path)
    np.save(path, np.moveaxis(np.load(path), -1, 1))
    assert load_data(path).data_shape == (shape[3], shape[1], shape[2])


def test_other_channels(tmp_path):
    with pytest.raises(ValueError, match=r"so 4 channels; expected .* with 1 or 3 channels"):
        load_data(save(tmp_path, np.zeros((10, 4, 8, 8))))


@pytest.mark.parametrize("shape", [(), (10,), (10, 2, 3, 4, 5)])
def test_other_dimensions(tmp_path, shape):
    with pytest.raises(ValueError, match=rf"which is {len(shape)}-dimensional; expected \(N, D\) for a table"):
        load_data(save(tmp_path, np.zeros(shape)))


@pytest.mark.parametrize("shape", [(0, 4), (10, 0), (10, 1, 0, 4), (0, 0)])
def test_no_values(tmp_path, shape):
    with pytest.raises(ValueError, match=r"holds no value; expected \(N, D\)"):
        load_data(save(tmp_path, np.zeros(shape)))


@pytest.mark.parametrize("shape", [(10, 4, 5), (10, 3, 4, 5)])
def test_uint8_images_are_divided_by_255(tmp_path, shape):
    array = RANDOM.integers(0, 256, shape, dtype=np.uint8)
    splits = load_data(save(tmp_path, array))
    assert all_values(splits) == sorted_rows(torch.from_numpy(array).float() / 255)
    assert splits.variant == "uint8 / 255 in [0, 1]"
    assert splits.support == "unit_interval"


def test_uint8_tables_are_left_alone(tmp_path):
    array = RANDOM.integers(0, 256, (10, 5), dtype=np.uint8)
    splits = load_data(save(tmp_path, array))
    assert all_values(splits) == sorted_rows(torch.from_numpy(array).float())
    assert splits.variant == "values as stored"
    assert splits.support == "count"


def test_uint8_images_of_zeros_and_ones_are_left_alone(tmp_path):
    array = RANDOM.integers(0, 2, (10, 4, 5), dtype=np.uint8)
    splits = load_data(save(tmp_path, array))
    assert all_values(splits) == sorted_rows(torch.from_numpy(array).float())
    assert splits.support == "binary"


def test_booleans_become_zeros_and_ones(tmp_path):
    array = RANDOM.integers(0, 2, (10, 4, 5)).astype(bool)
    splits = load_data(save(tmp_path, array))
    assert all_values(splits) == sorted_rows(torch.from_numpy(array).float())
    assert splits.variant == "booleans as 0 and 1"


@pytest.mark.parametrize("dtype", ["<i2", ">i4", "u8", "<f2", ">f4", "<f8"])
def test_number_types_and_byte_orders(tmp_path, dtype):
    array = np.asfortranarray(np.arange(20).reshape(10, 2).astype(dtype))
    splits = load_data(save(tmp_path, array))
    assert all_values(splits) == [(float(2 * row), float(2 * row + 1)) for row in range(10)]


@pytest.mark.parametrize(
    ("array", "save_instead", "row"),
    [
        (np.full((5, 2), 3 + 4j), "numpy.concatenate([x.real, x.imag], axis=1)", [3, 3, 4, 4]),
        (np.full((5, 2), np.datetime64("2020-01-01T12")), "(x - x.min()) / numpy.timedelta64(1, 'D')", [0, 0]),
        (np.full((5, 2), np.timedelta64(36, "h")), "x / numpy.timedelta64(1, 'D')", [1.5, 1.5]),
        (
            np.array([(1, 2.5)] * 5, [("a", "i4"), ("b", "f8")]),
            "numpy.lib.recfunctions.structured_to_unstructured(x)",
            [1, 2.5],
        ),
        (np.full((5, 2), "a"), "the rows as a .csv file, and say which columns are categorical", None),
        (np.full((5, 2), b"a"), "the rows as a .csv file, and say which columns are categorical", None),
    ],
)
def test_other_types(tmp_path, array, save_instead, row):
    with pytest.raises(
        ValueError, match=r"array.npy holds values of type .*; real numbers or booleans are expected, so save"
    ) as said:
        load_data(save(tmp_path, array))
    assert save_instead in str(said.value)
    if row is not None:
        numbers = eval(save_instead, {"numpy": np, "x": array})
        assert all_values(load_data(save(tmp_path, numbers)))[0] == tuple(row)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_values_that_are_not_finite(tmp_path, value):
    array = np.zeros((10, 2, 3))
    array[4, 1, 2] = array[7, 0, 0] = value
    match = rf"array.npy holds 2 values that are NaN, .*the first \({value}\) in row 4 at position \(1, 2\)"
    with pytest.raises(ValueError, match=match.replace("+", r"\+")):
        load_data(save(tmp_path, array))


def test_constant_data_are_fine(tmp_path):
    splits = load_data(save(tmp_path, np.full((5, 2), 2.5)))
    assert all_values(splits) == [(2.5, 2.5)] * 5


def test_the_ending_may_be_upper_case(tmp_path):
    save(tmp_path, np.ones((5, 2))).rename(tmp_path / "ARRAY.NPY")
    assert load_data(tmp_path / "ARRAY.NPY").name == "ARRAY.NPY"


@pytest.mark.parametrize("ending", [".npy", ".npz"])
@pytest.mark.parametrize("content", [b"", b"1,2,3\n4,5,6\n", b"PK\x03\x04 cut off", b"\x93NUMPY\x01"])
def test_a_file_that_is_no_array(tmp_path, ending, content):
    path = tmp_path / f"broken{ending}"
    path.write_bytes(content)
    with pytest.raises(
        ValueError, match=rf"broken\{ending} is not a readable \{ending} file .*Write it with numpy\.save"
    ):
        load_data(path)


def test_a_cut_off_array(tmp_path):
    path = save(tmp_path, np.ones((50, 4)))
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(ValueError, match=r"not a readable \.npy file"):
        load_data(path)


def test_pickled_objects_are_not_run(tmp_path):
    objects = np.array([{"a": 1}, None], dtype=object)
    np.save(tmp_path / "objects.npy", objects, allow_pickle=True)
    np.savez(tmp_path / "objects.npz", data=objects, allow_pickle=True)
    for path in (tmp_path / "objects.npy", tmp_path / "objects.npz"):
        with pytest.raises(ValueError, match=r"not a readable .* or holds text or Python objects") as caught:
            load_data(path)
        assert "allow_pickle" not in str(caught.value)
