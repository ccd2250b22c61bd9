"""Small fits with their evaluations, one for each kind of system, to run many of them in one process."""

import numpy as np
import torch
from problems import bits
from torch import Tensor

from pyrovae import VAE, ais, compare_bounds, fit_svi, likelihoods, log_weights, networks, posteriors, priors
from pyrovae.models import Autoencoder
from pyrovae.programs import isolated_rng
from pyrovae.semi_supervised import M2, PCVAE
from pyrovae.training import fit_autoencoder

X = bits(60)
LABELS = np.where(np.arange(60) < 20, np.arange(60) % 3, -1)
CLASSIFIER = {"latent_dim": 3, "hidden_dims": (16,), "epochs": 2, "batch_size": 20, "progress": False}


def small_vae(seed: int = 0) -> VAE:
    with isolated_rng(seed, X.device):
        return VAE(
            priors.StandardNormal(3),
            likelihoods.Bernoulli(networks.MLP(3, X.shape[1:], (32,))),
            posteriors.DiagonalNormal(networks.MLP(X.shape[1:], 6, (32,))),
        )


def small_autoencoder(seed: int = 0) -> Autoencoder:
    with isolated_rng(seed, X.device):
        return Autoencoder(networks.MLP(X.shape[1:], 3, (32,)), networks.MLP(3, X.shape[1:], (32,)))


def fit(vae: VAE, seed: int = 0, **options):
    options = {"epochs": 3, "batch_size": 20, "progress": False, "step": "plain", "seed": seed, **options}
    return fit_svi(vae.model, vae.guide, X, **options)


def vae_job(seed: int, **options) -> tuple[torch.nn.Module, list[Tensor]]:
    vae = small_vae(seed)
    fit(vae, seed, **options)
    bounds = compare_bounds(vae.model, vae.guide, X[:20], num_samples=100)
    return vae, [*vae.state_dict().values(), bounds.log_px, bounds.elbo, bounds.k_hat]


def annealed_job(seed: int) -> tuple[torch.nn.Module, list[Tensor]]:
    vae = small_vae(seed)
    fit(vae, seed)
    estimate = ais(vae.model, vae.guide, X[:4], num_temperatures=5, num_chains=3, warm_up=3, progress=False)
    return vae, [*vae.state_dict().values(), estimate.log_px]


def classifier_job(seed: int, kind: type) -> tuple[torch.nn.Module, list[Tensor]]:
    classifier = kind(**CLASSIFIER, seed=seed, step="recorded").fit(X, LABELS)
    return classifier.programs_, [
        *classifier.programs_.state_dict().values(),
        torch.from_numpy(classifier.predict_proba(X)),
    ]


def autoencoder_job(seed: int) -> tuple[torch.nn.Module, list[Tensor]]:
    autoencoder = small_autoencoder(seed)
    fit_autoencoder(autoencoder, X, validation=X[:30], epochs=3, batch_size=20, seed=seed, progress=False)
    return autoencoder, [*autoencoder.state_dict().values(), autoencoder.losses(X).detach()]


def scored_job(seed: int) -> tuple[torch.nn.Module, list[Tensor]]:
    """Scored in so many chunks that the density is recorded."""
    vae = small_vae(seed)
    fit(vae, seed, epochs=1)
    return vae, [log_weights(vae.model, vae.guide, X[:2], 4000, chunk_size=10)]


JOBS = {
    "VAE, recorded": lambda seed: vae_job(seed, step="recorded"),
    "VAE, plain": lambda seed: vae_job(seed),
    "IWAE": lambda seed: vae_job(seed, step="recorded", objective="IWAE", num_particles=5),
    "M2": lambda seed: classifier_job(seed, M2),
    "PCVAE": lambda seed: classifier_job(seed, PCVAE),
    "autoencoder": autoencoder_job,
    "recorded scoring": scored_job,
    "annealing": annealed_job,
}
"""From a seed to a fitted module, and the tensors that make it and its evaluation; the same seed, the same numbers."""
