"""The mean of many gradients against the exact gradient, and gradients at the exact posterior.

A mean is taken over 60 batches of many copies of the same rows; each of its components has to be within 4 standard
errors. A component fails by chance in 1 of 5,500 seeds (Student's t of 59 degrees), so a test of 17 of them in at
most 1 of 320.
"""

import math

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from plain_objectives import normal_log_prob
from problems import LinearGaussian, make_samplers
from torch import nn

from pyrovae.objectives import (
    IWAE,
    DReG,
    Renyi,
    ReweightedWakeSleep,
    ScoreFunction,
    StickingTheLanding,
    Trace_ELBO,
    TraceMeanField_ELBO,
)

BATCHES, COPIES = 60, 200
DATA = 3


class LinearPair(nn.Module):
    """A linear-Gaussian model, and a guide that is linear in x with one covariance for all rows."""

    def __init__(self, latent_dim, exact=False):
        super().__init__()
        self.problem = problem = LinearGaussian.random(DATA, latent_dim, 4)
        self.weight, self.bias = nn.Parameter(problem.weight.clone()), nn.Parameter(problem.bias.clone())
        origin, covariance = problem.posterior_moments(torch.zeros(1, DATA, dtype=torch.float64))
        slope = problem.posterior_moments(torch.eye(DATA, dtype=torch.float64))[0] - origin
        tril = torch.linalg.cholesky(covariance)
        if not exact:
            slope, origin, tril = slope + 0.2, origin - 0.3, 1.4 * tril
        self.slope, self.origin, self.tril = nn.Parameter(slope), nn.Parameter(origin[0]), nn.Parameter(tril)

    def model(self, x):
        with pyro.plate("data", len(x), dim=-1):
            z = pyro.sample("z", dist.Normal(x.new_zeros(self.weight.shape[1]), 1.0).to_event(1))
            loc = z @ self.weight.T + self.bias
            pyro.sample("x", dist.Normal(loc, self.problem.scale).to_event(1), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x), dim=-1):
            loc = x @ self.slope + self.origin
            pyro.sample("z", dist.MultivariateNormal(loc, scale_tril=self.tril.tril()))

    @property
    def of_guide(self):
        return [self.slope, self.origin, self.tril]

    def elbo(self, x, beta):
        """In closed form, summed over rows."""
        loc, tril = x @ self.slope + self.origin, self.tril.tril()
        variance, covariance = self.problem.scale**2, tril @ tril.T
        squares = ((x - loc @ self.weight.T - self.bias) ** 2).sum(-1) + ((self.weight @ tril) ** 2).sum()
        reconstruction = -0.5 * squares / variance - 0.5 * DATA * math.log(2 * math.pi * variance)
        kl = 0.5 * (covariance.trace() + (loc**2).sum(-1) - len(tril)) - tril.diagonal().log().sum()
        return (reconstruction - beta * kl).sum()


def copied_rows(pair):
    return pair.problem.rows(4).repeat(COPIES, 1)


def gradients_of_batches(pair, objective, way="vectorized", count=BATCHES):
    """``(batches, components)``, each for one copy of the rows."""
    x = copied_rows(pair)
    sampler = make_samplers(pair.model, pair.guide, x)[way]
    pyro.set_rng_seed(7)
    found = []
    for _ in range(count):
        gradients = torch.autograd.grad(-objective.terms(sampler, x, 1.0).loss, list(pair.parameters()))
        found.append(flat(gradients))
    return torch.stack(found) / COPIES


def flat(gradients):
    return torch.cat([gradient.flatten() for gradient in gradients])


def assert_mean(samples, exact):
    error = samples.std(0) / len(samples) ** 0.5
    off = (samples.mean(0) - exact).abs()
    # Where no noise is, as above the diagonal, there is rounding.
    assert (off <= 4 * error + 1e-9).all(), (off / error).max()
    # The bound says something: it is far below the gradient itself.
    assert error.norm() < 0.1 * exact.norm()


OF_THE_ELBO = {
    "Trace_ELBO": lambda beta: Trace_ELBO(1, beta),
    "TraceMeanField_ELBO": lambda beta: TraceMeanField_ELBO(1, beta),
    "TraceMeanField_ELBO, one of three decoded": lambda beta: TraceMeanField_ELBO(3, beta, num_reconstructions=1),
    "StickingTheLanding": lambda beta: StickingTheLanding(2, beta),
    "ScoreFunction, none": lambda beta: ScoreFunction(1, "none", beta),
    "ScoreFunction, other draws": lambda beta: ScoreFunction(3, "other_draws", beta),
    "ScoreFunction, other rows": lambda beta: ScoreFunction(1, "other_rows", beta),
}


@pytest.mark.parametrize("beta", [1.0, 2.5])
@pytest.mark.parametrize("name", OF_THE_ELBO)
def test_gradients_of_the_elbo(name, beta):
    pair = LinearPair(2)
    exact = flat(torch.autograd.grad(pair.elbo(pair.problem.rows(4), beta), list(pair.parameters())))
    assert_mean(gradients_of_batches(pair, OF_THE_ELBO[name](beta)), exact)


def quadrature(pair, value, beta=1.0):
    """The mean over two draws of one latent of a function of their log weights and of log q, by Gauss and Hermite."""
    nodes, weights = (torch.from_numpy(array) for array in np.polynomial.hermite_e.hermegauss(60))
    weights = (weights[:, None] * weights).flatten() / (2 * math.pi)
    noise = torch.cartesian_prod(nodes, nodes).T
    x = pair.problem.rows(4)
    loc, scale = (x @ pair.slope + pair.origin)[:, 0], pair.tril[0, 0]
    z = loc + scale * noise[..., None]
    likelihood_scale = torch.tensor(pair.problem.scale, dtype=torch.float64)
    log_likelihood = normal_log_prob(x, z[..., None] * pair.weight[:, 0] + pair.bias, likelihood_scale).sum(-1)
    log_ratio = normal_log_prob(z, torch.zeros_like(z), torch.ones_like(z)) - normal_log_prob(z, loc, scale)
    log_guide = normal_log_prob(z.detach(), loc, scale)
    return (weights[:, None] * value(log_likelihood + beta * log_ratio, log_guide)).sum()


@pytest.mark.parametrize("beta", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("kind", [IWAE, DReG])
def test_gradients_of_the_importance_weighted_bound(kind, beta):
    pair = LinearPair(1)
    bound = quadrature(pair, lambda log_w, _: log_w.logsumexp(0) - math.log(2), beta)
    exact = flat(torch.autograd.grad(bound, list(pair.parameters())))
    assert_mean(gradients_of_batches(pair, kind(2, beta)), exact)


@pytest.mark.parametrize("alpha", [-1.0, 0.5, 2.0])
def test_gradients_of_the_renyi_bound(alpha):
    pair = LinearPair(1)
    order = 1 - alpha
    bound = quadrature(pair, lambda log_w, _: ((order * log_w).logsumexp(0) - math.log(2)) / order)
    exact = flat(torch.autograd.grad(bound, list(pair.parameters())))
    assert_mean(gradients_of_batches(pair, Renyi(2, alpha)), exact)


def test_gradients_of_the_wake_phase():
    pair = LinearPair(1)
    for_model = quadrature(pair, lambda log_w, _: log_w.logsumexp(0))
    for_guide = quadrature(pair, lambda log_w, log_q: (log_w.detach().softmax(0) * log_q).sum(0))
    exact = [
        *torch.autograd.grad(for_model, [pair.weight, pair.bias]),
        *torch.autograd.grad(for_guide, pair.of_guide),
    ]
    assert_mean(gradients_of_batches(pair, ReweightedWakeSleep(2)), flat(exact))


@pytest.mark.parametrize("beta", [0.5, 1.0])
def test_both_gradients_of_the_importance_weighted_bound_have_one_mean(beta):
    """With three draws, where there is no quadrature; 17 differences of two means, normal by then."""
    pair = LinearPair(2)
    plain, doubly = (gradients_of_batches(pair, kind(3, beta)) for kind in (IWAE, DReG))
    error = ((plain.var(0) + doubly.var(0)) / BATCHES).sqrt()
    assert ((plain.mean(0) - doubly.mean(0)).abs() <= 4 * error + 1e-9).all()
    assert error.norm() < 0.1 * plain.mean(0).norm()
    # They are different estimators: the guide's gradient varies less.
    guide = slice(DATA * 2 + DATA, None)
    assert doubly[:, guide].var(0).sum() < 0.7 * plain[:, guide].var(0).sum()


@pytest.mark.parametrize("way", ["vectorized", "repeated"])
@pytest.mark.parametrize("latent_dim", [1, 2])
def test_at_the_exact_posterior_path_gradients_are_zero_for_every_draw(latent_dim, way):
    pair = LinearPair(latent_dim, exact=True)
    row = pair.problem.rows(1)
    sampler = make_samplers(pair.model, pair.guide, row)[way]

    def of_guide(objective):
        return flat(torch.autograd.grad(objective.terms(sampler, row, 1.0).loss, pair.of_guide)).abs().max()

    for seed in range(20):
        pyro.set_rng_seed(seed)
        for objective in (StickingTheLanding(1), StickingTheLanding(4), DReG(1), DReG(4)):
            assert of_guide(objective) < 1e-10
        for objective in (Trace_ELBO(), TraceMeanField_ELBO(), IWAE(4), ScoreFunction(2, "none")):
            assert of_guide(objective) > 1e-3


def test_at_the_exact_posterior_the_sleep_gradient_is_zero_in_the_mean():
    """The mean of the score of p(z|x) over the model's own rows; 9 components, a false alarm in 1 of 600 seeds."""
    for exact in (True, False):
        pair = LinearPair(2, exact=exact)
        samples = gradients_of_batches(pair, ReweightedWakeSleep(1, insomnia=0))[:, DATA * 2 + DATA :]
        error = samples.std(0) / BATCHES**0.5
        within = samples.mean(0).abs() <= 4 * error + 1e-9
        assert within.all() == exact


def test_one_draw_makes_the_importance_weighted_bound_the_elbo():
    for beta in (0.5, 1.0, 2.0):
        pair = LinearPair(2)
        for first, second in ((IWAE, Trace_ELBO), (DReG, StickingTheLanding)):
            one, other = (gradients_of_batches(pair, kind(1, beta), count=3) for kind in (first, second))
            torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)
