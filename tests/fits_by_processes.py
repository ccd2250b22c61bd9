"""Fits and scores of several kinds, by one process or by those that torchrun starts; the first prints the numbers."""

import json

import torch
from problems import bits
from torch import nn

from pyrovae import (
    VAE,
    Autoencoder,
    compare_bounds,
    fit_autoencoder,
    fit_svi,
    likelihoods,
    networks,
    posteriors,
    priors,
    several_processes,
)
from pyrovae.objectives import Linear

# The last of the batches has one row: a second process has none of it.
X = bits(129)


def vae(seed=0, encoder=None, likelihood=likelihoods.Bernoulli):
    torch.manual_seed(seed)
    shape = X.shape[1:]
    encoder = encoder or networks.MLP(shape, 6, (32,))
    return VAE(priors.StandardNormal(3), likelihood(networks.MLP(3, shape, (32,))), posteriors.DiagonalNormal(encoder))


def fitted(fit_vae, rows=X, **options):
    options = {"epochs": 5, "batch_size": 32, "lr": 3e-3, "progress": False, "step": "plain", **options}
    result = fit_svi(fit_vae.model, fit_vae.guide, rows, validation=rows[:40], **options)
    return {
        "history": [[terms["train_elbo"], terms["validation_elbo"]] for terms in result.history],
        "stepping": result.stepping,
        "skipped": result.skipped_steps,
        "signs": list(result.signs_of_trouble),
    }


def dropout():
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(X[0].numel(), 32), nn.ReLU(), nn.Dropout(0.3), nn.Linear(32, 6))
    return fitted(vae(encoder=encoder))


def denoising():
    torch.manual_seed(0)
    shape = X.shape[1:]
    networks_of = networks.MLP(shape, 3, (32,)), networks.MLP(3, shape, (32,))
    autoencoder = Autoencoder(*networks_of, corruption=lambda x: torch.bernoulli(0.8 * x))
    result = fit_autoencoder(autoencoder, X, validation=X[:40], epochs=4, batch_size=32, progress=False)
    return {"history": [[terms["train_loss"], terms["validation_loss"]] for terms in result.history]}


def scores():
    scored = vae()
    bounds = compare_bounds(scored.model, scored.guide, X, num_samples=60, keep_log_weights=True)
    numbers = (bounds.elbo, bounds.log_px, bounds.k_hat, *bounds.log_weights[:3], *bounds.sweep_bounds)
    return {"numbers": [values.tolist() for values in numbers]}


KINDS = {
    "plain steps": lambda: fitted(vae()),
    "recorded steps": lambda: fitted(vae(), step="recorded", train_transform=lambda x: torch.bernoulli(0.1 + 0.8 * x)),
    "IWAE": lambda: fitted(vae(), objective="IWAE", num_particles=4, patience=1, lr=0.05),
    "drawn KL and a warm-up": lambda: fitted(vae(), objective="Trace_ELBO", num_particles=2, beta=Linear(length=0.5)),
    "dropout": dropout,
    "the guide alone": lambda: fitted(vae(), trained="guide"),
    "clipped": lambda: fitted(vae(), clip_norm=0.5, optimizer=lambda p: torch.optim.SGD(p, 0.01, momentum=0.9)),
    "denoising": denoising,
    "scores": scores,
}

if __name__ == "__main__":
    with several_processes("cpu") as processes:
        numbers = {name: fit() for name, fit in KINDS.items()}
        if processes.is_first:
            print(json.dumps(numbers))
