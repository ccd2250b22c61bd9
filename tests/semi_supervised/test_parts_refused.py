"""Parts that would be trained wrongly, or not at all, are refused before the first step."""

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from problems import bits
from torch import nn

from pyrovae import likelihoods, networks, posteriors, priors
from pyrovae.semi_supervised import M1, M1M2, M2, PCVAE, M1M2Programs, M2Programs

SMALL = {"latent_dim": 3, "hidden_dims": (16,), "epochs": 1, "batch_size": 20, "progress": False}
X, Y = bits(60, (6,)), np.where(np.arange(60) < 12, np.arange(60) % 3, -1)


class InList(nn.Module):
    """A network in a plain list, and a parameter that is found."""

    def __init__(self, network):
        super().__init__()
        self.networks, self.bias = [network], nn.Parameter(torch.zeros(()))

    def forward(self, x):
        return self.networks[0](x) + self.bias


def listed_classifier(frozen):
    return lambda inputs, classes: InList(networks.MLP(inputs, classes, ()).requires_grad_(not frozen))


def listed_decoder(frozen):
    return lambda inputs, shape: likelihoods.Bernoulli(
        InList(networks.MLP(inputs, shape, ()).requires_grad_(not frozen))
    )


def normal(inputs, shape, **options):
    return likelihoods.Normal(networks.MLP(inputs, shape, (8,)), **options)


@pytest.mark.parametrize(
    "make",
    [
        lambda frozen: M2(**SMALL, likelihood=listed_decoder(frozen)),
        lambda frozen: M2(**SMALL, classifier=listed_classifier(frozen)),
        lambda frozen: PCVAE(**SMALL, likelihood=listed_decoder(frozen)),
        lambda frozen: PCVAE(**SMALL, classifier=listed_classifier(frozen)),
        # Its first layer is not fitted, so the third stage is the first to train it.
        lambda frozen: M1M2(
            M1(**SMALL | {"epochs": 0}, likelihood=listed_decoder(frozen)),
            M2(**SMALL, likelihood=normal),
            fine_tune_epochs=1,
        ),
    ],
    ids=["M2, decoder", "M2, classifier", "PCVAE, decoder", "PCVAE, classifier", "M1M2"],
)
def test_networks_in_a_list_are_refused_where_they_would_not_be_trained(make):
    with pytest.raises(ValueError, match=r"in none of their modules, and would not be trained: .* as nn\.ModuleList"):
        make(frozen=False).fit(X, Y)
    make(frozen=True).fit(X, Y)


class WithParam(nn.Module):
    def forward(self):
        return dist.Normal(pyro.param("loc", torch.zeros(3)), 1.0).to_event(1)


def test_values_of_pyro_param_are_refused_without_the_advice_to_use_it():
    with pytest.raises(ValueError, match=r"shape \(3,\) that is in none of their modules.*") as caught:
        M2(**SMALL, prior=WithParam()).fit(X, Y)
    assert "pyro.param" not in str(caught.value)


def optimal(inputs, shape):
    return normal(inputs, shape, scale="optimal")


@pytest.mark.parametrize(
    "model",
    [
        M2(**SMALL, likelihood=optimal),
        M2(**SMALL, likelihood=lambda inputs, shape: likelihoods.PartlyObserved(optimal(inputs, shape))),
        M1M2(M1(**SMALL), M2(**SMALL, likelihood=optimal)),
    ],
    ids=["M2", "M2, inside another", "M1M2"],
)
def test_one_scale_of_all_classes_is_refused(model):
    with pytest.raises(ValueError, match=r'scale="optimal", the root mean squared error over all classes .*"shared"'):
        model.fit(X, Y)


@pytest.mark.parametrize("outputs", [1, 5, (2, 6)])
def test_a_likelihood_over_other_rows_is_refused(outputs):
    """That of one number, or of two rows, would broadcast."""
    with pytest.raises(ValueError, match=r"Bernoulli is over rows of shape .*, the data have rows of shape \(6,\)"):
        M2(**SMALL, likelihood=lambda inputs, _: likelihoods.Bernoulli(networks.MLP(inputs, outputs))).fit(X, Y)


def test_stacked_programs_refuse_a_likelihood_over_other_rows():
    second = M2Programs(
        priors.StandardNormal(1),
        likelihoods.Normal(networks.MLP(1 + 3, 2)),
        posteriors.DiagonalNormal(networks.MLP(2 + 3, 2)),
        networks.MLP(2, 3),
        torch.full((3,), 1 / 3),
    )
    posterior = posteriors.DiagonalNormal(networks.MLP(6, 2 * 2))
    programs = M1M2Programs(likelihoods.Bernoulli(networks.MLP(2, 1)), posterior, second)
    with pytest.raises(ValueError, match=r"Bernoulli is over rows of shape \(1,\), the data have rows of shape \(6,\)"):
        programs.unlabelled_bounds(torch.as_tensor(X, dtype=torch.float32))


@pytest.mark.parametrize("model", [M2, PCVAE])
def test_what_a_step_refuses_is_said_in_one_line(model):
    """Of 48 unlabelled rows a batch of 47 leaves one, which batch normalisation cannot take."""

    def posterior(shape, latent_dim):
        return posteriors.DiagonalNormal(networks.MLP(shape, 2 * latent_dim, (4,), normalization="batch"))

    def likelihood(inputs, shape):
        return likelihoods.Bernoulli(networks.MLP(inputs, shape, (4,), normalization="batch"))

    arguments = {**SMALL, "batch_size": 47, "posterior": posterior, "likelihood": likelihood}
    if model is M2:
        # It looks at all classes of a row at once, which are several rows.
        arguments["classifier"] = lambda shape, classes: networks.MLP(shape, classes, (4,), normalization="batch")
    with pytest.raises(ValueError, match="batch normalisation got one row in training") as caught:
        model(**arguments).fit(X, Y)
    assert "\n" not in str(caught.value)
