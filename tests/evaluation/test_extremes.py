"""Objectives and evaluation in float32 of 512 latents and images of 64x64x3, where the answers are known exactly.

Each latent is seen in 24 entries of the image, so that p(z|x) has independent dimensions and log p(x) a closed form.
"""

import math
from pathlib import Path

import pyro.distributions as dist
import pytest
import torch
from torch import nn

from pyrovae import VAE, ais, compare_bounds, fit_svi, likelihoods, log_weights, networks, posteriors, priors

IMAGE, LATENT, SEEN = (3, 64, 64), 512, 24
STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class SeenOften(nn.Module):
    """Entries that are a latent and noise."""

    def __init__(self, scale):
        super().__init__()
        self.scale = scale
        self.weight = nn.Parameter(torch.tensor(1.0))

    def forward(self, z):
        loc = (self.weight * z).repeat_interleave(SEEN, -1).unflatten(-1, IMAGE)
        return dist.Normal(loc, self.scale).to_event(3)


class Exact(nn.Module):
    """The posterior, or a normal of another scale around its mean."""

    def __init__(self, scale, wider=1.0):
        super().__init__()
        variance = 1 / (1 + SEEN / scale**2)
        self.gain = nn.Parameter(torch.tensor(variance * SEEN / scale**2))
        self.log_scale = nn.Parameter(torch.tensor(0.5 * math.log(variance) + math.log(wider)))

    def forward(self, x):
        means = x.reshape(*x.shape[:-3], LATENT, SEEN).mean(-1)
        return dist.Normal(self.gain * means, self.log_scale.exp()).to_event(1)


def pair(scale, wider=1.0, rows=2):
    """The model and its rows, which come from other random numbers than the draws of a fit or an evaluation."""
    vae = VAE(priors.StandardNormal(LATENT), SeenOften(scale), Exact(scale, wider))
    torch.manual_seed(1000)
    with torch.no_grad():
        return vae, vae.decode(torch.randn(rows, LATENT)).sample()


def log_px(x, scale):
    groups = x.double().reshape(len(x), LATENT, SEEN)
    covariance = scale**2 * torch.eye(SEEN, dtype=torch.float64) + 1
    law = torch.distributions.MultivariateNormal(torch.zeros(SEEN, dtype=torch.float64), covariance)
    return law.log_prob(groups).sum(1)


def assert_near(ours, exact, scale):
    """To a millionth, and to what rounding of entries around 1 does to squares of 12,288 distances in scales."""
    of_rounding = 4 * 12_288**0.5 * torch.finfo(torch.float32).eps / scale
    torch.testing.assert_close(ours.double(), exact.double(), rtol=1e-6, atol=of_rounding)


SCALES = [1.0, 0.03, 1e-3]


@pytest.mark.parametrize("scale", SCALES)
def test_bounds_with_the_exact_posterior(scale):
    vae, x = pair(scale)
    bounds = compare_bounds(vae.model, vae.guide, x, num_samples=100)
    exact = log_px(x, scale)
    assert_near(bounds.elbo, exact, scale)
    assert_near(bounds.log_px, exact, scale)
    assert (bounds.gap.abs() < 1e-3 + 0.1 * (scale < 0.01)).all()
    assert (bounds.ess > 95).all()
    assert bounds.standard_error.isfinite().all()
    assert "nan" not in bounds.summary().splitlines()[1]


@pytest.mark.parametrize("wider", [1e-2, 10.0, 1e4])
@pytest.mark.parametrize("scale", [1.0, 1e-3])
def test_bounds_with_a_guide_far_off(scale, wider):
    """The ELBO is what it has to be, and nothing else is infinite or NaN but k-hat, where float32 is too coarse for it.

    Two means at 4.5 standard errors: a false alarm in 1 of 70,000 seeds.
    """
    vae, x = pair(scale, wider)
    bounds = compare_bounds(vae.model, vae.guide, x, num_samples=400)
    divergence = 0.5 * LATENT * (wider**2 - 1 - 2 * math.log(wider))
    missed = (bounds.elbo - (log_px(x, scale) - divergence)).abs()
    assert (missed <= 4.5 * bounds.elbo_standard_error + 1e-5 * bounds.elbo.abs()).all()
    columns = ("elbo", "log_px", "standard_error", "bias", "gap", "gap_standard_error", "ess", "log_px_smoothed")
    for name in columns:
        assert getattr(bounds, name).isfinite().all(), name
    assert (bounds.ess >= 1 - 1e-9).all()
    # Far too few draws, and it is said so.
    assert not bounds.reliable.any()
    assert bounds.verdict().startswith(("log p(x) is too low", "log p(x) cannot be judged"))


OBJECTIVES = ["Trace_ELBO", "IWAE", "Renyi", "DReG", "StickingTheLanding", "ReweightedWakeSleep", "ScoreFunction"]


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("objective", ["TraceMeanField_ELBO", *OBJECTIVES])
def test_objectives_with_the_exact_posterior(objective, scale):
    """Weights that all are p(x): every bound of drawn densities is log p(x), and the fit's gradients are finite."""
    vae, x = pair(scale, rows=4)
    particles = {} if objective.endswith("ELBO") else {"num_particles": 3}
    before = [parameter.clone() for parameter in vae.parameters()]
    result = fit_svi(
        vae.model,
        vae.guide,
        x,
        validation=x,
        epochs=1,
        batch_size=2,
        lr=1e-12,
        objective=objective,
        progress=False,
        **particles,
    )
    exact = log_px(x, scale).mean()
    for split in ("train", "validation"):
        elbo, bound = (torch.tensor(result.history[0][f"{split}_{name}"]) for name in ("elbo", "objective"))
        if objective == "TraceMeanField_ELBO":
            # Of a row the drawn log p(x|z) less its mean is half of a chi-square less its mean, of 512 terms.
            assert abs(elbo - exact) < 4.5 * (LATENT / 2 / len(x)) ** 0.5
        else:
            assert_near(elbo, exact, scale)
        assert bound.isfinite()
        if objective in ("IWAE", "DReG", "Renyi", "Trace_ELBO"):
            assert_near(bound, exact, scale)
    # Adam's step of so small a rate is nothing beside them, and would be NaN if a gradient was.
    assert all(torch.allclose(a, b, rtol=0, atol=1e-6) for a, b in zip(vae.parameters(), before, strict=True))


@pytest.mark.parametrize("scale", SCALES)
def test_annealing_from_the_exact_posterior(scale):
    """Every density on the way is the same, so that the weights are p(x)."""
    vae, x = pair(scale)
    estimate = ais(vae.model, vae.guide, x, start="guide", num_temperatures=4, num_chains=2, num_leapfrog=2, warm_up=4)
    assert_near(estimate.log_px, log_px(x, scale), scale)
    assert estimate.acceptance.isfinite().all()


@pytest.mark.parametrize("scale", [1.0, 1e-3])
def test_annealing_from_the_prior(scale):
    """Far too few temperatures: a lower bound, finite."""
    vae, x = pair(scale)
    estimate = ais(vae.model, vae.guide, x, start="prior", num_temperatures=6, num_chains=2, num_leapfrog=2, warm_up=6)
    assert estimate.log_px.isfinite().all()
    assert (estimate.log_px < log_px(x, scale)).all()


def peak_gib():
    (line,) = (line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 2**20


@pytest.mark.skipif(not RESET.exists(), reason="the peak of memory is read from /proc")
def test_5000_draws_of_an_image_stay_in_the_memory_that_is_given():
    """12,288 entries and 5,000 draws are 0.23 GiB for every tensor of the model; all of it is to take less than 2."""
    vae, x = pair(0.03, rows=1)
    RESET.write_text("5")
    before = peak_gib()
    log_w = log_weights(vae.model, vae.guide, x, 5000)
    taken = peak_gib() - before
    print(f"5,000 draws of one image took {taken:.2f} GiB")
    assert taken < 2
    assert log_w.shape == (5000, 1)
    exact = log_px(x, 0.03)
    assert_near(log_w, exact.expand(5000, 1), 0.03)
    assert_near(torch.logsumexp(log_w.double(), 0) - math.log(5000), exact, 0.03)


def test_5000_draws_by_networks():
    """Weights of many draws against those of the same network in float64, for the same draws."""
    torch.manual_seed(0)
    decoder = networks.MLP(LATENT, IMAGE, (32,))
    vae = VAE(
        priors.StandardNormal(LATENT),
        likelihoods.Bernoulli(decoder),
        posteriors.DiagonalNormal(networks.MLP(IMAGE, 2 * LATENT, (32,))),
    )
    x = torch.bernoulli(torch.full((1, *IMAGE), 0.4))
    bounds = compare_bounds(vae.model, vae.guide, x, num_samples=5000, keep_log_weights=True)
    with torch.no_grad():
        z = vae.encode(x).sample((200,))[:, 0]
        ours = vae.prior().log_prob(z) + vae.decode(z).log_prob(x) - vae.encode(x).log_prob(z)
        vae.double()
        z, x = z.double(), x.double()
        exact = vae.prior().log_prob(z) + vae.decode(z).log_prob(x) - vae.encode(x).log_prob(z)
    torch.testing.assert_close(ours.double(), exact, rtol=1e-6, atol=1e-3)
    # The same distribution of weights: two means of draws at 4.5 standard errors, a false alarm in 1 of 150,000 seeds.
    error = (exact.var() / 200 + bounds.log_weights.var() / 5000).sqrt()
    assert (bounds.log_weights.mean() - exact.mean()).abs() < 4.5 * error
    assert all(getattr(bounds, name).isfinite().all() for name in ("log_px", "elbo", "k_hat", "ess", "standard_error"))
