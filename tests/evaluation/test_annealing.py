"""Annealed importance sampling and bidirectional Monte Carlo against closed forms and quadrature.

Weights are unbiased, so the mean of w / p(x) over rows and chains is 1 whatever the number of temperatures. Checks of
it, and of moments, allow 4 standard errors: a false alarm in 1 of 16,000 seeds for each Gaussian mean, and the seeds
are fixed.
"""

import random

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from annealed import QUICK, assert_unbiased, linear_pair
from problems import ExactPosterior, LinearGaussian, ScaledPosterior, bits, small_vae

from pyrovae import ais, bdmc, compare_bounds
from pyrovae.evaluation.annealing import Annealing
from pyrovae.evaluation.hamiltonian import Path, State, temperatures, transition
from pyrovae.evaluation.latent_space import LatentSpace
from pyrovae.evaluation.opening import open_sampler


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


def test_an_exact_guide_needs_no_path():
    """From the exact posterior the tilt is constant: every weight is p(x), whatever the transitions do."""
    problem = LinearGaussian.random(5, 2, 2)
    vae = problem.vae(ExactPosterior(problem))
    x = problem.rows(4)
    estimate = ais(vae.model, vae.guide, x, num_temperatures=5, start="guide", **QUICK)
    torch.testing.assert_close(estimate.log_weights, problem.log_px(x).expand(16, 4), rtol=0, atol=1e-9)
