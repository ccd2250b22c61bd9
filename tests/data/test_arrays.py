import zipfile

import numpy as np
import numpy.lib.recfunctions
import pandas as pd
import pytest
import scipy.sparse
import torch

from pyrovae.data import load_data

RANDOM = np.random.default_rng(0)


def save(folder, array, name="array.npy"):
    np.save(folder / name, array)
    return folder / name


def savez(folder, **arrays):
    np.savez(folder / "arrays.npz", **arrays)
    return folder / "arrays.npz"


def sorted_rows(*parts):
    return sorted(tuple(row.flatten().tolist()) for part in parts for row in part)


def all_values(splits):
    return sorted_rows(splits.train, splits.validation, splits.test)


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


def test_the_other_kind_of_numpy_file(tmp_path):
    save(tmp_path, np.ones((5, 2))).rename(tmp_path / "one.npz")
    with pytest.raises(ValueError, match=r"one array, not an archive of arrays; rename it to end in .npy"):
        load_data(tmp_path / "one.npz")
    savez(tmp_path, data=np.ones((5, 2))).rename(tmp_path / "many.npy")
    with pytest.raises(ValueError, match=r"an archive of arrays, not one array; rename it to end in .npz"):
        load_data(tmp_path / "many.npy")


@pytest.mark.parametrize("key", ["data", "x", "images", "train"])
def test_npz_with_one_array(tmp_path, key):
    array = RANDOM.normal(size=(10, 3)).astype(np.float32)
    splits = load_data(savez(tmp_path, **{key: array}))
    assert all_values(splits) == sorted_rows(torch.from_numpy(array))
    assert splits.name == "arrays.npz"
    assert splits.train_labels is None


@pytest.mark.parametrize(("values", "labels"), [("data", "labels"), ("x", "y"), ("data", "y")])
@pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.float32])
def test_npz_labels_stay_with_their_rows(tmp_path, values, labels, dtype):
    numbers = np.arange(10)
    splits = load_data(savez(tmp_path, **{values: numbers[:, None] / 10, labels: numbers.astype(dtype)}))
    for part, part_labels in (
        (splits.train, splits.train_labels),
        (splits.validation, splits.validation_labels),
        (splits.test, splits.test_labels),
    ):
        assert part_labels.dtype == torch.int64
        assert torch.equal(part[:, 0], (part_labels.double() / 10).float())


def test_npz_may_hold_other_arrays_too(tmp_path):
    splits = load_data(savez(tmp_path, data=np.ones((5, 2)), class_names=np.array(["a", "b"]), y=np.arange(5)))
    assert splits.data_shape == (2,)
    assert "not read    class_names\n" in splits.summary()
    assert "not read" not in load_data(savez(tmp_path, x=np.ones((5, 2)))).summary()


@pytest.mark.parametrize("key", ["mask", "x_mask", "missing"])
def test_npz_with_a_mask_beside_the_rows(tmp_path, key):
    path = savez(tmp_path, **{"x": np.ones((5, 2)), key: np.eye(5, 2) > 0})
    with pytest.raises(ValueError, match=rf"holds an array {key!r} beside the rows.*NaN.*--missing keep"):
        load_data(path)
    assert load_data(savez(tmp_path, **{key: np.ones((5, 2))})).support == "binary"
    splits = {"train": np.ones((5, 2)), "test": np.ones((3, 2)), key: np.eye(3, 2) > 0}
    with pytest.raises(ValueError, match=rf"holds an array {key!r} beside the rows"):
        load_data(savez(tmp_path, **splits))


@pytest.mark.parametrize("key", ["unmasked_rows", "mask_names", "observed"])
@pytest.mark.parametrize("array", [np.arange(5), np.array(["a", "b"]), np.array(None), np.ones((2, 2), bool)])
def test_npz_with_an_array_that_is_no_mask_of_the_rows(tmp_path, key, array):
    splits = load_data(savez(tmp_path, **{"x": np.ones((5, 2)), "y": np.arange(5), key: array}))
    assert f"not read    {key}\n" in splits.summary()


@pytest.mark.parametrize("layout", ["csr", "csc", "coo", "dia", "bsr"])
def test_a_sparse_matrix_is_to_be_saved_as_an_array(tmp_path, layout):
    rows = RANDOM.poisson(0.5, (20, 6))
    path = tmp_path / "sparse.npz"
    scipy.sparse.save_npz(path, scipy.sparse.coo_matrix(rows).asformat(layout))
    with pytest.raises(ValueError, match=r"sparse matrix of SciPy.*scipy\.sparse\.load_npz\(path\)\.toarray\(\) with"):
        load_data(path)
    dense = load_data(save(tmp_path, scipy.sparse.load_npz(path).toarray()))
    assert all_values(dense) == sorted(tuple(map(float, row)) for row in rows)


@pytest.mark.parametrize("layout", ["jpeg", b"rgb", None, ["csr", "csc"]])
def test_other_archives_with_a_format_are_no_sparse_matrices(tmp_path, layout):
    path = savez(tmp_path, data=np.arange(10.0).reshape(5, 2), shape=np.array([1, 2]), format=np.array(layout))
    splits = load_data(path)
    assert all_values(splits) == [(2.0 * n, 2.0 * n + 1) for n in range(5)]
    assert "not read    shape, format\n" in splits.summary()


def test_npz_with_train_and_test(tmp_path):
    train, test = np.arange(10.0)[:, None], np.arange(10.0, 14.0)[:, None]
    splits = load_data(savez(tmp_path, train=train, test=test), validation_fraction=0.3, test_fraction=0.9)
    assert (len(splits.train), len(splits.validation)) == (7, 3)
    assert sorted_rows(splits.train, splits.validation) == [(float(row),) for row in range(10)]
    assert splits.test.flatten().tolist() == [10, 11, 12, 13]


def test_npz_with_three_splits_and_labels(tmp_path):
    arrays = {name: np.full((2, 3), index) for index, name in enumerate(("train", "validation", "test"))}
    labels = {f"{name}_labels": np.full(2, 10 + index) for index, name in enumerate(arrays)}
    splits = load_data(savez(tmp_path, **arrays, **labels))
    for index, name in enumerate(arrays):
        assert getattr(splits, name).tolist() == [[index] * 3] * 2
        assert getattr(splits, f"{name}_labels").tolist() == [10 + index] * 2


def test_npz_splits_are_scaled_alike(tmp_path):
    train, test = np.full((5, 2, 2), 255, np.uint8), np.ones((2, 2, 2), np.uint8)
    splits = load_data(savez(tmp_path, train=train, test=test))
    assert float(splits.train.min()) == 1
    assert torch.equal(splits.test, torch.ones(2, 1, 2, 2) / 255)


@pytest.mark.parametrize(
    "keys",
    [
        ("images", "classes"),
        ("data", "x"),
        ("data", "labels", "y"),
        ("train", "validation"),
        ("train", "test", "data"),
        ("train", "test", "labels"),
        ("train", "test", "train_labels"),
        ("train", "test", "validation_labels"),
        ("train", "x"),
    ],
)
def test_npz_with_unclear_keys(tmp_path, keys):
    path = savez(tmp_path, **{key: np.ones((5, 2)) for key in keys})
    found = ", ".join(map(repr, keys))
    with pytest.raises(
        ValueError, match=rf"holds the arrays {found}, which leaves open .*Expected one array; or 'data'"
    ):
        load_data(path)


def test_npz_without_arrays(tmp_path):
    with zipfile.ZipFile(tmp_path / "empty.npz", "w"):
        pass
    with pytest.raises(ValueError, match=r"holds the arrays \(none\), which leaves open"):
        load_data(tmp_path / "empty.npz")


def test_a_zip_file_of_text(tmp_path):
    with zipfile.ZipFile(tmp_path / "text.npz", "w") as archive:
        archive.writestr("data", "1,2,3")
    with pytest.raises(ValueError, match=r"text\.npz.*'data'"):
        load_data(tmp_path / "text.npz")


def test_damaged_npz_data(tmp_path):
    np.savez_compressed(tmp_path / "damaged.npz", data=RANDOM.normal(size=(100, 10)))
    content = bytearray((tmp_path / "damaged.npz").read_bytes())
    content[2000:2100] = bytes(100)
    (tmp_path / "damaged.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"damaged\.npz is not a readable \.npz file"):
        load_data(tmp_path / "damaged.npz")


def test_npz_splits_of_different_shapes_or_types(tmp_path):
    path = savez(tmp_path, train=np.ones((5, 2)), test=np.ones((5, 3)))
    with pytest.raises(ValueError, match=r"'test', has rows of shape \(3,\).*'train', has \(2,\).*one shape and one"):
        load_data(path)
    path = savez(tmp_path, train=np.ones((5, 2, 2), np.uint8), test=np.ones((5, 2, 2)))
    with pytest.raises(ValueError, match=r"dtype float64, but .* uint8; all splits need"):
        load_data(path)


@pytest.mark.parametrize("shape", [(9,), (11,), (10, 1), ()])
def test_label_count(tmp_path, shape):
    path = savez(tmp_path, data=np.ones((10, 2)), labels=np.zeros(shape, int))
    with pytest.raises(ValueError, match=r"array 'labels', has shape .*, but there are 10 rows; give one label"):
        load_data(path)


@pytest.mark.parametrize("labels", [np.linspace(0, 1, 10), np.full(10, np.nan), np.full(10, "cat")])
def test_labels_that_are_not_whole_numbers(tmp_path, labels):
    path = savez(tmp_path, data=np.ones((10, 2)), labels=labels)
    with pytest.raises(ValueError, match=r"array 'labels', holds .* not whole numbers; number the classes from 0"):
        load_data(path)


@pytest.mark.parametrize("labels", [np.full(10, 1e30), np.full(10, 2**64 - 1, np.uint64), -np.full(10, 2**53)])
def test_labels_that_are_too_large_for_classes(tmp_path, labels):
    """They became others: 2**64 - 1 was -1."""
    with pytest.raises(
        ValueError, match=r"array 'labels', holds -?[\d.e+]+, too large for a class; number the classes"
    ):
        load_data(savez(tmp_path, data=np.ones((10, 2)), labels=labels))
    path = tmp_path / "a.csv"
    path.write_text("a,label\n" + "".join(f"{row},{2**53 + row % 2}\n" for row in range(10)))
    with pytest.raises(ValueError, match=r"column 'label', holds 900719925474099\d.*, too large for a class"):
        load_data(path)


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
