"""Input that the semi-supervised models refuse, and what it leaves as it was."""

import math

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
from few_labels import MAKERS, SMALL, TRUTH, X, Y
from sklearn.exceptions import NotFittedError

from pyrovae import likelihoods, networks, posteriors, priors
from pyrovae.semi_supervised import M1, M1M2, M2, PCVAE


def test_a_refit_that_is_refused_leaves_the_fit_as_it_was():
    model = MAKERS["M1"]().fit(X, Y)
    before = model.predict_proba(X)
    with pytest.raises(ValueError, match="Bernoulli"):
        model.set_params(seed=1).fit(X + 0.5, Y)
    np.testing.assert_array_equal(model.set_params(seed=0).predict_proba(X), before)


@pytest.mark.parametrize("name", ["M1", "M2", "PCVAE"])
def test_ways_of_stepping_that_do_not_exist_are_refused(name):
    with pytest.raises(ValueError, match="step is 'fast'; expected one of auto, plain, recorded, compiled"):
        {"M1": M1, "M2": M2, "PCVAE": PCVAE}[name](**SMALL, step="fast").fit(X, Y)


def test_what_is_not_fitted_or_does_not_fit_is_said():
    with pytest.raises(NotFittedError):
        M2().sample(0, 3)
    with pytest.raises(
        ValueError, match=r"sample_weight has shape \(10,\); expected one weight for each row, \(100,\)"
    ):
        MAKERS["M1"]().fit(X, Y).score(X, TRUTH, sample_weight=np.ones(10))


def test_a_refused_refit_of_two_layers_leaves_both_as_they_were():
    model = MAKERS["M1M2"]().fit(X, Y)
    before = model.predict_proba(X)
    model.m1.set_params(seed=5)
    model.m2.set_params(class_probs=[0.2, 0.8, 0.9])
    with pytest.raises(ValueError, match="class_probs"):
        model.fit(X, Y)
    np.testing.assert_array_equal(model.predict_proba(X), before)
    with pytest.raises(ValueError, match="m1 is a M2 and m2 a M2; expected an M1 and an M2"):
        M1M2(m1=M2(), m2=M2()).fit(X, Y)


def test_a_prior_of_another_size_is_refused():
    with pytest.raises(ValueError, match=r"posterior is over \(3,\), the prior over \(5,\): give both the same"):
        M2(**{**SMALL, "latent_dim": 3}, prior=priors.StandardNormal(5)).fit(X, Y)


def flattening(inputs, outputs):
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(inputs, outputs))


def normalising(inputs, outputs):
    return torch.nn.Sequential(torch.nn.Linear(inputs, 8), torch.nn.BatchNorm1d(8), torch.nn.Linear(8, outputs))


def mended(inputs, outputs):
    return networks.MLP(inputs, outputs, (8,), normalization="batch")


@pytest.mark.parametrize("network", [flattening, normalising])
@pytest.mark.parametrize(
    ("slot", "make", "numbers"),
    [
        ("posterior", lambda network: lambda shape, size: posteriors.DiagonalNormal(network(*shape, 2 * size)), 64),
        ("likelihood", lambda network: lambda size, shape: likelihoods.Bernoulli(network(size, *shape)), 3),
    ],
    ids=["posterior", "likelihood"],
)
def test_parts_that_take_one_class_alone_are_refused_with_their_repair(network, slot, make, numbers):
    with pytest.raises(
        ValueError, match=rf"{slot} fails on inputs of shape \(3, 5, {numbers + 3}\), .* leave nn.Flatten"
    ):
        M2(**SMALL, **{slot: make(network)}).fit(X.flatten(1), Y)
    assert M2(**SMALL, **{slot: make(mended)}).fit(X.flatten(1), Y).unlabelled_bounds(X.flatten(1)).shape == (100,)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, y: {"x": scipy.sparse.csr_matrix(x.flatten(1).numpy())}, r"x is sparse.*give x.toarray\(\)"),
        (lambda x, y: {"validation": (x,)}, r"validation is a tuple of length 1; expected a pair \(x, y\)"),
        (lambda x, y: {"validation": (x, None)}, "validation y holds values of type object"),
    ],
)
def test_what_is_no_data_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        M2(**SMALL).fit(**{"x": X, "y": Y, **change(X, Y)})


@pytest.mark.parametrize("name", ["M1", "M2", "PCVAE", "M1M2"])
def test_columns_in_another_order_are_refused(name):
    """A table is taken for its numbers, so that columns elsewhere would be taken one for another."""
    table = pd.DataFrame(X.flatten(1).numpy()).rename(columns="column {}".format)
    turned = table[["column 0", *table.columns[:0:-1]]]
    model = MAKERS[name]()
    message = (
        r"x has the columns of the fit in another order, or others: column 1 is 'column 63', and was 'column 1' in"
    )
    with pytest.raises(ValueError, match=f"^validation {message}"):
        model.fit(table, Y, (turned, TRUTH))
    model.fit(table, Y, (table, TRUTH))
    with pytest.raises(ValueError, match=f"^{message}"):
        model.predict(turned)
    with pytest.raises(ValueError, match=r"x has rows of shape \(63,\), the model was fitted to rows of shape \(64,\)"):
        model.score(table.iloc[:, :-1], TRUTH)
    expected = model.predict_proba(table)
    for without_names in (table.to_numpy(), pd.DataFrame(table.to_numpy())):
        np.testing.assert_array_equal(model.predict_proba(without_names), expected)
    assert model.fit(table.to_numpy(), Y).predict(turned).shape == (100,)


@pytest.mark.parametrize(
    ("weights", "message"), [(0.0, "zero for all rows with a label"), (-1.0, "negative"), (math.nan, "NaN values")]
)
def test_weights_of_a_score_are_checked(weights, message):
    model = MAKERS["M2"]().fit(X, Y)
    with pytest.raises(ValueError, match=f"sample_weight .*{message}"):
        model.score(X, TRUTH, np.full(len(X), weights))
