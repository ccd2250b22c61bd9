"""A case whose latents go unused in a plain fit, and what free bits and a warm-up of the KL do about it."""

import pyro
import pytest
import torch

from pyrovae import VAE, fit_svi, likelihoods, networks, posteriors, priors
from pyrovae.evaluation import latent_summary
from pyrovae.objectives import Linear, TraceMeanField_ELBO

LATENT, DATA = 5, 20

OBJECTIVES = {
    "plain": {},
    "free bits": {"free_bits": 0.2},
    "warm-up": {"beta": Linear(0.0, 1.0, length=0.5)},
}


def rows():
    """Five latents of standard deviation 2 in twenty directions of noise 1.

    Under the true model the KL of each is log(1 + 4) / 2 = 0.8 nats: all five are worth their KL.
    """
    generator = torch.Generator().manual_seed(0)
    directions, _ = torch.linalg.qr(torch.randn(DATA, LATENT, generator=generator))
    z = torch.randn(500, LATENT, generator=generator)
    return z @ (2 * directions).T + torch.randn(500, DATA, generator=generator)


def fitted(x, seed, options):
    """Used dimensions (a mean KL above 0.01 nats), active ones (Burda et al., 2016), and the fit."""
    pyro.set_rng_seed(seed)
    hidden = (30, 30, 30)
    vae = VAE(
        priors.StandardNormal(LATENT),
        likelihoods.Normal(networks.MLP(LATENT, DATA, hidden), scale=1.0),
        posteriors.DiagonalNormal(networks.MLP(DATA, 2 * LATENT, hidden)),
    )
    objective = TraceMeanField_ELBO(**options)
    result = fit_svi(
        vae.model, vae.guide, x, epochs=100, batch_size=100, lr=3e-3, objective=objective, seed=seed, progress=False
    )
    summary = latent_summary(vae.model, vae.guide, x, num_samples=1)
    return int((summary.sites["z"].kl_per_dim.mean(0) > 0.01).sum()), summary.active_units, result


@pytest.mark.slow
def test_free_bits_and_a_warm_up_raise_the_number_of_active_units():
    """Over three seeds a plain fit uses 2, 2 and 2 of the five; with free bits all, after a warm-up 3 to 5."""
    x = rows()
    fits = {name: [fitted(x, seed, options) for seed in range(3)] for name, options in OBJECTIVES.items()}
    used, active = ({name: [fit[part] for fit in found] for name, found in fits.items()} for part in (0, 1))
    elbo = {name: sum(result.history[-1]["train_elbo"] for _, _, result in found) for name, found in fits.items()}
    for name in ("free bits", "warm-up"):
        assert sum(used[name]) >= sum(used["plain"]) + 3
        assert sum(active[name]) >= sum(active["plain"]) + 3
        assert elbo[name] > elbo["plain"]
    assert used["free bits"] == active["free bits"] == [LATENT] * 3
    # Most are unused in the plain fits, and these say so.
    for number, (_, _, result) in zip(used["plain"], fits["plain"], strict=True):
        said = [sign.startswith("Posterior collapse") for sign in result.signs_of_trouble]
        assert said == [True] * (2 * number < LATENT)
