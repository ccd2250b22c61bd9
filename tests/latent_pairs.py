"""Pairs and quadrature for tests of what the latents hold."""

import math

import pyro
import pyro.distributions as dist
import torch


def pair(posterior, prior=None, event_dims=1):
    """z from the prior, x = z + noise; the guide draws from ``posterior(x)``."""
    prior = prior or (lambda x: dist.Normal(torch.zeros(x.shape[1:], dtype=x.dtype), 1.0).to_event(1))

    def model(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", prior(x))
            pyro.sample(
                "x", dist.Normal(z.to(x.dtype).reshape(*z.shape[: z.dim() - event_dims], -1), 1.0).to_event(1), obs=x
            )

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", posterior(x))

    return model, guide


def rows(count, dims=1, seed=0):
    return torch.randn(count, dims, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def two_sites(gain, offset, swapped=False):
    """a, then b given a, in guide and model; with ``swapped`` the model draws b first, from the same joint."""
    scale_a, scale_b = 0.6, 0.5

    def model(x):
        with pyro.plate("data", len(x)):
            if swapped:  # a ~ N(0, 1), b|a ~ N(a, 1) the other way round
                b = pyro.sample("b", dist.Normal(torch.zeros((), dtype=x.dtype), math.sqrt(2.0)))
                a = pyro.sample("a", dist.Normal(b / 2, math.sqrt(0.5)))
            else:
                a = pyro.sample("a", dist.Normal(torch.zeros((), dtype=x.dtype), 1.0))
                b = pyro.sample("b", dist.Normal(a, 1.0))
            pyro.sample("x", dist.Normal(a + b, 1.0), obs=x)

    def guide(x):
        with pyro.plate("data", len(x)):
            a = pyro.sample("a", dist.Normal(x, scale_a))
            pyro.sample("b", dist.Normal(gain * a + offset * x, scale_b))

    def exact(x):
        kl_a = 0.5 * (x**2 + scale_a**2 - 1) - math.log(scale_a)
        # b - a has mean (gain + offset - 1) x, of which a's spread adds (gain - 1)^2 scale_a^2.
        gap = ((gain + offset - 1) * x) ** 2 + ((gain - 1) * scale_a) ** 2
        return kl_a, 0.5 * (gap + scale_b**2 - 1) - math.log(scale_b)

    return (model, guide), exact, (scale_a, scale_b)
