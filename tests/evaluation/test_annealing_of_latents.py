"""Annealing of latents with bounds, masks, plates and dependent numbers, against quadrature and closed forms."""

import math

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from annealed import (
    QUICK,
    assert_unbiased,
    bounded_pair,
    gamma_model,
    inner_plate_guide,
    inner_plate_model,
    linear_pair,
)
from pyro import poutine
from scipy.integrate import quad
from scipy.stats import beta, betabinom, gamma, multivariate_normal, norm

from pyrovae import ais, bdmc
from pyrovae.distributions import PartlyObserved
from pyrovae.evaluation.hamiltonian import Path, transition
from pyrovae.evaluation.latent_space import LatentSpace
from pyrovae.evaluation.opening import open_sampler
from pyrovae.programs import RepeatedSampler, VectorizedSampler, inspect_pair


def log_normal_guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("rate", dist.LogNormal(x.clamp(min=0.5).log(), 0.4))


def beta_model(x):
    with pyro.plate("data", len(x)):
        share = pyro.sample("share", dist.Beta(torch.tensor(2.0), 3.0))
        pyro.sample("x", dist.Binomial(5, share), obs=x)


def beta_guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("share", dist.Beta(1.0 + x, 4.0))


def dirichlet_model(x):
    with pyro.plate("data", len(x)):
        shares = pyro.sample("shares", dist.Dirichlet(torch.tensor([2.0, 3.0])))
        pyro.sample("x", dist.Binomial(5, shares[..., 0]), obs=x)


def dirichlet_guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("shares", dist.Dirichlet(torch.ones(len(x), 2)))


def gamma_log_px(x):
    return math.log(quad(lambda z: gamma.pdf(z, 2) * norm.pdf(x, z, 0.5), 0, 30, points=[max(x, 0.1)])[0])


def beta_log_px(x):
    return betabinom.logpmf(x, 5, 2, 3)


@pytest.mark.parametrize("start", ["prior", "guide"])
@pytest.mark.parametrize(
    ("pair", "values", "log_px"),
    [
        ((gamma_model, log_normal_guide), [-0.3, 0.7, 3.0, 6.0], gamma_log_px),
        ((beta_model, beta_guide), [0.0, 1.0, 3.0, 5.0], beta_log_px),
        ((dirichlet_model, dirichlet_guide), [0.0, 1.0, 3.0, 5.0], beta_log_px),
    ],
    ids=["positive", "interval", "simplex"],
)
def test_constrained_latents(pair, values, log_px, start):
    x = torch.tensor(values)
    exact = torch.tensor([log_px(value) for value in values], dtype=torch.float64)
    estimate = ais(*pair, x, num_temperatures=20, num_chains=500, start=start, **QUICK)
    assert_unbiased(estimate.log_weights, exact)
    # Each row, 4.5 standard errors: 24 rows in all, a false alarm in 1 of 6,000 seeds.
    assert ((estimate.log_px - exact).abs() < 4.5 * estimate.standard_error + 1e-5).all()


@pytest.mark.parametrize("start", ["prior", "guide"])
def test_several_sites_and_an_inner_plate(start):
    x = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    covariance = np.ones((3, 3)) + 1.25 * np.eye(3)
    exact = torch.from_numpy(multivariate_normal(np.zeros(3), covariance).logpdf(x.numpy()))
    pair = (inner_plate_model, inner_plate_guide)
    estimate = ais(*pair, x, num_temperatures=20, num_chains=200, start=start, **QUICK)
    assert_unbiased(estimate.log_weights, exact)


def part_masked_model(x):
    """w counts where the second column is there."""
    there = ~x[:, 1].isnan()
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(torch.zeros(()).double(), 1.0))
        with poutine.mask(mask=there):
            w = pyro.sample("w", dist.Exponential(torch.ones(()).double()))
        loc = torch.stack([z, z + torch.where(there, w, 0.0)], -1)
        pyro.sample("x", PartlyObserved(dist.Normal(loc, 1.0).to_event(1)), obs=x)


def part_masked_guide(x):
    there, x = ~x[:, 1].isnan(), x.nan_to_num()
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(x[:, 0] / 2, 0.9))
        pyro.sample("w", dist.LogNormal(0.1 * x[:, 1] - 0.3, 1.0).mask(there))


def part_masked_rows():
    return torch.tensor([[0.3, 1.5], [-0.8, math.nan], [1.2, math.nan], [0.1, -0.4]]).double().repeat(5, 1)


def part_masked_log_px(row):
    if np.isnan(row[1]):
        return norm.logpdf(row[0], scale=math.sqrt(2))
    covariance = np.eye(2) + 1
    return math.log(quad(lambda w: math.exp(-w) * multivariate_normal.pdf(row - [0, w], cov=covariance), 0, 30)[0])


@pytest.mark.parametrize("start", ["prior", "guide"])
def test_masked_numbers_stay_where_their_prior_is(start):
    """Of a positive number with a density for none of its values the chains would go off to infinity."""
    x = part_masked_rows()
    pair = (part_masked_model, part_masked_guide)
    estimate = ais(*pair, x, num_temperatures=30, num_chains=100, start=start, num_leapfrog=5, warm_up=30)
    exact = torch.tensor([part_masked_log_px(row) for row in x[:4].numpy()]).repeat(5)
    for rows in (x[:, 1].isnan(), ~x[:, 1].isnan()):
        assert_unbiased(estimate.log_weights[:, rows], exact[rows])
    with open_sampler(*pair, x, seed=0) as sampler:
        path = Path(sampler, LatentSpace(sampler, x, guide_too=start == "guide"), x, start, gradients=0)
        state, step_size = path.draw(50), torch.full((len(x),), 0.5).double()
        for _ in range(50):
            state, _ = transition(path, state, 1.0, step_size, 5)
        masked = path.space.latents(state.vectors)[0]["w"][:, x[:, 1].isnan()]
    # 500 chains of an exponential distribution of mean 1.
    assert (masked.mean() - 1).abs() <= 4 / math.sqrt(masked.numel())


@pytest.mark.parametrize("start", ["prior", "guide"])
def test_masked_numbers_leave_the_bracket_closed(start):
    bracket = bdmc(
        part_masked_model,
        part_masked_guide,
        like=part_masked_rows(),
        num_rows=20,
        num_temperatures=300,
        num_chains=20,
        start=start,
        num_leapfrog=5,
        warm_up=50,
    )
    exact = torch.tensor([part_masked_log_px(row) for row in bracket.rows.numpy()])
    # A bound misses the truth by b nats with a probability of exp(-b) at most, both of 20 rows.
    assert (bracket.lower < exact + 5).all()
    assert (bracket.upper > exact - 5).all()
    assert bracket.gap.mean().abs() < 0.1
    assert (bracket.lower.mean() - exact.mean()).abs() < 0.05


@pytest.mark.parametrize("sampler_class", [VectorizedSampler, RepeatedSampler])
def test_vectors_and_latents_are_one_to_one(sampler_class):
    for pair, x in (
        ((inner_plate_model, inner_plate_guide), torch.randn(5, 3)),
        ((gamma_model, log_normal_guide), torch.rand(5)),
        ((dirichlet_model, dirichlet_guide), torch.ones(5)),
    ):
        sampler = sampler_class(*pair, inspect_pair(*pair, x))
        space = LatentSpace(sampler, x, guide_too=True)
        latents, log_q = sampler.draw(x, 7)
        vectors = space.vectors(latents)
        assert vectors.shape[:2] == (7, 5)
        again, log_jacobian = space.latents(vectors)
        assert log_jacobian.shape == (7, 5)
        for name, value in latents.items():
            torch.testing.assert_close(again[name], value, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(sampler.log_guide(x, again), log_q, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("start", ["prior", "guide"])
def test_infinite_energies_are_rejections(start):
    x = torch.tensor([-1.0, 0.5])
    # The posterior without the bound is Normal(x / 2, 1/2); below the bound lies a part of it.
    exact = torch.from_numpy(norm.logpdf(x, 0, 2**0.5) + norm.logcdf(0.3, x / 2, 0.5**0.5))
    estimate = ais(*bounded_pair(), x, num_temperatures=10, num_chains=1000, start=start, **QUICK)
    assert_unbiased(estimate.log_weights, exact)
    assert (estimate.log_weights == -torch.inf).any()
    assert not estimate.log_weights.isnan().any()


def test_steps_that_leave_the_numbers_are_rejected():
    problem, pair = linear_pair()
    x = problem.rows(3)
    with open_sampler(*pair, x, seed=0) as sampler, pyro.validation_enabled(False):
        path = Path(sampler, LatentSpace(sampler, x, guide_too=False), x, "prior", gradients=1)
        state = path.draw(4)
        new, probability = transition(path, state, 0.5, torch.full((3,), 1e200, dtype=torch.float64), 5)
    assert (probability == 0).all()
    for name in ("vectors", "base", "tilt"):
        assert torch.equal(getattr(new, name), getattr(state, name))


def test_a_row_without_any_weight_says_so():
    def model(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.tensor(0.0), 1.0))
            pyro.sample("x", dist.Uniform(z - 1, z + 1, validate_args=False), obs=x)

    estimate = ais(model, bounded_pair()[1], torch.tensor([0.0, 50.0]), num_temperatures=5, num_chains=50, **QUICK)
    assert estimate.log_px[0].isfinite()
    assert estimate.log_px[1] == -torch.inf
    assert estimate.ess[1] == 0
    assert estimate.standard_error[1] == torch.inf


def correlation_model(x):
    """Pairs of numbers of unit variance, whose correlation r is the latent, by its Cholesky factor."""
    with pyro.plate("data", len(x)):
        factor = pyro.sample("factor", dist.LKJCholesky(2, torch.tensor(2.0).double()))
        law = dist.MultivariateNormal(torch.zeros(2).double(), scale_tril=factor.unsqueeze(-3))
        pyro.sample("x", law.expand((*factor.shape[:-2], x.shape[1])).to_event(1), obs=x)


def correlation_guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("factor", dist.LKJCholesky(2, torch.tensor(1.5).double()))


def correlation_log_px(x):
    """LKJ of concentration 2 is Beta(2, 2) on -1 to 1."""

    def density(r):
        likelihood = multivariate_normal.logpdf(x, cov=[[1, r], [r, 1]]).sum()
        return beta.pdf(r, 2, 2, loc=-1, scale=2) * math.exp(likelihood)

    return math.log(quad(density, -1, 1)[0])


def ordered_law(loc):
    return dist.TransformedDistribution(dist.Normal(loc, 1.0).to_event(1), [dist.transforms.OrderedTransform()])


def ordered_model(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", ordered_law(torch.zeros(2).double()))
        pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)


def ordered_guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", ordered_law(x / 2))


def ordered_log_px(x):
    """z = (a, a + e^b): a is summed out in closed form, for which the columns have the covariance I + 1."""
    covariance = np.eye(2) + 1
    return math.log(
        quad(lambda b: norm.pdf(b) * multivariate_normal.pdf(x - [0, math.exp(b)], cov=covariance), -9, 6)[0]
    )


@pytest.mark.parametrize("start", ["prior", "guide"])
@pytest.mark.parametrize(
    ("pair", "shape", "log_px"),
    [
        ((correlation_model, correlation_guide), (6, 2), correlation_log_px),
        ((ordered_model, ordered_guide), (2,), ordered_log_px),
    ],
    ids=["LKJCholesky", "ordered"],
)
def test_latents_whose_numbers_hang_together(pair, shape, log_px, start):
    x = torch.randn(4, *shape, generator=torch.Generator().manual_seed(0)).double()
    estimate = ais(*pair, x, num_temperatures=30, num_chains=150, start=start, **QUICK)
    assert_unbiased(estimate.log_weights, torch.tensor([log_px(row) for row in x.numpy()]))
    options = {"like": x, "num_rows": 4, "num_temperatures": 100, "num_chains": 20, "start": start}
    bracket = bdmc(*pair, **options, **QUICK)
    exact = torch.tensor([log_px(row) for row in bracket.rows.numpy()])
    assert (bracket.lower < exact + 5).all()
    assert (bracket.upper > exact - 5).all()
    assert (bracket.gap < 1).all()
