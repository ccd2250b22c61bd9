"""Rows with missing entries, and models whose answers for them are known exactly."""

import numpy as np
import pyro.distributions as dist
import torch
from problems import LinearGaussian
from scipy.stats import multivariate_normal
from torch import nn

from pyrovae import VAE, likelihoods, mark_missing, networks, posteriors, priors

DATA, LATENT = 5, 2


class ExactPosterior(nn.Module):
    """p(z | observed entries) of a LinearGaussian, its scale ``widen`` times the right one."""

    def __init__(self, problem, widen=1.0):
        super().__init__()
        self.problem, self.widen = problem, widen

    def forward(self, x):
        observed = (~x.isnan()).to(x)
        weight = self.problem.weight
        precision = torch.eye(LATENT, dtype=x.dtype) + torch.einsum(
            "...d,di,dj->...ij", observed / self.problem.scale**2, weight, weight
        )
        distance = observed * (x.nan_to_num() - self.problem.bias)
        covariance = torch.linalg.inv(precision)
        loc = (covariance @ (distance @ weight)[..., None])[..., 0] / self.problem.scale**2
        return dist.MultivariateNormal(loc, scale_tril=self.widen * torch.linalg.cholesky(covariance))


def exact_vae(widen=1.0):
    problem = LinearGaussian.random(DATA, LATENT, 1)
    likelihood = likelihoods.PartlyObserved(problem.likelihood())
    return problem, VAE(problem.prior(), likelihood, ExactPosterior(problem, widen))


def incomplete(problem, count, seed=0):
    """Rows with each entry missing with probability 0.4, but never all of a row."""
    x = problem.rows(count, seed)
    missing = torch.rand(x.shape, generator=torch.Generator().manual_seed(seed)) < 0.4
    missing[torch.arange(count), torch.arange(count) % DATA] = False
    return mark_missing(x, missing)


def exact_log_px(problem, x):
    covariance = problem.weight @ problem.weight.T + problem.scale**2 * torch.eye(DATA, dtype=torch.float64)
    values = []
    for row in x:
        there = ~row.isnan()
        marginal = multivariate_normal(problem.bias[there].numpy(), covariance[there][:, there].numpy())
        values.append(marginal.logpdf(row[there].numpy()))
    return torch.tensor(np.array(values))


def gaussian_vae(likelihood=None):
    torch.manual_seed(0)
    return VAE(
        priors.StandardNormal(LATENT),
        likelihoods.PartlyObserved(likelihood or likelihoods.Normal(networks.MLP(LATENT, DATA, (8,)))),
        posteriors.PartlyObserved(posteriors.DiagonalNormal(networks.MLP(DATA, 2 * LATENT, (8,))), (DATA,)),
    )


def rows(count, seed=0):
    return incomplete(LinearGaussian.random(DATA, LATENT, 1), count, seed).float()
