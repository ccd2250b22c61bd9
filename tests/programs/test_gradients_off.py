"""What takes gradients gives the same where the caller has turned them off."""

import pytest
import torch

from pyrovae import (
    VAE,
    Autoencoder,
    ais,
    bdmc,
    compare_gradients,
    fit_autoencoder,
    inference_gap,
    likelihoods,
    networks,
    posterior_samples,
    posteriors,
    pretrain_layers,
    priors,
)
from pyrovae.programs import private_param_store
from pyrovae.semi_supervised import M1, M1M2, M2
from pyrovae.semi_supervised.m1m2 import default_second_layer

X = torch.randn(40, 3, generator=torch.Generator().manual_seed(0)) + 3.0
Y = (X[:, 0] > 3).long()
EPOCH = {"epochs": 1, "batch_size": 20, "progress": False}


def pair():
    torch.manual_seed(0)
    vae = VAE(
        priors.StandardNormal(2),
        likelihoods.Normal(networks.MLP(2, 3, ())),
        posteriors.DiagonalNormal(networks.MLP(3, 4, ())),
    )
    return vae.model, vae.guide


def gap(x):
    return inference_gap(*PAIR, x, steps=3, num_samples=5).best_elbo


def annealed(x):
    return ais(*PAIR, x, num_temperatures=3, num_chains=2, warm_up=1).log_px


def both_ways(x):
    return bdmc(*PAIR, like=x, num_rows=2, num_temperatures=3, num_chains=2, warm_up=1).upper


def exact_draws(x):
    draws = posterior_samples(*PAIR, x, rows=[0], num_draws=20, warm_up=20)
    return torch.from_numpy(draws["posterior"]["z"].to_numpy())


def gradients(x):
    return torch.tensor(compare_gradients(*PAIR, x, "Trace_ELBO", num_repeats=3)["Trace_ELBO"].guide.norm)


def autoencoder(x, fit=fit_autoencoder):
    """That of one kept from before, as one that is made in this mode can never be trained."""
    made = AUTOENCODERS.pop()
    fit(made, x, **EPOCH)
    return made.encoder.layers[0].weight.detach()


def layers(x):
    return autoencoder(x, pretrain_layers)


def m1(x):
    return torch.tensor(M1(2, hidden_dims=(4,), **EPOCH).fit((x > 3).float(), Y).history_[0]["train_elbo"])


def m2(x):
    return torch.tensor(M2(2, hidden_dims=(4,), **EPOCH).fit((x > 3).float(), Y).history_[0]["train_cross_entropy"])


def m1m2(x):
    second = default_second_layer().set_params(**EPOCH)
    joint = M1M2(M1(2, hidden_dims=(4,), **EPOCH), second, fine_tune_epochs=1).fit((x > 3).float(), Y)
    return torch.tensor(joint.history_[0]["train_cross_entropy"])


PAIR, AUTOENCODERS = pair(), []


@pytest.mark.parametrize("without", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize(
    "function", [gap, annealed, both_ways, exact_draws, gradients, autoencoder, layers, m1, m2, m1m2]
)
def test_the_same_also_of_rows_that_were_made_there(function, without):
    AUTOENCODERS.clear()
    for _ in range(2):
        torch.manual_seed(0)
        AUTOENCODERS.append(Autoencoder(networks.MLP(3, 2, (4,)), networks.MLP(2, 3, (4,))))
    expected = function(X)
    with without():
        found = function(X.clone())
    assert torch.equal(found, expected)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.enable_grad])
def test_gradients_are_as_the_caller_has_them_where_a_pair_has_its_own_store(mode):
    with mode():
        before = torch.is_grad_enabled()
        with private_param_store(*PAIR):
            assert torch.is_grad_enabled() is before
        assert torch.is_grad_enabled() is before
