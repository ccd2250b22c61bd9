"""Makers of the semi-supervised models, small rows, and labels of a few of these."""

import numpy as np
from problems import bits

from pyrovae import likelihoods, networks
from pyrovae.semi_supervised import M1, M1M2, M2, PCVAE

SMALL = {"latent_dim": 3, "hidden_dims": (16,), "epochs": 2, "batch_size": 20, "progress": False}


def normal(inputs, shape):
    return likelihoods.Normal(networks.MLP(inputs, shape, (8,)))


MAKERS = {
    "M1": lambda **options: M1(**SMALL, **options),
    "M1, draws": lambda **options: M1(**SMALL, embedding="draws", num_draws=3, **options),
    "M2": lambda **options: M2(**SMALL, **options),
    "PCVAE": lambda **options: PCVAE(**SMALL, **options),
    "PCVAE, dual": lambda **options: PCVAE(**SMALL, multiplier="dual", **options),
    "M1M2": lambda **options: M1M2(M1(**SMALL, **options), M2(**SMALL, likelihood=normal, **options), embedding="mean"),
    "M1M2, draws": lambda **options: M1M2(
        M1(**SMALL, **options), M2(**SMALL, likelihood=normal, **options), embedding="draws", num_draws=3
    ),
    "M1M2, both together": lambda **options: M1M2(
        M1(**SMALL, **options), M2(**SMALL, likelihood=normal, **options), embedding="mean", fine_tune_epochs=2
    ),
}


X, TRUTH = bits(100), np.arange(100) % 3


Y = np.where(np.arange(100) < 12, TRUTH, -1)
