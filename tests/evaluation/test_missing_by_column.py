"""Rows with missing entries in programs that observe them column by column, or in a plate of the columns."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch

from pyrovae import ais, check_pair, compare_bounds, fit_svi
from pyrovae.distributions import PartlyObserved

WEIGHTS, SCALE = torch.tensor([1.0, -0.6, 0.4]), 0.7


def incomplete_rows(*columns):
    """Each of these columns lacks other rows; no row lacks two."""
    x = torch.randn(12, 3, generator=torch.Generator().manual_seed(0))
    for column in columns:
        x[column::6, column] = math.nan
    return x


def in_a_plate(x, z):
    with pyro.plate("columns", 3, dim=-2):
        pyro.sample("x", PartlyObserved(dist.Normal(z * WEIGHTS[:, None], SCALE)), obs=x.T)


def by_column(x, z):
    for column, weight in enumerate(WEIGHTS):
        pyro.sample(f"x{column}", PartlyObserved(dist.Normal(z * weight, SCALE)), obs=x[:, column])


def two_of_three(x, z):
    pair = dist.Normal(z.unsqueeze(-1) * WEIGHTS[:2], SCALE).to_event(1)
    pyro.sample("x", PartlyObserved(pair), obs=x[:, :2])
    pyro.sample("last", dist.Normal(z * WEIGHTS[2], SCALE), obs=x[:, 2])


def filled(x, z):
    two_of_three(torch.cat([x[:, :2], x[:, 2:].nan_to_num()], -1), z)


def model_of(observe):
    def model(x):
        with pyro.plate("rows", len(x), dim=-1):
            observe(x, pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0)))

    return model


def exact_guide(x):
    """The posterior given what is there, moved by nothing but a learned factor of 1."""
    factor = pyro.param("factor", torch.ones(()))
    precision = 1 + (WEIGHTS**2 * ~x.isnan()).sum(-1) / SCALE**2
    loc = (WEIGHTS * x.nan_to_num()).sum(-1) / SCALE**2 / precision
    with pyro.plate("rows", len(x), dim=-1):
        pyro.sample("z", dist.Normal(factor * loc, precision.rsqrt()))


def exact_log_px(x):
    found = []
    for row in x:
        there = ~row.isnan()
        weights = WEIGHTS[there]
        covariance = weights.outer(weights) + SCALE**2 * torch.eye(len(weights))
        law = torch.distributions.MultivariateNormal(torch.zeros(len(weights)), covariance)
        found.append(law.log_prob(row[there]))
    return torch.stack(found).double()


@pytest.mark.parametrize("columns", [(0,), (0, 1), (0, 1, 2)])
@pytest.mark.parametrize("observe", [in_a_plate, by_column, two_of_three, filled])
def test_the_observed_entries_alone_count(observe, columns):
    pair, x = (model_of(observe), exact_guide), incomplete_rows(*columns)
    if 2 in columns and observe in (two_of_three, filled):
        with pytest.raises(ValueError, match=r"missing entries, NaN, in 6 of 12 rows, .* observe them as they are"):
            compare_bounds(*pair, x, num_samples=3)
        return
    check_pair(*pair, x)
    bounds = compare_bounds(*pair, x, num_samples=3)
    torch.testing.assert_close(bounds.log_px, exact_log_px(x), rtol=0, atol=1e-4)
    torch.testing.assert_close(bounds.elbo, exact_log_px(x), rtol=0, atol=1e-4)


def test_fits_and_annealing_take_them():
    pair, x = (model_of(in_a_plate), exact_guide), incomplete_rows(0, 1, 2)
    result = fit_svi(*pair, x, epochs=1, batch_size=6, lr=1e-6, progress=False)
    assert result.history[0]["train_kl"] > 0
    # The exact guide leaves annealing nothing to do.
    annealed = ais(*pair, x, start="guide", num_temperatures=5, num_chains=2, warm_up=5)
    torch.testing.assert_close(annealed.log_px, exact_log_px(x), rtol=0, atol=1e-3)
