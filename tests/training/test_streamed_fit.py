"""A fit to rows that stay on disk is the fit to the same rows in memory, and its reading thread always ends."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from incomplete import exact_vae
from problems import bits, small_vae
from torch.utils.data import DataLoader, Dataset, TensorDataset

from pyrovae import (
    VAE,
    compare_bounds,
    fit_alternating,
    fit_svi,
    inference_gap,
    likelihoods,
    log_weights,
    networks,
    ood_scores,
    posteriors,
    prior_log_px,
    priors,
)
from pyrovae.data import StreamedRows
from pyrovae.training.batches import batches_of


def reading_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("reading ahead")]


def fit(vae, x, **options):
    options = {"epochs": 3, "batch_size": 20, "progress": False} | options
    return fit_svi(vae.model, vae.guide, x, **options)


def fitted(make, x, **options):
    """History without the clock, and weights."""
    torch.manual_seed(0)
    vae = make()
    history = fit(vae, x, **options).history
    return [{name: value for name, value in terms.items() if name != "seconds"} for terms in history], vae


def assert_same(ours, plain):
    assert ours[0] == plain[0]
    weights = plain[1].state_dict()
    assert all(torch.equal(weight, weights[name]) for name, weight in ours[1].state_dict().items())


@pytest.fixture
def image_file(tmp_path):
    """Grey images as bytes, and the rows that ``load_data`` makes of them."""
    images = np.random.default_rng(0).integers(0, 256, (130, 8, 8), dtype=np.uint8)
    np.save(tmp_path / "x.npy", images)
    return tmp_path / "x.npy", torch.from_numpy(images)[:, None] / 255


def grey_vae():
    return small_vae(likelihood="ContinuousBernoulli")


@pytest.mark.parametrize("batch_size", [20, 26, 130])
def test_history_and_weights_are_those_of_rows_in_memory(image_file, batch_size):
    path, x = image_file
    plain = fitted(grey_vae, x, batch_size=batch_size)
    assert_same(fitted(grey_vae, StreamedRows(path), batch_size=batch_size), plain)
    assert_same(fitted(grey_vae, StreamedRows(TensorDataset(x, torch.arange(130))), batch_size=batch_size), plain)
    assert not reading_threads()


def test_validation_rows_may_be_streamed_too(image_file):
    path, x = image_file
    plain = fitted(grey_vae, x[:100], validation=x[100:], patience=1, epochs=6, lr=0.05)
    rows = StreamedRows(path)
    train, validation = rows.subset(torch.arange(100)), rows.subset(torch.arange(100, 130))
    for held_out in (x[100:], validation):
        assert_same(fitted(grey_vae, train, validation=held_out, patience=1, epochs=6, lr=0.05), plain)


def test_rounding_is_that_of_rows_in_memory_for_batches_of_odd_size():
    # A matrix product rounds in another order where its rows begin at an odd place in memory.
    x = torch.randn(103, 13)
    order = torch.randperm(103)
    rows, options = StreamedRows(TensorDataset(x)), {"batch_size": 7, "epochs": 2}

    def make():
        return small_vae((13,), likelihood="Normal")

    plain = fitted(make, x[order[:72]], validation=x[order[72:]], **options)
    train, validation = rows.subset(order[:72]), rows.subset(order[72:])
    assert_same(fitted(make, train, validation=validation, **options), plain)


@pytest.mark.parametrize(("width", "batch_size"), [(13, 7), (29_959, 7), (784, 20)])
def test_batches_begin_in_memory_where_those_of_a_tensor_do(width, batch_size):
    x = torch.randn(40, width)
    for order in (None, torch.randperm(40)):
        with batches_of(x, batch_size, order) as plain, batches_of(StreamedRows(x.numpy()), batch_size, order) as ours:
            for batch, expected in zip(ours, plain, strict=True):
                assert torch.equal(batch, expected)
                assert batch.data_ptr() % 16 == expected.data_ptr() % 16


def test_batches_are_transformed_as_they_come(image_file):
    path, x = image_file
    options = {"train_transform": torch.bernoulli, "objective": "IWAE", "num_particles": 3}
    assert_same(fitted(small_vae, StreamedRows(path), **options), fitted(small_vae, x, **options))


def test_missing_entries_are_streamed(tmp_path):
    table = np.random.default_rng(1).normal(size=(60, 6)).astype(np.float32)
    table[np.random.default_rng(2).random((60, 6)) < 0.2] = np.nan
    table[:, 0] = 1
    np.save(tmp_path / "x.npy", table)

    def make():
        return VAE(
            priors.StandardNormal(2),
            likelihoods.PartlyObserved(likelihoods.Normal(networks.MLP(2, 6))),
            posteriors.PartlyObserved(posteriors.DiagonalNormal(networks.MLP(6, 4)), data_shape=(6,)),
        )

    ours = fitted(make, StreamedRows(tmp_path / "x.npy"))
    assert_same(ours, fitted(make, torch.from_numpy(table)))
    with pytest.raises(ValueError, match=r"train has NaN or infinite values in .* of 60 rows, the first of them row"):
        fit(small_vae((6,), likelihood="Normal"), StreamedRows(tmp_path / "x.npy"))


class Recorded(Dataset):
    """Rows; ``bad`` is met in place of row 150 once so many rows were read."""

    def __init__(self, x, bad=None, after=0):
        self.x, self.bad, self.after, self.count = x, bad, after, 0

    def __len__(self):
        return len(self.x)

    def __getitem__(self, row):
        self.count += 1
        if self.bad is None or row != 150 or self.count <= self.after:
            return self.x[row]
        if isinstance(self.bad, Exception):
            raise self.bad
        return self.bad


@pytest.mark.parametrize(
    ("bad", "likelihood", "message"),
    [
        (0.5, "Bernoulli", r"Bernoulli at site 'x' is no density .*: row 69999 has the value 0.5, .*binarise the grey"),
        (-1.5, "Bernoulli", r"row 69999 has the value -1.5, outside its support Boolean.*; use a likelihood for real"),
        (np.inf, "Normal", r"train has NaN or infinite values in 1 of 70000 rows, the first of them row 69999"),
        (np.nan, "Normal", r"train has NaN or infinite values in 1 of 70000 rows, the first of them row 69999"),
    ],
)
def test_values_of_the_last_block_are_checked_before_the_first_step(tmp_path, bad, likelihood, message):
    rows = np.zeros((70_000, 64), np.float32)  # two blocks
    rows[-1, 63] = bad
    np.save(tmp_path / "x.npy", rows)
    vae = small_vae((64,), likelihood=likelihood)
    before = [weight.clone() for weight in vae.parameters()]
    with pytest.raises(ValueError, match=message):
        fit(vae, StreamedRows(tmp_path / "x.npy"))
    with pytest.raises(ValueError, match=message):
        fit(vae, torch.from_numpy(rows))
    assert all(torch.equal(old, new) for old, new in zip(before, vae.parameters(), strict=True))


@pytest.mark.parametrize(
    ("bad", "kind", "message"),
    [
        (torch.zeros(3), ValueError, r"row 150 of the Recorded has shape \(3,\)"),
        (RuntimeError("damaged"), ValueError, r"row 150 of the Recorded could not be read \(RuntimeError: damaged\)"),
        (FileNotFoundError("150.png"), OSError, "row 150 of the Recorded could not be read: 150.png"),
    ],
)
@pytest.mark.parametrize("epoch", [1, 3])
def test_errors_of_the_reading_thread_reach_the_caller(bad, kind, message, epoch):
    x = bits(200, (64,))
    plain = small_vae((64,))
    vae = small_vae((64,))
    vae.load_state_dict(plain.state_dict())
    if epoch > 1:
        fit(plain, x, epochs=epoch - 1)
    # Before the first epoch rows are read by the checks.
    rows = Recorded(x)
    fit(small_vae((64,)), StreamedRows(rows), epochs=1)
    before = rows.count - len(x)
    with pytest.raises(kind, match=message):
        fit(vae, StreamedRows(Recorded(x, bad, before + (epoch - 1) * len(x))))
    assert not reading_threads()
    # The best weights so far, which without validation rows are the newest of a whole epoch.
    assert all(torch.equal(ours, its) for ours, its in zip(vae.parameters(), plain.parameters(), strict=True))


@pytest.mark.parametrize("stop", [KeyboardInterrupt, RuntimeError])
def test_the_thread_ends_when_the_fit_is_stopped(image_file, stop):
    path, _ = image_file
    calls = []

    def interrupted(x):
        calls.append(len(reading_threads()))
        if len(calls) == 9:
            raise stop
        return x

    with pytest.raises(stop):
        fit(grey_vae(), StreamedRows(path), train_transform=interrupted)
    assert max(calls) == 1
    assert not reading_threads()


def test_only_a_few_batches_are_read_ahead():
    # Four numbers each, in batches of ten: eight batches are read at once.
    rows = Recorded(bits(4000, (4,)))
    streamed = StreamedRows(rows)
    rows.count = 0
    with batches_of(streamed, 10, torch.randperm(4000)) as batches:
        next(batches)
        threading.Event().wait(0.1)
        assert rows.count == 4 * 80
    assert not reading_threads()
    # A batch of 2 MiB is read by itself.
    rows = Recorded(torch.zeros(60, 2**16))
    streamed = StreamedRows(rows)
    rows.count = 0
    with batches_of(streamed, 10) as batches:
        next(batches)
        threading.Event().wait(0.1)
        assert rows.count == 4 * 10


def test_a_file_cut_off_during_the_fit_ends_it(tmp_path):
    np.save(tmp_path / "x.npy", bits(200, (64,)).numpy())
    calls = []

    def cut(x):
        calls.append(x)
        if len(calls) == 5:
            os.truncate(tmp_path / "x.npy", 1000)
        return x

    with pytest.raises(OSError, match=r"x.npy has become shorter, 1,000 bytes after"):
        fit(small_vae((64,)), StreamedRows(tmp_path / "x.npy"), train_transform=cut)
    assert not reading_threads()


def test_scores_are_those_of_rows_in_memory(image_file):
    path, x = image_file
    vae, rows = grey_vae(), StreamedRows(path)
    pair = (vae.model, vae.guide)
    assert torch.equal(log_weights(*pair, rows, 5), log_weights(*pair, x, 5))
    ours, plain = compare_bounds(*pair, rows, num_samples=30), compare_bounds(*pair, x, num_samples=30)
    assert torch.equal(ours.log_px, plain.log_px)
    assert torch.equal(ours.elbo, plain.elbo)
    assert torch.equal(prior_log_px(*pair, rows, num_samples=30).log_px, prior_log_px(*pair, x, num_samples=30).log_px)
    gaps = [inference_gap(*pair, some, num_samples=10, steps=3) for some in (rows, x)]
    assert torch.equal(gaps[0].total, gaps[1].total)
    scores = [ood_scores(*pair, some, train=some, num_samples=10) for some in (rows, x)]
    assert torch.equal(scores[0].typicality, scores[1].typicality)


def test_half_steps_are_those_of_rows_in_memory(image_file):
    path, x = image_file

    def bound(rows):
        torch.manual_seed(0)
        vae = grey_vae()
        return fit_alternating(vae.model, vae.guide, rows, rounds=1, num_rows=50, num_samples=10)[-1].bound

    assert bound(StreamedRows(path)) == bound(x)


def test_rows_with_missing_entries_are_scored_from_disk(tmp_path):
    problem, vae = exact_vae()
    x = problem.rows(20)
    x[3, 1] = torch.nan
    np.save(tmp_path / "x.npy", x.float().numpy())
    rows = StreamedRows(tmp_path / "x.npy").to(torch.float64)
    bounds = compare_bounds(vae.model, vae.guide, rows, num_samples=5)
    assert torch.equal(bounds.elbo, compare_bounds(vae.model, vae.guide, x.float().double(), num_samples=5).elbo)


_MEMORY = """
import sys, numpy as np, torch
from problems import small_vae
from pyrovae import fit_svi, log_weights
from pyrovae.data import StreamedRows

def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) / 1024

vae = small_vae((4096,), likelihood="Normal")
fit_svi(vae.model, vae.guide, torch.zeros(100, 4096), epochs=1, batch_size=50, progress=False, step="plain")
before = peak()
rows = StreamedRows(sys.argv[1])
vae.initialize(rows.subset(torch.arange(1000)))
fit_svi(vae.model, vae.guide, rows, epochs=2, batch_size=128, progress=False, step="plain")
log_weights(vae.model, vae.guide, rows, 1)
print(peak() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="asks Linux for the peak of memory")
def test_memory_stays_far_below_the_size_of_the_file(tmp_path):
    path = tmp_path / "x.npy"
    np.lib.format.open_memmap(path, "w+", np.float32, (25_600, 4096))  # 400 MiB of zeros, sparse on disk
    assert path.stat().st_size > 400 * 2**20
    done = subprocess.run(
        [sys.executable, "-c", _MEMORY, str(path)],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    # Steps are plain, as the libraries that record them take memory too, which is not of the rows.
    # Blocks of 16 MiB with what is computed from them, and five batches.
    assert float(done.stdout) < 180


@pytest.mark.parametrize("wrap", [lambda dataset: dataset, DataLoader], ids=["dataset", "loader"])
def test_the_repair_for_data_sets_of_pytorch_works(wrap):
    given, vae = wrap(TensorDataset(bits(9))), small_vae()
    with pytest.raises(ValueError, match=r"expected a tensor .*: give data.StreamedRows\((loader\.)?dataset\)"):
        fit_svi(vae.model, vae.guide, given, epochs=1, batch_size=9, progress=False)
    dataset = given.dataset if isinstance(given, DataLoader) else given
    fit_svi(vae.model, vae.guide, StreamedRows(dataset), epochs=1, batch_size=9, progress=False)
