"""Every way to evaluate, for priors and posteriors of all kinds.

Statistical checks allow 4 standard errors: for one Gaussian estimate a false alarm in 1 of 16,000 seeds, and the seeds
are fixed.
"""

import math

import pytest
import torch

from pyrovae import (
    VAE,
    ais,
    compare_bounds,
    fit_svi,
    inference_gap,
    latent_summary,
    likelihoods,
    networks,
    posterior_samples,
    posteriors,
    prior_log_px,
    priors,
)

LATENT, DATA = 2, (4,)


def on_encoder(kind, **arguments):
    return kind(networks.MLP(DATA, kind.encoder_shape(LATENT, **arguments), (8,)), **arguments)


PAIRS = {
    "mixtures": lambda: (priors.GaussianMixture(LATENT, 3), on_encoder(posteriors.MixtureOfNormals, num_components=2)),
    "autoregressive flows": lambda: (
        priors.Flow(LATENT, hidden_dims=(8,)),
        posteriors.Flow(LATENT, encoder=networks.MLP(DATA, 4, (8,)), hidden_dims=(8,)),
    ),
    "spline flow, low rank": lambda: (
        priors.Flow(LATENT, "spline", 2, hidden_dims=(8,)),
        on_encoder(posteriors.LowRankNormal, rank=1),
    ),
    "two levels, coupling flow": lambda: (
        priors.Hierarchical(LATENT, hidden_dims=(8,)),
        posteriors.Flow(LATENT, on_encoder(posteriors.FullCovarianceNormal), kind="coupling", hidden_dims=(8,)),
    ),
    "Student, full": lambda: (priors.StudentT(LATENT), on_encoder(posteriors.FullCovarianceNormal)),
    "Laplace, diagonal": lambda: (priors.Laplace(LATENT), on_encoder(posteriors.DiagonalNormal)),
}


def vamp():
    posterior = on_encoder(posteriors.FullCovarianceNormal)
    return priors.VampPrior(posterior, DATA, num_pseudo_inputs=5), posterior


PAIRS["VampPrior, full"] = vamp


@pytest.fixture(params=PAIRS)
def fitted(request):
    prior, posterior = PAIRS[request.param]()
    vae = VAE(prior, likelihoods.Normal(networks.MLP(LATENT, DATA, (8,))), posterior).double()
    x = torch.randn(40, *DATA, dtype=torch.float64)
    fit_svi(vae.model, vae.guide, x, epochs=15, batch_size=20, lr=0.02, progress=False)
    return vae, x[:6]


def test_all_estimates_of_log_px_agree(fitted):
    vae, x = fitted
    bounds = compare_bounds(vae.model, vae.guide, x, num_samples=2000)
    # A plain computation, of draws of its own.
    with torch.no_grad():
        q = vae.posterior(x)
        z = q.sample((2000,))
        weights = vae.prior().log_prob(z) + vae.likelihood(z).log_prob(x) - q.log_prob(z.clone())
    plain = weights.logsumexp(0) - math.log(2000)
    relative = (weights - plain).exp().std(0) / 2000**0.5
    estimates = {"plain": (plain, relative)}
    prior = prior_log_px(vae.model, vae.guide, x, num_samples=20_000)
    estimates["prior"] = (prior.log_px, prior.standard_error)
    annealed = ais(vae.model, vae.guide, x, start="guide", num_temperatures=8, num_chains=16, num_leapfrog=3, warm_up=5)
    estimates["annealed"] = (annealed.log_px, annealed.standard_error)
    for name, (value, error) in estimates.items():
        tolerance = 4 * (error.square() + bounds.standard_error.square()).sum().sqrt() / len(x) + 0.01
        assert abs((value - bounds.log_px).mean()) < tolerance, name


def test_the_rest_runs(fitted):
    vae, x = fitted
    gap = inference_gap(vae.model, vae.guide, x, num_samples=200, steps=20)
    assert gap.amortisation.mean() > -4 * gap.amortisation_standard_error.square().sum().sqrt() / len(x)
    latents = latent_summary(vae.model, vae.guide, x, num_samples=5)
    assert latents.sites["z"].posterior_mean.shape == (6, LATENT)
    assert latents.mutual_information is not None
    draws = posterior_samples(vae.model, vae.guide, x, rows=[0], num_draws=5, warm_up=5)
    assert torch.isfinite(torch.as_tensor(draws.posterior["z"].values)).all()
