"""Fits whose loss or gradient is not finite, and errors in the middle."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from problems import bits, small_vae
from short_fits import fit
from torch import nn

from pyrovae import VAE, NonFiniteLossError, fit_svi, likelihoods, networks, posteriors, priors


class Fails(nn.Module):
    """A decoder whose output turns into ``value`` at its nth call in training."""

    def __init__(self, call, value):
        super().__init__()
        self.layer, self.call, self.value, self.calls = nn.Linear(2, 3), call, value, 0

    def forward(self, z):
        self.calls += self.training
        return self.layer(z) * (self.value if self.calls >= self.call else 1.0)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30])
def test_a_loss_that_is_not_finite_stops_with_the_place(value):
    decoder = Fails(call=7, value=value)  # two calls of a check, then three steps an epoch
    vae = VAE(
        priors.StandardNormal(2),
        likelihoods.Normal(decoder, scale=1.0),
        posteriors.DiagonalNormal(networks.MLP(3, 4)),
    )
    x = torch.randn(50, 3)
    with pytest.raises(NonFiniteLossError, match=r"epoch 2, step 2; .* is 'x'.*lower learning rate") as caught:
        fit(vae, x, validation=x, epochs=5)
    error = caught.value
    assert (error.epoch, error.step, error.site) == (2, 2, "x")
    assert error.result.best_epoch == 1
    assert len(error.result.history) == 1
    assert all(torch.isfinite(p).all() for p in vae.parameters())
    # The weights are those at the end of epoch 1.
    decoder.value = 1.0
    again = fit(vae, x, validation=x, epochs=1, lr=1e-12)
    assert again.history[0]["validation_elbo"] == pytest.approx(error.result.history[0]["validation_elbo"], abs=1e-4)


def test_a_learning_rate_that_is_too_high_is_named_in_the_error():
    vae = VAE(
        priors.StandardNormal(2),
        likelihoods.Normal(networks.MLP(2, 3)),
        posteriors.DiagonalNormal(networks.MLP(3, 4)),
    )
    before = {name: value.clone() for name, value in vae.state_dict().items()}
    with pytest.raises(NonFiniteLossError, match="first site that is not finite is 'z'"):
        fit(vae, torch.randn(100, 3), lr=1e30, epochs=50)
    for name, value in vae.state_dict().items():
        assert torch.equal(value, before[name])


@pytest.mark.parametrize("with_validation", [True, False])
def test_a_gradient_that_is_not_finite_is_found_before_the_epoch_ends(with_validation):
    """A finite loss with a gradient of NaN, at the one step of the third epoch."""

    class Root(nn.Module):
        def __init__(self):
            super().__init__()
            self.loc, self.calls = nn.Parameter(torch.tensor(1.0)), 0

        def model(self, x):
            self.calls += self.training
            with pyro.plate("data", len(x)):
                z = pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))
                # sqrt has an infinite slope at zero, times zero.
                bad = torch.sqrt(self.loc * 0) if self.calls >= 5 else 0.0
                pyro.sample("x", dist.Normal(z + self.loc + bad, 1.0), obs=x)

        def guide(self, x):
            with pyro.plate("data", len(x)):
                pyro.sample("z", dist.Normal(x / 2, 1.0))

    pair, x = Root(), torch.randn(20)
    with pytest.raises(NonFiniteLossError) as caught:
        fit_svi(
            pair.model, pair.guide, x, validation=x if with_validation else None,
            epochs=6, batch_size=20, progress=False,
        )  # fmt: skip
    assert (caught.value.epoch, caught.value.result.best_epoch) == (3, 2)
    assert torch.isfinite(pair.loc)


def test_an_error_in_the_middle_leaves_the_best_weights():
    class Breaks(nn.Module):
        def __init__(self):
            super().__init__()
            self.calls = 0

        def forward(self, x):
            self.calls += self.training
            if self.calls == 7:
                raise ValueError("a fault of the user's own")
            return x

    vae, x = small_vae(), bits(40)
    vae.posterior.encoder = nn.Sequential(Breaks(), vae.posterior.encoder)
    before = {name: value.clone() for name, value in vae.state_dict().items()}
    with pytest.raises(ValueError, match="a fault of the user's own"):
        fit(vae, x, epochs=1, batch_size=5)
    for name, value in vae.state_dict().items():
        assert torch.equal(value, before[name])


def test_a_discrete_latent_whose_probabilities_become_nan_is_named():
    class Pair(nn.Module):
        def __init__(self):
            super().__init__()
            self.logits = nn.Parameter(torch.zeros(3))
            self.loc = nn.Parameter(torch.tensor([-1e30, 0.0, 1e30]))

        def model(self, x):
            with pyro.plate("data", len(x)):
                k = pyro.sample("k", dist.Categorical(torch.ones(3) / 3))
                pyro.sample("x", dist.Normal(self.loc[k], 1.0), obs=x)

        def guide(self, x):
            with pyro.plate("data", len(x)):
                pyro.sample("k", dist.Categorical(logits=self.logits + 0 * self.logits.exp()))

    pair = Pair()
    with pytest.raises(NonFiniteLossError, match=r"the first site that is not finite is '[kx]'"):
        fit(pair, torch.randn(20), objective="Trace_ELBO", lr=1e3, epochs=5)
