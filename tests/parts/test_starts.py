"""Where likelihoods start from rows of data."""

import numpy as np
import pytest
import torch
from problems import with_bias
from torch import nn

from pyrovae import likelihoods
from pyrovae.likelihoods.starts import entry_variance

F64 = torch.float64
SOURCES = ("shared", "per_dimension", "predicted")
NORMAL_ROWS = torch.randn(5000, 3, generator=torch.Generator().manual_seed(1)) * torch.tensor([0.5, 1.0, 2.0]) + 1
COUNT_ROWS = torch.tensor(
    np.random.default_rng(1).negative_binomial(2.0, 2 / (2 + np.array([1.0, 4.0, 9.0])), (5000, 3)),
    dtype=torch.float32,
)
UNIT_ROWS = torch.sigmoid(NORMAL_ROWS / 2)
LEVEL_ROWS = (UNIT_ROWS * 255).round() / 255
STARTS = [
    *(("Normal", {"scale": source}, NORMAL_ROWS) for source in (*SOURCES, "optimal")),
    *(("Laplace", {"scale": source}, NORMAL_ROWS) for source in SOURCES),
    *(("StudentT", {"scale": source}, NORMAL_ROWS) for source in SOURCES),
    *(("Beta", {"concentration": source}, UNIT_ROWS) for source in SOURCES),
    *(("NegativeBinomial", {"total_count": source}, COUNT_ROWS) for source in SOURCES),
    *(("DiscretizedLogistic", {"scale": source}, LEVEL_ROWS) for source in SOURCES),
    ("DiscretizedLogisticMixture", {"num_components": 3}, LEVEL_ROWS),
    ("FullCovarianceNormal", {"covariance": "shared"}, NORMAL_ROWS),
    ("FullCovarianceNormal", {"covariance": "predicted"}, NORMAL_ROWS),
    ("LowRankNormal", {"covariance": "shared", "rank": 1}, NORMAL_ROWS),
    ("LowRankNormal", {"covariance": "predicted", "rank": 1}, NORMAL_ROWS),
    *(("ZeroInflatedPoisson", {"gate": source}, COUNT_ROWS) for source in SOURCES),
    *(("ZeroInflatedNegativeBinomial", {"gate": source}, COUNT_ROWS) for source in SOURCES),
    ("Bernoulli", {"start_at_mean": True}, (NORMAL_ROWS > 1.3).float()),
    ("ContinuousBernoulli", {}, UNIT_ROWS),
    ("Poisson", {}, COUNT_ROWS),
    ("Binomial", {"total_count": 20}, COUNT_ROWS.clamp(max=20)),
    ("Categorical", {"num_levels": 20}, COUNT_ROWS.clamp(max=19)),
]


@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize(("name", "options", "rows"), STARTS)
def test_starts_at_the_moments_of_the_data(name, options, rows, dtype):
    """Some entries are missing; the moments have to be those of the others."""
    rows = rows.to(dtype, copy=True)
    rows[::7, 1] = torch.nan
    part = with_bias(name, (3,), options).to(dtype).eval()
    part.initialize(rows)
    p_x = part(torch.zeros(2, dtype=dtype))
    mean = rows.nanmean(0)
    # Rounding and the end bins move the mean of a discretised logistic a little.
    tolerance = 0.02 if name.startswith("Discretized") else 2e-3
    torch.testing.assert_close(p_x.mean, mean, rtol=tolerance, atol=tolerance)
    variance = (rows - mean).square().nanmean(0)
    shared = "shared" in options.values() and not name.startswith("FullCovariance") and not name.startswith("LowRank")
    if name in ("Normal", "Laplace", "StudentT", "Beta") and (shared or options.get("scale") == "optimal"):
        torch.testing.assert_close(p_x.variance.mean(), variance.mean(), rtol=0.1, atol=0)
    elif name in ("Bernoulli", "Categorical"):
        torch.testing.assert_close(p_x.variance, variance, rtol=0.03, atol=0)
    elif not shared and name not in ("ContinuousBernoulli", "Poisson", "Binomial", "ZeroInflatedPoisson"):
        torch.testing.assert_close(
            p_x.variance, variance, rtol=0.3 if "Zero" in name or "Disc" in name else 0.1, atol=0
        )
    before = {key: value.clone() for key, value in part.state_dict().items()}
    part.initialize(rows)
    for key, value in part.state_dict().items():
        assert torch.equal(value, before[key]), key


@pytest.mark.parametrize("source", SOURCES)
def test_levels_start_with_the_standard_deviation_of_the_data(source):
    """Of 256 levels, far from both ends, rounding adds a 1/12 to variances of a hundred and more."""
    spread = 15.0 if source == "shared" else torch.tensor([10.0, 15.0, 20.0])
    rows = (128 + spread * torch.randn(20_000, 3, generator=torch.Generator().manual_seed(1))).round()
    part = with_bias("DiscretizedLogistic", (3,), {"scale": source, "high": 255.0}).eval()
    part.initialize(rows)
    torch.testing.assert_close(part(torch.zeros(2)).variance, rows.var(0), rtol=0.05, atol=0)


@pytest.mark.parametrize(("name", "options", "rows"), STARTS)
def test_starts_from_entries_that_are_constant_or_never_observed(name, options, rows):
    rows = rows.clone()
    rows[:, 0] = 0.0 if name not in ("Beta",) else 0.5
    rows[:, 2] = torch.nan
    part = with_bias(name, (3,), options).train()
    part.initialize(rows)
    for value in part.state_dict().values():
        assert torch.isfinite(value).all()
    part.eval()
    p_x = part(torch.zeros(4, 2))
    assert (p_x.variance > 0).all()
    assert torch.isfinite(p_x.log_prob(torch.where(rows[:4].isnan(), rows[:4, :1], rows[:4]))).all()
    constant = torch.zeros(50, 3) if name != "Beta" else torch.full((50, 3), 0.5)
    part.initialize(constant)
    assert torch.isfinite(part(torch.zeros(50, 2)).log_prob(constant)).all()


def test_log_normal_starts_at_the_moments_of_the_logarithm():
    part = with_bias("LogNormal", (3,), {"scale": "per_dimension"})
    part.initialize(NORMAL_ROWS.exp())
    torch.testing.assert_close(part.decoder.value.detach(), NORMAL_ROWS.mean(0), rtol=0, atol=1e-3)
    torch.testing.assert_close(part.scale.detach(), NORMAL_ROWS.std(0), rtol=1e-3, atol=0)
    part.initialize(torch.zeros(5, 3))
    assert torch.isfinite(part.decoder.value).all()


def test_start_of_a_gate_finds_the_extra_zeros():
    generator = torch.Generator().manual_seed(2)
    rows = torch.poisson(torch.full((20_000, 3), 4.0), generator=generator)
    rows *= torch.rand(20_000, 3, generator=generator) > torch.tensor([0.0, 0.3, 0.6])
    part = with_bias("ZeroInflatedPoisson", (3,), {"gate": "per_dimension"})
    part.initialize(rows)
    torch.testing.assert_close(part.gate.detach(), torch.tensor([0.01, 0.3, 0.6]), rtol=0, atol=0.02)
    torch.testing.assert_close(part.decoder.value[1:].exp().detach(), torch.tensor([4.0, 4.0]), rtol=0.1, atol=0)


def test_a_decoder_without_an_output_bias_is_left_alone():
    decoder = nn.Linear(2, 3)
    before = decoder.bias.clone()
    part = likelihoods.Normal(decoder, scale="shared")
    part.initialize(NORMAL_ROWS)
    assert torch.equal(decoder.bias, before)
    torch.testing.assert_close(part.scale.detach(), NORMAL_ROWS.var(0).mean().sqrt(), rtol=1e-3, atol=0)


@pytest.mark.parametrize("df", SOURCES)
@pytest.mark.parametrize("initial_df", [2.5, 3.5, 20.0])
def test_student_t_starts_at_the_degrees_of_freedom_that_were_asked_for(df, initial_df):
    part = with_bias("StudentT", (3,), {"df": df, "scale": "per_dimension", "initial_df": initial_df}).double()
    rows = NORMAL_ROWS.double()
    part.initialize(rows)
    law = part(torch.zeros(1, dtype=F64)).base_dist
    torch.testing.assert_close(law.df, torch.full((3,), initial_df, dtype=F64), rtol=1e-6, atol=0)
    known = max(initial_df, 3.0)
    torch.testing.assert_close(law.scale, rows.std(0, correction=0) * (1 - 2 / known) ** 0.5, rtol=1e-6, atol=0)


def test_the_variance_of_an_entry_that_never_changes_is_a_hundredth_of_the_mean():
    rows = NORMAL_ROWS.double().clone()
    rows[:, 1] = 4.0
    expected = rows.numpy().var(0)
    expected[1] = 0.01 * expected.mean()
    torch.testing.assert_close(entry_variance(rows), torch.from_numpy(expected), rtol=1e-12, atol=0)


def test_columns_in_unlike_units_start_at_their_variances_down_to_a_thousandth_of_the_mean():
    units = np.array([0.02, 1.0, 3.0, 20.0])
    rows = np.random.default_rng(3).normal(size=(4000, 4)) * units + 5
    expected = rows.var(0)
    assert expected[0] < 0.001 * expected.mean() < expected[1]
    expected[0] = 0.001 * expected.mean()
    torch.testing.assert_close(entry_variance(torch.from_numpy(rows)), torch.from_numpy(expected), rtol=1e-12, atol=0)
    part = with_bias("Normal", (4,), {"scale": "per_dimension"}).double()
    part.initialize(torch.from_numpy(rows))
    torch.testing.assert_close(part.scale.detach(), torch.from_numpy(expected).sqrt(), rtol=1e-6, atol=0)


@pytest.mark.parametrize("value", [0.0, 0.1, 0.7, 5.3, (0 - 0.1307) / 0.3081])
def test_entries_that_never_change_start_at_a_hundredth_whatever_their_value(value):
    """The float32 mean of many such values is not always that value."""
    rows = torch.randn(4000, 4, generator=torch.Generator().manual_seed(0))
    rows[:, 1] = value
    rows[::3, 1] = torch.nan
    found = entry_variance(rows)
    assert found[1].item() == pytest.approx(0.01 * found[[0, 2, 3]].sum().item() / 4, rel=1e-3)


def test_pixels_that_are_hardly_ever_on_start_at_a_hundredth_of_the_mean_variance():
    """Of 4,000 rows 2 and 200 have a second and a third entry; the first is on in half of them."""
    rows = np.zeros((4000, 3))
    rows[:2000, 0] = rows[:2, 1] = rows[:200, 2] = 1.0
    expected = rows.var(0)
    assert expected[1] < 0.01 * expected.mean() < expected[2]
    expected[1] = 0.01 * expected.mean()
    torch.testing.assert_close(entry_variance(torch.from_numpy(rows)), torch.from_numpy(expected), rtol=1e-12, atol=0)
