"""Rows that stay on disk: the values of ``load_data``, from any source, and what is refused."""

import multiprocessing
import os
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from problems import small_vae
from torch.utils.data import Dataset, IterableDataset, TensorDataset

from pyrovae import (
    VAE,
    Autoencoder,
    ais,
    compare_gradients,
    fit_autoencoder,
    impute,
    latent_summary,
    likelihoods,
    load_data,
    networks,
    posterior_samples,
    posteriors,
    priors,
    to_arviz,
)
from pyrovae.data import StreamedRows
from pyrovae.data.files import read_npy

RANDOM = np.random.default_rng(0)
GREY = RANDOM.integers(0, 256, (30, 5, 4), dtype=np.uint8)
TABLE = RANDOM.normal(size=(30, 6))


def saved(tmp_path, array):
    np.save(tmp_path / "x.npy", array)
    return tmp_path / "x.npy"


class Items(Dataset):
    """A list of items; an exception among them is raised."""

    def __init__(self, items):
        self.items = list(items)

    def __len__(self):
        return len(self.items)

    def __getitem__(self, row):
        if isinstance(self.items[row], Exception):
            raise self.items[row]
        return self.items[row]


STORED = {
    "float32": TABLE.astype(np.float32),
    "float64": TABLE,
    "big-endian": TABLE.astype(">f8"),
    "half": TABLE.astype(np.float16),
    "whole numbers": GREY[:, 0].astype(np.int64),
    "table of uint8": GREY[:, 0],
    "bits": RANDOM.random((30, 6)) < 0.5,
    "grey images": GREY,
    "images of bits": (GREY > 100).astype(np.uint8),
    "colour images": RANDOM.integers(0, 256, (30, 3, 4, 4), dtype=np.uint8),
}


@pytest.mark.parametrize("name", STORED)
def test_values_are_those_of_load_data(name, tmp_path):
    path = saved(tmp_path, STORED[name])
    all_rows, rows = read_npy(path).train.values, StreamedRows(path)
    assert rows.shape == all_rows.shape
    assert len(rows) == 30
    assert rows.data_shape == all_rows.shape[1:]
    index = torch.tensor([7, 3, 3, -1, 29, 0])
    for chosen in (
        index,
        index.numpy(),
        index.tolist(),
        torch.arange(30) % 4 == 1,
        np.arange(30) > 20,
        slice(4, 25, 3),
    ):
        assert rows[chosen].dtype == torch.float32
        assert torch.equal(rows[chosen], all_rows[chosen])
        assert torch.equal(rows.subset(chosen)[:], all_rows[chosen])
    assert torch.equal(rows[torch.tensor(11)], all_rows[11])
    assert torch.equal(rows[11], all_rows[11])
    assert all(torch.equal(ours, plain) for ours, plain in zip(rows.split(8), all_rows.split(8), strict=True))


def test_sources_are_paths_arrays_and_data_sets(tmp_path):
    path = saved(tmp_path, TABLE.astype(np.float32))
    x = torch.from_numpy(TABLE).float()
    mapped = np.load(path, mmap_mode="r")
    private = np.load(path, mmap_mode="c")
    private[4] = 0  # in no file
    changed = x.clone()
    changed[4] = 0
    index = torch.tensor([9, 4, 0])
    for source, expected in [
        (str(path), x),
        (mapped, x),
        (mapped[5:], x[5:]),
        (mapped[::2, 1:3], x[::2, 1:3]),
        (mapped[::-1], x.flip(0)),
        (private, changed),
        (TABLE, x),
        (TensorDataset(x), x),
        (TensorDataset(x, torch.arange(30)), x),
        (Items([(row.double(), 3) for row in x]), x),
        (TensorDataset(x.bfloat16()), x.bfloat16().float()),
        (TensorDataset(torch.from_numpy(GREY)), torch.from_numpy(GREY)[:, None] / 255),
    ]:
        rows = StreamedRows(source)
        assert torch.equal(rows[index], expected[index])
        assert torch.equal(rows[:], expected)


def test_rows_of_parts_of_a_file_are_read_at_their_places(tmp_path):
    values = RANDOM.normal(size=(5000, 6)).astype(np.float32)
    path = saved(tmp_path, values)
    offset = 128 + 24 * 4000  # in a later page
    part = np.memmap(path, np.float32, "r", offset, (1000, 6))
    mapped = np.load(path, mmap_mode="r+")
    for source, expected in [
        (part, values[4000:]),
        (part[7:900:3], values[4007:4900:3]),
        (mapped[4999:], values[4999:]),
        (mapped[3:], values[3:]),
    ]:
        rows = StreamedRows(source)
        index = RANDOM.permutation(len(expected))
        assert torch.equal(rows[torch.from_numpy(index)], torch.from_numpy(expected[index]))
        assert torch.equal(rows[:], torch.from_numpy(expected))
    rows = StreamedRows(mapped)
    mapped[11] = 5.0
    assert torch.equal(rows[11], torch.full((6,), 5.0))


@pytest.mark.parametrize("change", ["replaced", "removed"])
def test_rows_of_a_mapped_file_stay_those_that_were_mapped(change, tmp_path):
    path = saved(tmp_path, TABLE)
    mapped = np.load(path, mmap_mode="r")
    path.rename(tmp_path / "old.npy")
    if change == "replaced":
        saved(tmp_path, TABLE + 1)
    else:
        (tmp_path / "old.npy").unlink()
    assert torch.equal(StreamedRows(mapped)[:], torch.from_numpy(TABLE).float())


def test_threads_read_one_file_beside_each_other(tmp_path):
    values = RANDOM.normal(size=(20_000, 50)).astype(np.float32)
    rows = StreamedRows(saved(tmp_path, values))
    orders = [torch.from_numpy(RANDOM.permutation(20_000)) for _ in range(6)]
    with ThreadPoolExecutor(3) as threads:
        for order, read in zip(orders, threads.map(rows.__getitem__, orders), strict=True):
            assert torch.equal(read, torch.from_numpy(values)[order])


def read_all(rows, order, values):
    if not torch.equal(rows[order], values[order]):
        sys.exit(1)


def test_forked_processes_read_one_file_beside_each_other(tmp_path):
    """As the workers of a DataLoader do."""
    values = torch.from_numpy(RANDOM.normal(size=(20_000, 16)).astype(np.float32))
    rows = StreamedRows(saved(tmp_path, values.numpy()))
    context = multiprocessing.get_context("fork")
    orders = [torch.from_numpy(RANDOM.permutation(20_000)) for _ in range(3)]
    workers = [context.Process(target=read_all, args=(rows, order, values)) for order in orders]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0


def test_subsets_are_rows_of_their_own(tmp_path):
    path = saved(tmp_path, (GREY > 200).astype(np.uint8))
    rows, order = StreamedRows(path), torch.randperm(30)
    part = rows.subset(order[:12])
    assert torch.equal(part[:], rows[:][order[:12]])
    assert torch.equal(part.subset(torch.tensor([5, 2]))[:], rows[:][order[[5, 2]]])
    # Grey values are told from bits over all rows.
    grey = GREY.copy()
    grey[:20] = grey[:20] > 100
    dark = StreamedRows(saved(tmp_path, grey)).subset(torch.arange(20))
    assert dark[:].max() == torch.tensor(1.0) / 255


def test_rows_that_are_not_there_are_refused(tmp_path):
    """Of a file other bytes were read, of a mask of truth values the rows 0 and 1 alone."""
    file, items = StreamedRows(saved(tmp_path, TABLE)), StreamedRows(TensorDataset(torch.zeros(30, 2)))
    for take in (file.__getitem__, file.subset, items.__getitem__, items.subset):
        with pytest.raises(IndexError, match="no row 30 in 30 rows"):
            take(torch.arange(20, 31))
        with pytest.raises(IndexError, match="no row -31 in 30 rows"):
            take([-31])
        with pytest.raises(IndexError, match=r"\(12,\) truth values choose from 30 rows"):
            take(torch.ones(12, dtype=torch.bool))


def test_batches_come_as_the_type_that_is_asked_for():
    rows = StreamedRows(TABLE).to(torch.float64)
    assert torch.equal(rows[:3], torch.from_numpy(TABLE[:3]).float().double())
    assert repr(rows) == "StreamedRows(30 rows of shape (6,) from the array)"


def test_rows_that_are_not_finite_are_found(tmp_path):
    table = TABLE.copy()
    table[[3, 20], 1] = np.nan
    table[29, 5] = 1e300  # too large for float32
    rows = StreamedRows(saved(tmp_path, table))
    assert rows.non_finite.tolist() == [3, 20, 29]
    assert rows.subset(torch.tensor([4, 20, 5])).non_finite.tolist() == [1]


def test_data_sets_that_change_their_rows_at_random_are_refused():
    """The rows that were checked and scored were others than those of the fit."""

    class Flipped(Items):
        def __getitem__(self, row):
            return self.items[row].flip(0) if torch.rand(()) < 0.5 else self.items[row]

    with pytest.raises(
        ValueError, match=r"row \d+ of the Flipped is another one at each reading; .*as train_transform"
    ):
        StreamedRows(Flipped(torch.from_numpy(TABLE)))
    missing = torch.from_numpy(TABLE).clone()
    missing[0, 1] = torch.nan
    assert StreamedRows(Items(missing)).non_finite.tolist() == [0]


class Stream(IterableDataset):
    def __iter__(self):
        return iter(TABLE)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (np.asfortranarray(TABLE), "column by column"),
        (GREY.repeat(3).reshape(30, 5, 4, 3), "channels last"),
        (np.array([["a", "b"]]), "type <U1"),
        (TABLE[0], "1-dimensional"),
        (TABLE[:0], "holds no value"),
        ("no/such.npy", "no file 'no/such.npy'"),
        (torch.zeros(5, 2), "taken as it is"),
        (3, "from a int; expected the path of a .npy file"),
        (Stream(), "no items by number|from a Stream"),
        (Items([]), "the Items has no items"),
        (Items(["a", "b"]), "row 0 of the Items is a str; expected a tensor"),
        (Items([torch.tensor(1.0)] * 3), "1-dimensional"),
        (Items([ValueError("damaged")]), r"row 0 of the Items could not be read \(ValueError: damaged\)"),
    ],
)
def test_sources_that_cannot_be_streamed_are_refused(source, message):
    with pytest.raises(ValueError, match=message):
        StreamedRows(source)


@pytest.mark.parametrize("content", [b"", b"1,2\n3,4\n", b"\x93NUMPY\x01\x00v\x00{'descr'"])
def test_files_without_an_array_are_refused(tmp_path, content):
    path = tmp_path / "x.npy"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"not a readable \.npy file"):
        StreamedRows(path)


def test_files_of_another_kind_are_refused(tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, np.array([{}, {}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match=r"not a readable \.npy file"):
        StreamedRows(path)
    np.save(path, np.asfortranarray(TABLE))
    with pytest.raises(ValueError, match="Fortran"):
        StreamedRows(path)
    np.savez(tmp_path / "x.npz", a=TABLE, b=TABLE)
    with pytest.raises(ValueError, match="archive"):
        StreamedRows(tmp_path / "x.npz")


@pytest.mark.parametrize("part", [slice(None), slice(None, None, 2)])
def test_a_file_that_becomes_shorter_ends_in_an_error(part, tmp_path):
    """Also where the columns that are wanted do not lie in one piece, and are taken from the mapping."""
    path = saved(tmp_path, RANDOM.normal(size=(1000, 100)))
    rows = StreamedRows(path if part == slice(None) else np.load(path, mmap_mode="r")[:, part])
    os.truncate(path, 5000)
    with pytest.raises(OSError, match=r"has become shorter, 5,000 bytes after 800,128"):
        rows[torch.tensor([900])]


@pytest.mark.parametrize(
    ("item", "kind", "message"),
    [
        (torch.zeros(3), ValueError, r"row 20 of the Items has shape \(3,\) and torch.float32, row 0 has \(2,\)"),
        (torch.zeros(2, dtype=torch.int64), ValueError, "torch.int64, row 0 has .* torch.float32"),
        (None, ValueError, "row 20 of the Items is a NoneType"),
        (KeyError("missing"), ValueError, r"row 20 of the Items could not be read \(KeyError: 'missing'\)"),
        (FileNotFoundError("1.png"), OSError, "row 20 of the Items could not be read: 1.png"),
    ],
)
def test_bad_items_are_named(item, kind, message):
    rows = StreamedRows(Items([*torch.zeros(20, 2), item, torch.zeros(2)]))
    with pytest.raises(kind, match=message):
        rows[torch.tensor([21, 20])]


def test_parts_start_from_streamed_rows_as_from_a_tensor(tmp_path):
    digits = load_data("digits", binarize="threshold").train
    path = saved(tmp_path, digits.numpy())

    def start(rows):
        torch.manual_seed(0)
        posterior = posteriors.DiagonalNormal(networks.MLP((1, 8, 8), 4))
        vae = VAE(
            priors.VampPrior(posterior, (1, 8, 8), 20),
            likelihoods.Bernoulli(networks.MLP(2, (1, 8, 8)), start_at_mean=True),
            posterior,
        )
        vae.initialize(rows)
        return vae.state_dict()

    ours, plain = start(StreamedRows(path)), start(digits)
    assert all(torch.equal(ours[name], plain[name]) for name in plain)


def test_of_many_rows_some_at_equal_distances_are_taken():
    rows = StreamedRows(np.arange(50_000.0)[:, None])
    assert torch.equal(rows.some()[:, 0], torch.linspace(0, 49_999, 10_000, dtype=torch.float64).round().float())
    large = StreamedRows(np.broadcast_to(np.arange(600, dtype=np.float32)[:, None], (600, 2**18)))
    assert large.some().shape == (2**8, 2**18)
    assert large.some()[[0, -1], 0].tolist() == [0, 599]


def test_functions_that_need_all_rows_in_memory_say_so():
    vae, rows = small_vae((6,), likelihood="Normal"), StreamedRows(TABLE)
    for function in (ais, compare_gradients, impute, latent_summary, posterior_samples, to_arviz):
        with pytest.raises(ValueError, match=r"are streamed rows, .* such as (x|rows)\[:1000\]"):
            function(vae.model, vae.guide, rows)
    with pytest.raises(ValueError, match=r"train are streamed rows"):
        fit_autoencoder(Autoencoder(networks.MLP(6, 2), networks.MLP(2, 6)), rows)
