"""Labels that cannot be trained with, and every other argument that is refused."""

import re

import numpy as np
import pytest
import torch
from problems import bits

from pyrovae import likelihoods, networks
from pyrovae.semi_supervised import M1, M1M2, M2, PCVAE, check_labels
from pyrovae.semi_supervised.labels import as_labels

SMALL = {"latent_dim": 2, "hidden_dims": (8,), "epochs": 1, "batch_size": 10, "progress": False}
MODELS = {
    "M1": M1(**SMALL),
    "M2": M2(**SMALL),
    "PCVAE": PCVAE(**SMALL),
    "M1M2": M1M2(
        M1(**SMALL), M2(likelihood=lambda inputs, shape: likelihoods.Normal(networks.MLP(inputs, shape, ())), **SMALL)
    ),
}
X = bits(20)
Y = np.array([0, 1, 2, 0, 1, 2] + [-1] * 14)


def test_labels_come_back_with_the_number_of_classes():
    for given in (Y, Y.tolist(), torch.from_numpy(Y), Y.astype(np.int8)):
        labels, num_classes = check_labels(given, 20)
        assert num_classes == 3
        assert labels.dtype == torch.int64
        assert labels.tolist() == Y.tolist()


REFUSED = {
    "no labelled row": ([-1] * 20, None, "none of the 20 rows has a label"),
    "a gap": ([0, 2] * 10, None, "no row is labelled 1, of the classes 0 to 2"),
    "a class without rows": ([0, 1] * 10, 4, "no row is labelled 2, 3, of the classes 0 to 3"),
    "postal codes": (
        [0, 1, 90210, 10**12] * 5,
        None,
        "no row is labelled 2, .*, 11 and 999,999,999,987 others, of the",
    ),
    "too high": ([0, 1, 2, 3] * 5, 3, "y is 3 in row 3, and 5 labels are out of range; expected integers from 0 to 2"),
    "below -1": ([0, 1, -2, 1] * 5, None, "y is -2 in row 2"),
    "too few": ([0, 1] * 5, None, r"y has shape \(10,\) and x 20 rows"),
    "a column": (np.zeros((20, 1), int), None, r"y has shape \(20, 1\)"),
    "one class": ([0, -1] * 10, None, "all labelled rows have the label 0; expected two or more classes"),
    "one class asked for": ([0, -1] * 10, 1, "num_classes is 1; expected two or more classes"),
    "no integers": ([0.0, 1.0] * 10, None, "values of type float64; expected integers"),
    "words": (["a", "b"] * 10, None, "expected integers"),
    "truth values": ([True, False] * 10, None, "values of type bool"),
    "a number of classes that is none": ([0, 1] * 10, 2.0, "num_classes is 2.0; expected an integer"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_labels_are_refused(case):
    y, num_classes, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        check_labels(y, 20, num_classes)


@pytest.mark.parametrize(
    ("y", "integers", "recipe"),
    [
        ([1.0, -1.0, 0.0, 1.0], [1, -1, 0, 1], r"label: give (.*)"),
        (torch.tensor([1.0, -1.0, 0.0, 1.0]), [1, -1, 0, 1], r"label: give (.*)"),
        (np.array([1.0, np.nan, 0.0, 1.0]), [1, -1, 0, 1], r"label: give (.*)"),
        ([True, False, False, True], [1, 0, 0, 1], r"label: give (.*)"),
        (np.array(["no", "", "yes", "no"]), [0, -1, 1, 0], r"number the classes, y = (.*); y\[known\] = (.*), with"),
        (np.array([0.5, -1, 2.5, 0.5]), [0, -1, 1, 0], r"number the classes, y = (.*); y\[known\] = (.*), with"),
    ],
    ids=["whole numbers", "a tensor", "NaN", "truth values", "words", "levels"],
)
def test_the_repair_keeps_rows_without_a_label(y, integers, recipe):
    with pytest.raises(ValueError, match="expected integers from 0") as refused:
        as_labels(y, 4)
    first, *second = re.search(recipe, str(refused.value)).groups()
    there = {"np": np, "y": y, "names": y, "known": np.array(integers) >= 0}
    repaired = eval(first, there)
    if second:
        repaired[there["known"]] = eval(second[0], there)
    assert as_labels(repaired, 4).tolist() == integers


@pytest.mark.parametrize("name", MODELS)
def test_what_is_under_a_mask_is_not_taken(name):
    """NumPy drops masks of arrays without a word."""
    y = np.ma.masked_array(np.arange(20) % 3, mask=Y < 0)
    with pytest.raises(ValueError, match=r"^y is a masked array.*: give y\.filled\(-1\)$"):
        MODELS[name].fit(X, y)
    assert check_labels(y.filled(-1), 20)[0].tolist() == Y.tolist()
    with pytest.raises(ValueError, match=r"^x is a masked array"):
        MODELS[name].fit(np.ma.masked_array(X.numpy(), mask=X.numpy() > 0), Y)
    nothing_masked = np.ma.masked_array(X.numpy(), mask=False)
    assert MODELS[name].fit(nothing_masked, np.ma.masked_array(Y)).predict(nothing_masked).shape == (20,)


@pytest.mark.parametrize("name", MODELS)
def test_every_model_refuses_them(name):
    for y, message in (
        ([-1] * 20, "has a label"),
        ([0, 2] * 10, "no row is labelled 1"),
        ([0] * 20, "two or more classes"),
        ([0, 1], r"y has shape \(2,\)"),
        (np.linspace(0, 1, 20), "expected integers"),
    ):
        with pytest.raises(ValueError, match=message):
            MODELS[name].fit(X, y)


def kind_or_text(value) -> str:
    """A name without addresses of functions: all workers of a parallel run have to give the same."""
    return value if isinstance(value, str) else type(value).__name__


@pytest.mark.parametrize("name", ["M1", "M2", "PCVAE"])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"epochs": -1}, "epochs is -1"),
        ({"batch_size": 21}, "batch_size is 21, more than the 20"),
        ({"lr": 0.0}, "lr is 0.0"),
        ({"latent_dim": 0}, "latent_dim is 0"),
        ({"num_classes": 4}, "no row is labelled 3"),
        ({"num_classes": 2}, "out of range"),
        ({"likelihood": "Bernoulli"}, "likelihood is a str; expected a torch module"),
        ({"prior": lambda latent_dim: latent_dim}, "prior is a function that gave a int"),
    ],
    ids=kind_or_text,
)
def test_arguments_that_all_share(name, arguments, message):
    model = type(MODELS[name])(**{**SMALL, **arguments})
    with pytest.raises(ValueError, match=message):
        model.fit(X, Y)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (M1(embedding="median", **SMALL), "embedding is 'median'"),
        (M1(num_draws=0, **SMALL), "num_draws is 0"),
        (M2(classification_weight=-1.0, **SMALL), "classification_weight is -1.0"),
        (M2(class_probs=[0.5, 0.5], **SMALL), r"class_probs is \[0.5, 0.5\]; expected 3"),
        (M2(class_probs=[0.5, 0.5, 0.5], **SMALL), "sum to 1"),
        (
            M2(classifier=networks.MLP((1, 8, 8), 4, ()), **SMALL),
            r"classifier gave shape \(5, 4\) .* expected \(5, 3\)",
        ),
        (PCVAE(classifier=networks.MLP(2, 4, ()), **SMALL), r"classifier gave shape \(5, 4\)"),
        (PCVAE(multiplier="free", **SMALL), "multiplier is 'free'"),
        (PCVAE(multiplier_start=-1.0, **SMALL), "multiplier_start is -1.0"),
        (PCVAE(epsilon=float("nan"), **SMALL), "epsilon is nan"),
        (M1M2(MODELS["M1"], MODELS["M2"], embedding="both"), "embedding is 'both'"),
        (M1M2(MODELS["M1"], M2(train_transform=torch.relu, **SMALL)), "m2 has a train_transform"),
    ],
    ids=kind_or_text,
)
def test_arguments_of_one_model(model, message):
    with pytest.raises(ValueError, match=message):
        model.fit(X, Y)


@pytest.mark.parametrize("name", ["M1", "M2", "PCVAE"])
def test_rows_are_refused(name):
    model = MODELS[name]
    with pytest.raises(ValueError, match="Bernoulli at site 'x' is no density for these data"):
        model.fit(X + 0.5, Y)
    with pytest.raises(ValueError, match="NaN"):
        model.fit(X.masked_fill(X > 0, torch.nan), Y)
    with pytest.raises(ValueError, match="expected"):
        model.fit(X[:, 0, 0, 0], Y)
    with pytest.raises(ValueError, match="x holds values of type <U1"):
        model.fit(np.full((20, 3), "a"), Y)


@pytest.mark.parametrize("name", ["M2", "M1M2"])
def test_bounds_of_rows_without_a_density_are_refused(name):
    model = MODELS[name].fit(X, Y)
    last_is_grey = torch.cat([X, X[:1] / 2 + 0.2])
    message = r"Bernoulli at site 'x' is no density .* row 20 has the value 0\.[27]"
    for scored in [model.programs_] if name == "M1M2" else [model.programs_, model]:
        with pytest.raises(ValueError, match=message):
            scored.unlabelled_bounds(last_is_grey)
        with pytest.raises(ValueError, match=message):
            scored.labelled_bounds(last_is_grey, torch.zeros(21, dtype=torch.long))


@pytest.mark.parametrize("name", MODELS)
def test_a_fitted_model_refuses_other_rows_and_labels(name):
    model = MODELS[name].fit(X, Y)
    with pytest.raises(ValueError, match=r"x has rows of shape \(64,\), the model was fitted to rows of shape"):
        model.predict(X.flatten(1))
    with pytest.raises(ValueError, match="out of range"):
        model.score(X, np.full(20, 3))
    with pytest.raises(ValueError, match="none of the 20 rows has a label"):
        model.score(X, np.full(20, -1))


@pytest.mark.parametrize("name", ["M2", "PCVAE"])
def test_validation_is_refused(name):
    model = MODELS[name]
    with pytest.raises(ValueError, match="no row of validation has a label"):
        model.fit(X, Y, (X, np.full(20, -1)))
    with pytest.raises(
        ValueError, match=r"^validation x has rows of shape \(\d+,\), the training rows have shape \(1, "
    ):
        model.fit(X, Y, (X.flatten(1), Y))


def test_a_class_that_is_none():
    model = MODELS["M2"].fit(X, Y)
    for y in (-1, 3):
        with pytest.raises(ValueError, match="y is"):
            model.sample(y, 1)
    with pytest.raises(ValueError, match="rows without a label"):
        model.labelled_bounds(X, Y)
