"""Programs that draw what they observe, with values that they only name."""

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine

from pyrovae import bdmc, fit_svi
from pyrovae.objectives import ReweightedWakeSleep
from pyrovae.programs import unconditioned


def model(x):
    with pyro.plate("data", len(x)):
        mean = pyro.deterministic("mean", pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1)))
        pyro.sample("x", dist.Normal(mean, 0.1).to_event(1), obs=x)


def make_guide():
    layer = torch.nn.Linear(2, 2)

    def guide(x):
        pyro.module("layer", layer)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(layer(x), 1.0).to_event(1))

    return guide


def test_what_is_observed_is_drawn_and_what_is_named_stays():
    """A draw is within 6 scales of its mean but in 1 of 30 million cases."""
    x = torch.full((4, 2), 50.0)
    trace = poutine.trace(unconditioned(model)).get_trace(x)
    assert torch.equal(trace.nodes["mean"]["value"], trace.nodes["z"]["value"])
    assert trace.nodes["x"]["value"].shape == x.shape
    assert ((trace.nodes["x"]["value"] - trace.nodes["z"]["value"]).abs() < 0.6).all()


def test_rows_are_simulated_and_dreamt():
    guide, x = make_guide(), torch.randn(8, 2)
    bracket = bdmc(model, guide, like=x, num_rows=3, num_temperatures=3, num_chains=2, num_leapfrog=2, warm_up=2)
    assert bracket.rows.shape == (3, 2)
    fit_svi(model, guide, x, objective=ReweightedWakeSleep(insomnia=0), epochs=1, batch_size=4, progress=False)
