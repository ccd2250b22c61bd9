"""Evaluations give the same numbers by recorded operations as by the programs themselves."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from problems import LinearGaussian, ScaledPosterior

from pyrovae import ais, bdmc, impute, inference_gap, likelihoods, networks, posterior_samples, posteriors, priors
from pyrovae.models import VAE
from pyrovae.recording import Replay, replay


@pytest.fixture
def ways(monkeypatch):
    """How functions were called, after each call."""
    seen, call = [], Replay.__call__

    def noted(self, *inputs):
        outputs = call(self, *inputs)
        seen.append(self.way)
        return outputs

    monkeypatch.setattr(Replay, "__call__", noted)
    return seen


def gaussian_pair():
    problem = LinearGaussian.random(5, 2, 2)
    vae = problem.vae(ScaledPosterior(problem))
    return vae.model, vae.guide, problem.rows(70)


def pair_of_two_latents():
    """Drawn one after the other, the first positive, with an entry for each group of a second plate."""

    def model(x):
        with pyro.plate("data", len(x), dim=-1):
            rate = pyro.sample("rate", dist.Gamma(x.new_tensor(2.0), 1.0))
            with pyro.plate("groups", 5, dim=-2):
                shift = pyro.sample("shift", dist.Normal(rate, 1.0))
                pyro.sample("x", dist.Normal(shift, 0.5), obs=x.T)

    def guide(x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("rate", dist.LogNormal(x.mean(-1) / 4, 0.4))
            with pyro.plate("groups", 5, dim=-2):
                pyro.sample("shift", dist.Normal(x.T, 0.7))

    return model, guide, gaussian_pair()[2]


def annealed(start):
    return lambda *given: (
        ais(*given, num_temperatures=60, num_chains=3, num_leapfrog=3, warm_up=20, start=start).log_weights
    )


def bracketed(model, guide, x):
    return bdmc(model, guide, like=x, num_rows=9, num_temperatures=60, num_chains=3, num_leapfrog=3, warm_up=20).gap


def split(*given):
    gap = inference_gap(*given, num_samples=20, steps=180)
    return torch.stack([gap.approximation, gap.amortisation])


def sampled(*given):
    drawn = posterior_samples(*given, rows=[3], num_draws=40, warm_up=40)["posterior"]
    return torch.cat([torch.from_numpy(drawn[name].values).flatten() for name in sorted(drawn.data_vars)])


@pytest.mark.parametrize(
    ("evaluation", "pair"),
    [
        (annealed("prior"), gaussian_pair),
        (annealed("prior"), pair_of_two_latents),
        (annealed("guide"), gaussian_pair),
        (annealed("guide"), pair_of_two_latents),
        (bracketed, gaussian_pair),
        (split, gaussian_pair),
        (split, pair_of_two_latents),
        (sampled, gaussian_pair),
        (sampled, pair_of_two_latents),
    ],
)
def test_recorded_evaluations_give_the_numbers_of_the_programs(evaluation, pair, ways, monkeypatch):
    ours = evaluation(*pair())
    assert "recorded" in ways
    monkeypatch.setattr(replay, "_CALLS_BEFORE_RECORDING", 10**9)
    ways.clear()
    plain = evaluation(*pair())
    assert "recorded" not in ways
    torch.testing.assert_close(ours, plain, rtol=1e-6, atol=1e-8)


def test_imputation_scores_its_proposals_by_recorded_operations(ways):
    torch.manual_seed(0)
    vae = VAE(
        priors.StandardNormal(2),
        likelihoods.PartlyObserved(likelihoods.Normal(networks.MLP(2, 3))),
        posteriors.PartlyObserved(posteriors.DiagonalNormal(networks.MLP(3, 2 * 2)), data_shape=(3,)),
    ).double()
    x = torch.randn(5, 3, dtype=torch.float64)
    x[::2, 1] = torch.nan
    ours = impute(vae.model, vae.guide, x, num_proposals=350, chunk_size=1)
    assert "recorded" in ways
    torch.testing.assert_close(ours.mean, impute(vae.model, vae.guide, x, num_proposals=350).mean)
