"""Small pairs of programs around normal distributions."""

import pyro
import pyro.distributions as dist
import torch

from pyrovae.distributions import LKJCholesky

X = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))


def normal(loc, scale=1.0):
    return dist.Normal(loc, scale).to_event(1)


def guide(x):
    scale = pyro.param("scale", torch.ones(2), constraint=dist.constraints.positive)
    with pyro.plate("data", len(x)):
        pyro.sample("z", normal(torch.zeros(2), scale))


def good_model(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", normal(torch.zeros(2)))
        pyro.sample("x", normal(z.sum(-1, keepdim=True).expand(*z.shape[:-1], 4)), obs=x)


def correlated_pair(of_model, of_guide):
    def model(x):
        with pyro.plate("data", len(x)):
            factor = pyro.sample("z", of_model(4, torch.tensor(2.0)))
            loc = torch.zeros(*factor.shape[:-2], 4)
            pyro.sample("x", dist.MultivariateNormal(loc, scale_tril=factor), obs=x)

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", of_guide(4, torch.tensor(1.5)))

    return model, guide


def correlation_matrix_guide(x):
    transform = dist.transforms.CorrMatrixCholeskyTransform().inv
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.TransformedDistribution(LKJCholesky(4, torch.tensor(1.5)), [transform]))


def pair_of(prior, posterior, likelihood=None):
    """z from the prior, x a normal around it."""

    def model(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", prior(x))
            pyro.sample("x", likelihood(x, z) if likelihood else dist.Normal(z, 1.0).to_event(1), obs=x)

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", posterior(x))

    return model, guide


def standard_normal(x):
    return dist.Normal(torch.zeros(len(x), 4), 1.0).to_event(1)
