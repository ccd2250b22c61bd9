"""Where the total count of a negative binomial starts, how it moves, and what a fit makes of it."""

import numpy as np
import pytest
import torch
from scipy import stats

from pyrovae import VAE, compare_bounds, fit_svi, likelihoods, networks, posteriors, priors

TOTAL_COUNT, COLUMNS, TRAIN = 5.0, 40, 800


@pytest.fixture(scope="module")
def counts():
    """Counts whose means z spreads over orders of magnitude, and the mean log p(x|z) of the test rows at the true z."""
    random = np.random.default_rng(0)
    z, weights = random.normal(size=(1000, 2)), random.normal(0, 0.7, size=(2, COLUMNS))
    means = np.exp(random.normal(1, 1, size=COLUMNS) + z @ weights)
    values = random.poisson(random.gamma(TOTAL_COUNT, means / TOTAL_COUNT))
    true = stats.nbinom.logpmf(values, TOTAL_COUNT, TOTAL_COUNT / (TOTAL_COUNT + means))[TRAIN:].sum(1).mean()
    return torch.tensor(values, dtype=torch.float32), true


LIKELIHOODS = {
    "shared": lambda: likelihoods.NegativeBinomial(networks.MLP(3, COLUMNS)),
    "zero-inflated": lambda: likelihoods.ZeroInflatedNegativeBinomial(networks.MLP(3, COLUMNS)),
    "columns": lambda: likelihoods.Columns(networks.MLP(3, COLUMNS), ["count"] * COLUMNS),
}


ONE_BY_DEFAULT = ["shared", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("zero-inflated", "columns"))]


@pytest.mark.parametrize("kind", ONE_BY_DEFAULT)
def test_a_short_fit_comes_near_what_the_counts_were_drawn_from(kind, counts):
    values, true = counts
    torch.manual_seed(0)
    encoder = networks.ColumnEncoder(["count"] * COLUMNS, 6)
    vae = VAE(priors.StandardNormal(3), LIKELIHOODS[kind](), posteriors.DiagonalNormal(encoder))
    vae.initialize(values[:TRAIN])
    fit_svi(
        vae.model, vae.guide, values[:TRAIN], epochs=50, batch_size=80, lr=4e-3, patience=None, seed=0, progress=False
    )
    log_px = compare_bounds(vae.model, vae.guide, values[TRAIN:], num_samples=100).log_px.mean()
    # 4 nats below in each, a part of which says which z it was. Starts at the moments of all rows, with a total count
    # that moves by steps of the learning rate, were 10 and 11 below.
    assert log_px > true - 6


@pytest.mark.parametrize("kind", ONE_BY_DEFAULT)
def test_a_short_fit_finds_a_total_count_far_below_its_start(kind):
    """Of counts that are independent, so that there is nothing for z."""
    random = np.random.default_rng(0)
    means = np.exp(random.normal(1, 1, size=COLUMNS))
    values = random.poisson(random.gamma(0.1, means / 0.1, size=(1000, COLUMNS)))
    true = stats.nbinom.logpmf(values, 0.1, 0.1 / (0.1 + means))[TRAIN:].sum(1).mean()
    x = torch.tensor(values, dtype=torch.float32)
    torch.manual_seed(0)
    encoder = networks.ColumnEncoder(["count"] * COLUMNS, 6)
    vae = VAE(priors.StandardNormal(3), LIKELIHOODS[kind](), posteriors.DiagonalNormal(encoder))
    vae.initialize(x[:TRAIN])
    fit_svi(vae.model, vae.guide, x[:TRAIN], epochs=30, batch_size=80, lr=2e-3, patience=None, seed=0, progress=False)
    log_px = compare_bounds(vae.model, vae.guide, x[TRAIN:], num_samples=100).log_px.mean()
    # 0.1 to 0.2 nats below.
    assert log_px > true - 1


@pytest.mark.parametrize("source", ["shared", "per_dimension"])
def test_it_starts_at_that_of_the_moments(source):
    random = np.random.default_rng(0)
    rows = torch.tensor(random.negative_binomial(TOTAL_COUNT, 0.3, size=(20_000, 9)), dtype=torch.float32)
    likelihood = likelihoods.NegativeBinomial(networks.MLP(2, 9), source, (9,))
    likelihood.initialize(rows)
    # Its relative error is about sqrt(2 (1 + 1 / r) / rows) (1 + r / m), 2 % here.
    torch.testing.assert_close(
        likelihood.total_count.detach(), torch.full(likelihood.total_count.shape, TOTAL_COUNT), rtol=0.1, atol=0
    )


@pytest.mark.parametrize("source", ["shared", "per_dimension"])
def test_it_starts_at_one_where_the_means_differ_more(source):
    rows = torch.tensor([[0.0, 3.0], [0.0, 0.0], [1000.0, 0.0], [0.0, 1.0]])
    likelihood = likelihoods.NegativeBinomial(networks.MLP(2, 2), source, (2,))
    likelihood.initialize(rows)
    torch.testing.assert_close(likelihood.total_count.detach(), torch.ones(likelihood.total_count.shape))


def test_columns_of_bits_do_not_decide_where_a_shared_one_starts():
    random = np.random.default_rng(0)
    counts, bits = random.negative_binomial(1, 1 / 11, size=(800, 20)), random.binomial(1, 0.1, size=(800, 30))
    likelihood = likelihoods.NegativeBinomial(networks.MLP(2, 50))
    likelihood.initialize(torch.tensor(np.concatenate([counts, bits], axis=1), dtype=torch.float32))
    assert 1 <= likelihood.total_count.item() < 1.5


def test_a_step_changes_a_large_one_by_a_factor():
    likelihood = likelihoods.NegativeBinomial(networks.MLP(2, 3), initial_total_count=1000.0)
    optimizer = torch.optim.Adam(likelihood.parameters(), lr=0.01)
    likelihood.total_count.backward()
    optimizer.step()
    assert likelihood.total_count.item() == pytest.approx(1000 * np.exp(-0.1), rel=1e-4)


def test_it_stays_finite_where_counts_are_poisson():
    likelihood = likelihoods.NegativeBinomial(networks.MLP(2, 3))
    with torch.no_grad():
        likelihood.scaled_log_total_count.fill_(1000.0)
    log_prob = likelihood(torch.zeros(1, 2)).log_prob(torch.tensor([[0.0, 3.0, 8.0]]))
    rates = likelihood.decoder(torch.zeros(2)).exp().detach().numpy()
    assert log_prob.item() == pytest.approx(stats.poisson.logpmf([0, 3, 8], rates).sum(), rel=1e-5)
