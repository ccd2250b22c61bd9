"""Small fits, and what shows signs of trouble in them."""

import torch
from torch import nn

from pyrovae import VAE, fit_svi, likelihoods, networks, posteriors, priors


def fit(pair, x, **options):
    options = {"epochs": 8, "batch_size": 50, "progress": False} | options
    return fit_svi(pair.model, pair.guide, x, **options)


def gaussian_vae(width, latent_dim=2, **options):
    shape = likelihoods.Normal.decoder_shape((width,), options.get("scale", "shared"))
    return VAE(
        priors.StandardNormal(latent_dim),
        likelihoods.Normal(networks.MLP(latent_dim, shape, (16,)), data_shape=(width,), **options),
        posteriors.DiagonalNormal(networks.MLP(width, 2 * latent_dim, (16,))),
    )


class Steady(nn.Module):
    """A decoder of a user that does not look at z."""

    def __init__(self, shape):
        super().__init__()
        self.value = nn.Parameter(torch.zeros(shape))

    def forward(self, z):
        return self.value.expand(*z.shape[:-1], *self.value.shape)
