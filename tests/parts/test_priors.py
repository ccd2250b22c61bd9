"""Each prior against plain PyTorch and closed forms.

Statistical checks allow 4 standard errors: for one Gaussian estimate a false alarm in 1 of 16,000 seeds, and the seeds
are fixed.
"""

import copy
import math

import pytest
import torch
from part_makers import DATA, PRIORS, make, moved
from problems import LinearGaussian, bits
from scipy.stats import multivariate_normal
from torch import nn
from torch.autograd.functional import jacobian

from pyrovae import VAE, compare_bounds, fit_svi, likelihoods, networks, posteriors, priors


def encoder(latent_dim):
    return posteriors.DiagonalNormal(networks.MLP(DATA, 2 * latent_dim, (8,)))


@pytest.mark.parametrize("name", [name for name in PRIORS if "user" not in name])
def test_repr_shows_the_sizes(name):
    text = repr(make(f"prior {name}"))
    assert "latent_dim=3" in text or "num_pseudo_inputs=4" in text


def test_values_against_scipy_and_torch():
    z = torch.randn(7, 3, dtype=torch.float64)
    for prior, expected in (
        (priors.Laplace(3), torch.distributions.Laplace(0.0, math.sqrt(0.5))),
        (priors.StudentT(3, degrees_of_freedom=2.5), torch.distributions.StudentT(2.5)),
        (priors.DiagonalNormal(3), torch.distributions.Normal(0.0, 1.0)),
    ):
        torch.testing.assert_close(prior.double()().log_prob(z), expected.log_prob(z).sum(-1), rtol=1e-6, atol=1e-6)


def test_a_mixture_starts_with_about_mean_zero_and_unit_variance():
    p_z = priors.GaussianMixture(4, num_components=4000)()
    assert p_z.mean.abs().max() < 4 * math.sqrt(0.5 / 4000)
    # The variance of a squared normal of variance 1/2 is 1/2.
    assert (p_z.variance - 1).abs().max() < 4 * math.sqrt(0.5 / 4000)


@pytest.mark.parametrize("kind", ["autoregressive", "coupling", "spline"])
def test_a_flow_is_its_change_of_variables(kind):
    p_z = moved(priors.Flow(3, kind, 3, (16,)).double())()

    def to_noise(z):
        for layer in reversed(p_z.transforms):
            z = layer.inv(z)
        return z

    for z in 1.5 * torch.randn(5, 3, dtype=torch.float64):
        log_det = torch.linalg.slogdet(jacobian(to_noise, z))[1]
        expected = torch.distributions.Normal(0.0, 1.0).log_prob(to_noise(z)).sum() + log_det
        torch.testing.assert_close(p_z.log_prob(z), expected)


@pytest.mark.parametrize("kind", ["autoregressive", "coupling", "spline"])
def test_a_flow_starts_near_the_standard_normal_and_its_density_takes_one_call_of_a_layer(kind):
    prior = priors.Flow(10, kind)
    z, calls = torch.randn(500, 10), []
    for module in prior.modules():
        if type(module).__name__ in ("AutoRegressiveNN", "DenseNN"):
            module.register_forward_hook(lambda *_: calls.append(1))
    difference = prior().log_prob(z) - torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(-1)
    assert len(calls) == 4
    assert difference.abs().mean() < 0.1


def test_two_levels_are_a_normal_and_a_normal_given_it():
    prior = moved(priors.Hierarchical(5, top_dim=2, hidden_dims=(16,)))
    z = prior().sample((7,))
    lower, top = z[:, :3], z[:, 3:]
    loc, log_scale = prior.lower.nn(top)
    expected = torch.distributions.Normal(loc, log_scale.exp()).log_prob(lower).sum(-1)
    expected = expected + torch.distributions.Normal(0.0, 1.0).log_prob(top).sum(-1)
    torch.testing.assert_close(prior().log_prob(z), expected)


def test_a_vamp_prior_is_the_mean_of_the_posterior_at_its_pseudo_inputs():
    posterior = encoder(3)
    prior = priors.VampPrior(posterior, DATA, num_pseudo_inputs=6)
    assert prior.pseudo_inputs.shape == (6, *DATA)
    assert ((prior.pseudo_inputs >= 0) & (prior.pseudo_inputs <= 1)).all()
    z = torch.randn(5, 3)
    loc, raw = posterior.encoder(prior.pseudo_inputs).chunk(2, -1)
    scale = nn.functional.softplus(raw) + 1e-6
    terms = torch.distributions.Normal(loc, scale).log_prob(z[:, None]).sum(-1)
    torch.testing.assert_close(prior().log_prob(z), terms.logsumexp(-1) - math.log(6))


@pytest.mark.parametrize(
    "posterior",
    [
        lambda: posteriors.FullCovarianceNormal(networks.MLP(DATA, 9)),
        lambda: posteriors.LowRankNormal(networks.MLP(DATA, 12)),
        lambda: posteriors.MixtureOfNormals(networks.MLP(DATA, 14), num_components=2),
        lambda: posteriors.Flow(3, encoder=networks.MLP(DATA, 6), hidden_dims=(8,)),
    ],
)
def test_a_vamp_prior_takes_any_posterior(posterior):
    prior = priors.VampPrior(posterior(), DATA, num_pseudo_inputs=4).double()
    z = prior().sample((5, 6))
    each = torch.stack([prior.posterior(u).log_prob(z.clone()) for u in prior.pseudo_inputs])
    torch.testing.assert_close(prior().log_prob(z), each.logsumexp(0) - math.log(4))


@pytest.mark.parametrize("learned", [True, False])
def test_pseudo_inputs_start_at_training_rows(learned):
    prior = priors.VampPrior(encoder(3), DATA, num_pseudo_inputs=4, learned=learned)
    assert ("pseudo_inputs" in dict(prior.named_parameters())) == learned
    rows = torch.randn(10, *DATA, dtype=torch.float64)
    prior.initialize(rows)
    torch.testing.assert_close(prior.pseudo_inputs, rows[[0, 3, 6, 9]].float(), rtol=0, atol=1e-6)
    first = prior.pseudo_inputs.clone()
    prior.initialize(rows)
    assert torch.equal(first, prior.pseudo_inputs)
    rows[0, 0, 0] = rows[:, 1, 1] = math.nan
    prior.initialize(rows)
    assert prior.pseudo_inputs[0, 0, 0].item() == pytest.approx(rows[1:, 0, 0].mean().item(), rel=1e-6)
    assert (prior.pseudo_inputs[:, 1, 1] == 0).all()
    counts = torch.arange(10)[:, None, None].expand(10, *DATA)
    prior.initialize(counts)
    assert torch.equal(prior.pseudo_inputs, counts[[0, 3, 6, 9]].float())
    with pytest.raises(ValueError, match="num_pseudo_inputs=4, and there are 3 rows"):
        prior.initialize(rows[:3])
    with pytest.raises(ValueError, match="build it with data_shape="):
        prior.initialize(rows[:, :1])


def test_pseudo_inputs_start_at_rows_that_there_are_where_float32_rounds_their_number():
    prior = priors.VampPrior(posteriors.DiagonalNormal(networks.MLP(1, 2, ())), (1,), num_pseudo_inputs=3)
    prior.initialize(torch.ones(1, 1).expand(2**24 + 4, 1))
    assert prior.pseudo_inputs.detach().tolist() == [[1.0]] * 3


def test_a_vamp_prior_shares_the_weights_of_its_vae():
    posterior = posteriors.DiagonalNormal(networks.MLP((1, 8, 8), 4, (8,)))
    prior = priors.VampPrior(posterior, (1, 8, 8), num_pseudo_inputs=5)
    vae = VAE(prior, likelihoods.Bernoulli(networks.MLP(2, (1, 8, 8), (8,))), posterior)
    prior.initialize(bits(20))
    start = prior.pseudo_inputs.detach().clone()
    fit_svi(vae.model, vae.guide, bits(20), epochs=2, batch_size=10, progress=False)
    assert not torch.equal(start, prior.pseudo_inputs)
    other = copy.deepcopy(vae)
    assert other.prior.posterior is other.posterior
    z = torch.randn(3, 2)
    assert torch.equal(vae.prior().log_prob(z), other.prior().log_prob(z))


def test_a_mixture_prior_with_a_linear_decoder_has_a_mixture_as_evidence():
    """log p(x) = log sum_k pi_k Normal(x; W m_k + b, W S_k W' + s^2 I) by SciPy."""
    problem = LinearGaussian.random(4, 2, 0)
    prior = moved(priors.GaussianMixture(2, num_components=3), 1.0).double()
    posterior = posteriors.FullCovarianceNormal(networks.MLP(4, 5, (16,))).double()
    vae = VAE(prior, problem.likelihood().requires_grad_(False), posterior)
    x = vae.sample(60)
    fit_svi(vae.model, vae.guide, x, epochs=60, batch_size=20, lr=0.01, progress=False)
    mixture = prior()
    normals, log_weights = mixture.components.base_dist, mixture.logits.log_softmax(-1).detach()
    terms = []
    for log_weight, loc, scale in zip(log_weights, normals.loc.detach(), normals.scale.detach(), strict=True):
        covariance = problem.weight @ torch.diag(scale**2) @ problem.weight.T
        covariance = covariance + problem.scale**2 * torch.eye(4, dtype=torch.float64)
        density = multivariate_normal(problem.weight @ loc + problem.bias, covariance)
        terms.append(torch.from_numpy(density.logpdf(x)) + log_weight)
    bounds = compare_bounds(vae.model, vae.guide, x, num_samples=5000)
    difference = bounds.log_px - torch.stack(terms).logsumexp(0)
    error = bounds.standard_error.square().sum().sqrt() / len(x)
    assert abs(difference.mean()) < 4 * error + 1e-3
    assert error < 0.05


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: priors.DiagonalNormal(0), "latent_dim is 0; expected a positive integer"),
        (lambda: priors.Laplace(-1), "latent_dim is -1; expected a positive integer"),
        (lambda: priors.StudentT(2, degrees_of_freedom=0.0), "degrees_of_freedom is 0.0; expected a positive"),
        (lambda: priors.GaussianMixture(2, num_components=0), "num_components is 0; expected a positive integer"),
        (lambda: priors.VampPrior(encoder(2), DATA, num_pseudo_inputs=0), "num_pseudo_inputs is 0"),
        (lambda: priors.VampPrior(encoder(2), ()), "data_shape is \\(\\); expected"),
        (lambda: priors.Flow(1), "priors.Flow: latent_dim is 1"),
        (lambda: priors.Flow(4, kind="planar"), "priors.Flow: kind is 'planar'"),
        (lambda: priors.Flow(200), "priors.Flow: hidden_dims are \\(128, 128\\) for latent_dim 200"),
        (lambda: priors.Hierarchical(1), "latent_dim is 1; two levels need two"),
        (lambda: priors.Hierarchical(4, top_dim=4), "top_dim is 4 of latent_dim 4"),
        (lambda: priors.Hierarchical(4, top_dim=0), "top_dim is 0; expected a positive integer"),
        (lambda: priors.Hierarchical(4, hidden_dims=()), "Hierarchical: hidden_dims is empty"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()
