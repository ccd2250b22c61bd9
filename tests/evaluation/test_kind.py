"""Whether log p(x) of a pair is that of probabilities or of densities."""

import pyro
import pyro.distributions as dist
import pytest
import torch

from pyrovae import VAE, likelihoods, networks, posteriors, priors
from pyrovae.evaluation.kind import kind_of_numbers

KINDS = ["real", "count", "binary", "categorical(3)", "real"]


def vae(likelihood, width=5):
    return VAE(priors.StandardNormal(2), likelihood, posteriors.DiagonalNormal(networks.MLP(width, 4)))


def table(kinds):
    return likelihoods.Columns(networks.MLP(2, likelihoods.Columns.decoder_shape((5,), kinds)), kinds)


@pytest.mark.parametrize(
    ("likelihood", "kind"),
    [
        (likelihoods.Bernoulli(networks.MLP(2, 5)), "probabilities"),
        (likelihoods.Poisson(networks.MLP(2, 5)), "probabilities"),
        (likelihoods.Normal(networks.MLP(2, 5)), "densities"),
        (likelihoods.ContinuousBernoulli(networks.MLP(2, 5)), "densities"),
        (likelihoods.PartlyObserved(likelihoods.Bernoulli(networks.MLP(2, 5))), "probabilities"),
        (likelihoods.PartlyObserved(likelihoods.Normal(networks.MLP(2, 5))), "densities"),
        (table(KINDS), "densities of columns 0, 4, probabilities of the others"),
        (likelihoods.PartlyObserved(table(KINDS)), "densities of columns 0, 4, probabilities of the others"),
        (table(["real"] * 5), "densities"),
        (table(["count", "binary", "binary", "count", "binary"]), "probabilities"),
    ],
)
def test_likelihoods(likelihood, kind):
    pair = vae(likelihood)
    assert kind_of_numbers(pair.model, pair.guide, torch.ones(3, 5)) == kind


def guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(x.mean(1), 1.0))


def observing(*sites, factor=False):
    """A model that observes a column at each of these sites."""

    def model(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            for column, (name, family) in enumerate(sites):
                pyro.sample(name, family(z), obs=x[:, column])
            if factor:
                pyro.factor("more", z)

    return model


class Unsaid(dist.Normal):
    support = dist.constraints.dependent


def test_sites_of_programs():
    x, height, ill = (
        torch.ones(3, 2),
        ("height", lambda z: dist.Normal(z, 1.0)),
        ("ill", lambda z: dist.Bernoulli(logits=z)),
    )
    assert kind_of_numbers(observing(height, ill), guide, x) == "densities at height, probabilities at the other sites"
    assert kind_of_numbers(observing(ill), guide, x) == "probabilities"
    assert kind_of_numbers(observing(ill, factor=True), guide, x) is None
    assert kind_of_numbers(observing(("x", lambda z: Unsaid(z, 1.0))), guide, x) is None
