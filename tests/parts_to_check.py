"""Parts of a VAE, sound and broken, for ``check_vae``."""

import pyro.distributions as dist
import torch
from problems import bits
from torch import nn

from pyrovae import VAE, likelihoods, networks, posteriors, priors

X = bits(5)


def make(encoder=None, decoder=None, **parts):
    """A VAE of 8 x 8 binary images with some of its parts exchanged."""
    return VAE(
        parts.get("prior") or priors.StandardNormal(2),
        parts.get("likelihood") or likelihoods.Bernoulli(decoder or networks.MLP(2, (1, 8, 8), (16,))),
        parts.get("posterior") or posteriors.DiagonalNormal(encoder or networks.MLP((1, 8, 8), 4, (16,))),
    )


class Part(nn.Module):
    """A part with a network, from a function of the network's output."""

    def __init__(self, network, distribution):
        super().__init__()
        self.network, self.distribution = network, distribution

    def forward(self, context):
        return self.distribution(self.network(context))


def posterior(distribution, network=None):
    return make(posterior=Part(network or networks.MLP((1, 8, 8), 2, (8,)), distribution))


def likelihood(distribution, network=None):
    return make(likelihood=Part(network or networks.MLP(2, (1, 8, 8), (8,)), distribution))


class Network(nn.Module):
    """A network and a function of its output."""

    def __init__(self, network, function):
        super().__init__()
        self.network, self.function = network, function

    def forward(self, x):
        return self.function(self.network(x))


def with_prior(prior):
    """A VAE whose prior was exchanged after it was made, past the check of its making."""
    vae = make()
    vae.prior = prior
    return vae


class Kept(nn.Module):
    """A network inside a Python container, which no name leads to."""

    def __init__(self, container):
        super().__init__()
        self.container = container

    def forward(self, z):
        return next(iter(getattr(self.container, "values", lambda: self.container)()))(z)


def with_weight_of_a_closure(requires_grad):
    weight = torch.zeros(1, 8, 8, requires_grad=requires_grad)
    return make(decoder=Network(networks.MLP(2, (1, 8, 8)), lambda h: h + weight))


class Undrawn(dist.Normal):
    has_rsample = False

    def sample(self, sample_shape=()):
        raise NotImplementedError("no draws")
