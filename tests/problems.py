"""Models whose answers are known exactly, and the answers, by SciPy."""

from dataclasses import dataclass

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from scipy.stats import multivariate_normal
from torch import Tensor, nn

from pyrovae import VAE, likelihoods, networks, posteriors, priors
from pyrovae.programs import RepeatedSampler, VectorizedSampler, inspect_pair


@dataclass
class LinearGaussian:
    """x = W z + b + scale * noise, z standard normal: log p(x) and p(z|x) are Gaussian in closed form."""

    weight: Tensor
    bias: Tensor
    scale: float

    @classmethod
    def random(cls, data_dim: int, latent_dim: int, seed: int) -> "LinearGaussian":
        generator = torch.Generator().manual_seed(seed)
        weight = torch.randn(data_dim, latent_dim, generator=generator, dtype=torch.float64)
        bias = torch.randn(data_dim, generator=generator, dtype=torch.float64)
        return cls(weight, bias, 0.3 + torch.rand(1, generator=generator).item())

    def rows(self, count: int, seed: int = 0) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        z = torch.randn(count, self.weight.shape[1], generator=generator, dtype=torch.float64)
        noise = torch.randn(count, len(self.bias), generator=generator, dtype=torch.float64)
        return z @ self.weight.T + self.bias + self.scale * noise

    def likelihood(self) -> nn.Module:
        decoder = networks.MLP(self.weight.shape[1], len(self.bias), ()).double()
        with torch.no_grad():
            decoder.layers[0].weight.copy_(self.weight)
            decoder.layers[0].bias.copy_(self.bias)
        return likelihoods.Normal(decoder, scale=self.scale).double()

    def prior(self) -> nn.Module:
        return priors.StandardNormal(self.weight.shape[1]).double()

    def vae(self, posterior: nn.Module) -> VAE:
        return VAE(self.prior(), self.likelihood(), posterior)

    def log_px(self, x: Tensor) -> Tensor:
        covariance = self.weight @ self.weight.T + self.scale**2 * torch.eye(len(self.bias), dtype=torch.float64)
        return torch.from_numpy(
            np.atleast_1d(multivariate_normal(self.bias.numpy(), covariance.numpy()).logpdf(x.numpy()))
        )

    def posterior_moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        identity = torch.eye(self.weight.shape[1], dtype=torch.float64)
        covariance = torch.linalg.inv(identity + self.weight.T @ self.weight / self.scale**2)
        return (x - self.bias) @ self.weight @ covariance / self.scale**2, covariance

    def elbo(self, x: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
        """The ELBO of q = Normal(loc, diag(scale^2)) in closed form."""
        mean_x = loc @ self.weight.T + self.bias
        trace = (self.weight**2 @ (scale**2).T).sum(0)
        data_dim = len(self.bias)
        reconstruction = (
            -0.5 * data_dim * np.log(2 * np.pi * self.scale**2)
            - 0.5 * (((x - mean_x) ** 2).sum(-1) + trace) / self.scale**2
        )
        kl = 0.5 * (scale**2 + loc**2 - 1 - 2 * scale.log()).sum(-1)
        return reconstruction - kl


class ExactPosterior(nn.Module):
    """The posterior of a LinearGaussian as a part."""

    def __init__(self, problem: LinearGaussian) -> None:
        super().__init__()
        self.problem = problem

    def forward(self, x: Tensor) -> dist.TorchDistribution:
        loc, covariance = self.problem.posterior_moments(x)
        return dist.MultivariateNormal(loc, covariance)


class ScaledPosterior(nn.Module):
    """A poor guide: the right mean moved by ``shift``, a diagonal scale ``widen`` times the marginal one."""

    def __init__(self, problem: LinearGaussian, widen: float = 1.5, shift: float = 0.2) -> None:
        super().__init__()
        self.problem, self.widen, self.shift = problem, widen, shift

    def moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        loc, covariance = self.problem.posterior_moments(x)
        return loc + self.shift, (self.widen * covariance.diagonal().sqrt()).expand_as(loc)

    def forward(self, x: Tensor) -> dist.TorchDistribution:
        return dist.Normal(*self.moments(x)).to_event(1)


def small_vae(data_shape: tuple[int, ...] = (1, 8, 8), latent_dim: int = 2, likelihood: str = "Bernoulli") -> VAE:
    decoder = networks.MLP(latent_dim, data_shape, (16,))
    return VAE(
        priors.StandardNormal(latent_dim),
        getattr(likelihoods, likelihood)(decoder),
        posteriors.DiagonalNormal(networks.MLP(data_shape, 2 * latent_dim, (16,))),
    )


def bits(count: int, data_shape: tuple[int, ...] = (1, 8, 8), seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.bernoulli(torch.full((count, *data_shape), 0.4), generator=generator)


class Bias(nn.Module):
    """A decoder that gives the same numbers for every z."""

    def __init__(self, value):
        super().__init__()
        self.value = nn.Parameter(torch.as_tensor(value))

    def forward(self, z):
        return self.value.expand(*z.shape[:-1], *self.value.shape)

    @torch.no_grad()
    def set_output_bias(self, value):
        assert value.shape == self.value.shape
        self.value.copy_(value)


def with_bias(name, data_shape, options):
    kind = getattr(likelihoods, name)
    shape = data_shape
    if hasattr(kind, "decoder_shape"):
        known = {key: value for key, value in options.items() if key in kind.decoder_shape.__code__.co_varnames}
        shape = kind.decoder_shape(data_shape, **known)
    sized = {"data_shape": data_shape} if "data_shape" in kind.__init__.__code__.co_varnames else {}
    return kind(Bias(torch.zeros(shape)), **sized, **options)


def make_samplers(model, guide, x):
    """Both ways of drawing several times from a pair, by name."""
    structure = inspect_pair(model, guide, x)
    return {
        "vectorized": VectorizedSampler(model, guide, structure),
        "repeated": RepeatedSampler(model, guide, structure),
    }


class LinearPair(nn.Module):
    """q(z|x) has a scale of its own, which subclasses may change in their ways."""

    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = nn.Linear(5, 2), nn.Linear(2, 5)

    def scale(self):
        return 1.0

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(self.decoder(z), 0.5).to_event(1), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(self.encoder(x), self.scale()).to_event(1))


def categorical_model(x):
    with pyro.plate("data", len(x)):
        k = pyro.sample("k", dist.Categorical(torch.ones(3)))
        pyro.sample("x", dist.Normal(k.float(), 1.0), obs=x)


def categorical_guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("k", dist.Categorical(torch.ones(len(x), 3)))
