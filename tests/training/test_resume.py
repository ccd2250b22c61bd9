"""A fit that was cut off and went on, against the same fit without a break: bit for bit."""

import shutil
import signal
import threading

import numpy as np
import pytest
import torch
from compilers import has_compiler
from kinds_of_pairs import PAIRS
from problems import bits
from torch import nn

from pyrovae import (
    VAE,
    Autoencoder,
    fit_autoencoder,
    fit_svi,
    likelihoods,
    networks,
    posteriors,
    pretrain_layers,
    priors,
)
from pyrovae.checkpoints import Checkpoints
from pyrovae.data import StreamedRows
from pyrovae.objectives import Linear
from pyrovae.recording import compiling

ROWS = bits(100)


pytestmark = pytest.mark.usefixtures("interrupts_are_taken")


class CutOffError(Exception):
    """What ends a fit in the middle."""


class Noise:
    """Flips bits, and ends a fit after so many batches; the rows that it looks at before the first do not count."""

    def __init__(self, batches=None, how=None):
        self.left, self.how, self.looked = batches, how, False

    def __call__(self, x):
        if not self.looked:
            self.looked = True
        elif self.left is not None:
            self.left -= 1
            if self.left < 0:
                if self.how is None:
                    raise CutOffError
                signal.raise_signal(self.how)
        return torch.where(torch.rand_like(x) < 0.1, 1 - x, x)


def batch_norm_vae(seed=0):
    torch.manual_seed(seed)
    shape = ROWS.shape[1:]
    encoder = networks.MLP(shape, 4, (8,), normalization="batch")
    decoder = networks.MLP(2, shape, (8,), normalization="batch")
    return VAE(priors.StandardNormal(2), likelihoods.Bernoulli(decoder), posteriors.DiagonalNormal(encoder))


def fit(vae, batches=None, folder=None, resume=False, rows=ROWS, how=None, **options):
    options = {"epochs": 4, "batch_size": 16, "validation": ROWS[:30], "step": "plain"} | options
    kept = None if folder is None else Checkpoints(folder, every_seconds=0)
    return fit_svi(
        *(vae.model, vae.guide, rows),
        train_transform=Noise(batches, how),
        checkpoints=kept,
        resume=resume,
        progress=False,
        **options,
    )


def cut_off(make, batches, folder, **options):
    with pytest.raises(CutOffError):
        fit(make(), batches, folder, **options)


def assert_same(ours, theirs, our_result, their_result):
    for name, value in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[name], value), name
    for a, b in zip(our_result.history, their_result.history, strict=True):
        assert a | {"seconds": 0} == b | {"seconds": 0}
    for name in ("best_epoch", "stopped_early", "stepping", "signs_of_trouble", "skipped_steps"):
        assert getattr(our_result, name) == getattr(their_result, name), name


@pytest.fixture(
    scope="module",
    params=[
        {},
        {"validation": None},
        {"step": "recorded"},
        {"objective": "IWAE", "clip_norm": 0.5},
        {"beta": Linear(0.0, 1.0, length=0.8)},
        {"optimizer": lambda parameters: torch.optim.SGD(parameters, lr=0.01, momentum=0.9)},
        {"trained": "guide"},
        {"precision": "bf16-mixed"},
    ],
    ids=lambda options: next(iter(options), "as it is"),
)
def in_one_go(request):
    """Options, and the fit by them that is not cut off."""
    whole = batch_norm_vae()
    return request.param, whole, fit(whole, **request.param)


# Seven batches an epoch: within the first, before and at and after its end, in the last.
@pytest.mark.parametrize("batches", [1, 6, 7, 8, 20, 27])
def test_cut_off_anywhere(tmp_path, in_one_go, batches):
    options, whole, expected = in_one_go
    cut_off(batch_norm_vae, batches, tmp_path, **options)
    torch.rand(3)
    ours = batch_norm_vae(seed=7)
    assert_same(ours, whole, fit(ours, folder=tmp_path, resume=True, **options), expected)


@pytest.mark.slow
def test_cut_off_again_and_again(tmp_path):
    whole = batch_norm_vae()
    options = {"step": "recorded", "patience": 2, "lr": 0.05, "epochs": 8}
    expected = fit(whole, **options)
    ours, cuts = batch_norm_vae(), 0
    while True:
        try:
            result = fit(ours, 3, tmp_path, resume=True, **options)
            break
        except CutOffError:
            ours, cuts = batch_norm_vae(seed=cuts), cuts + 1
    assert cuts >= 7
    assert_same(ours, whole, result, expected)


@pytest.mark.slow
@pytest.mark.parametrize("batches", [50, 110, 160])
def test_recorded_by_itself(tmp_path, batches):
    """Before the steps are recorded, at the checks of the recording, and after it."""
    whole = batch_norm_vae()
    options = {"step": "auto", "epochs": 46, "patience": None, "validation": None}
    expected = fit(whole, **options)
    assert expected.stepping == "recorded"
    cut_off(batch_norm_vae, batches, tmp_path, **options)
    ours = batch_norm_vae(seed=7)
    assert_same(ours, whole, fit(ours, folder=tmp_path, resume=True, **options), expected)


@pytest.mark.slow
def test_compiled_steps(tmp_path):
    """Compiled once more they round as before; where there is a C++ compiler."""
    if not has_compiler():
        pytest.skip("no C++ compiler")
    whole = batch_norm_vae()
    expected = fit(whole, step="compiled")
    assert expected.stepping == "compiled"
    cut_off(batch_norm_vae, 17, tmp_path, step="compiled")
    ours = batch_norm_vae(seed=7)
    assert_same(ours, whole, fit(ours, folder=tmp_path, resume=True, step="compiled"), expected)


@pytest.mark.slow
@pytest.mark.parametrize("batches", [90, 150, 250])
def test_compiled_by_itself(tmp_path, monkeypatch, batches):
    """Before the steps are compiled, as soon as they are recorded here, and after it."""
    if not has_compiler():
        pytest.skip("no C++ compiler")
    monkeypatch.setattr(compiling, "_OPERATIONS_WORTH_COMPILING", 1)
    whole = batch_norm_vae()
    options = {"step": "auto", "epochs": 46, "patience": None, "validation": None}
    expected = fit(whole, **options)
    assert expected.stepping == "compiled"
    cut_off(batch_norm_vae, batches, tmp_path, **options)
    ours = batch_norm_vae(seed=7)
    assert_same(ours, whole, fit(ours, folder=tmp_path, resume=True, **options), expected)


@pytest.mark.parametrize("name", sorted(PAIRS))
def test_kinds_of_pairs(tmp_path, name):
    make, data = PAIRS[name]
    options = {"objective": "Trace_ELBO"} if name in ("a class beside", "two latents, the last one first") else {}
    options |= {"epochs": 2, "batch_size": 16, "progress": False}
    rows, calls = data(50), []

    def same(x):
        calls.append(1)
        if len(calls) == 6:
            raise CutOffError
        return x

    pairs = []
    for _ in range(3):
        torch.manual_seed(0)
        pairs.append(make())
    expected = fit_svi(pairs[0].model, pairs[0].guide, rows, train_transform=torch.clone, **options)
    options["checkpoints"] = Checkpoints(tmp_path, every_seconds=0)
    with pytest.raises(CutOffError):
        fit_svi(pairs[1].model, pairs[1].guide, rows, train_transform=same, **options)
    with pytest.raises(ValueError, match="train_transform is None, and was same in the fit"):
        fit_svi(pairs[2].model, pairs[2].guide, rows, resume=True, **options)
    calls[:] = [1] * 10
    result = fit_svi(pairs[2].model, pairs[2].guide, rows, train_transform=same, resume=True, **options)
    for name, value in expected.params.items():
        assert torch.equal(result.params[name], value)
    if isinstance(pairs[0], nn.Module):
        assert_same(pairs[2], pairs[0], result, expected)


def test_streamed_rows(tmp_path):
    whole, rows = batch_norm_vae(), StreamedRows(ROWS.numpy())
    expected = fit(whole)
    cut_off(batch_norm_vae, 10, tmp_path, rows=rows)
    ours = batch_norm_vae()
    assert_same(ours, whole, fit(ours, folder=tmp_path, resume=True, rows=rows), expected)


def test_a_fit_that_was_done_gives_its_result_again(tmp_path):
    whole = batch_norm_vae()
    expected = fit(whole, folder=tmp_path)
    ours = batch_norm_vae(seed=7)
    assert_same(ours, whole, fit(ours, 0, tmp_path, resume=True), expected)


def test_without_a_checkpoint_it_begins(tmp_path):
    whole, ours = batch_norm_vae(), batch_norm_vae()
    assert_same(ours, whole, fit(ours, folder=tmp_path / "new", resume=True), fit(whole))


def test_a_damaged_checkpoint_costs_only_time(tmp_path):
    whole = batch_norm_vae()
    expected = fit(whole)
    cut_off(batch_norm_vae, 10, tmp_path)
    newest = Checkpoints(tmp_path).files()[0]
    newest.write_bytes(newest.read_bytes()[:-1])
    ours = batch_norm_vae(seed=7)
    with pytest.warns(UserWarning, match=f"{newest.name} is damaged"):
        result = fit(ours, folder=tmp_path, resume=True)
    assert_same(ours, whole, result, expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 20}, "batch_size is 20, and was 16 in the fit that"),
        ({"lr": 0.1}, "lr is 0.1, and was 0.001"),
        ({"seed": 1}, "seed is 1, and was 0"),
        ({"epochs": 5}, "epochs is 5, and was 4"),
        ({"rows": 1 - ROWS}, "train is torch.float32 .*, and was torch.float32"),
        ({"validation": ROWS[:20]}, r"validation is torch.float32 \(20, "),
        ({"objective": "IWAE"}, r"objective is IWAE\(.*, and was TraceMeanField_ELBO\("),
        ({"beta": 0.5}, "beta=0.5"),
        ({"step": "recorded"}, "step is 'recorded', and was 'plain'"),
    ],
)
def test_another_fit_is_refused(tmp_path, options, message):
    cut_off(batch_norm_vae, 3, tmp_path)
    vae = batch_norm_vae(seed=7)
    before = {name: value.clone() for name, value in vae.state_dict().items()}
    with pytest.raises(ValueError, match=message):
        fit(vae, folder=tmp_path, resume=True, **options)
    assert all(torch.equal(value, before[name]) for name, value in vae.state_dict().items())


def test_numbers_of_numpy_are_kept(tmp_path):
    numbers = {"epochs": np.int64(4), "lr": np.float64(1e-2), "beta": np.float64(0.5)}
    cut_off(batch_norm_vae, 9, tmp_path, **numbers)
    whole = batch_norm_vae()
    expected = fit(whole, epochs=4, lr=1e-2, beta=0.5)
    ours = batch_norm_vae()
    assert_same(ours, whole, fit(ours, folder=tmp_path, resume=True, epochs=4, lr=1e-2, beta=0.5), expected)


def test_other_programs_are_refused(tmp_path):
    cut_off(batch_norm_vae, 3, tmp_path)
    shape = ROWS.shape[1:]
    decoder, encoder = networks.MLP(2, shape, (9,)), networks.MLP(shape, 4, (8,))
    vae = VAE(priors.StandardNormal(2), likelihoods.Bernoulli(decoder), posteriors.DiagonalNormal(encoder))
    with pytest.raises(ValueError, match=r"the weights '.*': in the programs it .*, and in the checkpoint it"):
        fit(vae, folder=tmp_path, resume=True)


def test_checkpoints_of_another_fit_are_not_written_over(tmp_path):
    fit(batch_norm_vae(), folder=tmp_path)
    with pytest.raises(ValueError, match="holds those of a fit already: give resume=True to go on with it, or another"):
        fit(batch_norm_vae(), folder=tmp_path)
    with pytest.raises(ValueError, match="resume is True and checkpoints is None: give the folder"):
        fit(batch_norm_vae(), resume=True)


def test_stopped_between_the_last_step_of_an_epoch_and_its_validation(tmp_path):
    whole = batch_norm_vae()
    expected = fit(whole)
    with pytest.raises(KeyboardInterrupt):
        fit(batch_norm_vae(), 6, tmp_path, how=signal.SIGINT)
    assert Checkpoints(tmp_path).newest()["step_of_epoch"] == 7
    ours = batch_norm_vae(seed=7)
    assert_same(ours, whole, fit(ours, folder=tmp_path, resume=True), expected)


@pytest.mark.parametrize(("number", "stop"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_signals_end_the_step_and_keep_the_fit(tmp_path, capsys, number, stop):
    before = signal.getsignal(number)
    whole = batch_norm_vae()
    expected = fit(whole)
    checkpoints = Checkpoints(tmp_path)
    vae = batch_norm_vae()
    with pytest.raises(stop) as stopped:
        fit_svi(
            *(vae.model, vae.guide, ROWS),
            train_transform=Noise(9, number),
            validation=ROWS[:30],
            epochs=4,
            batch_size=16,
            step="plain",
            checkpoints=checkpoints,
            progress=False,
        )
    assert stop is KeyboardInterrupt or stopped.value.code == 143
    assert signal.getsignal(number) is before
    assert "stopping after step" in capsys.readouterr().err
    (kept,) = checkpoints.files()
    assert kept.name.startswith("step-000000010-")
    # The best weights so far are those of the first epoch.
    best = checkpoints.newest()["best_weights"]
    assert all(torch.equal(value, best[name]) for name, value in vae.state_dict().items())
    ours = batch_norm_vae(seed=7)
    assert_same(ours, whole, fit(ours, folder=tmp_path, resume=True), expected)


def test_a_second_interrupt_stops_at_once(tmp_path):
    def twice(x):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        raise AssertionError

    vae = batch_norm_vae()
    options = {"batch_size": 50, "checkpoints": tmp_path, "progress": False}
    with pytest.raises(KeyboardInterrupt):
        fit_svi(vae.model, vae.guide, ROWS, train_transform=Later(twice), **options)
    assert Checkpoints(tmp_path).files() == []


class Later:
    """Leaves the first rows, by which a fit looks at the programs, alone."""

    def __init__(self, function):
        self.function, self.calls = function, 0

    def __call__(self, x):
        self.calls += 1
        return x if self.calls == 1 else self.function(x)


def test_in_another_thread_signals_are_left_alone(tmp_path):
    results = []
    thread = threading.Thread(target=lambda: results.append(fit(batch_norm_vae(), folder=tmp_path)))
    thread.start()
    thread.join()
    assert len(results[0].history) == 4


def test_a_folder_that_vanishes_is_made_again(tmp_path):
    folder = tmp_path / "kept"

    def vanish(x):
        shutil.rmtree(folder, ignore_errors=True)
        return x

    vae = batch_norm_vae()
    kept = Checkpoints(folder, every_seconds=0)
    options = {"epochs": 1, "batch_size": 50, "checkpoints": kept, "progress": False}
    fit_svi(vae.model, vae.guide, ROWS, train_transform=vanish, **options)
    assert len(kept.files()) >= 1


def test_where_nothing_can_be_written_the_fit_goes_on(tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    whole, ours = batch_norm_vae(), batch_norm_vae()
    expected = fit(whole)
    result = fit(ours, folder=tmp_path / "file" / "folder")
    assert_same(ours, whole, result, expected)
    error = capsys.readouterr().err
    assert error.count("no checkpoint at step") == 1
    assert "The fit goes on without, and tries again" in error


def test_autoencoders(tmp_path):
    def make(seed=0):
        torch.manual_seed(seed)
        shape = ROWS.shape[1:]
        return Autoencoder(networks.MLP(shape, 2, (8,)), networks.MLP(2, shape, (8,)))

    def train(autoencoder, batches=None, how=None, **options):
        noise = Noise(batches, how)
        options |= {"epochs": 3, "batch_size": 16, "progress": False}
        return fit_autoencoder(autoencoder, ROWS, validation=ROWS[:30], train_transform=noise, **options)

    whole = make()
    expected = train(whole)
    for batches, how in ((1, None), (7, None), (12, None), (6, signal.SIGINT)):
        kept = {"checkpoints": Checkpoints(tmp_path / str(batches), every_seconds=0)}
        with pytest.raises(CutOffError if how is None else KeyboardInterrupt):
            train(make(), batches, how, **kept)
        ours = make(7)
        result = train(ours, resume=True, **kept)
        for name, value in whole.state_dict().items():
            assert torch.equal(ours.state_dict()[name], value)
        assert [terms | {"seconds": 0} for terms in result.history] == [
            terms | {"seconds": 0} for terms in expected.history
        ]
        with pytest.raises(ValueError, match="the checkpoint is of other networks"):
            train(Autoencoder(networks.MLP(ROWS.shape[1:], 3), networks.MLP(3, ROWS.shape[1:])), resume=True, **kept)
        with pytest.raises(ValueError, match=r"lr is 0\.1, and was 0\.001"):
            train(make(), resume=True, lr=0.1, **kept)


def test_layers_of_a_stack(tmp_path):
    def make(seed=0):
        torch.manual_seed(seed)
        shape = ROWS.shape[1:]
        return Autoencoder(networks.MLP(shape, 2, (8, 4)), networks.MLP(2, shape, (4, 8)))

    def keep(layer):
        return Checkpoints(tmp_path / layer, every_seconds=0)

    whole = make()
    options = {"epochs": 2, "batch_size": 16, "progress": False}
    pretrain_layers(whole, ROWS, corruption=Noise(), **options)
    with pytest.raises(CutOffError):
        pretrain_layers(make(), ROWS, corruption=Noise(20), checkpoints=keep, **options)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["layer-1", "layer-2"]
    ours = make()
    pretrain_layers(ours, ROWS, corruption=Noise(), checkpoints=keep, resume=True, **options)
    for name, value in whole.state_dict().items():
        assert torch.equal(ours.state_dict()[name], value)
