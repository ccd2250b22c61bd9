"""Traversals, the manifold, variants and rows like others: against SciPy's quantiles and the posterior's moments."""

import pyro.distributions as dist
import pytest
import torch
from problems import bits, small_vae
from scipy import stats

from pyrovae import VAE, likelihoods, networks, posteriors, priors


def identity_vae(prior, dims=2):
    """A VAE whose decoder shows the latent itself."""
    likelihood = likelihoods.Normal(torch.nn.Identity(), scale=0.1)
    return VAE(prior, likelihood, posteriors.DiagonalNormal(networks.MLP(dims, 2 * dims, (10,))))


@pytest.mark.parametrize(
    ("prior", "truth"),
    [(priors.StandardNormal(2), stats.norm), (priors.Laplace(2), stats.laplace(scale=0.5**0.5))],
    ids=["normal", "laplace"],
)
def test_quantiles_of_independent_dimensions_are_those_of_scipy(prior, truth):
    probabilities = torch.tensor([0.01, 0.3, 0.5, 0.99])
    found = identity_vae(prior).prior_quantiles(probabilities)
    expected = torch.tensor(truth.ppf(probabilities.double())).float().expand(2, -1)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_quantiles_of_a_mixture_hold_the_right_part_of_it():
    """Those of 10,000 draws, against 100,000 others: four quantiles at 5 standard errors, a false alarm in 200,000."""
    torch.manual_seed(0)
    vae = identity_vae(priors.GaussianMixture(2))
    probabilities = torch.tensor([0.1, 0.5])
    found = vae.prior_quantiles(probabilities)
    torch.testing.assert_close(found, vae.prior_quantiles(probabilities), atol=0, rtol=0)
    below = (vae.prior().sample((100_000,))[..., None] <= found).double().mean(0)
    error = (probabilities * (1 - probabilities) * (1 / 10_000 + 1 / 100_000)).sqrt()
    assert ((below - probabilities).abs() < 5 * error).all()


class KnownPosterior(torch.nn.Module):
    def forward(self, x):
        return dist.Normal(x, 1.0).to_event(1)


class KnownPrior(torch.nn.Module):
    def forward(self):
        return dist.Normal(torch.zeros(2), 3.0).to_event(1)


@pytest.mark.parametrize("prior", [priors.StandardNormal(2), KnownPrior()], ids=["buffers", "no tensor"])
def test_a_vae_without_parameters_is_looked_at(prior):
    vae = VAE(prior, likelihoods.Normal(torch.nn.Identity(), scale=0.1), KnownPosterior())
    assert not list(vae.parameters())
    scale = prior().stddev[0].item()
    probabilities = torch.tensor([0.25, 0.5, 0.75])
    expected = torch.tensor(stats.norm(0, scale).ppf([0.25, 0.5, 0.75])).float()
    torch.testing.assert_close(vae.prior_quantiles(probabilities), expected.expand(2, -1))
    torch.testing.assert_close(vae.traverse()[0, :, 0], scale * torch.linspace(-2, 2, 9), rtol=0, atol=1e-4)
    torch.testing.assert_close(vae.manifold(2)[0, 1], scale * torch.tensor(stats.norm.ppf([0.25, 0.75])).float())


def test_a_traversal_moves_one_dimension_and_leaves_the_others():
    vae = identity_vae(priors.StandardNormal(4), 4)
    x = torch.randn(4)
    start = vae.encode(x[None]).mean[0].detach()
    codes = vae.traverse(x, dims=[2, 0])
    assert codes.shape == (2, 9, 4)
    for line, dim in enumerate((2, 0)):
        torch.testing.assert_close(codes[line, :, dim], torch.linspace(-2, 2, 9), atol=1e-4, rtol=0)
        others = [other for other in range(4) if other != dim]
        torch.testing.assert_close(codes[line][:, others], start[others].expand(9, -1))
    medians = vae.traverse(values=torch.tensor([3.0]))
    torch.testing.assert_close(medians[:, 0], 3 * torch.eye(4))
    lines = vae.traverse(x, [1, 3], torch.tensor([[5.0, 6.0], [7.0, 8.0]]))
    assert lines[0, :, 1].tolist() == [5, 6]
    assert lines[1, :, 3].tolist() == [7, 8]


def test_the_manifold_is_decoded_at_the_quantiles_of_the_prior():
    vae = small_vae(latent_dim=2)
    images = vae.manifold(7)
    values = torch.tensor(stats.norm.ppf([(index + 0.5) / 7 for index in range(7)])).float()
    for first in range(7):
        for second in range(7):
            expected = vae.decode(torch.stack([values[first], values[second]])).mean
            torch.testing.assert_close(images[first, second], expected, atol=1e-5, rtol=1e-5)


def test_points_of_the_latent_space_are_of_the_type_of_the_weights():
    vae = small_vae(latent_dim=2)
    assert vae.prior_quantiles(torch.tensor([0.1, 0.9], dtype=torch.float64)).dtype == torch.float32
    expected = vae.traverse(), vae.manifold(3)
    torch.set_default_dtype(torch.float64)
    try:
        found = vae.traverse(), vae.manifold(3)
    finally:
        torch.set_default_dtype(torch.float32)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("scale", [1.0, 2.5])
def test_variants_are_around_the_posterior_mean(scale):
    """Means and standard deviations of 20,000 draws: 12 numbers at 5 standard errors, a false alarm in 100,000."""
    torch.manual_seed(0)
    vae = identity_vae(priors.StandardNormal(2))
    x = torch.randn(3, 2)
    q_z = vae.encode(x)
    draws = vae.variants(x, 20_000, scale=scale)
    assert draws.shape == (20_000, 3, 2)
    spread = scale * q_z.stddev
    assert ((draws.mean(0) - q_z.mean).abs() < 5 * spread / 20_000**0.5).all()
    assert ((draws.std(0) - spread).abs() < 5 * spread / 40_000**0.5).all()


def test_rows_like_a_group_have_the_moments_of_its_mixture():
    """Mean and variance of 40,000 draws from the mixture: 4 numbers at 5 standard errors, a false alarm in 400,000."""
    torch.manual_seed(0)
    vae = identity_vae(priors.StandardNormal(2))
    x = 3 * torch.randn(5, 2)
    q_z = vae.encode(x)
    draws = vae.sample_like(x, 40_000, mean=True)
    mean = q_z.mean.mean(0)
    variance = (q_z.variance + q_z.mean.square()).mean(0) - mean.square()
    assert ((draws.mean(0) - mean).abs() < 5 * (variance / 40_000).sqrt()).all()
    squares = (draws - mean).square()
    assert ((squares.mean(0) - variance).abs() < 5 * squares.std(0) / 40_000**0.5).all()
    noise = vae.sample_like(x, 40_000).var(0) - vae.sample_like(x, 40_000, mean=True).var(0)
    # The draws of the likelihood add its variance, 0.01; two variances of 40,000 draws differ by chance, too.
    assert ((noise - 0.01).abs() < 5 * squares.std(0) * (2 / 40_000) ** 0.5).all()


def test_no_gradient_is_kept_and_parameters_stay():
    vae, x = small_vae(latent_dim=2), bits(3)
    before = {name: value.clone() for name, value in vae.state_dict().items()}
    for rows in (vae.traverse(x[0]), vae.manifold(3), vae.variants(x, 2), vae.sample_like(x, 4)):
        assert not rows.requires_grad
    assert all(torch.equal(value, before[name]) for name, value in vae.state_dict().items())


def test_bad_input():
    vae, x = small_vae(latent_dim=3), bits(3)
    cases = [
        (lambda: vae.manifold(), "the latent has 3 dimensions; a manifold is drawn of two"),
        (lambda: vae.manifold(0), "size is 0; expected a positive integer"),
        (lambda: vae.traverse(x[0], [3]), r"dims is \[3\]; expected whole numbers from 0 to 2"),
        (lambda: vae.traverse(x[0], []), r"dims is \[\]; expected whole numbers"),
        (lambda: vae.traverse(x[0], [0], torch.zeros(2, 5)), r"values have shape \(2, 5\); expected \(num_values,\)"),
        (lambda: vae.variants(x, 0), "num_variants is 0; expected a positive integer"),
        (lambda: vae.variants(x, scale=0), "scale is 0; expected a positive number"),
        (lambda: vae.sample_like(x, -1), "num_samples is -1"),
    ]
    for call, message in cases:
        with pytest.raises(ValueError, match=message):
            call()


def test_a_posterior_without_a_mean_says_what_to_do():
    flow = posteriors.Flow(2, encoder=networks.MLP((1, 8, 8), 2 * 2))
    vae = VAE(priors.StandardNormal(2), likelihoods.Bernoulli(networks.MLP(2, (1, 8, 8))), flow)
    x = bits(3)
    assert vae.variants(x, 4).shape == (4, 3, 1, 8, 8)
    with pytest.raises(ValueError, match="no mean in closed form: use scale=1"):
        vae.variants(x, 4, scale=2)
    with pytest.raises(ValueError, match="no mean in closed form: leave x out"):
        vae.traverse(x[0])
