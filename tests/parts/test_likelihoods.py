"""Values of likelihoods by SciPy, their moments, and their extremes.

Moments of draws with fixed seeds have to lie within 4 standard errors: a false alarm in 1 of 16,000 seeds each.
"""

import numpy as np
import pytest
import torch
from part_makers import DATA, LATENT, decoder
from problems import Bias
from scipy import stats
from torch import nn

from pyrovae import likelihoods, networks

F64 = torch.float64


def softplus(raw):
    return np.log1p(np.exp(raw))


def learned_scale(raw, initial=1.0, floor=1e-3):
    """Scale of a raw number that is learned, which is the initial one at 0."""
    return floor + (initial - floor) * np.exp(3 * raw)


def predicted_scale(raw, initial=1.0, floor=1e-3):
    """Scale of a raw number from the decoder, which is the initial one at 0."""
    return floor + softplus(raw + np.log(np.expm1(initial - floor)))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def zero_inflated(pmf, gate):
    return lambda x: np.log(gate * (x == 0) + (1 - gate) * pmf(x))


# Three entries each: the decoder's output, the likelihood, its log density by SciPy, data.
OUTPUT = np.array([-0.7, 0.3, 1.1])
RAW = np.array([-0.5, 0.2, 0.9])
BOTH = np.stack([OUTPUT, RAW])
REAL = np.array([-1.4, 0.31, 2.5])
COUNTS = np.array([0.0, 3.0, 1.0])
MEAN, UNIT = np.exp(OUTPUT), sigmoid(OUTPUT)
FRACTIONS = np.array([0.02, 0.5, 0.97])


def negative_binomial(r):
    return lambda x: stats.nbinom(r, r / (r + MEAN)).pmf(x)


CASES = {
    "Bernoulli": (OUTPUT, likelihoods.Bernoulli, stats.bernoulli(UNIT).logpmf, np.array([0.0, 1.0, 1.0])),
    "Normal": (OUTPUT, lambda d: likelihoods.Normal(d, scale=0.7), stats.norm(OUTPUT, 0.7).logpdf, REAL),
    "Normal, predicted": (
        BOTH,
        lambda d: likelihoods.Normal(d, scale="predicted", initial_scale=0.4),
        stats.norm(OUTPUT, predicted_scale(RAW, 0.4)).logpdf,
        REAL,
    ),
    "Laplace": (OUTPUT, lambda d: likelihoods.Laplace(d, scale=0.7), stats.laplace(OUTPUT, 0.7).logpdf, REAL),
    "Laplace, predicted": (
        BOTH,
        lambda d: likelihoods.Laplace(d, scale="predicted"),
        stats.laplace(OUTPUT, predicted_scale(RAW)).logpdf,
        REAL,
    ),
    "StudentT": (
        OUTPUT,
        lambda d: likelihoods.StudentT(d, df=5.0, scale=0.7),
        stats.t(5.0, OUTPUT, 0.7).logpdf,
        REAL,
    ),
    "StudentT, predicted": (
        np.stack([OUTPUT, RAW, OUTPUT]),
        lambda d: likelihoods.StudentT(d, df="predicted", scale="predicted"),
        stats.t(predicted_scale(RAW, 10.0, 2.0), OUTPUT, predicted_scale(OUTPUT)).logpdf,
        REAL,
    ),
    "LogNormal": (
        OUTPUT,
        lambda d: likelihoods.LogNormal(d, scale=0.5),
        stats.lognorm(0.5, scale=MEAN).logpdf,
        np.array([0.1, 1.0, 7.0]),
    ),
    "Beta": (
        OUTPUT,
        lambda d: likelihoods.Beta(d, concentration=6.0),
        stats.beta(6 * UNIT, 6 * (1 - UNIT)).logpdf,
        FRACTIONS,
    ),
    "ContinuousBernoulli": (
        OUTPUT,
        likelihoods.ContinuousBernoulli,
        lambda x: np.log(OUTPUT / np.expm1(OUTPUT)) + OUTPUT * x,
        FRACTIONS,
    ),
    "Poisson": (OUTPUT, likelihoods.Poisson, stats.poisson(MEAN).logpmf, COUNTS),
    "NegativeBinomial": (
        OUTPUT,
        lambda d: likelihoods.NegativeBinomial(d, total_count=2.5),
        lambda x: np.log(negative_binomial(2.5)(x)),
        COUNTS,
    ),
    "ZeroInflatedPoisson": (
        OUTPUT,
        lambda d: likelihoods.ZeroInflatedPoisson(d, gate=0.3),
        zero_inflated(stats.poisson(MEAN).pmf, 0.3),
        COUNTS,
    ),
    "ZeroInflatedPoisson, predicted": (
        BOTH,
        lambda d: likelihoods.ZeroInflatedPoisson(d, gate="predicted", initial_gate=0.2),
        zero_inflated(stats.poisson(MEAN).pmf, sigmoid(RAW + np.log(0.25))),
        COUNTS,
    ),
    "ZeroInflatedNegativeBinomial": (
        OUTPUT,
        lambda d: likelihoods.ZeroInflatedNegativeBinomial(d, total_count=2.5, gate=0.3),
        zero_inflated(negative_binomial(2.5), 0.3),
        COUNTS,
    ),
    "Binomial": (OUTPUT, lambda d: likelihoods.Binomial(d, 7), stats.binom(7, UNIT).logpmf, COUNTS),
    "Categorical": (
        np.stack([OUTPUT, RAW, -OUTPUT, 2 * RAW]),
        lambda d: likelihoods.Categorical(d, num_levels=4),
        lambda x: np.take_along_axis(
            np.log(
                np.exp(np.stack([OUTPUT, RAW, -OUTPUT, 2 * RAW]))
                / np.exp(np.stack([OUTPUT, RAW, -OUTPUT, 2 * RAW])).sum(0)
            ),
            x.astype(int)[None],
            0,
        )[0],
        COUNTS,
    ),
    "DiscretizedLogistic": (
        OUTPUT,
        lambda d: likelihoods.DiscretizedLogistic(d, scale=0.4, num_levels=5, low=-1.0, high=1.0),
        lambda x: np.log(
            np.where(x == 1, 1, sigmoid((x + 0.25 - OUTPUT) / 0.4))
            - np.where(x == -1, 0, sigmoid((x - 0.25 - OUTPUT) / 0.4))
        ),
        np.array([-1.0, 0.5, 1.0]),
    ),
    "DiscretizedLogisticMixture": (
        np.stack([OUTPUT, RAW, OUTPUT, -OUTPUT, RAW, OUTPUT]),
        lambda d: likelihoods.DiscretizedLogisticMixture(d, 2, num_levels=5, low=-1.0, high=1.0),
        lambda x: np.log(
            sum(
                weight
                * (
                    np.where(x == 1, 1, sigmoid((x + 0.25 - loc) / scale))
                    - np.where(x == -1, 0, sigmoid((x - 0.25 - loc) / scale))
                )
                for weight, loc, scale in (
                    (sigmoid(OUTPUT - RAW), OUTPUT, predicted_scale(RAW, 0.2, 2e-3)),
                    (sigmoid(RAW - OUTPUT), -OUTPUT, predicted_scale(OUTPUT, 0.2, 2e-3)),
                )
            )
        ),
        np.array([-1.0, 0.5, 1.0]),
    ),
}
VALUES = {
    "Binomial": torch.arange(8),
    "Bernoulli": torch.arange(2),
    "Categorical": torch.arange(4),
    "Discretized": torch.linspace(-1, 1, 5),
}
DENSITIES = {  # grids that hold all but 1e-9 of the mass
    "Normal": torch.linspace(-20, 20, 40_001, dtype=F64),
    "Laplace": torch.linspace(-30, 30, 60_001, dtype=F64),
    "ContinuousBernoulli": torch.linspace(0, 1, 10_001, dtype=F64),
    "Beta": torch.linspace(1e-9, 1 - 1e-9, 100_001, dtype=F64),
    "LogNormal": torch.linspace(-6, 5, 10_001, dtype=F64).exp(),
    "StudentT": torch.linspace(-20, 20, 40_001, dtype=F64).sinh(),
}


def build(name, dtype=F64):
    output, make, log_density, x = CASES[name]
    part = make(Bias(torch.tensor(output, dtype=F64))).to(dtype)
    return part, log_density, torch.tensor(x, dtype=dtype)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_log_density_is_scipys(name, dtype):
    part, log_density, x = build(name, dtype)
    exact = torch.tensor(log_density(x.double().numpy()))
    tolerance = 1e-9 if dtype == F64 else 3e-5
    # A learned float32 start keeps its digits only.
    found = part(torch.zeros(4, 2, dtype=dtype))
    torch.testing.assert_close(
        found.log_prob(x.expand(4, 3)), exact.sum().expand(4).to(dtype), rtol=tolerance, atol=tolerance
    )
    # The form that masks of single entries rely on.
    assert isinstance(found, torch.distributions.Independent)
    torch.testing.assert_close(found.base_dist.log_prob(x)[0].double(), exact, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", CASES)
def test_draws_have_the_mean_and_variance_of_the_density(name):
    """Moments by sum or quadrature of the density, in 20,000 draws, and as the distribution states them."""
    part, _, _ = build(name)
    p_x = part(torch.zeros(2, dtype=F64))
    grid = next((g for start, g in DENSITIES.items() if name.startswith(start)), None)
    values = grid
    if grid is None:
        values = next((v for start, v in VALUES.items() if name.startswith(start)), torch.arange(1000)).to(F64)
    probs = p_x.base_dist.log_prob(values[:, None].expand(-1, 3)).exp()
    if grid is not None:
        widths = torch.zeros_like(grid)
        widths[1:] += grid.diff() / 2
        widths[:-1] += grid.diff() / 2
        probs = probs * widths[:, None]
    mean = (probs * values[:, None]).sum(0)
    squares = (values[:, None] - mean).square()
    variance = (probs * squares).sum(0)
    torch.testing.assert_close(p_x.mean, mean, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(p_x.variance, variance, rtol=1e-3, atol=1e-6)
    count = 20_000
    draws = p_x.sample((count,))
    assert p_x.support.check(draws).all()
    assert ((draws.mean(0) - mean).abs() < 4 * (variance / count).sqrt()).all()
    spread = (draws - mean).square()
    assert ((spread.mean(0) - variance).abs() < 4 * spread.std(0) / count**0.5).all()


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("size", [-1e4, -100.0, 0.0, 100.0, 1e4])
def test_log_densities_and_gradients_are_finite_for_extreme_outputs(name, size):
    output, make, _, _ = CASES[name]
    part = make(Bias(torch.full(output.shape, size)))
    x = build(name, torch.float32)[2]
    log_prob = part(torch.zeros(2)).log_prob(x)
    assert torch.isfinite(log_prob)
    log_prob.backward()
    assert torch.isfinite(part.decoder.value.grad).all()


@pytest.mark.parametrize("covariance", ["shared", "predicted"])
@pytest.mark.parametrize("kind", ["full", "low rank"])
def test_gaussian_covariances_by_scipy(kind, covariance):
    generator = torch.Generator().manual_seed(0)
    rank, data_shape = 2, (2, 2)
    numbers = 4 if kind == "full" else 1 + rank
    raw = torch.randn(numbers, 4, generator=generator, dtype=F64)
    loc = torch.randn(data_shape, generator=generator, dtype=F64)
    output = loc if covariance == "shared" else torch.cat([loc[None], raw.reshape(-1, *data_shape)])
    options = {"covariance": covariance, "initial_scale": 0.5}
    part = (
        likelihoods.FullCovarianceNormal(Bias(output), data_shape, **options)
        if kind == "full"
        else likelihoods.LowRankNormal(Bias(output), data_shape, rank, **options)
    ).double()
    if covariance == "shared":
        with torch.no_grad():
            part.raw_covariance.copy_(raw)
    numbers = raw.numpy()
    scale_of = learned_scale if covariance == "shared" else predicted_scale
    if kind == "full":
        scale = scale_of(np.diag(numbers), 0.5)
        factor = scale[:, None] * (np.tril(numbers, -1) + np.eye(4))
        exact = factor @ factor.T
    else:
        scale = scale_of(numbers[0], 0.5)
        factor = scale[:, None] * numbers[1:].T
        exact = factor @ factor.T + np.diag(scale**2)
    p_x = part(torch.zeros(5, 2, dtype=F64))
    x = torch.randn(5, *data_shape, generator=generator, dtype=F64)
    expected = stats.multivariate_normal(loc.flatten().numpy(), exact).logpdf(x.flatten(1).numpy())
    torch.testing.assert_close(p_x.log_prob(x), torch.tensor(expected))
    torch.testing.assert_close(p_x.variance[0].flatten(), torch.tensor(np.diag(exact)))
    observed = torch.tensor([[True, False], [True, True]])
    kept = observed.flatten().numpy()
    marginal = stats.multivariate_normal(loc.flatten().numpy()[kept], exact[np.ix_(kept, kept)])
    torch.testing.assert_close(
        p_x.marginal_log_prob(x, observed.expand(x.shape)),
        torch.tensor(marginal.logpdf(x.flatten(1).numpy()[:, kept])),
    )


def test_a_predicted_parameter_has_no_single_value():
    part = likelihoods.Laplace(networks.MLP(2, (2, 3)), scale="predicted")
    with pytest.raises(ValueError, match="scale is predicted from z, so Laplace has no single one"):
        part.scale  # noqa: B018


def test_shapes_of_decoders():
    kinds = likelihoods
    assert kinds.Normal.decoder_shape((3,)) == (3,)
    assert kinds.Normal.decoder_shape((1, 4), scale="predicted") == (2, 1, 4)
    assert kinds.StudentT.decoder_shape((3,), df="predicted", scale="predicted") == (3, 3)
    assert kinds.ZeroInflatedNegativeBinomial.decoder_shape((3,), gate="predicted") == (2, 3)
    assert kinds.Categorical.decoder_shape((1, 2, 2), num_levels=5) == (5, 1, 2, 2)
    assert kinds.DiscretizedLogisticMixture.decoder_shape((4,), num_components=3) == (9, 4)
    assert kinds.FullCovarianceNormal.decoder_shape((2, 3), covariance="predicted") == (7, 2, 3)
    assert kinds.LowRankNormal.decoder_shape((2, 3), rank=2, covariance="predicted") == (4, 2, 3)
    assert kinds.LowRankNormal.decoder_shape((2, 3), rank=2) == (2, 3)


def test_what_is_printed():
    assert "scale=0.5" in repr(likelihoods.Laplace(nn.Linear(2, 3), scale=0.5))
    assert "gate=shared" in repr(likelihoods.ZeroInflatedPoisson(nn.Linear(2, 3)))
    assert "num_levels=256, low=0, high=1" in repr(likelihoods.DiscretizedLogistic(nn.Linear(2, 3)))
    assert "rank=2" in repr(likelihoods.LowRankNormal(nn.Linear(2, 3), (3,), rank=2))


def test_bernoulli_is_that_of_the_logits():
    part = likelihoods.Bernoulli(decoder(DATA))
    z, x = torch.randn(5, LATENT), torch.bernoulli(torch.full((5, *DATA), 0.5))
    expected = -nn.functional.binary_cross_entropy_with_logits(part.decoder(z), x, reduction="none").sum((1, 2))
    torch.testing.assert_close(part(z).log_prob(x), expected)


@pytest.mark.parametrize("kind", ["shared", "per_dimension"])
def test_a_learned_scale_starts_where_it_is_told_and_stays_above_its_floor(kind):
    part = likelihoods.Normal(decoder(DATA), scale=kind, data_shape=DATA, initial_scale=0.2, scale_floor=0.05)
    assert part.scale.shape == (() if kind == "shared" else DATA)
    torch.testing.assert_close(part.scale, torch.full_like(part.scale, 0.2))
    with torch.no_grad():
        part.scaled_log_scale.fill_(-1000.0)
    torch.testing.assert_close(part.scale, torch.full_like(part.scale, 0.05))
    assert torch.isfinite(part(torch.zeros(2, LATENT)).log_prob(torch.zeros(2, *DATA))).all()


def test_a_fixed_scale_keeps_its_digits_in_float64():
    part = likelihoods.Normal(decoder(DATA), scale=0.1).double()
    p_x = part(torch.zeros(LATENT, dtype=torch.float64))
    assert (p_x.base_dist.scale == 0.1).all()
    assert not [name for name in part.state_dict() if "scale" in name]
