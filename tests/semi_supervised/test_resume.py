"""A semi-supervised fit that was cut off and went on, against the same fit without a break: bit for bit."""

import signal
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from problems import bits
from sklearn.base import clone

from pyrovae import load_data
from pyrovae.checkpoints import Checkpoints
from pyrovae.semi_supervised import M1, M1M2, M2, PCVAE
from pyrovae.semi_supervised.comparison import Comparison
from pyrovae.semi_supervised.comparison_settings import Settings
from pyrovae.semi_supervised.label_draws import draw_labels
from pyrovae.semi_supervised.m1m2 import default_second_layer
from pyrovae.semi_supervised.parts import DropoutMLP, diagonal_posterior

X = bits(100)
TRUTH = (X.flatten(1).sum(1) > X[0].numel() / 2).long()
KNOWN = torch.where(torch.arange(100) < 20, TRUTH, -1)
HELD_OUT = X[60:], TRUTH[60:]

pytestmark = pytest.mark.usefixtures("interrupts_are_taken")


class CutOffError(Exception):
    """What ends a fit in the middle."""


class Noise:
    """Flips bits, and after so many calls ends the fit, or asks it to end."""

    def __init__(self, calls=None, how=None):
        self.left, self.how = calls, how

    def __deepcopy__(self, memo):
        return self

    def __call__(self, x):
        if self.left is not None:
            self.left -= 1
            if self.left < 0 and self.how is None:
                raise CutOffError
            if self.left == -1:
                signal.raise_signal(self.how)
        return torch.where(torch.rand_like(x) < 0.1, 1 - x, x)


COMMON = {"hidden_dims": (8,), "epochs": 3, "batch_size": 16, "progress": False}
MODELS = {
    "M1": M1(2, **COMMON),
    "M2": M2(2, lr=0.01, **COMMON),
    "M2, recorded": M2(2, step="recorded", **COMMON),
    "M2, closed form": M2(2, closed_form_kl=True, **COMMON),
    "PC-VAE": PCVAE(2, **COMMON),
    "PC-VAE, dual": PCVAE(2, multiplier="dual", multiplier_lr=0.5, epsilon=0.1, **COMMON),
    "M1+M2": M1M2(
        M1(2, **COMMON), default_second_layer().set_params(latent_dim=2, **COMMON), num_draws=3, fine_tune_epochs=2
    ),
    "M1+M2, means": M1M2(
        M1(2, **COMMON),
        default_second_layer().set_params(latent_dim=2, **COMMON),
        embedding="mean",
        fine_tune_epochs=2,
    ),
}


def transform_of(model):
    return "m1__train_transform" if isinstance(model, M1M2) else "train_transform"


def fit(model, folder=None, calls=None, how=None, validation=None, resume=False, **parameters):
    ours = clone(model)
    ours.set_params(**{transform_of(model): Noise(calls, how)}, **parameters)
    if isinstance(folder, Path):
        folder = Checkpoints(folder, every_seconds=0)
    return ours.fit(X, KNOWN, validation, checkpoints=folder, resume=resume)


def cut_off(model, folder, calls, **options):
    with pytest.raises(CutOffError):
        fit(model, folder, calls, **options)


def assert_same(ours, theirs):
    for a, b in zip(ours.history_, theirs.history_, strict=True):
        assert a | {"seconds": 0} == b | {"seconds": 0}
    assert ours.best_epoch_ == theirs.best_epoch_
    assert getattr(ours, "multiplier_", 0) == getattr(theirs, "multiplier_", 0)
    modules = [model.vae_ if isinstance(model, M1) else model.programs_ for model in (ours, theirs)]
    states = [module.state_dict() for module in modules]
    for name, value in states[1].items():
        assert torch.equal(states[0][name], value), name
    assert (ours.predict_proba(X) == theirs.predict_proba(X)).all()


def whole_fit(model, validation):
    """A fit without a break, and how often it asks for noise."""
    whole = fit(model, calls=10**6, validation=validation)
    return whole, 10**6 - whole.get_params()[transform_of(model)].left


OTHERS = {"M2, recorded", "M2, closed form", "PC-VAE", "M1+M2, means"}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name in OTHERS else ()) for name in MODELS]
)
def test_cut_off_anywhere(tmp_path, name):
    model, validation = MODELS[name], None if "recorded" in name else HELD_OUT
    expected, calls = whole_fit(model, validation)
    # Not before the first step: what is looked at before it takes two calls.
    for part in (0.1, 0.4, 0.7, 1.0):
        folder = tmp_path / str(part)
        cut_off(model, folder, 3 + int((calls - 4) * part), validation=validation)
        torch.rand(3)
        assert_same(fit(model, folder, validation=validation, resume=True), expected)


@pytest.mark.parametrize("name", ["M2", "PC-VAE, dual", "M1+M2"])
@pytest.mark.parametrize(("number", "stop"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_signals_end_the_step_and_keep_the_fit(tmp_path, capsys, name, number, stop):
    expected, calls = whole_fit(MODELS[name], None)
    with pytest.raises(stop):
        fit(MODELS[name], Checkpoints(tmp_path, every_seconds=1e6), calls - 5, how=number)
    assert "as was asked" in capsys.readouterr().err
    assert_same(fit(MODELS[name], tmp_path, resume=True), expected)


def test_a_fit_that_was_done_gives_its_result_again(tmp_path):
    for name in ("M2", "M1+M2"):
        expected = fit(MODELS[name], tmp_path / name)
        assert_same(fit(MODELS[name], tmp_path / name, resume=True), expected)


def test_numbers_of_numpy_are_numbers(tmp_path):
    given = {
        "hidden_dims": np.array([8]),
        "epochs": np.int64(3),
        "lr": np.float64(0.01),
        "class_probs": np.full(2, 0.5),
    }
    expected = fit(MODELS["M2"], tmp_path, **given)
    assert_same(fit(MODELS["M2"], tmp_path, resume=True, class_probs=[0.5, 0.5]), expected)
    with pytest.raises(ValueError, match="epochs is 4, and was 3"):
        fit(MODELS["M2"], tmp_path, resume=True, **given | {"epochs": np.int64(4)})
    given = {"multiplier_start": np.float64(3), "multiplier_lr": np.float64(0.5), "epochs": np.int64(3)}
    expected = fit(MODELS["PC-VAE, dual"], tmp_path / "dual", **given)
    assert_same(fit(MODELS["PC-VAE, dual"], tmp_path / "dual", resume=True, multiplier_start=3.0), expected)


def test_another_first_layer_that_was_fitted_elsewhere_is_refused(tmp_path):
    def stacked(seed):
        vae = clone(MODELS["M1"]).set_params(seed=seed).fit(X, KNOWN).vae_
        parts = {f"m1__{slot}": getattr(vae, slot) for slot in ("prior", "likelihood", "posterior")}
        return clone(MODELS["M1+M2"]).set_params(m1__epochs=0, **parts)

    expected = fit(stacked(0), tmp_path)
    assert_same(fit(stacked(0), tmp_path, resume=True), expected)
    with pytest.raises(ValueError, match=r"m1__weights is .*, and was"):
        fit(stacked(1), tmp_path, resume=True)


def test_arguments_of_partial_functions_are_compared(tmp_path):
    fit(MODELS["M2"], tmp_path, classifier=partial(DropoutMLP, dropout=0.1))
    with pytest.raises(ValueError, match=r"classifier is DropoutMLP\(dropout=0.2\), and was DropoutMLP\(dropout=0.1\)"):
        fit(MODELS["M2"], tmp_path, resume=True, classifier=partial(DropoutMLP, dropout=0.2))


def test_a_refusal_for_other_networks_leaves_the_multiplier(tmp_path):
    narrow = {"posterior": lambda shape, dim: diagonal_posterior(shape, dim, (8,))}
    wide = {"posterior": lambda shape, dim: diagonal_posterior(shape, dim, (9,))}
    fit(MODELS["PC-VAE, dual"], tmp_path, **narrow)
    model = fit(MODELS["PC-VAE, dual"], **wide)
    before = model.multiplier_
    with pytest.raises(ValueError, match="the checkpoint is of other networks"):
        model.fit(X, KNOWN, checkpoints=tmp_path, resume=True)
    assert model.multiplier_ == before


def test_stages_have_folders_of_their_own(tmp_path):
    fit(MODELS["M1+M2"], tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fine-tuning", "m1", "m2"]


def test_stages_that_are_done_serve_another_third_stage(tmp_path):
    fit(MODELS["M1+M2"], tmp_path, fine_tune_epochs=0)
    assert_same(fit(MODELS["M1+M2"], tmp_path, resume=True), fit(MODELS["M1+M2"]))
    with pytest.raises(ValueError, match=r"fine_tune_lr is 0\.1, and was 0\.001 in the fit that .*fine-tuning keeps"):
        fit(MODELS["M1+M2"], tmp_path, resume=True, fine_tune_lr=0.1)


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("M1", {"lr": 0.1}, r"lr is 0\.1, and was 0\.001 in the fit"),
        ("M2", {"lr": 0.1}, r"lr is 0\.1, and was 0\.01 in the fit"),
        ("M2", {"class_probs": (0.3, 0.7)}, r"class_probs is \[0\.3, 0\.7\], and was None"),
        ("M2", {"hidden_dims": (9,)}, r"hidden_dims is \[9\], and was \[8\]"),
        ("PC-VAE", {"multiplier": "dual"}, "multiplier is 'dual', and was 'fixed'"),
        ("M1+M2", {"num_draws": 4}, "num_draws is 4, and was 3"),
        ("M1+M2", {"m2__lr": 0.1}, r"m2__lr is 0\.1, and was"),
    ],
)
def test_another_fit_is_refused(tmp_path, name, parameters, message):
    fit(MODELS[name], tmp_path)
    with pytest.raises(ValueError, match=message):
        fit(MODELS[name], tmp_path, resume=True, **parameters)


def test_other_rows_labels_and_networks_are_refused(tmp_path):
    model = fit(MODELS["M2"], tmp_path)
    kept = {"checkpoints": tmp_path, "resume": True}
    with pytest.raises(ValueError, match=r"x is .*, and was .* in the fit"):
        clone(model).fit(1 - X, KNOWN, **kept)
    with pytest.raises(ValueError, match=r"y is .*, and was .* in the fit"):
        clone(model).fit(X, KNOWN.roll(1), **kept)
    with pytest.raises(ValueError, match=r"validation is .*, and was None in the fit"):
        clone(model).fit(X, KNOWN, HELD_OUT, **kept)
    fit(MODELS["M2"], tmp_path / "narrow", classifier=lambda shape, classes: DropoutMLP(shape, classes, (8,)))
    with pytest.raises(ValueError, match="the checkpoint is of other networks"):
        fit(
            MODELS["M2"],
            tmp_path / "narrow",
            classifier=lambda shape, classes: DropoutMLP(shape, classes, (9,)),
            resume=True,
        )


@pytest.mark.parametrize("name", ["M1", "M2", "PC-VAE", "M1+M2"])
def test_checkpoints_of_another_fit_are_not_written_over(tmp_path, name):
    fit(MODELS[name], tmp_path)
    with pytest.raises(ValueError, match="holds those of a fit already: give resume=True"):
        fit(MODELS[name], tmp_path)
    with pytest.raises(ValueError, match="resume is True and checkpoints is None"):
        fit(MODELS[name], resume=True)


def test_a_refused_fit_leaves_the_one_before(tmp_path):
    model = fit(MODELS["M2"], tmp_path)
    before = model.programs_
    with pytest.raises(ValueError, match="holds those of a fit already"):
        model.fit(X, KNOWN, checkpoints=tmp_path)
    assert model.programs_ is before


@pytest.mark.parametrize(
    "method",
    ["pixels-network", "m1-m2", *(pytest.param(name, marks=pytest.mark.slow) for name in ("m1-draws", "pc-vae", "m2"))],
)
@pytest.mark.ci
def test_a_comparison_goes_on_within_a_fit(tmp_path, method):
    data, settings = load_data("digits", binarize="threshold"), Settings(hidden_dims=(16,), epochs=2, latent_dim=3)
    known = draw_labels(data.train_labels, 30, seed=0)

    def score(calls, folder=None):
        noise = Noise(calls)
        comparison = Comparison(replace(data, train_transform=noise), settings)
        kept_in = None if folder is None else lambda fit: Checkpoints(folder / fit, every_seconds=0)
        return comparison.score(method, known, seed=0, kept_in=kept_in)[0], calls - noise.left

    expected, calls = score(10**6)
    for part in (0.5, 0.9):
        folder = tmp_path / str(part)
        with pytest.raises(CutOffError):
            score(int(part * calls), folder)
        accuracy, calls_again = score(10**6, folder)
        assert accuracy == expected
        assert calls_again < calls
