"""The linear VAE has probabilistic PCA's maximum likelihood as its optimum (Tipping and Bishop, 1999; Lucas, Tucker,
Grosse and Norouzi, 2019)."""

import math

import torch
from scipy.stats import multivariate_normal

from pyrovae import VAE, compare_bounds, fit_svi, likelihoods, networks, posteriors, priors

ROWS, DATA_DIM, LATENT_DIM = 400, 6, 2


def maximum_log_likelihood(x):
    """Mean log-likelihood of a row at the maximum, from the eigenvalues of the covariance."""
    eigenvalues = torch.linalg.eigvalsh(torch.cov(x.T, correction=0)).flip(0)
    noise = eigenvalues[LATENT_DIM:].mean()
    log_determinant = eigenvalues[:LATENT_DIM].log().sum() + (DATA_DIM - LATENT_DIM) * noise.log()
    return -0.5 * (DATA_DIM * math.log(2 * math.pi) + log_determinant + DATA_DIM).item()


def test_the_linear_vae_reaches_the_maximum_and_never_exceeds_it():
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(DATA_DIM, LATENT_DIM, generator=generator, dtype=torch.float64)
    x = torch.randn(ROWS, LATENT_DIM, generator=generator, dtype=torch.float64) @ weight.T
    x = x + 0.5 * torch.randn(ROWS, DATA_DIM, generator=generator, dtype=torch.float64) + 1.0
    vae = VAE(
        priors.StandardNormal(LATENT_DIM),
        likelihoods.Normal(networks.MLP(LATENT_DIM, DATA_DIM, ()), scale="shared"),
        posteriors.DiagonalNormal(networks.MLP(DATA_DIM, 2 * LATENT_DIM, ())),
    ).double()
    for lr, epochs in ((0.02, 150), (0.002, 100)):
        fit_svi(vae.model, vae.guide, x, epochs=epochs, batch_size=100, lr=lr, num_particles=4, progress=False)

    maximum = maximum_log_likelihood(x)
    decoder, scale = vae.likelihood.decoder.layers[0], vae.likelihood.scale.detach()
    covariance = decoder.weight @ decoder.weight.T + scale**2 * torch.eye(DATA_DIM, dtype=torch.float64)
    fitted = multivariate_normal(decoder.bias.detach().numpy(), covariance.detach().numpy()).logpdf(x.numpy()).mean()
    assert fitted <= maximum + 1e-12
    assert fitted > maximum - 1e-2

    bounds = compare_bounds(vae.model, vae.guide, x, num_samples=1000)
    mean, _, error = bounds.means()["log_px"]
    # One estimate at 4 standard errors: a false alarm in 1 of 16,000 seeds.
    assert abs(mean - fitted) < 4 * error
    assert mean < maximum + 4 * error
    # The best diagonal posterior is exact at the optimum, so the ELBO gets there too.
    assert maximum - 2e-2 < bounds.elbo.mean().item() <= mean
