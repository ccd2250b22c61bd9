"""Annealed importance sampling and bidirectional Monte Carlo against closed forms and quadrature.

Weights are unbiased, so the mean of w / p(x) over rows and chains is 1 whatever the number of temperatures. Checks of
it, and of moments, allow 4 standard errors: a false alarm in 1 of 16,000 seeds for each Gaussian mean, and the seeds
are fixed.
"""

import math
import random

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from problems import ExactPosterior, LinearGaussian, ScaledPosterior, bits, small_vae
from pyro import poutine
from scipy.integrate import quad
from scipy.stats import beta, betabinom, gamma, multivariate_normal, norm

from pyrovae import ais, bdmc, compare_bounds
from pyrovae.distributions import PartlyObserved
from pyrovae.evaluation.annealing import Annealing
from pyrovae.evaluation.hamiltonian import Path, State, temperatures, transition
from pyrovae.evaluation.latent_space import LatentSpace
from pyrovae.evaluation.opening import open_sampler
from pyrovae.programs import RepeatedSampler, VectorizedSampler, inspect_pair

QUICK = {"num_leapfrog": 3, "warm_up": 15}


def linear_pair(data_dim=5, latent_dim=2, seed=2):
    problem = LinearGaussian.random(data_dim, latent_dim, seed)
    vae = problem.vae(ScaledPosterior(problem))
    return problem, (vae.model, vae.guide)


def assert_unbiased(log_weights, exact):
    ratio = (log_weights - exact).exp()
    row_means = ratio.mean(0)
    # Rows are independent; chains of a row are too, given the data and the step sizes.
    error = ratio.std(0).square().sum().sqrt() / ratio.shape[1] / math.sqrt(len(ratio))
    assert (row_means.mean() - 1).abs() <= 4 * error
    assert error < 0.1


@pytest.mark.parametrize("schedule", ["sigmoid", "linear"])
@pytest.mark.parametrize("start", ["prior", "guide"])
def test_weights_are_unbiased(start, schedule):
    problem, pair = linear_pair()
    x = problem.rows(20)
    estimate = ais(*pair, x, num_temperatures=20, num_chains=100, start=start, schedule=schedule, **QUICK)
    assert_unbiased(estimate.log_weights, problem.log_px(x))
    # A lower bound: it exceeds the truth by b nats with a probability of exp(-b) at most.
    assert (estimate.log_px < problem.log_px(x) + 5).all()
    assert (estimate.log_weights.mean(0).mean() < problem.log_px(x).mean()).all()
    assert ((estimate.acceptance > 0.4) & (estimate.acceptance < 0.9)).all()


def test_both_starts_agree_with_the_exact_answer_within_their_errors():
    """The errors of 15 rows have the size of their standard errors.

    Their mean square, 1 in expectation, is below 2.8 in all but 1 of 3,000 seeds (chi-squared of 15), were they
    Gaussian.
    """
    problem, pair = linear_pair()
    x = problem.rows(15)
    exact = problem.log_px(x)
    prior, guide = (
        ais(*pair, x, num_temperatures=100, num_chains=64, num_leapfrog=3, warm_up=30, start=start)
        for start in ("prior", "guide")
    )
    for estimate in (prior, guide):
        assert ((estimate.log_px - exact) / estimate.standard_error).square().mean() < 2.8
        assert estimate.standard_error.max() < 0.15
    difference = prior.log_px.mean() - guide.log_px.mean()
    error = (prior.means()["log_px"][2] ** 2 + guide.means()["log_px"][2] ** 2) ** 0.5
    assert abs(difference) < 4 * error


@pytest.mark.parametrize("start", ["prior", "guide"])
def test_one_temperature_is_plain_importance_sampling(start):
    problem, pair = linear_pair(3, 1, 1)
    x = problem.rows(10)
    estimate = ais(*pair, x, num_temperatures=1, num_chains=np.int64(2000), start=start)
    assert_unbiased(estimate.log_weights, problem.log_px(x))
    assert estimate.acceptance.isnan().all()
    if start == "guide":
        plain = compare_bounds(*pair, x, num_samples=2000)
        mean, error = estimate.log_weights.mean(0), estimate.log_weights.std(0) / 2000**0.5
        assert ((mean - plain.elbo).abs() < 4.5 * (error.square() + plain.elbo_standard_error.square()).sqrt()).all()


def test_more_temperatures_bring_the_bound_closer():
    problem, pair = linear_pair(20, 7, 3)
    x = problem.rows(5)
    shortfalls = [
        (problem.log_px(x) - ais(*pair, x, num_temperatures=count, **QUICK).log_weights.mean(0)).mean().item()
        for count in (5, 50, 500)
    ]
    assert shortfalls[0] > 3 * shortfalls[1] > 9 * shortfalls[2] > 0


def test_a_thousand_temperatures_bracket_log_px_within_a_tenth_of_a_nat():
    problem, pair = linear_pair()
    bracket = bdmc(*pair, like=problem.rows(1), num_rows=20, num_leapfrog=2, warm_up=50)
    exact = problem.log_px(bracket.rows)
    means = bracket.means()
    assert abs(means["gap"][0]) < 0.1
    assert abs((bracket.lower - exact).mean()) < 4 * means["lower"][2]
    assert abs((bracket.upper - exact).mean()) < 4 * means["upper"][2]
    assert (bracket.upper - bracket.lower).abs().max() < 0.3


@pytest.mark.parametrize("start", ["prior", "guide"])
def test_few_temperatures_still_bracket(start):
    """A single chain of ten temperatures: the bounds are far apart, and on the right sides by many errors."""
    problem, pair = linear_pair(20, 7, 3)
    bracket = bdmc(*pair, like=problem.rows(3), num_rows=40, num_temperatures=10, num_chains=1, start=start, **QUICK)
    exact = problem.log_px(bracket.rows)
    assert bracket.rows.unique(dim=0).shape == (40, 20)
    for excess in (exact - bracket.lower, bracket.upper - exact):
        assert excess.mean() > 3 * excess.std() / 40**0.5
    assert bracket.gap_standard_error.isnan().all()


def test_reverse_weights_are_unbiased_for_the_reciprocal():
    problem, pair = linear_pair(3, 1, 1)
    bracket = bdmc(*pair, like=problem.rows(1), num_rows=400, num_temperatures=10, num_chains=4, **QUICK)
    ratio = (bracket.reverse.log_weights + problem.log_px(bracket.rows)).exp().mean(0)
    assert (ratio.mean() - 1).abs() <= 4 * ratio.std() / 20
    assert ratio.std() / 20 < 0.1


def test_simulated_rows_have_the_moments_of_the_model():
    problem, pair = linear_pair(2, 1, 0)
    rows = bdmc(*pair, like=problem.rows(1), num_rows=4000, num_temperatures=1, num_chains=1).rows
    variance = (problem.weight.square().sum(1) + problem.scale**2).double()
    assert ((rows.mean(0) - problem.bias).abs() < 4 * (variance / 4000).sqrt()).all()
    assert ((rows.var(0) / variance - 1).abs() < 4 * (2 / 4000) ** 0.5).all()


@pytest.mark.parametrize("step_size", [0.3, 1.2])
def test_transitions_leave_the_path_invariant(step_size):
    """From exact draws at beta = 0.3, ten transitions later mean and covariance are still those of f_beta.

    The larger step is so rough that a third of the proposals or more are refused: without the refusals it fails.
    """
    problem, pair = linear_pair()
    x, beta, count = problem.rows(1), 0.3, 20_000
    precision = torch.eye(2, dtype=torch.float64) + beta * problem.weight.T @ problem.weight / problem.scale**2
    covariance = torch.linalg.inv(precision)
    mean = covariance @ problem.weight.T @ (x[0] - problem.bias) * beta / problem.scale**2
    with open_sampler(*pair, x, seed=0) as sampler:
        path = Path(sampler, LatentSpace(sampler, x, guide_too=False), x, "prior", gradients=1)
        draws = dist.MultivariateNormal(mean, covariance).sample((count, 1))
        state = path.at(draws)
        for _ in range(10):
            state, probability = transition(path, state, beta, torch.tensor([step_size]).double(), 3)
    if step_size == 1.2:
        assert probability.mean() < 0.7
    assert (state.vectors != draws).any(-1).double().mean() > 0.9
    centred = state.vectors[:, 0] - mean
    assert (centred.mean(0).abs() < 4 * (covariance.diagonal() / count).sqrt()).all()
    products = centred[:, :, None] * centred[:, None, :]
    assert ((products.mean(0) - covariance).abs() < 4 * products.std(0) / count**0.5).all()


@pytest.mark.parametrize("start", ["prior", "guide"])
def test_many_gradients_are_recorded_and_are_those_of_the_closed_form(start):
    problem, pair = linear_pair()
    x, beta = problem.rows(3), 0.3
    with open_sampler(*pair, x, seed=0) as sampler:
        path = Path(sampler, LatentSpace(sampler, x, guide_too=True), x, start, gradients=400)
        for _ in range(150):
            vectors = torch.randn(4, 3, 2, dtype=torch.float64)
            state, gradient = path.with_gradient(vectors, beta)
    assert path._with_gradient.way == "recorded"
    draws = vectors.requires_grad_()
    log_prior = dist.Normal(0.0, 1.0).log_prob(draws).sum(-1)
    log_q = ScaledPosterior(problem)(x).log_prob(draws) if start == "guide" else log_prior
    likelihood = dist.Normal(draws @ problem.weight.T + problem.bias, problem.scale).log_prob(x).sum(-1)
    log_joint = log_prior + likelihood
    torch.testing.assert_close(state.base, log_q)
    torch.testing.assert_close(state.tilt, log_joint - log_q)
    (by_hand,) = torch.autograd.grad(((1 - beta) * log_q + beta * log_joint).sum(), draws)
    torch.testing.assert_close(gradient, by_hand)


def gamma_model(x):
    with pyro.plate("data", len(x)):
        rate = pyro.sample("rate", dist.Gamma(torch.tensor(2.0), 1.0))
        pyro.sample("x", dist.Normal(rate, 0.5), obs=x)


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


def inner_plate_model(x):
    with pyro.plate("data", len(x), dim=-1):
        a = pyro.sample("a", dist.Normal(0.0, 1.0))
        with pyro.plate("groups", 3, dim=-2):
            b = pyro.sample("b", dist.Normal(a, 1.0))
            pyro.sample("x", dist.Normal(b, 0.5), obs=x.T)


def inner_plate_guide(x):
    with pyro.plate("data", len(x), dim=-1):
        pyro.sample("a", dist.Normal(x.mean(-1), 1.0))
        with pyro.plate("groups", 3, dim=-2):
            pyro.sample("b", dist.Normal(x.T, 0.7))


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


def bounded_pair():
    """Above z = 0.3 the likelihood overflows, to a density of zero and a gradient that is no number."""

    def model(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.tensor(0.0), 1.0))
            far = torch.where(z < 0.3, 0.0, (1e3 * z).exp())
            pyro.sample("x", dist.Normal(z + far, 1.0), obs=x)

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(0.0 * x, 1.0))

    return model, guide


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


@pytest.mark.parametrize("schedule", ["sigmoid", "linear"])
def test_schedules(schedule):
    betas = temperatures(100, schedule)
    assert betas.shape == (101,)
    assert betas[0] == 0
    assert betas[-1] == 1
    steps = betas.diff()
    assert (steps > 0).all()
    torch.testing.assert_close(steps, steps.flip(0))
    assert (steps[0] < 0.3 * steps[50]) == (schedule == "sigmoid")


def test_states_with_undefined_density_have_none():
    state = State(torch.zeros(1, 1, 1), torch.tensor([[-torch.inf]]), torch.tensor([[torch.inf]]))
    assert state.log_density(0.5) == -torch.inf


def test_evaluation_moves_nothing():
    vae, x = small_vae(), bits(6)
    vae.train()
    pyro.param("theirs", torch.tensor(3.0))
    before = {name: value.clone() for name, value in vae.state_dict().items()}
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    arguments = {"num_temperatures": 5, "num_chains": 3} | QUICK
    first = ais(vae.model, vae.guide, x, **arguments)
    bracket = bdmc(vae.model, vae.guide, like=x, num_rows=4, **arguments)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (np.random.get_state()[1] == states[1]).all()
    assert random.getstate() == states[2]
    assert all(torch.equal(value, before[name]) for name, value in vae.state_dict().items())
    assert all(module.training for module in vae.modules())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in vae.parameters())
    assert dict(pyro.get_param_store().items()).keys() == {"theirs"}
    assert torch.is_grad_enabled()
    torch.manual_seed(99)
    assert torch.equal(ais(vae.model, vae.guide, x, **arguments).log_weights, first.log_weights)
    assert not torch.equal(ais(vae.model, vae.guide, x, seed=1, **arguments).log_weights, first.log_weights)
    again = bdmc(vae.model, vae.guide, like=x, num_rows=4, **arguments)
    assert torch.equal(again.gap, bracket.gap)
    assert set(bracket.rows.unique().tolist()) <= {0.0, 1.0}


def test_blocks_join_to_the_whole():
    vae, x = small_vae(), bits(5)
    options = {"num_temperatures": 4, "num_chains": 4096, "num_leapfrog": 1, "warm_up": 3}
    assert Annealing(4, 4096, "prior", "sigmoid", 1, 3).rows_per_block(x) == 2
    whole = ais(vae.model, vae.guide, x, **options)
    # The first block has the first draws of the seed, whatever rows follow it.
    assert torch.equal(whole.log_weights[:, :2], ais(vae.model, vae.guide, x[:2], **options).log_weights)
    assert whole.log_weights.shape == (4096, 5)
    assert whole.log_weights.unique().numel() > 0.9 * whole.log_weights.numel()


def test_summary_and_frame():
    vae, x = small_vae(), bits(5)
    estimate = ais(vae.model, vae.guide, x, num_temperatures=5, num_chains=4, **QUICK)
    assert estimate.num_chains == 4
    assert f"{estimate.log_px.mean():.3f}" in estimate.summary()
    np.testing.assert_array_equal(estimate.to_frame()["log_px"], estimate.log_px.numpy())
    bracket = bdmc(vae.model, vae.guide, like=x, num_rows=3, num_temperatures=5, num_chains=4, **QUICK)
    assert f"{bracket.gap.mean():.3f}" in bracket.summary()
    assert bracket.means()["gap"][1] == pytest.approx(bracket.gap.std().item() / 3**0.5)
    torch.testing.assert_close(bracket.gap, bracket.upper - bracket.lower)
    errors = np.hypot(bracket.forward.standard_error.numpy(), bracket.reverse.standard_error.numpy())
    np.testing.assert_allclose(bracket.gap_standard_error, errors)
    assert (errors > 0).all()


def categorical_model(x):
    with pyro.plate("data", len(x)):
        k = pyro.sample("k", dist.Categorical(torch.ones(3)))
        pyro.sample("x", dist.Normal(k.float(), 1.0), obs=x)


def categorical_guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("k", dist.Categorical(torch.ones(len(x), 3)))


def moving_model(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Uniform(torch.zeros(len(x)), 1 + x.abs()))
        pyro.sample("x", dist.Normal(z, 1.0), obs=x)


def moving_guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Uniform(torch.zeros(len(x)), 1 + x.abs()))


def real_guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("rate", dist.Normal(5 + 0 * x, 0.1))


def regressing_model(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(torch.tensor(0.0), 1.0))
        pyro.sample("x", dist.Normal(z + x.roll(1), 1.0), obs=x)


def angle_model(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.VonMises(torch.tensor(0.0), 1.0))
        pyro.sample("x", dist.Normal(z, 1.0), obs=x)


def angle_guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.VonMises(x, 1.0))


def test_a_mixture_as_prior_has_a_path():
    """The same density by one component as by the two, equal ones, of PyTorch's mixture."""

    def model_with(prior):
        def model(x):
            with pyro.plate("data", len(x)):
                z = pyro.sample("z", prior)
                pyro.sample("x", dist.Normal(z, 0.5).to_event(1), obs=x)

        return model

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(0.8 * x, 0.5).to_event(1))

    two = dist.Normal(torch.zeros(2, 3), 1.0).to_event(1)
    mixture, x = dist.MixtureSameFamily(dist.Categorical(torch.ones(2)), two), torch.tensor([[0.3, -1.0, 2.0]])
    estimate = ais(model_with(mixture), guide, x, num_temperatures=100, num_chains=32, progress=False)
    exact = dist.Normal(0.0, 1.25**0.5).log_prob(x).sum(-1).double()
    assert ((estimate.log_px - exact).abs() < 4 * estimate.standard_error).all()


@pytest.mark.parametrize(
    ("pair", "options", "message"),
    [
        ((categorical_model, categorical_guide), {}, "latent 'k' of the model is discrete"),
        ((moving_model, moving_guide), {}, "support of latent 'z' of the model differs from row to row"),
        (
            (gamma_model, real_guide),
            {"start": "guide"},
            "latent 'rate' has the support .* start from the prior",
        ),
        ((angle_model, angle_guide), {}, "latent 'z' of the model is an angle.*use compare_bounds"),
    ],
)
def test_latents_without_a_path_are_refused(pair, options, message):
    x = torch.tensor([0.1, 0.7, 0.2])
    with pytest.raises(ValueError, match=message):
        ais(*pair, x, num_temperatures=3, **options)
    if pair[0] is not moving_model:  # its support depends on x, so that it cannot be simulated either
        with pytest.raises(ValueError, match=message):
            bdmc(*pair, like=x, num_temperatures=3, **options)


def test_models_that_cannot_be_simulated_are_refused():
    with pytest.raises(ValueError, match="observes 'x', and rows can be simulated only where"):
        bdmc(inner_plate_model, inner_plate_guide, like=torch.randn(4, 3), num_rows=5)
    with pytest.raises(ValueError, match="uses the rows for more than to observe them"):
        bdmc(regressing_model, bounded_pair()[1], like=torch.randn(4), num_rows=5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_temperatures": 0}, "num_temperatures is 0; expected a positive integer"),
        ({"num_chains": -1}, "num_chains is -1"),
        ({"num_leapfrog": 0}, "num_leapfrog is 0"),
        ({"warm_up": 0}, "warm_up is 0"),
        ({"start": "encoder"}, "start is 'encoder'; expected one of 'prior', 'guide'"),
        ({"schedule": "cosine"}, "schedule is 'cosine'; expected one of 'sigmoid', 'linear'"),
        ({"x": torch.zeros(0, 1, 8, 8)}, "has shape"),
        ({"x": torch.full((3, 1, 8, 8), float("nan"))}, "NaN or infinite values in 3 of 3 rows"),
        ({"x": [1, 2]}, "is a list; expected a tensor"),
    ],
)
def test_bad_arguments(arguments, message):
    vae = small_vae()
    x = arguments.pop("x", bits(3))
    with pytest.raises(ValueError, match=message):
        ais(vae.model, vae.guide, x, **arguments)
    with pytest.raises(ValueError, match=message):
        bdmc(vae.model, vae.guide, like=x, **arguments)


def test_no_rows_to_simulate():
    vae = small_vae()
    with pytest.raises(ValueError, match="num_rows is 0"):
        bdmc(vae.model, vae.guide, like=bits(3), num_rows=0)


def test_an_exact_guide_needs_no_path():
    """From the exact posterior the tilt is constant: every weight is p(x), whatever the transitions do."""
    problem = LinearGaussian.random(5, 2, 2)
    vae = problem.vae(ExactPosterior(problem))
    x = problem.rows(4)
    estimate = ais(vae.model, vae.guide, x, num_temperatures=5, start="guide", **QUICK)
    torch.testing.assert_close(estimate.log_weights, problem.log_px(x).expand(16, 4), rtol=0, atol=1e-9)
