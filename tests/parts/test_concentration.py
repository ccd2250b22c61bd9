"""How the concentration of a Beta likelihood moves, and what a fit makes of it."""

import numpy as np
import torch
from scipy import stats

from pyrovae import VAE, compare_bounds, fit_svi, likelihoods, networks, posteriors, priors

CONCENTRATION, COLUMNS, TRAIN = 50.0, 40, 800


def test_a_short_fit_comes_near_what_the_proportions_were_drawn_from():
    random = np.random.default_rng(0)
    z, weights = random.normal(size=(1000, 2)), random.normal(size=(2, COLUMNS))
    means = 1 / (1 + np.exp(-(z @ weights)))
    laws = CONCENTRATION * means, CONCENTRATION * (1 - means)
    values = random.beta(*laws).clip(1e-6, 1 - 1e-6)
    true = stats.beta.logpdf(values, *laws)[TRAIN:].sum(1).mean()
    x = torch.tensor(values, dtype=torch.float32)
    torch.manual_seed(0)
    vae = VAE(
        priors.StandardNormal(3),
        likelihoods.Beta(networks.MLP(3, COLUMNS)),
        posteriors.DiagonalNormal(networks.MLP(COLUMNS, 6)),
    )
    vae.initialize(x[:TRAIN])
    fit_svi(vae.model, vae.guide, x[:TRAIN], epochs=100, batch_size=80, lr=2e-3, patience=None, seed=0, progress=False)
    log_px = compare_bounds(vae.model, vae.guide, x[TRAIN:], num_samples=100).log_px.mean()
    # 6 nats below, a part of which says which z it was; 33 where it moved by steps of the learning rate.
    assert log_px > true - 10


def test_a_step_changes_a_large_one_by_a_factor():
    likelihood = likelihoods.Beta(networks.MLP(2, 3), initial_concentration=500.0)
    optimizer = torch.optim.Adam(likelihood.parameters(), lr=0.01)
    likelihood.concentration.backward()
    optimizer.step()
    np.testing.assert_allclose(likelihood.concentration.item(), 500 * np.exp(-0.1), rtol=1e-4)
