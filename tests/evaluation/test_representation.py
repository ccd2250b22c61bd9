"""latent_summary against closed forms and quadrature.

Statistical checks allow 4 standard errors: for one Gaussian estimate a false alarm in 1 of 16,000 seeds, and the
seeds are fixed.
"""

import math

import numpy as np
import pyro.distributions as dist
import pytest
import torch
from latent_pairs import pair, rows
from problems import ExactPosterior, LinearGaussian, ScaledPosterior
from scipy import stats
from scipy.special import logsumexp

from pyrovae import latent_summary
from pyrovae.evaluation.latent_sites import RunningMoments

GRID = np.linspace(-40, 40, 20_001)


def quadrature_kl(q, p):
    """KL(q || p) of two densities by a sum over a grid."""
    log_q = q.logpdf(GRID)
    return (np.exp(log_q) * (log_q - p.logpdf(GRID))).sum() * (GRID[1] - GRID[0])


class Mixture:
    """A mixture of SciPy's densities."""

    def __init__(self, parts, weights=None):
        self.parts, self.weights = parts, weights or [1 / len(parts)] * len(parts)

    def logpdf(self, z):
        return logsumexp([part.logpdf(z) + math.log(w) for part, w in zip(self.parts, self.weights, strict=True)], 0)


def test_moments_of_blocks_are_those_of_the_whole():
    draws = 3 + rows(20, 4)
    moments = RunningMoments(exact=False)
    for block in draws.sort(0).values.split([1, 12, 7]):
        moments.add(block)
    torch.testing.assert_close(moments.mean, draws.mean(0), rtol=1e-12, atol=0)
    torch.testing.assert_close(moments.standard_error, draws.std(0) / math.sqrt(20), rtol=1e-12, atol=0)


def test_kl_per_row_and_dimension_in_closed_form():
    problem = LinearGaussian.random(4, 3, 0)
    x, guide = problem.rows(70), ScaledPosterior(problem)
    vae = problem.vae(guide)
    latents = latent_summary(vae.model, vae.guide, x, num_samples=3)
    loc, scale = guide.moments(x)
    by_hand = 0.5 * (loc**2 + scale**2 - 1) - scale.log()
    site = latents.sites["z"]
    torch.testing.assert_close(site.kl_per_dim, by_hand, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(latents.kl, by_hand.sum(-1), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(site.posterior_mean, loc, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(site.activity, loc.var(0), rtol=1e-12, atol=1e-12)
    assert site.kl_method == "closed form"
    assert site.kl_per_dim_missing is None
    for zero in (latents.kl_standard_error, site.kl_standard_error, site.posterior_mean_standard_error):
        assert torch.equal(zero, torch.zeros_like(zero))


def test_full_covariance_has_a_closed_form_and_no_dimensions():
    problem = LinearGaussian.random(4, 3, 0)
    x = problem.rows(10)
    vae = problem.vae(ExactPosterior(problem))
    latents = latent_summary(vae.model, vae.guide, x, num_samples=2)
    loc, covariance = problem.posterior_moments(x)
    by_hand = 0.5 * (covariance.trace() + loc.square().sum(-1) - 3 - torch.logdet(covariance))
    torch.testing.assert_close(latents.kl, by_hand, rtol=1e-10, atol=1e-10)
    site = latents.sites["z"]
    assert site.kl_method == "closed form"
    assert site.kl_per_dim is None
    assert site.kl_per_dim_standard_error is None
    assert site.kl_per_dim_missing == (
        "MultivariateNormal is over 3 dimensions at once, and does not factorise over them"
    )
    assert "no KL per dimension: MultivariateNormal" in latents.summary()
    torch.testing.assert_close(site.activity, loc.var(0), rtol=1e-10, atol=1e-10)


def test_a_closed_form_of_torch_is_found():
    x = rows(4)
    latents = latent_summary(*pair(lambda x: dist.Laplace(x, 0.7).to_event(1)), x, num_samples=2)
    exact = [quadrature_kl(stats.laplace(loc, 0.7), stats.norm()) for loc in x[:, 0].tolist()]
    assert latents.sites["z"].kl_method == "closed form"
    np.testing.assert_allclose(latents.kl.numpy(), exact, rtol=1e-4)  # the kink lies between points


def test_without_a_closed_form_the_kl_is_drawn():
    """Student's t against a normal: dimensions by quadrature, errors of the right size."""
    x = rows(30, 2)
    make_pair = pair(lambda x: dist.StudentT(5.0, x, 0.5).to_event(1))
    latents = latent_summary(*make_pair, x, num_samples=2000)
    site = latents.sites["z"]
    exact = torch.tensor([[quadrature_kl(stats.t(5, v, 0.5), stats.norm()) for v in row] for row in x.tolist()])
    assert site.kl_method == "Monte Carlo"
    z = (site.kl_per_dim - exact) / site.kl_per_dim_standard_error
    # 60 checks at 4 standard errors: a false alarm in about 1 of 260 seeds; the mean of z^2 is 1 +- 0.18.
    assert z.abs().max() <= 4
    assert 0.4 < z.square().mean() < 1.8
    assert ((latents.kl - exact.sum(-1)).abs() <= 4 * latents.kl_standard_error).all()
    torch.testing.assert_close(site.kl_per_dim.sum(-1), latents.kl, rtol=1e-10, atol=1e-10)
    # StudentT has a mean all the same.
    torch.testing.assert_close(site.posterior_mean, x)


def test_mixture_prior_is_drawn_and_has_no_dimensions():
    weights, locs = torch.tensor([0.3, 0.7], dtype=torch.float64), torch.tensor([[-2.0], [1.0]], dtype=torch.float64)

    def prior(x):
        return dist.MixtureSameFamily(dist.Categorical(weights), dist.Normal(locs, 0.5).to_event(1))

    x = rows(10)
    latents = latent_summary(*pair(lambda x: dist.Normal(x, 0.4).to_event(1), prior), x, num_samples=2000)
    mixture = Mixture([stats.norm(-2, 0.5), stats.norm(1, 0.5)], [0.3, 0.7])
    exact = torch.tensor([quadrature_kl(stats.norm(v, 0.4), mixture) for v in x[:, 0].tolist()])
    assert ((latents.kl - exact).abs() <= 4 * latents.kl_standard_error).all()
    assert latents.sites["z"].kl_per_dim is None
    assert latents.sites["z"].kl_per_dim_missing.startswith("MixtureSameFamily is over 1 dimensions")


@pytest.mark.parametrize("scale", [0.7, 1.2])
def test_mutual_information_and_marginal_kl_by_quadrature(scale):
    x = torch.tensor([[-0.6], [0.9]], dtype=torch.float64)
    latents = latent_summary(*pair(lambda x: dist.Normal(x, scale).to_event(1)), x, num_samples=4000)
    mixture = Mixture([stats.norm(-0.6, scale), stats.norm(0.9, scale)])
    exact = torch.tensor([quadrature_kl(part, mixture) for part in mixture.parts])
    marginal = quadrature_kl(mixture, stats.norm())
    assert ((latents.kl_to_aggregate - exact).abs() <= 4 * latents.kl_to_aggregate_standard_error).all()
    error = latents.mutual_information_standard_error
    assert (latents.mutual_information - exact.mean()).abs() <= 4 * error
    assert 1e-4 < error < 0.01
    assert (latents.marginal_kl - marginal).abs() <= 4 * latents.marginal_kl_standard_error
    assert latents.marginal_kl_standard_error < 0.02
    torch.testing.assert_close(latents.mutual_information + latents.marginal_kl, latents.kl.mean())


def test_the_identity_holds_where_the_kl_is_drawn():
    """With a drawn KL the marginal KL has draws of its own, and is right by itself."""
    x = torch.tensor([[-0.6], [0.9], [1.5]], dtype=torch.float64)
    latents = latent_summary(*pair(lambda x: dist.StudentT(5.0, x, 0.5).to_event(1)), x, num_samples=4000)

    exact = quadrature_kl(Mixture([stats.t(5, v, 0.5) for v in (-0.6, 0.9, 1.5)]), stats.norm())
    assert (latents.marginal_kl - exact).abs() <= 4 * latents.marginal_kl_standard_error
    assert latents.marginal_kl_standard_error < 0.05
    torch.testing.assert_close(latents.mutual_information + latents.marginal_kl, latents.kl.mean())


def test_posteriors_far_apart_tell_all_rows_apart():
    x = 100 * torch.arange(300, dtype=torch.float64)[:, None]
    latents = latent_summary(*pair(lambda x: dist.Normal(x, 0.1).to_event(1)), x, num_samples=2)
    torch.testing.assert_close(latents.kl_to_aggregate, torch.full((300,), math.log(300), dtype=torch.float64))
    assert latents.mutual_information_standard_error < 1e-9
    assert "at its ceiling" in latents.verdict()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_collapsed_guide_knows_nothing(dtype):
    x = rows(20, 3).to(dtype)
    latents = latent_summary(*pair(lambda x: dist.Normal(torch.zeros_like(x), 1.0).to_event(1)), x)
    for zero in (latents.kl, latents.kl_to_aggregate, latents.marginal_kl, latents.sites["z"].activity):
        torch.testing.assert_close(zero, torch.zeros_like(zero), rtol=0, atol=1e-6)
    assert latents.active_units == 0
    assert latents.verdict().startswith("Collapsed: in none of 3 latent dimensions")
