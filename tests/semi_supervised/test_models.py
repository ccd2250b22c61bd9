"""What the four models are as classifiers of scikit-learn."""

import math

import numpy as np
import pandas as pd
import pyro
import pytest
import scipy.sparse
import torch
from problems import bits
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC

from pyrovae import VAE, NonFiniteLossError, fit_svi, likelihoods, networks, posteriors, priors
from pyrovae.data import Translation
from pyrovae.semi_supervised import M1, M1M2, M2, PCVAE, CorruptedInput, DropoutConv
from pyrovae.semi_supervised.fine_tuning import refit_classifier

SMALL = {"latent_dim": 3, "hidden_dims": (16,), "epochs": 2, "batch_size": 20, "progress": False}


def normal(inputs, shape):
    return likelihoods.Normal(networks.MLP(inputs, shape, (8,)))


MAKERS = {
    "M1": lambda **options: M1(**SMALL, **options),
    "M1, draws": lambda **options: M1(**SMALL, embedding="draws", num_draws=3, **options),
    "M2": lambda **options: M2(**SMALL, **options),
    "PCVAE": lambda **options: PCVAE(**SMALL, **options),
    "PCVAE, dual": lambda **options: PCVAE(**SMALL, multiplier="dual", **options),
    "M1M2": lambda **options: M1M2(M1(**SMALL, **options), M2(**SMALL, likelihood=normal, **options), embedding="mean"),
    "M1M2, draws": lambda **options: M1M2(
        M1(**SMALL, **options), M2(**SMALL, likelihood=normal, **options), embedding="draws", num_draws=3
    ),
    "M1M2, both together": lambda **options: M1M2(
        M1(**SMALL, **options), M2(**SMALL, likelihood=normal, **options), embedding="mean", fine_tune_epochs=2
    ),
}
X, TRUTH = bits(100), np.arange(100) % 3
Y = np.where(np.arange(100) < 12, TRUTH, -1)


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


@pytest.mark.parametrize("embedding", ["mean", "draws"])
def test_m1_is_the_pipeline_by_hand(embedding):
    torch.manual_seed(5)
    vae = VAE(
        priors.StandardNormal(3),
        likelihoods.Bernoulli(networks.MLP(3, (1, 8, 8), (16,))),
        posteriors.DiagonalNormal(networks.MLP((1, 8, 8), 2 * 3, (16,))),
    )
    model = M1(
        **SMALL,
        embedding=embedding,
        num_draws=4,
        seed=2,
        prior=vae.prior,
        likelihood=vae.likelihood,
        posterior=vae.posterior,
    ).fit(X, Y)
    fit_svi(vae.model, vae.guide, X, epochs=2, batch_size=20, seed=2, progress=False)
    with torch.no_grad():
        q = vae.encode(X)
        torch.testing.assert_close(torch.from_numpy(model.vae_.encode(X).mean.detach().numpy()), q.mean, rtol=0, atol=0)
        torch.manual_seed(2)
        latents = (q.mean[None] if embedding == "mean" else q.sample((4,))).double()
        torch.manual_seed(2)
        labelled = (q.mean[None, :12] if embedding == "mean" else vae.encode(X[:12]).sample((4,))).double()
    classifier = LogisticRegression(C=0.1, max_iter=1000)
    classifier.fit(labelled.flatten(0, 1).numpy(), np.tile(Y[:12], len(labelled)))
    by_hand = np.mean([classifier.predict_proba(z.numpy()) for z in latents], axis=0)
    np.testing.assert_allclose(model.predict_proba(X), by_hand, rtol=0, atol=1e-12)


@pytest.mark.parametrize("embedding", ["mean", "draws"])
def test_m1_learns_from_latents_of_transformed_rows_anew_for_each_draw(embedding):
    parts = {slot: getattr(M1(**SMALL).fit(X, Y).vae_, slot) for slot in ("prior", "likelihood", "posterior")}

    def lose(rows):
        return rows * torch.bernoulli(torch.full_like(rows, 0.7))

    options = {**SMALL, "epochs": 0, "embedding": embedding, "num_draws": 4, "seed": 2}
    model = M1(**options, **parts, train_transform=lose).fit(X, Y)
    torch.manual_seed(2)
    with torch.no_grad():
        if embedding == "mean":
            latents = model.vae_.encode(lose(X[:12])).mean[None]
        else:
            latents = torch.stack([model.vae_.encode(lose(X[:12])).sample() for _ in range(4)])
    classifier = LogisticRegression(C=0.1, max_iter=1000)
    classifier.fit(latents.flatten(0, 1).double().numpy(), np.tile(Y[:12], len(latents)))
    np.testing.assert_allclose(model.classifier_.coef_, classifier.coef_, rtol=0, atol=1e-12)
    # Rows to be scored are taken as they are.
    plain = M1(**options, **parts).fit(X, Y)
    np.testing.assert_array_equal(model.embed(X), plain.embed(X))


def test_the_classifier_of_draws_fitted_again_to_the_same_latents_stays_the_same():
    model = M1(**SMALL, embedding="draws", num_draws=4, seed=2).fit(X, Y)
    before = model.classifier_.coef_.copy()
    refit_classifier(model, X, torch.from_numpy(Y))
    np.testing.assert_allclose(model.classifier_.coef_, before, rtol=0, atol=1e-10)


def test_m1_takes_a_fitted_vae_and_any_classifier():
    first = M1(**SMALL).fit(X, Y)
    parts = {slot: getattr(first.vae_, slot) for slot in ("prior", "likelihood", "posterior")}
    model = M1(**{**SMALL, "epochs": 0}, **parts, classifier=SVC()).fit(X, Y)
    np.testing.assert_array_equal(model.embed(X), first.embed(X))
    plain = SVC().fit(first.embed(X[:12]), Y[:12])
    np.testing.assert_array_equal(model.predict(X), plain.predict(first.embed(X)))
    with pytest.raises(ValueError, match="SVC has no predict_proba: wrap it in CalibratedClassifierCV"):
        model.predict_proba(X)
    voting = M1(**{**SMALL, "epochs": 0}, **parts, classifier=SVC(), embedding="draws", num_draws=3).fit(X, Y)
    votes = np.stack([voting.classifier_.predict(z) for z in voting.embed(X)])
    counts = np.stack([(votes == label).sum(0) for label in range(3)], 1)
    np.testing.assert_array_equal(voting.predict(X), counts.argmax(1))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"posterior": lambda shape, size: posteriors.Flow(size, "DiagonalNormal", networks.MLP(shape, 2 * size))},
            ValueError,
            "a Flow, has no mean in closed form: use embedding='draws'",
        ),
        ({"classifier": "svm"}, TypeError, "Cannot clone object"),
        ({"classifier": SVC}, TypeError, "instance of scikit-learn estimator instead of a class"),
    ],
    ids=["a flow", "a name", "a class"],
)
def test_m1_refuses_before_it_trains(options, error, message):
    seen = []

    def noted(rows):
        seen.append(len(rows))
        return rows

    with pytest.raises(error, match=message):
        M1(**SMALL, train_transform=noted, **options).fit(X, Y)
    assert not seen


@pytest.mark.parametrize("kind", [M2, PCVAE])
def test_with_validation_the_best_epoch_is_kept(kind):
    held_out = (bits(60, seed=1), np.where(np.arange(60) < 50, np.arange(60) % 3, -1))
    model = kind(**{**SMALL, "epochs": 6}).fit(X, Y, held_out)
    judged = [(terms["validation_accuracy"], -terms["validation_cross_entropy"]) for terms in model.history_]
    assert model.best_epoch_ == 1 + judged.index(max(judged))
    assert model.score(*held_out) == pytest.approx(max(judged)[0])


@pytest.mark.parametrize("kind", [M2, PCVAE])
def test_all_rows_may_have_labels(kind):
    model = kind(**SMALL).fit(X, TRUTH)
    assert len(model.history_) == 2
    assert "train_unlabelled_elbo" not in model.history_[0]


@pytest.mark.parametrize("kind", [M2, PCVAE])
def test_training_that_diverges_says_so_and_keeps_the_last_good_weights(kind):
    model = kind(**{**SMALL, "lr": 1e30})
    with pytest.raises(NonFiniteLossError, match="the loss is not finite at epoch 1"):
        model.fit(X, Y)
    assert all(bool(torch.isfinite(parameter).all()) for parameter in model.programs_.parameters())


@pytest.mark.parametrize("kind", [M1, M2, PCVAE])
def test_train_transform_is_applied_to_each_batch(kind):
    sizes = []

    def invert(rows):
        sizes.append(len(rows))
        return 1 - rows

    plain = kind(**SMALL).fit(1 - X, Y)
    turned = kind(**SMALL, train_transform=invert).fit(X, Y)
    assert turned.history_[-1]["train_elbo"] == plain.history_[-1]["train_elbo"]
    assert sizes.count(20) >= 8


def test_bounds_of_many_rows_count_the_rows_as_they_were_given():
    model = M2(**SMALL).fit(X, Y)
    many = X.repeat(12, 1, 1, 1)
    many[1150] = 0.5
    with pytest.raises(ValueError, match=r"row 1150 has the value 0\.5"):
        model.unlabelled_bounds(many)


def test_samples_of_a_class():
    model = M2(**SMALL).fit(X, Y)
    rows = model.sample(2, 5)
    assert rows.shape == (5, 1, 8, 8)
    assert set(rows.unique().tolist()) <= {0.0, 1.0}
    torch.testing.assert_close(model.sample(2, 5), rows)
    assert not torch.equal(model.sample(2, 5, mean=True), model.sample(1, 5, mean=True))


@pytest.mark.parametrize(
    "draw",
    [
        lambda model, seed: model.sample(2, 5, seed=seed),
        lambda model, seed: model.labelled_bounds(X, TRUTH, seed=seed),
        lambda model, seed: model.unlabelled_bounds(X, seed=seed),
    ],
    ids=["sample", "labelled_bounds", "unlabelled_bounds"],
)
def test_samples_and_bounds_are_those_of_their_seed(draw):
    model = M2(**SMALL).fit(X, Y)
    assert torch.equal(draw(model, 1), draw(model, 1))
    assert not torch.equal(draw(model, 1), draw(model, 0))


def test_the_prediction_loss_of_many_draws_is_their_mean():
    programs, y = PCVAE(**SMALL).fit(X, Y).programs_, torch.as_tensor(TRUTH)
    torch.manual_seed(0)
    found = programs.cross_entropy(X, y, num_samples=4)
    torch.manual_seed(0)
    draws = programs.encode(X).rsample((4,))
    by_hand = torch.stack([-programs.classifier(z).log_softmax(-1)[torch.arange(100), y] for z in draws])
    torch.testing.assert_close(found, by_hand.mean(0))
    assert (by_hand.std(0) > 0).all()


def test_networks_that_see_corrupted_inputs_see_them_in_training_only():
    x = bits(50, (1, 8, 8))
    corrupted = CorruptedInput(torch.nn.Identity(), Translation(2))
    torch.manual_seed(0)
    moved = corrupted(x)
    torch.manual_seed(0)
    torch.testing.assert_close(moved, Translation(2)(x), rtol=0, atol=0)
    assert torch.equal(corrupted.eval()(x), x)


def test_dropout_before_the_last_layer_of_convolutions():
    """In evaluation the plain network; in training its last layer's inputs are twice themselves or zero."""
    network, x = DropoutConv((1, 8, 8), 3, channels=(4, 6), dropout=0.5), bits(50, (1, 8, 8))
    *features, dropout, last = network.layers
    with torch.no_grad():
        inputs = torch.nn.Sequential(*features)(x)
        torch.testing.assert_close(network.eval()(x), last(inputs))
        network.train()
        torch.manual_seed(0)
        outputs = network(x)
        torch.manual_seed(0)
        kept = dropout(inputs)
        torch.testing.assert_close(outputs, last(kept))
    assert bool(((kept == 0) | (kept == 2 * inputs)).all())
    assert 0.4 < float((kept[inputs > 0] == 0).double().mean()) < 0.6


def test_a_refit_that_is_refused_leaves_the_fit_as_it_was():
    model = MAKERS["M1"]().fit(X, Y)
    before = model.predict_proba(X)
    with pytest.raises(ValueError, match="Bernoulli"):
        model.set_params(seed=1).fit(X + 0.5, Y)
    np.testing.assert_array_equal(model.set_params(seed=0).predict_proba(X), before)


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


def test_the_history_has_means_over_rows():
    """The last batch has one row, and that is unlike all others."""
    torch.manual_seed(0)
    x, y = torch.zeros(22, 3), np.full(22, -1)
    x[:2], x[21], y[:2] = torch.randn(2, 3), 100.0, [0, 1]
    model = M2(
        latent_dim=2,
        hidden_dims=(4,),
        epochs=1,
        batch_size=19,
        lr=1e-12,
        progress=False,
        likelihood=lambda inputs, shape: likelihoods.Normal(networks.MLP(inputs, shape, (8,)), scale=1.0),
    ).fit(x, y)
    whole = model.unlabelled_bounds(x[2:], 2000).mean().item()
    # Means of batches would be half of it; of one draw for each row it is within a tenth with ten seeds.
    assert model.history_[0]["train_unlabelled_elbo"] == pytest.approx(whole, rel=0.3)


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


def test_arrays_of_other_computers_are_taken():
    model = MAKERS["M2"]().fit(X, Y)
    expected = model.predict_proba(X)
    read_only = X.numpy().copy()
    read_only.flags.writeable = False
    for x in (X.numpy().astype(">f4"), X.numpy().astype(np.longdouble), read_only):
        np.testing.assert_allclose(model.predict_proba(x), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("weights", "message"), [(0.0, "zero for all rows with a label"), (-1.0, "negative"), (math.nan, "NaN values")]
)
def test_weights_of_a_score_are_checked(weights, message):
    model = MAKERS["M2"]().fit(X, Y)
    with pytest.raises(ValueError, match=f"sample_weight .*{message}"):
        model.score(X, TRUTH, np.full(len(X), weights))
