"""A likelihood, a prior and a posterior as a user writes them in a file of one's own."""

import pyro.distributions as dist
import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Gamma(nn.Module):
    """Positive values, the decoder giving the logarithms of their means."""

    def __init__(self, decoder: nn.Module) -> None:
        super().__init__()
        self.decoder = decoder
        self.log_shape = nn.Parameter(torch.zeros(()))

    def forward(self, z: Tensor) -> dist.TorchDistribution:
        log_mean, shape = self.decoder(z), self.log_shape.exp()
        return dist.Gamma(shape, shape * torch.exp(-log_mean)).to_event(log_mean.dim() - z.dim() + 1)


class CorrelatedNormal(nn.Module):
    """A Gaussian prior whose dimensions depend on one another."""

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.zeros(latent_dim, latent_dim))

    def forward(self) -> dist.TorchDistribution:
        scale_tril = self.factor.tril(-1) + torch.diag(self.factor.diagonal().exp())
        return dist.MultivariateNormal(self.factor.new_zeros(len(self.factor)), scale_tril=scale_tril)


class StudentT(nn.Module):
    """A posterior with heavy tails."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.raw_df = nn.Parameter(torch.tensor(3.0))

    def forward(self, x: Tensor) -> dist.TorchDistribution:
        loc, raw_scale = self.encoder(x).chunk(2, dim=-1)
        return dist.StudentT(2 + F.softplus(self.raw_df), loc, F.softplus(raw_scale) + 1e-3).to_event(1)
