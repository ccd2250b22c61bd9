"""A data plate of which the batch is a subsample, where the rows repeated for their draws outnumber the plate."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from problems import LinearGaussian
from torch import nn

from pyrovae import compare_bounds, fit_svi, impute, log_weights
from pyrovae.distributions import PartlyObserved

PROBLEM, SIZE = LinearGaussian.random(3, 2, 0), 60


class Pair(nn.Module):
    """A program that is not written for a leading dimension of draws."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Linear(3, 4).double()

    def plate(self, x):
        return pyro.plate("data", SIZE, subsample_size=len(x), dim=-1)

    def model(self, x):
        with self.plate(x):
            z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
            loc = (z.reshape(len(x), 2) @ PROBLEM.weight.T).reshape(len(x), 3) + PROBLEM.bias
            pyro.sample("x", dist.Normal(loc, PROBLEM.scale).to_event(1), obs=x)

    def guide(self, x):
        loc, raw = self.encoder(x).reshape(len(x), 4).chunk(2, -1)
        with self.plate(x):
            pyro.sample("z", dist.Normal(loc, nn.functional.softplus(raw)).to_event(1))


@pytest.mark.parametrize("objective", ["IWAE", "DReG", "ReweightedWakeSleep"])
def test_it_trains_and_is_scored(objective):
    """The estimates of log p(x) of 5 rows, each within 4 standard errors: a false alarm in 1 of 3,000 seeds."""
    pair, x = Pair(), PROBLEM.rows(40)
    options = {"epochs": 15, "batch_size": 20, "lr": 0.05, "objective": objective, "progress": False}
    history = fit_svi(pair.model, pair.guide, x, **options).history
    assert history[-1]["train_objective"] > history[0]["train_objective"] + 1
    bounds = compare_bounds(pair.model, pair.guide, x[:5], num_samples=2000)
    assert ((bounds.log_px - PROBLEM.log_px(x[:5])).abs() < 4 * bounds.standard_error).all()


def thousands(x):
    """The plate of 5,000 rows, of which it draws a permutation at each run."""
    return pyro.plate("data", 5000, subsample_size=len(x), dim=-1)


def model(x):
    with thousands(x):
        z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
        rows = dist.Normal(z.sum(-1, keepdim=True), torch.ones(3)).to_event(1)
        pyro.sample("x", PartlyObserved(rows), obs=x)


def guide(x):
    with thousands(x):
        pyro.sample("z", dist.Normal(x.nan_to_num(0.0)[:, :2], 0.5).to_event(1))


def test_scores_do_not_depend_on_how_they_are_cut():
    """Plain and recorded: of 1,000 chunks of one draw the most are scored by recorded operations."""
    x = torch.randn(64, 3)
    ample = log_weights(model, guide, x, 1000, chunk_size=1000)
    for options in ({"chunk_size": 7}, {"chunk_size": 1}, {"memory_gib": 1e-4}, {}):
        torch.testing.assert_close(log_weights(model, guide, x, 1000, **options), ample, rtol=0, atol=1e-4)


def test_imputed_draws_do_not_depend_on_how_proposals_are_cut():
    x = torch.randn(64, 3)
    x[::2, 1] = torch.nan
    ample, few = (impute(model, guide, x, num_samples=20, num_proposals=1000, chunk_size=size) for size in (1000, 7))
    torch.testing.assert_close(few.draws, ample.draws)
    torch.testing.assert_close(few.mean, ample.mean)
