r"""Beta on a linear-Gaussian model, whose optimum is known in closed form.

The best guide makes E_q[log p(x|z)] - beta KL(q || p) equal to beta log \int p(z) p(x|z)^(1/beta) dz, and

    N(x | m, s^2)^(1/beta) = N(x | m, beta s^2) (2 pi beta s^2)^(d/2) / (2 pi s^2)^(d / (2 beta)),

so that with s fixed the best weights are those of probabilistic PCA (Tipping and Bishop, 1999) with the noise beta s^2:
with the q largest eigenvalues l and eigenvectors u of the covariance of the rows, W W^T is the sum of
(l - beta s^2) u u^T over those above the noise. With s learned too the value has the slope of

    -(d - beta q) / 2 log s^2 - S / (2 s^2),    S the sum of the discarded eigenvalues,

in s^2, which is zero at s^2 = S / (d - beta q), for d > beta q and kept eigenvalues above beta s^2; where the last of
them is not, one latent fewer is in use.

The tolerances of a fit: Adam ends with steps of 0.001, and leaves weights within about ten of them of their best
values. With a curvature of at most 1 / s^2 = 5 in each of 12 weights of the decoder, and as much in the guide, that
costs 2 * 5 / 2 * 12 * 0.01^2 = 0.006 nats. With the best guide for the fitted weights what is left is the curvature of
the value alone, beta / 4 of the square of an eigenvalue's relative error, and (d - beta q) / 4 of that of s^2: at most
GAP nats, so eigenvalues up to 6 are within 12 sqrt(GAP / beta), and s^2 within 2 sqrt(GAP / (d - beta q)) of itself.
"""

import math

import pytest
import torch
from scipy.optimize import minimize
from scipy.stats import multivariate_normal

from pyrovae import VAE, compare_bounds, fit_svi, likelihoods, networks, posteriors, priors
from pyrovae.objectives import Cosine, Stages

ROWS, DATA, LATENT = 200, 6, 2
GAP = 4e-4


def rows():
    """Rows whose covariance has known eigenvalues exactly, in directions of no axis."""
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(ROWS, DATA, generator=generator, dtype=torch.float64)
    x = x - x.mean(0)
    white = x @ torch.linalg.inv(torch.linalg.cholesky(torch.cov(x.T, correction=0)).T)
    eigenvalues = torch.tensor([6.0, 3.0, 0.4, 0.3, 0.2, 0.1], dtype=torch.float64)
    rotation = torch.linalg.qr(torch.randn(DATA, DATA, generator=generator, dtype=torch.float64)).Q
    return white * eigenvalues.sqrt() @ rotation.T + 0.5


def closed_form(covariance, beta, variance=None):
    """The best value for a row, W W^T and the variance of the noise: with as many latents in use as stay above it."""
    eigenvalues, vectors = (part.flip(-1) for part in torch.linalg.eigh(covariance))
    for used in range(LATENT, -1, -1):
        noise = eigenvalues[used:].sum().item() / (DATA - beta * used) if variance is None else variance
        if used == 0 or eigenvalues[used - 1] > beta * noise > 0:
            break
    weights = vectors[:, :used] * (eigenvalues[:used] - beta * noise) @ vectors[:, :used].T
    return value(weights, noise, covariance, beta), weights, noise


def value(weights, variance, covariance, beta):
    """Beta times the mean of log N(x | mean, W W^T + beta s^2), and the constants of the power."""
    total = weights + beta * variance * torch.eye(DATA, dtype=torch.float64)
    log_density = -0.5 * (DATA * math.log(2 * math.pi) + total.logdet() + torch.linalg.solve(total, covariance).trace())
    constants = beta * DATA / 2 * math.log(2 * math.pi * beta * variance) - DATA / 2 * math.log(2 * math.pi * variance)
    return (beta * log_density + constants).item()


def linear_vae(scale):
    torch.manual_seed(0)
    return VAE(
        priors.StandardNormal(LATENT),
        likelihoods.Normal(networks.MLP(LATENT, DATA, ()), scale=scale),
        posteriors.FullCovarianceNormal(networks.MLP(DATA, posteriors.FullCovarianceNormal.encoder_shape(LATENT), ())),
    ).double()


def noise_variance(vae):
    return vae.likelihood.value_of("scale").item() ** 2


@torch.no_grad()
def objective_in_closed_form(vae, x, beta):
    """E_q[log p(x|z)] - beta KL(q || p) of the fitted weights, the mean over rows, and the ELBO."""
    decoder, q = vae.likelihood.decoder.layers[0], vae.encode(x)
    variance = torch.as_tensor(vae.likelihood.scale) ** 2
    squares = ((x - decoder(q.loc)) ** 2).sum(-1) + ((decoder.weight @ q.scale_tril) ** 2).sum((-1, -2))
    reconstruction = -0.5 * (squares / variance + DATA * torch.log(2 * math.pi * variance))
    kl = 0.5 * ((q.scale_tril**2).sum((-1, -2)) + (q.loc**2).sum(-1) - LATENT)
    kl = kl - q.scale_tril.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    return (reconstruction - beta * kl).mean().item(), reconstruction - kl


@pytest.mark.parametrize("beta", [0.5, 1.0, 2.0, 2.3, 2.8, 7.0])
def test_the_closed_form_is_the_maximum(beta):
    """Against SciPy's maximum of a guide in closed form, over W and the variance, from four starts."""
    covariance = torch.cov(rows().T, correction=0)

    def loss(parameters):
        parameters = torch.tensor(parameters, dtype=torch.float64, requires_grad=True)
        weight, variance = parameters[:-1].view(DATA, LATENT), parameters[-1].exp()
        # The best guide of a row with any covariance, from the stationary point of q.
        precision = torch.eye(LATENT, dtype=torch.float64) + weight.T @ weight / (beta * variance)
        q_covariance = torch.linalg.inv(precision)
        slope = q_covariance @ weight.T / (beta * variance)
        rest = torch.eye(DATA, dtype=torch.float64) - weight @ slope
        squares = (rest @ covariance @ rest.T).trace() + (weight @ q_covariance @ weight.T).trace()
        reconstruction = -0.5 * (squares / variance + DATA * torch.log(2 * math.pi * variance))
        second_moment = q_covariance.trace() + (slope @ covariance @ slope.T).trace()
        kl = 0.5 * (second_moment - LATENT - q_covariance.logdet())
        negative = -(reconstruction - beta * kl)
        negative.backward()
        return negative.item(), parameters.grad.numpy()

    generator = torch.Generator().manual_seed(0)
    starts = [torch.randn(DATA * LATENT + 1, generator=generator, dtype=torch.float64).numpy() for _ in range(4)]
    best = min((minimize(loss, start, jac=True, options={"gtol": 1e-9}) for start in starts), key=lambda fit: fit.fun)
    optimum, weights, variance = closed_form(covariance, beta)
    assert -best.fun == pytest.approx(optimum, abs=1e-9)
    assert math.exp(best.x[-1]) == pytest.approx(variance, rel=1e-6)
    weight = torch.from_numpy(best.x[:-1]).view(DATA, LATENT)
    torch.testing.assert_close(weight @ weight.T, weights, rtol=0, atol=1e-5)


CASES = [
    *((beta, "shared", "TraceMeanField_ELBO") for beta in (0.5, 1.0, 2.0)),
    *((beta, 0.7, "TraceMeanField_ELBO") for beta in (0.5, 2.0)),
    (2.0, "shared", "Trace_ELBO"),
    (0.5, "shared", "StickingTheLanding"),
]


@pytest.mark.parametrize(("beta", "scale", "objective"), CASES)
def test_a_fit_reaches_it(beta, scale, objective):
    x, vae = rows(), linear_vae(scale)
    options = {"batch_size": ROWS, "num_particles": 8, "step": "recorded", "progress": False}
    rates = Stages([0.1, 0.03, 0.01, 0.002], [3, 3, 3, 2])
    fit_svi(vae.model, vae.guide, x, objective=objective, beta=beta, epochs=330, lr=rates, **options)
    fixed = None if scale == "shared" else scale**2
    optimum, weights, variance = closed_form(torch.cov(x.T, correction=0), beta, fixed)
    fitted, elbo = objective_in_closed_form(vae, x, beta)
    weight = vae.likelihood.decoder.layers[0].weight.detach()
    best = value(weight @ weight.T, noise_variance(vae), torch.cov(x.T, correction=0), beta)
    assert optimum - 6e-3 < fitted <= best <= optimum + 1e-12
    assert best > optimum - GAP
    torch.testing.assert_close(weight @ weight.T, weights, rtol=0, atol=12 * (GAP / beta) ** 0.5)
    assert noise_variance(vae) == pytest.approx(variance, rel=2 * (GAP / (DATA - beta * LATENT)) ** 0.5)
    assert_evaluation_is_true(vae, x, elbo)


def assert_evaluation_is_true(vae, x, elbo):
    """The ELBO and log p(x) of the fitted weights, beta being no part of them; 2 numbers at 4 standard errors."""
    decoder, scale = vae.likelihood.decoder.layers[0], noise_variance(vae) ** 0.5
    covariance = (decoder.weight @ decoder.weight.T).detach() + scale**2 * torch.eye(DATA, dtype=torch.float64)
    log_px = multivariate_normal(decoder.bias.detach().numpy(), covariance.numpy()).logpdf(x.numpy()).mean()
    means = compare_bounds(vae.model, vae.guide, x, num_samples=400).means()
    for name, exact in (("elbo", elbo.mean().item()), ("log_px", log_px)):
        mean, _, error = means[name]
        assert abs(mean - exact) < 4 * error + 1e-3
    assert means["elbo"][0] < log_px + 4 * means["elbo"][2]


def test_a_beta_that_moves_ends_at_the_same_optimum():
    x, vae = rows(), linear_vae("shared")
    for beta, lr, epochs in ((Cosine(0, 2, length=0.5), 0.1, 120), (2.0, 0.01, 60), (2.0, 0.001, 40)):
        options = {"epochs": epochs, "batch_size": ROWS, "lr": lr, "num_particles": 8, "progress": False}
        fit_svi(vae.model, vae.guide, x, beta=beta, **options)
    optimum, _, variance = closed_form(torch.cov(x.T, correction=0), 2.0)
    assert optimum - 6e-3 < objective_in_closed_form(vae, x, 2.0)[0] <= optimum + 1e-12
    assert noise_variance(vae) == pytest.approx(variance, rel=0.03)
