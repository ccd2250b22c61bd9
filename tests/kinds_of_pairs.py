"""Pairs of many kinds, each with its draws and log-densities in plain PyTorch beside its Pyro programs.

``draw`` gives the latents with a leading dimension of draws, from the noise that the sampler of that name uses.
"""

import pyro
import pyro.distributions as dist
import torch
from incomplete import gaussian_vae, rows
from problems import bits
from pyro import poutine
from torch import nn

from pyrovae import VAE, likelihoods, networks, posteriors, priors

DATA, ROWS = 3, 4


def data(count=ROWS, seed=1):
    return torch.randn(count, DATA, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def normal(parameters):
    """Over the last dimension, from means and raw scales side by side."""
    loc, raw = parameters.chunk(2, -1)
    return dist.Normal(loc, nn.functional.softplus(raw)).to_event(1)


class Pair(nn.Module):
    """Parameters of the model and of the guide, in float64 and from one seed."""

    def __init__(self, model, guide):
        super().__init__()
        self.p, self.q = nn.ModuleDict(model), nn.ModuleDict(guide)
        torch.manual_seed(3)
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.4)
        self.double()

    @property
    def of_model(self):
        return list(self.p.parameters())

    @property
    def of_guide(self):
        return list(self.q.parameters())


class OfVAE(nn.Module):
    """A VAE, its formulas by the distributions of its parts."""

    def __init__(self, vae):
        super().__init__()
        self.vae = vae.double()

    def model(self, x):
        return self.vae.model(x)

    def guide(self, x):
        return self.vae.guide(x)

    def draw(self, x, count, way="vectorized"):
        return (self.vae.encode(x).rsample((count,)),)

    def log_prior(self, z):
        return self.vae.prior().log_prob(z)

    def log_likelihood(self, x, z):
        return self.vae.decode(z).log_prob(x)

    def log_guide(self, x, z):
        return self.vae.encode(x).log_prob(z)

    @property
    def of_model(self):
        return [*self.vae.prior.parameters(), *self.vae.likelihood.parameters()]

    @property
    def of_guide(self):
        return list(self.vae.posterior.parameters())


class TwoLatents(Pair):
    """z2 depends on z1 in the model; the guide draws them in this order, or z2 first."""

    def __init__(self, first="z1", dropout=0.0):
        other = {"z1": 2, "z2": 2}["z2" if first == "z1" else "z1"]
        guide = {"first": nn.Linear(DATA, 4), "second": nn.Linear(DATA + 2, 2 * other)}
        super().__init__({"z2": nn.Linear(2, 4), "x": nn.Linear(4, 2 * DATA)}, guide)
        self.first, self.second = first, "z2" if first == "z1" else "z1"
        self.dropout = nn.Dropout(dropout)

    def model(self, x):
        with pyro.plate("data", len(x), dim=-1):
            z1 = pyro.sample("z1", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
            z2 = pyro.sample("z2", normal(self.p["z2"](z1)))
            pyro.sample("x", normal(self.p["x"](torch.cat([z1, z2], -1))), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x), dim=-1):
            first = pyro.sample(self.first, self.q_first(x))
            pyro.sample(self.second, self.q_second(x, first))

    def q_first(self, x):
        return normal(self.q["first"](self.dropout(x)))

    def q_second(self, x, first):
        return normal(self.q["second"](torch.cat([x.expand(*first.shape[:-1], DATA), first], -1)))

    def draw(self, x, count, way="vectorized"):
        first = self.q_first(x).rsample((count,))
        drawn = (first, self.q_second(x, first).rsample())
        return drawn if self.first == "z1" else drawn[::-1]

    def log_prior(self, z1, z2):
        return dist.Normal(z1.new_zeros(2), 1.0).to_event(1).log_prob(z1) + normal(self.p["z2"](z1)).log_prob(z2)

    def log_likelihood(self, x, z1, z2):
        return normal(self.p["x"](torch.cat([z1, z2], -1))).log_prob(x)

    def log_guide(self, x, z1, z2):
        first, second = (z1, z2) if self.first == "z1" else (z2, z1)
        return self.q_first(x).log_prob(first) + self.q_second(x, first).log_prob(second)


class PlateWithin(Pair):
    """Each row has a latent for each of its entries, in a plate left of the data, and one for all of them."""

    def __init__(self):
        super().__init__({"x": nn.Linear(2, 1)}, {"w": nn.Linear(DATA, 4), "z": nn.Linear(DATA, 2)})

    def model(self, x):
        with pyro.plate("data", len(x), dim=-1):
            z = pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))
            with pyro.plate("entries", DATA, dim=-2):
                w = pyro.sample("w", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
                pyro.sample("x", dist.Normal(self.p["x"](w)[..., 0] + z, 0.6), obs=x.T)

    def guide(self, x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", self.q_z(x))
            with pyro.plate("entries", DATA, dim=-2):
                pyro.sample("w", self.q_w(x))

    def q_z(self, x):
        loc, raw = self.q["z"](x).unbind(-1)
        return dist.Normal(loc, nn.functional.softplus(raw))

    def q_w(self, x):
        return normal(self.q["w"](x).expand(DATA, len(x), 4))

    def draw(self, x, count, way="vectorized"):
        """The latents w ``(draws, entries, rows, 2)``."""
        z = self.q_z(x).rsample((count,))
        if way == "vectorized":
            return z, self.q_w(x).rsample((count,))
        w = self.q_w(x.repeat(count, 1)).rsample()
        return z, w.unflatten(1, (count, len(x))).movedim(1, 0)

    def log_prior(self, z, w):
        standard = dist.Normal(z.new_zeros(()), 1.0)
        return standard.log_prob(z) + standard.log_prob(w).sum((1, 3))

    def log_likelihood(self, x, z, w):
        return dist.Normal(self.p["x"](w)[..., 0] + z[:, None], 0.6).log_prob(x.T).sum(1)

    def log_guide(self, x, z, w):
        return self.q_z(x).log_prob(z) + self.q_w(x).log_prob(w).sum(1)


class DiscreteBeside(Pair):
    """A class of three, and a continuous latent."""

    def __init__(self):
        super().__init__({"x": nn.Linear(2 + 3, 2 * DATA)}, {"k": nn.Linear(DATA, 3), "z": nn.Linear(DATA, 4)})

    def model(self, x):
        with pyro.plate("data", len(x), dim=-1):
            k = pyro.sample("k", dist.Categorical(x.new_tensor([0.2, 0.3, 0.5])))
            z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
            pyro.sample("x", self.p_x(k, z), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("k", dist.Categorical(logits=self.q["k"](x)))
            pyro.sample("z", normal(self.q["z"](x)))

    def p_x(self, k, z):
        return normal(self.p["x"](torch.cat([nn.functional.one_hot(k, 3).to(z), z], -1)))

    def draw(self, x, count, way="vectorized"):
        k = torch.distributions.Categorical(logits=self.q["k"](x).expand(count, len(x), 3)).sample()
        return k, normal(self.q["z"](x)).rsample((count,))

    def log_prior(self, k, z):
        return torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64).log()[k] - 0.5 * (z**2 + 1.8378770664093453).sum(-1)

    def log_likelihood(self, x, k, z):
        return self.p_x(k, z).log_prob(x)

    def log_guide(self, x, k, z):
        return self.log_guide_of_class(x, k) + normal(self.q["z"](x)).log_prob(z)

    def log_guide_of_class(self, x, k):
        logits = self.q["k"](x).log_softmax(-1)
        return logits.expand(*k.shape, 3).gather(-1, k[..., None])[..., 0]


class Masked(Pair):
    """Rows whose first entry is negative count for nothing, their latents neither."""

    def __init__(self):
        super().__init__({"x": nn.Linear(2, 2 * DATA)}, {"z": nn.Linear(DATA, 4)})

    def model(self, x):
        with pyro.plate("data", len(x), dim=-1), poutine.mask(mask=x[:, 0] > 0):
            z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
            pyro.sample("x", normal(self.p["x"](z)), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x), dim=-1), poutine.mask(mask=x[:, 0] > 0):
            pyro.sample("z", normal(self.q["z"](x)))

    def draw(self, x, count, way="vectorized"):
        self.kept = (x[:, 0] > 0).to(x)
        return (normal(self.q["z"](x)).rsample((count,)),)

    def log_prior(self, z):
        return self.kept * dist.Normal(z.new_zeros(2), 1.0).to_event(1).log_prob(z)

    def log_likelihood(self, x, z):
        return self.kept * normal(self.p["x"](z)).log_prob(x)

    def log_guide(self, x, z):
        return self.kept * normal(self.q["z"](x)).log_prob(z)


def vae_of(posterior, prior=None, decoder=None):
    torch.manual_seed(3)
    return OfVAE(VAE(prior or priors.DiagonalNormal(2), likelihoods.Normal(decoder or mlp(2, DATA)), posterior()))


def mlp(*shapes):
    return networks.MLP(*shapes, (6,), activation="tanh")


def flow(kind):
    encoder = mlp(DATA, posteriors.Flow.encoder_shape(2))
    return posteriors.Flow(2, encoder=encoder, kind=kind, hidden_dims=(6,))


def convolutions():
    torch.manual_seed(3)
    decoder = networks.ConvDecoder(2, (1, 8, 8), channels=(4, 4))
    encoder = networks.ConvEncoder((1, 8, 8), 4, channels=(4, 4))
    vae = VAE(priors.StandardNormal(2), likelihoods.Bernoulli(decoder), posteriors.DiagonalNormal(encoder))
    return OfVAE(vae)


def images(count=ROWS):
    return bits(count).double()


def incomplete_rows(count=ROWS):
    return rows(count).double()


# Each with the data that it is for.
PAIRS = {
    "two latents": (TwoLatents, data),
    "two latents, the last one first": (lambda: TwoLatents("z2"), data),
    "a plate within the rows": (PlateWithin, data),
    "full covariance": (
        lambda: vae_of(
            lambda: posteriors.FullCovarianceNormal(mlp(DATA, posteriors.FullCovarianceNormal.encoder_shape(2)))
        ),
        data,
    ),
    "inverse autoregressive flow": (lambda: vae_of(lambda: flow("inverse_autoregressive")), data),
    "coupling flow": (lambda: vae_of(lambda: flow("coupling")), data),
    "mixture prior": (
        lambda: vae_of(lambda: posteriors.DiagonalNormal(mlp(DATA, 4)), priors.GaussianMixture(2, num_components=3)),
        data,
    ),
    "convolutions": (convolutions, images),
    "missing entries": (lambda: OfVAE(gaussian_vae()), incomplete_rows),
    "masked rows": (Masked, data),
}
