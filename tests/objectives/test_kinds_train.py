"""Objectives on pairs of many kinds, in a fit: each trains, or refuses the pair by name."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from kinds_of_pairs import PAIRS, DiscreteBeside, OfVAE, TwoLatents, data
from problems import LinearGaussian
from torch import nn

from pyrovae import VAE, compare_bounds, fit_svi, likelihoods, networks, posteriors, priors
from pyrovae.objectives import ReweightedWakeSleep, Trace_ELBO

NAMES = (
    "Trace_ELBO",
    "TraceMeanField_ELBO",
    "IWAE",
    "Renyi",
    "DReG",
    "StickingTheLanding",
    "ReweightedWakeSleep",
    "ScoreFunction",
)


def fit(pair, x, **options):
    options = {"epochs": 5, "batch_size": 20, "lr": 0.05, "progress": False} | options
    return fit_svi(pair.model, pair.guide, x, **options)


def assert_trains(pair, x, **options):
    history = fit(pair, x, **options).history
    assert history[-1]["train_objective"] > history[0]["train_objective"] + 0.05


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", PAIRS)
def test_pairs_of_reparameterised_latents(kind, name):
    make, rows = PAIRS[kind]
    pair, x = make(), rows(40)
    if kind == "two latents, the last one first" and name == "TraceMeanField_ELBO":
        with pytest.raises(
            ValueError, match=r"TraceMeanField_ELBO may be wrong .* different orders \(z1, z2 and z2, z1\)"
        ):
            fit(pair, x, objective=name)
        return
    assert_trains(pair, x, objective=name)


@pytest.mark.parametrize("name", NAMES)
def test_a_discrete_latent(name):
    if name in ("Trace_ELBO", "ReweightedWakeSleep", "ScoreFunction"):
        assert_trains(DiscreteBeside(), data(40), objective=name)
        return
    with pytest.raises(
        ValueError, match=rf"{name} needs latents drawn by reparameterisation.*not \('k'\): use objective="
    ):
        fit(DiscreteBeside(), data(40), objective=name)


@pytest.mark.parametrize("name", NAMES)
def test_dropout_in_a_guide_of_several_latents(name):
    if name in ("StickingTheLanding", "DReG", "ScoreFunction"):
        with pytest.raises(
            ValueError, match=rf"{name} runs a guide of several latents twice.*dropout.*take what is random"
        ):
            fit(TwoLatents(dropout=0.5), data(40), objective=name)
        return
    assert_trains(TwoLatents(dropout=0.5), data(40), objective=name)


@pytest.mark.parametrize("name", NAMES)
def test_dropout_in_a_guide_of_one_latent(name):
    """The draws' own density is differentiated, so every objective takes it."""
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Dropout(0.5), networks.MLP(3, 4, ()))
    vae = VAE(priors.StandardNormal(2), likelihoods.Normal(networks.MLP(2, 3, ())), posteriors.DiagonalNormal(encoder))
    assert_trains(OfVAE(vae), data(40), objective=name)


@pytest.mark.parametrize("name", NAMES)
def test_programs_of_parameters_alone(name):
    """The ELBO rises, and evaluation finds the fitted values with the programs."""
    problem = LinearGaussian.random(3, 2, 0)
    x = problem.rows(40)

    def model(x):
        loc = pyro.param("loc", torch.zeros(3, dtype=torch.float64))
        with pyro.plate("data", len(x), dim=-1):
            z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z @ problem.weight.T + loc, problem.scale).to_event(1), obs=x)

    def guide(x):
        loc, covariance = problem.posterior_moments(x)
        shift = pyro.param("shift", torch.full((2,), 0.5, dtype=torch.float64))
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.MultivariateNormal(loc + shift, covariance))

    result = fit_svi(model, guide, x, epochs=15, batch_size=20, lr=0.05, objective=name, progress=False)
    assert result.history[-1]["train_elbo"] > result.history[0]["train_elbo"] + 0.5
    assert compare_bounds(model, guide, x, num_samples=500).elbo.mean() > result.history[0]["train_elbo"] + 0.5


class Uniform(nn.Module):
    """A guide with bounds of its own; the second latent's, where there is one, are fixed."""

    def __init__(self, moving=True):
        super().__init__()
        self.moving = moving
        self.encoder, self.loc = nn.Linear(3, 2), nn.Parameter(torch.zeros(()))

    def model(self, x):
        with pyro.plate("data", len(x), dim=-1):
            z = pyro.sample("z", dist.Uniform(x.new_tensor(-3.0), 3.0))
            pyro.sample("x", dist.Normal(z[..., None] + self.loc, 1.0).expand([*z.shape, 3]).to_event(1), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x), dim=-1):
            if self.moving:
                middle, raw = self.encoder(x).tanh().unbind(-1)
                pyro.sample("z", dist.Uniform(middle - raw.exp() / 2, middle + raw.exp() / 2))
            else:
                pyro.sample("z", dist.Uniform(x.new_full((), -1.0), 1.0))


@pytest.mark.parametrize("name", NAMES)
def test_bounds_that_move_with_parameters(name):
    """The mean slope of log q at a fixed draw is not zero there, so that gradients built on it would be biased."""
    x = data(40).float() + 1
    assert_trains(Uniform(moving=False), x, objective=name)
    if name in ("Trace_ELBO", "TraceMeanField_ELBO", "IWAE", "Renyi"):
        assert_trains(Uniform(), x, objective=name)
        return
    with pytest.raises(
        ValueError, match=rf"{name} takes gradients .* latent 'z' of the guide, whose bounds move .*'IWAE'"
    ):
        fit(Uniform(), x, objective=name)


def test_dreams_are_given_in_the_type_of_the_rows():
    class Levels(nn.Module):
        """Observes whole numbers, and encodes the rows as they are."""

        def __init__(self):
            super().__init__()
            self.encoder, self.decoder = nn.Linear(3, 4), nn.Linear(2, 3 * 4)

        def model(self, x):
            with pyro.plate("data", len(x), dim=-1):
                z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
                logits = self.decoder(z).unflatten(-1, (3, 4))
                pyro.sample("x", dist.Categorical(logits=logits).to_event(1), obs=x.long())

        def guide(self, x):
            loc, raw = self.encoder(x).chunk(2, -1)
            with pyro.plate("data", len(x), dim=-1):
                pyro.sample("z", dist.Normal(loc, raw.exp()).to_event(1))

    x = torch.randint(0, 3, (40, 3)).float()
    assert_trains(Levels(), x, objective=ReweightedWakeSleep(insomnia=0.5), epochs=30)


def test_dreams_lack_the_entries_that_the_rows_lack():
    """Else a guide that only sleeps would never learn what to do with a missing entry."""
    seen = []

    class Spy(nn.Module):
        def forward(self, x):
            if self.training:
                seen.append(x.isnan())
            return x

    make, rows = PAIRS["missing entries"]
    pair, x = make(), rows(40)
    pair.vae.posterior = nn.Sequential(Spy(), pair.vae.posterior)
    fit(pair, x, objective=ReweightedWakeSleep(insomnia=0), epochs=1)
    # The rows of the two steps, and their dreams.
    for batch, dreams in (seen[-4:-2], seen[-2:]):
        assert torch.equal(batch, dreams)
        assert batch.any()


def test_free_bits_are_refused_where_a_single_term_is_no_kl():
    x = data(40)
    with pytest.raises(ValueError, match=r"free_bits: .* different orders \(z1, z2 and z2, z1\).*schedule of beta"):
        fit(TwoLatents("z2"), x, objective=Trace_ELBO(free_bits=0.1, free_bits_per="site"))
    # The sum of all terms is one.
    assert_trains(TwoLatents("z2"), x, objective=Trace_ELBO(capacity=1.0))
