"""What all semi-supervised models have in common."""

import numpy as np
import pyro
import pytest
import torch
from few_labels import MAKERS, SMALL, TRUTH, X, Y
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from pyrovae import likelihoods, networks, posteriors, priors
from pyrovae.semi_supervised import M1, M2, PCVAE


@pytest.mark.parametrize("name", MAKERS)
def test_interface(name):
    model = MAKERS[name]()
    with pytest.raises(NotFittedError):
        model.predict(X)
    assert model.fit(X, Y) is model
    probabilities = model.predict_proba(X)
    assert probabilities.shape == (100, 3)
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-9)
    assert model.classes_.tolist() == [0, 1, 2]
    np.testing.assert_array_equal(model.predict(X), probabilities.argmax(1))
    assert model.score(X, TRUTH) == pytest.approx((model.predict(X) == TRUTH).mean())
    assert model.score(X, Y) == pytest.approx((model.predict(X[:12]) == TRUTH[:12]).mean())
    assert [terms["epoch"] for terms in model.history_] == [1, 2] or name == "M1"
    if hasattr(model, "embed"):
        assert model.embed(X).shape == ((3, 100, 3) if "draws" in name else (100, 3))


@pytest.mark.parametrize("name", MAKERS)
def test_a_seed_gives_the_same_model_and_nothing_global_changes(name):
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    model = MAKERS[name]().fit(X, Y)
    first = model.predict_proba(X)
    np.testing.assert_array_equal(model.predict_proba(X), first)
    torch.rand(3)
    again = clone(model).fit(X.numpy(), torch.from_numpy(Y))
    np.testing.assert_array_equal(again.predict_proba(X.numpy()), first)
    torch.set_rng_state(torch_state)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_state)
    other = MAKERS[name](seed=1).fit(X, Y)
    assert not np.array_equal(other.predict_proba(X), first)
    torch.testing.assert_close(torch.get_rng_state(), torch_state)
    assert not pyro.get_param_store()


@pytest.mark.parametrize("name", MAKERS)
def test_cloned_arguments_are_equal_and_the_clone_is_not_fitted(name):
    model = MAKERS[name]().fit(X, Y)
    copy = clone(model)
    assert repr(copy) == repr(model)
    assert copy.get_params(deep=False).keys() == model.get_params(deep=False).keys()
    with pytest.raises(NotFittedError):
        copy.predict(X)


def test_modules_of_the_user_stay_as_they_are():
    parts = {
        "likelihood": likelihoods.Bernoulli(networks.MLP(3 + 3, (1, 8, 8), ())),
        "posterior": posteriors.DiagonalNormal(networks.MLP(64 + 3, 2 * 3, ())),
        "classifier": networks.MLP((1, 8, 8), 3, ()),
    }
    before = {name: [p.detach().clone() for p in part.parameters()] for name, part in parts.items()}
    model = M2(**SMALL, **parts).fit(X, Y)
    for name, part in parts.items():
        for old, new in zip(before[name], part.parameters(), strict=True):
            torch.testing.assert_close(new.detach(), old, rtol=0, atol=0)
    assert not torch.equal(model.programs_.classifier.layers[0].weight, parts["classifier"].layers[0].weight)
    np.testing.assert_array_equal(clone(model).fit(X, Y).predict_proba(X), model.predict_proba(X))


def test_float64_modules_take_rows_of_any_type():
    model = PCVAE(
        likelihood=lambda size, shape: likelihoods.Bernoulli(networks.MLP(size, shape, ())).double(),
        posterior=lambda shape, size: posteriors.DiagonalNormal(networks.MLP(shape, 2 * size, ())).double(),
        classifier=lambda size, classes: networks.MLP(size, classes, ()).double(),
        prior=lambda size: priors.StandardNormal(size).double(),
        **SMALL,
    ).fit(X.bool(), Y)
    assert model.embed(X.int()).dtype == np.float64
    np.testing.assert_array_equal(model.predict(X), model.predict(X.double().numpy()))


def test_samples_of_a_class():
    model = M2(**SMALL).fit(X, Y)
    rows = model.sample(2, 5)
    assert rows.shape == (5, 1, 8, 8)
    assert set(rows.unique().tolist()) <= {0.0, 1.0}
    torch.testing.assert_close(model.sample(2, 5), rows)
    assert not torch.equal(model.sample(2, 5, mean=True), model.sample(1, 5, mean=True))


@pytest.mark.parametrize("name", ["M1", "M2", "PCVAE"])
def test_a_part_with_held_weights_stays_as_it_is(name):
    posterior = posteriors.DiagonalNormal(networks.MLP((1, 8, 8), 6, (8,))).requires_grad_(False)
    before = [parameter.clone() for parameter in posterior.parameters()]
    model = {"M1": M1, "M2": M2, "PCVAE": PCVAE}[name]
    if name == "M2":
        model(**SMALL, classifier=networks.MLP((1, 8, 8), 3, (8,)).requires_grad_(False)).fit(X, Y)
    else:
        model(**SMALL, posterior=posterior).fit(X, Y)
        assert all(map(torch.equal, posterior.parameters(), before))


@pytest.mark.parametrize("name", ["M1", "M2", "PCVAE"])
def test_numbers_of_numpy_are_numbers(name):
    numbers = {"latent_dim": np.int64(3), "seed": np.int64(4), "epochs": np.int64(1), "lr": np.float32(1e-3)}
    model = {"M1": M1, "M2": M2, "PCVAE": PCVAE}[name]
    plain = {"latent_dim": 3, "seed": 4, "epochs": 1, "lr": float(np.float32(1e-3))}
    first, second = (model(**{**SMALL, **options}).fit(X, Y).predict_proba(X) for options in (numbers, plain))
    np.testing.assert_array_equal(first, second)


def test_arrays_of_other_computers_are_taken():
    model = MAKERS["M2"]().fit(X, Y)
    expected = model.predict_proba(X)
    read_only = X.numpy().copy()
    read_only.flags.writeable = False
    for x in (X.numpy().astype(">f4"), X.numpy().astype(np.longdouble), read_only):
        np.testing.assert_allclose(model.predict_proba(x), expected, atol=1e-6)
