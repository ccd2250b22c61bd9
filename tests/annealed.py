"""What tests of annealing share."""

import math

import pyro
import pyro.distributions as dist
import torch
from problems import LinearGaussian, ScaledPosterior

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


def gamma_model(x):
    with pyro.plate("data", len(x)):
        rate = pyro.sample("rate", dist.Gamma(torch.tensor(2.0), 1.0))
        pyro.sample("x", dist.Normal(rate, 0.5), obs=x)


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
