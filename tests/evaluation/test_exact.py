"""compare_bounds against closed forms.

Statistical checks allow 4 standard errors: for one Gaussian estimate a false alarm in 1 of 16,000 seeds, and the
seeds are fixed.
"""

import pytest
import torch
from problems import ExactPosterior, LinearGaussian, ScaledPosterior

from pyrovae import compare_bounds, log_weights


@pytest.mark.parametrize(("data_dim", "latent_dim", "seed"), [(1, 1, 0), (3, 1, 1), (5, 2, 2), (20, 7, 3), (50, 10, 4)])
def test_exact_posterior_gives_log_px_from_any_draw(data_dim, latent_dim, seed):
    problem = LinearGaussian.random(data_dim, latent_dim, seed)
    x = problem.rows(11, seed)
    vae = problem.vae(ExactPosterior(problem))
    bounds = compare_bounds(vae.model, vae.guide, x, num_samples=100)
    exact = problem.log_px(x)
    torch.testing.assert_close(bounds.log_px, exact, rtol=0, atol=1e-9)
    torch.testing.assert_close(bounds.elbo, exact, rtol=0, atol=1e-9)
    for zero in (bounds.gap, bounds.standard_error, bounds.elbo_standard_error, bounds.gap_standard_error):
        torch.testing.assert_close(zero, torch.zeros_like(zero), rtol=0, atol=1e-9)
    torch.testing.assert_close(bounds.ess, torch.full_like(exact, 100.0))
    assert (bounds.k_hat == 0).all()
    assert bounds.reliable.all()


@pytest.mark.parametrize(("data_dim", "latent_dim", "seed"), [(1, 1, 0), (3, 1, 1), (5, 2, 2), (20, 3, 3)])
def test_poor_guide_agrees_within_its_standard_errors(data_dim, latent_dim, seed):
    problem = LinearGaussian.random(data_dim, latent_dim, seed)
    x = problem.rows(25, seed)
    guide = ScaledPosterior(problem)
    vae = problem.vae(guide)
    bounds = compare_bounds(vae.model, vae.guide, x, num_samples=4000)
    exact, elbo = problem.log_px(x), problem.elbo(x, *guide.moments(x))
    assert bounds.reliable.all()
    # 25 rows and 2 checks at 4 standard errors: a false alarm in about 1 of 300 seeds, for each size.
    assert ((bounds.log_px - exact).abs() <= 4 * bounds.standard_error).all()
    assert ((bounds.elbo - elbo).abs() <= 4 * bounds.elbo_standard_error).all()
    assert ((bounds.gap - (exact - elbo)).abs() <= 4 * bounds.gap_standard_error).all()
    assert (bounds.elbo <= bounds.log_px).all()
    assert (elbo < exact).all()
    # The errors are of the right size, not just large enough: the mean of z^2 over rows is 1 +- 0.28.
    z = ((bounds.log_px - exact) / bounds.standard_error).square().mean().item()
    assert 0.2 < z < 2.4


def test_numbers_are_those_of_plain_torch():
    """The log weights by hand, from the draws that Pyro makes with the same seed."""
    problem = LinearGaussian.random(4, 2, 5)
    x = problem.rows(6)
    guide = ScaledPosterior(problem)
    vae = problem.vae(guide)
    weights = log_weights(vae.model, vae.guide, x, 50)
    bounds = compare_bounds(vae.model, vae.guide, x, num_samples=50)
    w = weights.exp()
    torch.testing.assert_close(bounds.elbo, weights.mean(0), rtol=1e-12, atol=0)
    torch.testing.assert_close(bounds.log_px, w.mean(0).log(), rtol=1e-12, atol=0)
    torch.testing.assert_close(bounds.ess, w.sum(0) ** 2 / (w**2).sum(0), rtol=1e-10, atol=0)
    torch.testing.assert_close(bounds.standard_error, w.std(0) / w.mean(0) / 50**0.5, rtol=1e-10, atol=0)
    torch.testing.assert_close(bounds.bias, -0.5 * bounds.standard_error**2, rtol=1e-10, atol=0)
    torch.testing.assert_close(bounds.elbo_standard_error, weights.std(0) / 50**0.5, rtol=1e-10, atol=0)
    # Both numbers are functions of two means, of weights and of their logarithms, from the same draws.
    covariances = torch.stack([torch.cov(torch.stack(both)) for both in zip(w.T, weights.T, strict=True)]) / 50
    slopes = torch.stack([1 / w.mean(0), -torch.ones(len(x), dtype=w.dtype)], -1)
    variances = torch.einsum("ri,rij,rj->r", slopes, covariances, slopes)
    torch.testing.assert_close(bounds.gap, w.mean(0).log() - weights.mean(0), rtol=1e-10, atol=0)
    torch.testing.assert_close(bounds.gap_standard_error, variances.sqrt(), rtol=1e-8, atol=0)
