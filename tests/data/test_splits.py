import dataclasses
import hashlib
import json

import numpy as np
import pytest
import torch

from pyrovae.data import DataSplits, load_data


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "table.npy"
    np.save(path, np.arange(40, dtype=np.float64).reshape(20, 2) - 5)
    return path


@pytest.mark.parametrize(
    ("rows", "validation", "test", "expected"),
    [
        (20, 0.1, 0.1, (16, 2, 2)),
        (20, 0.3, 0.2, (10, 6, 4)),
        (3, 0.1, 0.1, (1, 1, 1)),
        (3, 0.01, 0.98, (1, 1, 1)),
        (3, 0.98, 0.01, (1, 1, 1)),
        (10, 0.01, 0.01, (8, 1, 1)),
        (10, 0.01, 0.98, (1, 1, 8)),
    ],
)
def test_every_split_has_rows_and_every_row_one_split(tmp_path, rows, validation, test, expected):
    path = tmp_path / "rows.npy"
    np.save(path, np.arange(rows, dtype=np.float32)[:, None])
    splits = load_data(path, validation_fraction=validation, test_fraction=test)
    parts = (splits.train, splits.validation, splits.test)
    assert tuple(map(len, parts)) == expected
    assert sorted(torch.cat(parts).flatten().tolist()) == list(range(rows))


def test_the_checksum_covers_shapes_dtypes_and_bytes(table):
    splits = load_data(table)
    digest = hashlib.sha256()
    for part in (splits.train, splits.validation, splits.test):
        digest.update(f"{tuple(part.shape)} torch.float32 ".encode() + part.numpy().tobytes())
    assert splits.checksum == digest.hexdigest()
    changed = splits.test.clone()
    changed[0, 0] += 1
    assert dataclasses.replace(splits, test=changed).checksum != splits.checksum
    reshaped = dataclasses.replace(splits, test=splits.test.reshape(1, -1))
    assert reshaped.checksum != splits.checksum


def test_the_checksum_reads_the_values_as_they_stand(table):
    splits = load_data(table)
    before = splits.checksum
    splits.train[0, 0] += 1
    assert splits.checksum != before


def test_summary(table):
    splits = load_data(table)
    assert splits.summary().splitlines() == [
        "data        table.npy",
        "values      values as stored",
        "shape       (2,)",
        "support     real, from -5 to 34",
        "rows        16 train, 2 validation, 2 test",
        f"checksum    {splits.checksum[:12]}",
    ]


def test_provenance_is_plain_json(table):
    splits = load_data(table, seed=3)
    provenance = splits.provenance()
    assert json.loads(json.dumps(provenance)) == provenance
    assert provenance == {
        "name": "table.npy",
        "variant": "values as stored",
        "seed": 3,
        "checksum": splits.checksum,
        "rows": {"train": 16, "validation": 2, "test": 2},
        "data_shape": [2],
        "support": "real",
    }


def test_splits_are_frozen(table):
    splits = load_data(table)
    assert isinstance(splits, DataSplits)
    with pytest.raises(dataclasses.FrozenInstanceError):
        splits.name = "other"


@pytest.mark.parametrize(
    ("values", "support"),
    [
        ([0, 1, 1, 0], "binary"),
        ([1, 1, 1, 1], "binary"),
        ([0, 0.5, 1, 0], "unit_interval"),
        ([0, 1, 2, 7], "count"),
        ([0, 1, 2, 7.5], "real"),
        ([0, 1, 2, -1], "real"),
        ([0.5, 0.2, -0.1, 1], "real"),
        ([3.3, 3.3, 3.3, 3.3], "real"),
    ],
)
def test_support_is_found_from_the_values(tmp_path, values, support):
    path = tmp_path / "values.npy"
    np.save(path, np.array(values, dtype=np.float64)[:, None])
    assert load_data(path).support == support


@pytest.mark.parametrize(
    ("argument", "fraction"),
    [
        ("validation_fraction", 1),
        *((f"{part}_fraction", wrong) for part in ("validation", "test") for wrong in (0, -0.1, 1.5, float("nan"))),
    ],
)
def test_a_fraction_out_of_range(table, argument, fraction):
    with pytest.raises(ValueError, match=rf"{argument}={fraction} is out of range; use a number between 0 and 1"):
        load_data(table, **{argument: fraction})


def test_fractions_that_leave_no_training_rows(table):
    with pytest.raises(ValueError, match=r"sum must be below 1"):
        load_data(table, validation_fraction=0.5, test_fraction=0.5)


@pytest.mark.parametrize("rows", [1, 2])
def test_too_few_rows(tmp_path, rows):
    path = tmp_path / "few.npy"
    np.save(path, np.ones((rows, 4)))
    with pytest.raises(ValueError, match=rf"few.npy: {rows} rows? cannot be split .*at least 3 rows"):
        load_data(path)


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_a_seed_out_of_range(table, seed):
    with pytest.raises(ValueError, match=rf"seed={seed} is out of range"):
        load_data(table, seed=seed)


@pytest.mark.parametrize(
    ("given", "near"),
    [
        ("MNIST", "mnist"),
        ("fashion_mnist", "fashion-mnist"),
        ("FashionMNIST", "fashion-mnist"),
        ("digit", "digits"),
    ],
)
def test_an_unknown_name_suggests_the_nearest(given, near):
    with pytest.raises(ValueError, match=rf"no data named '{given}'. Did you mean '{near}'\?.*\.npy, \.npz or \.csv"):
        load_data(given)


@pytest.mark.parametrize("given", ["", "spectrograms"])
def test_an_unknown_name_lists_the_known_ones(given):
    with pytest.raises(ValueError, match=rf"no data named '{given}'. Give one of the names digits, mnist, fashion"):
        load_data(given)


def test_a_path_that_is_not_there(tmp_path):
    for missing in ("faces.npy", "folder"):
        with pytest.raises(ValueError, match=rf"no file or folder '.*{missing}'; check the path"):
            load_data(tmp_path / missing)


def test_a_path_that_counts_from_another_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = rf"no file or folder 'nowhere.csv' in {tmp_path}, the current folder; check the path, which for a run counts"
    with pytest.raises(ValueError, match=said):
        load_data("nowhere.csv")


def test_a_name_goes_before_a_folder(tmp_path, monkeypatch):
    (tmp_path / "digits").mkdir()
    monkeypatch.chdir(tmp_path)
    assert load_data("digits").name == "digits"
    with pytest.raises(ValueError, match=r"holds no image"):
        load_data("./digits")


@pytest.mark.parametrize(("name", "ending"), [("data.txt", ".txt"), ("data", "nothing")])
def test_an_unsupported_ending(tmp_path, name, ending):
    (tmp_path / name).write_text("1,2\n")
    with pytest.raises(ValueError, match=rf"ends in '{ending}', which is not supported; expected .*\.csv"):
        load_data(tmp_path / name)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("count", [1, 7])
def test_all_rows_are_test_rows_in_their_order(tmp_path, stream, count):
    values = np.random.default_rng(0).normal(size=(count, 3)).astype(np.float32)
    np.save(tmp_path / "new.npy", values)
    splits = load_data(tmp_path / "new.npy", test_fraction=1, stream=stream)
    assert splits.test[:].tolist() == values.tolist()
    assert splits.provenance()["rows"] == {"train": 0, "validation": 0, "test": count}
    assert f"from {values.min():g} to {values.max():g}" in splits.summary()


def test_not_all_rows_are_test_rows_beside_those_that_are_set_apart(tmp_path):
    np.savez(tmp_path / "split.npz", train=np.zeros((5, 2)), test=np.ones((5, 2)))
    with pytest.raises(ValueError, match=r"split.npz has test rows of its own"):
        load_data(tmp_path / "split.npz", test_fraction=1)
