"""What kl_forms says against what the objective does."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from problems import ExactPosterior, LinearGaussian
from pyro.infer import TraceMeanField_ELBO

from pyrovae import VAE, kl_forms, likelihoods, networks, posteriors, priors

LATENT, DATA = 2, 5


class Fixed(torch.nn.Module):
    """A likelihood that does not use z: what varies in the ELBO is the KL term alone."""

    def forward(self, z):
        return dist.Normal(torch.zeros(*z.shape[:-1], DATA), 1.0).to_event(1)


def part(kind, **arguments):
    return kind(networks.MLP(DATA, kind.encoder_shape(LATENT, **arguments), (8,)), **arguments)


POSTERIORS = {
    "DiagonalNormal": lambda: part(posteriors.DiagonalNormal),
    "FullCovarianceNormal": lambda: part(posteriors.FullCovarianceNormal),
    "LowRankNormal": lambda: part(posteriors.LowRankNormal, rank=1),
    "MixtureOfNormals": lambda: part(posteriors.MixtureOfNormals, num_components=3),
    "Flow": lambda: posteriors.Flow(LATENT, part(posteriors.FullCovarianceNormal), hidden_dims=(8,)),
}
PRIORS = {
    "StandardNormal": priors.StandardNormal,
    "DiagonalNormal": priors.DiagonalNormal,
    "Laplace": priors.Laplace,
    "StudentT": priors.StudentT,
    "GaussianMixture": priors.GaussianMixture,
    "Flow": lambda dim: priors.Flow(dim, hidden_dims=(8,)),
    "Hierarchical": priors.Hierarchical,
}
ANALYTIC_PRIORS = {"StandardNormal", "DiagonalNormal", "Laplace"}
ANALYTIC_POSTERIORS = {"DiagonalNormal", "FullCovarianceNormal", "LowRankNormal"}


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("posterior", POSTERIORS)
def test_it_is_what_the_objective_does(prior, posterior):
    """An analytic KL does not depend on the draws, so that with a likelihood without z the ELBO has no variance."""
    vae = VAE(PRIORS[prior](LATENT), Fixed(), POSTERIORS[posterior]())
    x = torch.randn(4, DATA)
    form = kl_forms(vae.model, vae.guide, x)
    analytic = prior in ANALYTIC_PRIORS and posterior in ANALYTIC_POSTERIORS
    assert form == {"z": "analytic" if analytic else "Monte Carlo"}
    first, second = (TraceMeanField_ELBO().loss(vae.model, vae.guide, x) for _ in range(2))
    assert (abs(first - second) < 1e-5) == analytic


def test_the_kl_of_a_full_covariance_posterior_in_the_elbo():
    """Against the mean of log q - log p over 100,000 draws; 4 standard errors, a false alarm in 1 of 16,000 seeds."""
    problem = LinearGaussian.random(5, 2, 0)
    vae, x = problem.vae(ExactPosterior(problem)), problem.rows(3)
    q, p = vae.encode(x), vae.prior()
    z = q.sample((100_000,))
    terms = (q.log_prob(z) - p.log_prob(z)).sum(-1)
    reconstruction = vae.decode(z).log_prob(x).sum(-1)
    # All of the ELBO's variance is that of the reconstruction now: with the exact posterior and a KL from draws, there
    # is none, and the ELBO is log p(x).
    torch.testing.assert_close(reconstruction - terms, problem.log_px(x).sum().expand(len(z)), rtol=1e-9, atol=0)
    losses = torch.tensor([TraceMeanField_ELBO().loss(vae.model, vae.guide, x) for _ in range(300)])
    assert losses.std() > 0.1
    kl = torch.distributions.kl_divergence(q, p).sum()
    assert abs(kl - terms.mean()) < 4 * terms.std() / len(z) ** 0.5


def test_sites_of_a_program_of_ones_own_by_name():
    def model(x):
        with pyro.plate("data", len(x)):
            a = pyro.sample("a", dist.Normal(x.new_zeros(()), 1.0))
            b = pyro.sample("b", dist.StudentT(3.0, a, 1.0))
            pyro.sample("x", dist.Normal(b, 1.0), obs=x)

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("a", dist.Normal(x, 1.0))
            pyro.sample("b", dist.Normal(x, 1.0))

    x, state = torch.randn(4), torch.get_rng_state()
    assert kl_forms(model, guide, x) == {"a": "analytic", "b": "Monte Carlo"}
    assert torch.equal(torch.get_rng_state(), state)


def test_a_pair_that_breaks_the_contract_is_refused():
    vae = VAE(priors.StandardNormal(3), likelihoods.Normal(networks.MLP(3, DATA)), POSTERIORS["DiagonalNormal"]())
    with pytest.raises(ValueError, match="give both the same latent_dim"):
        kl_forms(vae.model, vae.guide, torch.zeros(2, DATA))
