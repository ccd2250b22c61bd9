"""What kl_forms says against what the objective does."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from problems import ExactPosterior, LinearGaussian, make_samplers
from pyro.infer import TraceMeanField_ELBO

from pyrovae import VAE, kl_forms, likelihoods, networks, posteriors, priors
from pyrovae import objectives as ours

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


class Folded(torch.nn.Module):
    """Latents folded from a normal: PyTorch's KL of two of these is that of the normals, which is larger."""

    def __init__(self):
        super().__init__()
        self.shift = torch.nn.Parameter(torch.tensor(1.0, dtype=torch.float64))

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.FoldedDistribution(dist.Normal(x.new_tensor(0.5), 1.0)))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.FoldedDistribution(dist.Normal(-self.shift * x, 1.0)))
            pyro.deterministic("twice", 2 * z)

    def exact_elbo(self, x):
        """By the trapezoidal rule."""
        z = torch.linspace(1e-9, 12, 20_001, dtype=torch.float64)[:, None]
        q, p = (dist.FoldedDistribution(dist.Normal(loc, 1.0)) for loc in (-self.shift * x, x.new_tensor(0.5)))
        log_joint = p.log_prob(z) + dist.Normal(z, 1.0).log_prob(x)
        return torch.trapezoid(q.log_prob(z).exp() * (log_joint - q.log_prob(z)), z, dim=0).sum()


@pytest.mark.parametrize("num_particles", [1, 3])
def test_a_wrong_rule_of_pytorch_is_not_taken(num_particles):
    """Mean and gradient over 1,000 steps, within 4 standard errors: a false alarm in 1 of 8,000 seeds."""
    pair, x = Folded(), torch.tensor([0.2, 0.8, 1.1], dtype=torch.float64)
    assert kl_forms(pair.model, pair.guide, x) == {"z": "Monte Carlo"}
    exact = pair.exact_elbo(x)
    (slope,) = torch.autograd.grad(exact, pair.shift)
    sampler = make_samplers(pair.model, pair.guide, x)["vectorized"]
    found = []
    for _ in range(1000):
        terms = ours.TraceMeanField_ELBO(num_particles).terms(sampler, x, 1.0)
        assert terms.elbo == -terms.loss
        found.append(torch.stack([-terms.loss, *torch.autograd.grad(-terms.loss, pair.shift)]).detach())
    found = torch.stack(found)
    error = found.std(0) / len(found) ** 0.5
    assert ((found.mean(0) - torch.stack([exact.detach(), slope])).abs() < 4 * error).all()
