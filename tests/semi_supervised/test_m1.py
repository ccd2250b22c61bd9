"""``M1``: a VAE, and a classifier of its latents."""

import numpy as np
import pytest
import torch
from few_labels import SMALL, X, Y
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC

from pyrovae import VAE, fit_svi, likelihoods, networks, posteriors, priors
from pyrovae.semi_supervised import M1
from pyrovae.semi_supervised.fine_tuning import refit_classifier


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
