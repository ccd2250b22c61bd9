"""Archives of arrays, ``.npz``: which array is which, splits, labels."""

import zipfile

import numpy as np
import numpy.lib.recfunctions
import pytest
import scipy.sparse
import torch
from stored_arrays import RANDOM, all_values, save, savez, sorted_rows

from pyrovae.data import load_data


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
