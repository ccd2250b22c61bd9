"""Guides with flows: those without an inverse score their own draws alone, the others any draw.

Statistical checks allow 4 standard errors: for one Gaussian estimate a false alarm in 1 of 16,000 seeds.
"""

import pyro.distributions as dist
import pytest
import torch
from problems import LinearGaussian
from pyro.distributions import transforms
from torch import nn

from pyrovae import ais, bdmc, compare_bounds, inference_gap, latent_summary
from pyrovae.evaluation.opening import open_sampler
from pyrovae.programs import check_any_density

PROBLEM = LinearGaussian.random(3, 2, 0)

WITHOUT_INVERSE = {
    "planar": lambda: transforms.Planar(2),
    "radial": lambda: transforms.Radial(2),
    "radial of the row": lambda: transforms.conditional_radial(2, 3, [4]),
    "sylvester": lambda: transforms.Sylvester(2, count_transforms=2),
    "polynomial": lambda: transforms.polynomial(2),
    "block autoregressive": lambda: transforms.block_autoregressive(2),
    "neural autoregressive": lambda: transforms.neural_autoregressive(2, hidden_dims=[4]),
}
WITH_INVERSE = {
    "coupling": lambda: transforms.affine_coupling(2, hidden_dims=[4]),
    "householder": lambda: transforms.Householder(2),
}


class FlowPosterior(nn.Module):
    """A Gaussian of the right mean, sent through a flow."""

    def __init__(self, flow):
        super().__init__()
        self.flow = flow

    def forward(self, x):
        base = dist.Normal(PROBLEM.posterior_moments(x)[0], 0.5).to_event(1)
        flow = self.flow.condition(x) if isinstance(self.flow, dist.ConditionalTransform) else self.flow
        return dist.TransformedDistribution(base, [flow])


def flow_pair(make):
    torch.manual_seed(0)
    vae = PROBLEM.vae(FlowPosterior(make()).double())
    return vae.model, vae.guide


def ais_from_guide(model, guide, x):
    return ais(model, guide, x, start="guide", num_temperatures=100_000)


def bdmc_from_guide(model, guide, x):
    return bdmc(model, guide, like=x, start="guide", num_temperatures=100_000)


def long_gap(model, guide, x):
    return inference_gap(model, guide, x, steps=100_000)


@pytest.mark.parametrize("name", WITHOUT_INVERSE)
@pytest.mark.parametrize(
    ("run", "repair"),
    [
        (ais_from_guide, "so no path can start from it: use start='prior', or a guide with"),
        (bdmc_from_guide, "so no path can start from it: use start='prior', or a guide with"),
        (long_gap, "so the gap cannot be split.*use a posterior with a density everywhere, or the whole gap of comp"),
        (latent_summary, "so there is no aggregated posterior.*aggregate=False"),
    ],
)
def test_without_an_inverse(run, repair, name):
    """Refused before a run that would take hours."""
    pair, x = flow_pair(WITHOUT_INVERSE[name]), PROBLEM.rows(3)
    with pytest.raises(ValueError, match=rf"^the guide cannot give the density .*without an inverse\?\), {repair}"):
        run(*pair, x)


def test_what_needs_no_density_of_other_draws_is_served():
    pair, x = flow_pair(WITHOUT_INVERSE["planar"]), PROBLEM.rows(3)
    exact = PROBLEM.log_px(x)
    annealed = ais(*pair, x, num_temperatures=50, num_chains=32, num_leapfrog=3, warm_up=20)
    assert ((annealed.log_px - exact).abs() < 4 * annealed.standard_error).all()
    bounds = compare_bounds(*pair, x, num_samples=5000)
    assert (bounds.log_px - exact).abs().max() < 0.2


@pytest.mark.parametrize("name", WITH_INVERSE)
def test_with_an_inverse(name):
    """What is drawn after the trial is what it would be without."""
    pair, x = flow_pair(WITH_INVERSE[name]), PROBLEM.rows(3)
    with open_sampler(*pair, x, seed=0) as sampler:
        state = torch.get_rng_state()
        check_any_density(sampler, x, "nothing")
        assert torch.equal(torch.get_rng_state(), state)
    annealed = ais(*pair, x, num_temperatures=100, num_chains=32, num_leapfrog=3, warm_up=30, start="guide")
    assert ((annealed.log_px - PROBLEM.log_px(x)).abs() < 4 * annealed.standard_error).all()
    gap = inference_gap(*pair, x, steps=20, num_samples=100)
    torch.testing.assert_close(gap.approximation + gap.amortisation, gap.total)
