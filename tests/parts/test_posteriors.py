"""Each posterior against plain PyTorch and closed forms.

Statistical checks allow 4 standard errors: for one Gaussian estimate a false alarm in 1 of 16,000 seeds, and the seeds
are fixed.
"""

import math

import pytest
import torch
from part_makers import DATA, POSTERIORS, flow, make, moved
from problems import LinearGaussian
from torch import nn
from torch.autograd.functional import jacobian

from pyrovae import VAE, compare_bounds, fit_svi, inference_gap, latent_summary, likelihoods, networks, priors
from pyrovae import posteriors as parts
from pyrovae.evaluation.opening import open_sampler
from pyrovae.programs import VectorizedSampler


@pytest.mark.parametrize("name", POSTERIORS)
def test_evaluation_draws_all_at_once(name):
    part = make(f"posterior {name}")
    vae = VAE(priors.StandardNormal(3), likelihoods.Normal(networks.MLP(3, DATA, (8,))), part)
    with open_sampler(vae.model, vae.guide, torch.randn(4, *DATA), seed=0) as sampler:
        assert type(sampler) is VectorizedSampler


def test_a_full_covariance_is_its_cholesky_factor():
    output = torch.randn(9)
    q = parts.FullCovarianceNormal(nn.Identity())(output)
    diagonal = nn.functional.softplus(output[3:6]) + 1e-6
    below = torch.tensor([[0, 0, 0], [output[6], 0, 0], [output[7], output[8], 0]])
    factor = torch.diag(diagonal) @ (torch.eye(3) + below / 3)
    torch.testing.assert_close(q.loc, output[:3])
    torch.testing.assert_close(q.covariance_matrix, factor @ factor.T)


def test_a_low_rank_covariance():
    output = torch.randn(12)
    q = parts.LowRankNormal(nn.Identity(), rank=2)(output)
    factor = output[6:].reshape(3, 2)
    diagonal = (nn.functional.softplus(output[3:6]) + 1e-3) ** 2
    torch.testing.assert_close(q.covariance_matrix, factor @ factor.T + torch.diag(diagonal))


@pytest.mark.parametrize("kind", ["inverse_autoregressive", "coupling", "spline"])
def test_a_flow_is_its_change_of_variables_and_starts_near_its_base(kind):
    part = flow("FullCovarianceNormal", kind)((3,)).double()
    x = torch.randn(4, *DATA, dtype=torch.float64)
    z = part(x).sample()
    assert (part(x).log_prob(z) - part.base(x).log_prob(z)).abs().mean() < 0.2
    q = moved(part)(x)

    def forward(value):
        for layer in q.transforms:
            value = layer(value)
        return value

    noise = q.base_dist.sample()
    log_det = torch.stack([torch.linalg.slogdet(jacobian(forward, row))[1] for row in noise])
    expected = q.base_dist.log_prob(noise) - log_det
    torch.testing.assert_close(q.log_prob(forward(noise).detach().clone()), expected, rtol=1e-5, atol=1e-5)


def test_a_flow_scores_its_own_draws_without_going_back():
    part = flow("DiagonalNormal", "inverse_autoregressive")((3,))
    x, calls = torch.randn(4, *DATA), []
    for layer in part.flow.layers:
        layer.arn.register_forward_hook(lambda *_: calls.append(1))
    q = part(x).expand((10, 4))
    q.log_prob(q.rsample())
    assert len(calls) == 3
    q.log_prob(torch.randn(10, 4, 3))
    assert len(calls) == 3 + 3 * 3


def linear_encoder(problem):
    """An encoder that gives the exact posterior of a linear-Gaussian model to FullCovarianceNormal."""
    _, covariance = problem.posterior_moments(torch.zeros(1, len(problem.bias), dtype=torch.float64))
    latent_dim = len(covariance)
    gain = problem.weight @ covariance / problem.scale**2
    factor = torch.linalg.cholesky(covariance)
    raw = torch.log(torch.expm1(factor.diagonal() - 1e-6))
    encoder = nn.Linear(len(problem.bias), parts.FullCovarianceNormal.encoder_shape(latent_dim)).double()
    rows, columns = torch.tril_indices(latent_dim, latent_dim, -1)
    with torch.no_grad():
        encoder.weight.zero_()
        encoder.weight[:latent_dim] = gain.T
        encoder.bias[:] = torch.cat(
            [-problem.bias @ gain, raw, latent_dim * factor[rows, columns] / factor.diagonal()[rows]]
        )
    return encoder


def test_a_full_covariance_posterior_set_to_the_exact_one_has_no_gap():
    problem = LinearGaussian.random(5, 3, 0)
    vae, x = problem.vae(parts.FullCovarianceNormal(linear_encoder(problem))), problem.rows(20)
    bounds = compare_bounds(vae.model, vae.guide, x, num_samples=50)
    torch.testing.assert_close(bounds.log_px, problem.log_px(x), rtol=0, atol=1e-9)
    assert bounds.gap.abs().max() < 1e-9
    gap = inference_gap(vae.model, vae.guide, x, num_samples=50, steps=5, lr=1e-6)
    assert gap.total.abs().max() < 1e-4


def correlated_problem(rho, scale):
    """Two latents whose posterior has the precision scale * [[1, -rho], [-rho, 1]]."""
    precision = scale * torch.tensor([[1, -rho], [-rho, 1]], dtype=torch.float64)
    weight = torch.linalg.cholesky(precision - torch.eye(2, dtype=torch.float64)).T
    return LinearGaussian(weight, torch.zeros(2, dtype=torch.float64), 1.0)


@pytest.mark.parametrize("name", ["DiagonalNormal", "FullCovarianceNormal", "LowRankNormal", "MixtureOfNormals"])
def test_what_each_family_cannot_express_of_a_correlated_gaussian(name):
    """Of a posterior with correlation rho independent dimensions miss -log(1 - rho^2) / 2, full covariances nothing.

    A covariance of rank one plus a diagonal is any covariance in two dimensions.
    """
    rho = 0.7
    problem, kind = correlated_problem(rho, 4.0), getattr(parts, name)
    arguments = {"rank": 1} if name == "LowRankNormal" else {}
    encoder = networks.MLP(2, kind.encoder_shape(2, **arguments), ()).double()
    vae, x = problem.vae(kind(encoder, **arguments)), problem.rows(6)
    gap = inference_gap(vae.model, vae.guide, x, num_samples=1000, steps=250, lr=0.1)
    mean_field = -0.5 * math.log(1 - rho**2)
    approximation = gap.approximation.mean().item()
    error = 4 * gap.approximation_standard_error.square().sum().sqrt().item() / len(x)
    assert abs((gap.log_px - problem.log_px(x)).mean().item()) < error + 0.01
    if name == "DiagonalNormal":
        assert abs(approximation - mean_field) < error + 0.01
    elif name == "MixtureOfNormals":
        assert approximation < 0.75 * mean_field
    else:
        assert approximation < error + 0.01


@pytest.mark.parametrize("kind", ["inverse_autoregressive", "coupling", "spline"])
def test_a_flow_learns_what_its_base_cannot_express(kind):
    problem = correlated_problem(0.9, 20.0)
    torch.manual_seed(0)
    flow = parts.Flow(2, encoder=networks.MLP(2, 4, ()), kind=kind, num_layers=2, hidden_dims=(16,)).double()
    vae, x = problem.vae(flow), problem.rows(100)
    vae.likelihood.requires_grad_(False)
    fit_svi(vae.model, vae.guide, x, epochs=200, batch_size=100, lr=0.02, progress=False)
    gap = (problem.log_px(x) - compare_bounds(vae.model, vae.guide, x, num_samples=100).elbo).mean().item()
    best_without_flow = -0.5 * math.log(1 - 0.9**2)
    assert gap < 0.5 * best_without_flow


def test_latent_summary_names_what_has_no_dimensions():
    x = torch.randn(20, *DATA)
    for name, dims in (("DiagonalNormal", True), ("FullCovarianceNormal", False), ("MixtureOfNormals", False)):
        vae = VAE(priors.StandardNormal(3), likelihoods.Normal(networks.MLP(3, DATA, (8,))), make(f"posterior {name}"))
        site = latent_summary(vae.model, vae.guide, x, num_samples=5).sites["z"]
        assert (site.kl_per_dim is not None) == dims
        assert (site.kl_per_dim_missing is None) == dims
        assert site.posterior_mean.shape == (20, 3)
    vae = VAE(
        priors.GaussianMixture(3), likelihoods.Normal(networks.MLP(3, DATA, (8,))), make("posterior DiagonalNormal")
    )
    site = latent_summary(vae.model, vae.guide, x, num_samples=5).sites["z"]
    assert site.kl_per_dim is None
    assert "SharedMixture is over 3 dimensions at once" in site.kl_per_dim_missing


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: parts.FullCovarianceNormal(nn.Identity())(torch.zeros(3, 6)), r"gave 6 numbers .* FullCovariance"),
        (lambda: parts.FullCovarianceNormal(nn.Identity())(torch.zeros(3, 1)), r"FullCovarianceNormal.encoder_shape"),
        (lambda: parts.LowRankNormal(nn.Identity(), rank=3)(torch.zeros(3, 6)), r"LowRankNormal\(rank=3\) needs 5 \*"),
        (lambda: parts.MixtureOfNormals(nn.Identity(), 2)(torch.zeros(3, 7)), r"MixtureOfNormals\(num_components=2\)"),
        (lambda: parts.MixtureOfNormals(nn.Identity(), 2)(torch.zeros(3, 8)), r"MixtureOfNormals.encoder_shape"),
        (lambda: parts.DiagonalNormal(nn.Identity())(torch.zeros(3, 7)), r"DiagonalNormal.encoder_shape"),
        (lambda: parts.LowRankNormal(nn.Identity(), rank=0), "rank is 0; expected a positive integer"),
        (lambda: parts.MixtureOfNormals(nn.Identity(), 0), "num_components is 0; expected a positive integer"),
        (lambda: parts.Flow(3), "base is 'DiagonalNormal' without an encoder"),
        (lambda: parts.Flow(3, "Normal", nn.Identity()), "base is 'Normal'; expected a posterior, or one of"),
        (
            lambda: parts.Flow(3, "LowRankNormal", nn.Identity(), base_arguments={"ranks": 3}),
            "base_arguments has 'ranks', and LowRankNormal takes rank",
        ),
        (
            lambda: parts.Flow.encoder_shape(3, "DiagonalNormal", {"rank": 3}),
            "base_arguments has 'rank', and DiagonalNormal takes no arguments",
        ),
        (
            lambda: parts.Flow(3, parts.DiagonalNormal(nn.Identity()), base_arguments={"rank": 3}),
            "leave out base_arguments",
        ),
        (lambda: parts.Flow(3, parts.DiagonalNormal(nn.Identity()), nn.Identity()), "leave out encoder"),
        (lambda: parts.Flow(3, encoder=nn.Identity(), kind="autoregressive"), "expected one of inverse_autoregressive"),
        (lambda: parts.Flow(1, encoder=nn.Identity()), "posteriors.Flow: latent_dim is 1"),
        (lambda: parts.Flow(3, encoder=nn.Identity())(torch.zeros(2, 4)), r"latent_dim=3, its base is over \(2,\)"),
        (lambda: parts.Flow.encoder_shape(3, "Normal"), "base is 'Normal'"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_the_base_of_a_flow_takes_its_own_arguments():
    arguments = {"num_components": 3}
    size = parts.Flow.encoder_shape(2, "MixtureOfNormals", arguments)
    assert size == parts.MixtureOfNormals.encoder_shape(2, num_components=3)
    encoder = networks.MLP(DATA, size, (8,))
    flow = parts.Flow(2, "MixtureOfNormals", encoder, "coupling", base_arguments=arguments)
    assert flow.base.num_components == 3
    assert flow(torch.zeros(5, *DATA)).rsample().shape == (5, 2)
