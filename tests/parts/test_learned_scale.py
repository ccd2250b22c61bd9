"""How learned scales move: by factors, so that data in any unit learn them in as many steps."""

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from pyrovae import VAE, compare_bounds, fit_svi, likelihoods, networks, posteriors, priors
from pyrovae.likelihoods.shapes import start_decoder

TRUE_SCALE = 0.1


def step_down(part, value):
    """One step of Adam that makes a value smaller."""
    optimizer = torch.optim.Adam(part.parameters(), lr=0.001)
    value().sum().backward()
    optimizer.step()
    return value().detach().numpy()


@pytest.mark.parametrize("scale", ["shared", "per_dimension"])
@pytest.mark.parametrize("unit", [1.0, 1e3, 1e12])
@pytest.mark.parametrize("kind", ["Normal", "Laplace", "StudentT", "LogNormal", "DiscretizedLogistic"])
def test_a_step_changes_a_scale_by_a_factor(kind, scale, unit):
    options = {"high": unit} if kind == "DiscretizedLogistic" else {"scale_floor": 1e-3 * unit}
    initial = 0.5 if kind == "DiscretizedLogistic" else 0.5 * unit
    part = getattr(likelihoods, kind)(
        networks.MLP(2, 3), scale=scale, data_shape=(3,), initial_scale=initial, **options
    )
    found = step_down(part, lambda: part.scale)
    floor = 1e-3 * unit
    np.testing.assert_allclose(found, floor + (0.5 * unit - floor) * np.exp(-0.003), rtol=1e-5)


@pytest.mark.parametrize("unit", [1.0, 1e12])
def test_a_step_changes_scales_of_covariances_and_columns_by_a_factor(unit):
    rows = unit * torch.randn(500, 3, generator=torch.Generator().manual_seed(0))
    z, floor = torch.zeros(1, 2), 1e-3
    for kind in (likelihoods.FullCovarianceNormal, likelihoods.LowRankNormal):
        part = kind(networks.MLP(2, 3), (3,))
        part.initialize(rows)
        if kind is likelihoods.LowRankNormal:
            # Else the directions move too.
            part.raw_covariance.data[1:] = 0.0
        start = part(z).variance.detach().sqrt().numpy()
        found = step_down(part, lambda part=part: part(z).variance.sqrt())
        np.testing.assert_allclose(found, floor + (start - floor) * np.exp(-0.003), rtol=1e-5)
    columns = likelihoods.Columns(networks.MLP(2, 3), ["real"] * 3)
    columns.initialize(rows)
    found = step_down(columns, lambda: columns(z).groups["real"].scale)
    np.testing.assert_allclose(found, rows.std(0, correction=0)[None] * (0.01 + 0.99 * np.exp(-0.003)), rtol=1e-4)


def test_degrees_of_freedom_move_by_factors_too():
    part = likelihoods.StudentT(networks.MLP(2, 3), initial_df=52.0)
    np.testing.assert_allclose(step_down(part, lambda: part.df), 2 + 50 * np.exp(-0.01), rtol=1e-5)


@pytest.mark.parametrize("unit", [0.01, 1.0, 1e4])
def test_scales_reach_their_maximum_of_likelihood_from_far_above_it(unit):
    """With the means given it is the root mean squared error of each entry; here 50 to 200 times below the start."""
    x = unit * torch.randn(400, 3, generator=torch.Generator().manual_seed(1)) * torch.tensor([0.5, 1.0, 2.0])
    likelihood = likelihoods.Normal(
        networks.MLP(2, 3, hidden_dims=()), "per_dimension", (3,), initial_scale=100.0 * unit, scale_floor=1e-6 * unit
    )
    start_decoder(likelihood, torch.zeros(3))
    optimizer = torch.optim.Adam([likelihood.scaled_log_scale], lr=0.001)
    for _ in range(3000):
        optimizer.zero_grad()
        (-likelihood(torch.zeros(1, 2)).log_prob(x).sum()).backward()
        optimizer.step()
    torch.testing.assert_close(likelihood.scale.detach(), x.square().mean(0).sqrt(), rtol=0.01, atol=0.0)


@pytest.mark.parametrize("unit", [1.0, 50.0])
def test_a_short_fit_comes_near_what_the_rows_were_drawn_from(unit):
    random = np.random.default_rng(0)
    z, weights = random.normal(size=(1000, 2)), random.normal(size=(2, 20))
    means = unit * np.tanh(z @ weights)
    values = means + unit * TRUE_SCALE * random.normal(size=means.shape)
    true = stats.norm.logpdf(values, means, unit * TRUE_SCALE)[800:].sum(1).mean()
    x = torch.tensor(values, dtype=torch.float32)
    torch.manual_seed(0)
    vae = VAE(
        priors.StandardNormal(3),
        likelihoods.Normal(networks.MLP(3, 20)),
        posteriors.DiagonalNormal(networks.MLP(20, 6)),
    )
    vae.initialize(x[:800])
    fit_svi(vae.model, vae.guide, x[:800], epochs=60, batch_size=50, lr=1e-3, patience=None, seed=0, progress=False)
    log_px = compare_bounds(vae.model, vae.guide, x[800:], num_samples=100).log_px.mean()
    # 8 and 10 nats below, a part of which says which z it was; 19 and 32 where scales moved by the learning rate.
    assert log_px > true - 12


def test_a_scale_that_runs_away_keeps_its_density():
    """It has no largest value, as a total count has: three entries at their location, and a scale of e^75."""
    for kind, log_peak in (("Normal", -np.log(2 * np.pi) / 2), ("Laplace", -np.log(2))):
        part = getattr(likelihoods, kind)(nn.Linear(2, 3))
        with torch.no_grad():
            part.scaled_log_scale.fill_(25.0)
            log_prob = part(torch.zeros(1, 2)).log_prob(torch.ones(3))
        np.testing.assert_allclose(log_prob.numpy(), 3 * (log_peak - 75), rtol=1e-5)
