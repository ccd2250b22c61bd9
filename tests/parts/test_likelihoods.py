"""Values, normalisation, draws, starts and refusals of all likelihoods.

Moments of draws with fixed seeds have to lie within 4 standard errors: a false alarm in 1 of 16,000 seeds each.
"""

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from pyrovae import VAE, compare_bounds, fit_svi, likelihoods, networks, posteriors, priors

F64 = torch.float64


class Bias(nn.Module):
    """A decoder that gives the same numbers for every z."""

    def __init__(self, value):
        super().__init__()
        self.value = nn.Parameter(torch.as_tensor(value))

    def forward(self, z):
        return self.value.expand(*z.shape[:-1], *self.value.shape)

    @torch.no_grad()
    def set_output_bias(self, value):
        assert value.shape == self.value.shape
        self.value.copy_(value)


def softplus(raw):
    return np.log1p(np.exp(raw))


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
def test_probabilities_sum_and_densities_integrate_to_one(name):
    part, _, _ = build(name)
    base = part(torch.zeros(2, dtype=F64)).base_dist
    for start, grid in DENSITIES.items():
        if name.startswith(start):
            total = torch.trapezoid(base.log_prob(grid[:, None]).exp(), grid, dim=0)
            torch.testing.assert_close(total, torch.ones(3, dtype=F64), rtol=0, atol=2e-6)
            return
    values = next((v for start, v in VALUES.items() if name.startswith(start)), torch.arange(1000)).to(F64)
    total = base.log_prob(values[:, None].expand(-1, 3)).exp().sum(0)
    torch.testing.assert_close(total, torch.ones(3, dtype=F64), rtol=0, atol=1e-9)


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
            part.raw.copy_(raw)
    numbers = raw.numpy()
    if kind == "full":
        scale = predicted_scale(np.diag(numbers), 0.5)
        factor = scale[:, None] * (np.tril(numbers, -1) + np.eye(4))
        exact = factor @ factor.T
    else:
        scale = predicted_scale(numbers[0], 0.5)
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
    ("Bernoulli", {}, (NORMAL_ROWS > 1.3).float()),
    ("ContinuousBernoulli", {}, UNIT_ROWS),
    ("Poisson", {}, COUNT_ROWS),
    ("Binomial", {"total_count": 20}, COUNT_ROWS.clamp(max=20)),
    ("Categorical", {"num_levels": 20}, COUNT_ROWS.clamp(max=19)),
]


def with_bias(name, data_shape, options):
    kind = getattr(likelihoods, name)
    shape = data_shape
    if hasattr(kind, "decoder_shape"):
        known = {key: value for key, value in options.items() if key in kind.decoder_shape.__code__.co_varnames}
        shape = kind.decoder_shape(data_shape, **known)
    sized = {"data_shape": data_shape} if "data_shape" in kind.__init__.__code__.co_varnames else {}
    return kind(Bias(torch.zeros(shape)), **sized, **options)


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


def small_vae(likelihood, data_dim=3, latent_dim=2):
    return VAE(
        priors.StandardNormal(latent_dim),
        likelihood,
        posteriors.DiagonalNormal(networks.MLP(data_dim, 2 * latent_dim, (8,))),
    )


def optimal_vae():
    return small_vae(likelihoods.Normal(networks.MLP(2, 3, (8,)), scale="optimal"))


def test_the_optimal_scale_follows_the_batches_and_stays_in_evaluation():
    part = likelihoods.Normal(Bias(torch.zeros(3)), scale="optimal", initial_scale=7.0)
    assert part.scale.item() == 7.0
    z, seen = torch.zeros(4, 5, 2), []
    for batch in range(30):
        x = torch.randn(5, 3) + batch
        mean_square = x.square().mean()
        seen.append(mean_square.item())
        expected = torch.distributions.Normal(0.0, mean_square.sqrt()).log_prob(x).sum(-1).expand(4, 5)
        torch.testing.assert_close(part(z).log_prob(x), expected)
        if batch == 9:
            assert part.mean_squared_error.item() == pytest.approx(np.mean(seen), rel=1e-5)
    running = np.mean(seen[:10])
    for value in seen[10:]:
        running += 0.1 * (value - running)
    assert part.mean_squared_error.item() == pytest.approx(running, rel=1e-5)
    part.eval()
    before = {name: value.clone() for name, value in part.state_dict().items()}
    assert set(before) == {"decoder.value", "mean_squared_error", "num_batches"}
    x = torch.randn(4, 5, 3)
    expected = torch.distributions.Normal(0.0, running**0.5).log_prob(x).sum(-1)
    torch.testing.assert_close(part(z).log_prob(x), expected)
    assert all(torch.equal(value, before[name]) for name, value in part.state_dict().items())
    other = likelihoods.Normal(Bias(torch.zeros(3)), scale="optimal").eval()
    other.load_state_dict(before)
    assert torch.equal(other.scale, part.scale)


def test_the_optimal_scale_has_a_floor():
    part = likelihoods.Normal(Bias(torch.zeros(3)), scale="optimal", scale_floor=0.1)
    expected = torch.distributions.Normal(0.0, 0.1).log_prob(torch.zeros(3)).sum()
    torch.testing.assert_close(part(torch.zeros(5, 2)).log_prob(torch.zeros(5, 3)), expected.expand(5))
    torch.testing.assert_close(part.eval().scale, torch.tensor(0.1))


def test_the_optimal_scale_in_a_fit():
    """In the end it is near the root mean squared error, and evaluation leaves it alone."""
    vae, x = optimal_vae(), 3 * NORMAL_ROWS[:400]
    fit_svi(vae.model, vae.guide, x, epochs=30, batch_size=100, lr=0.01, num_particles=2, seed=1, progress=False)
    assert vae.likelihood.num_batches > 100
    error = (vae.decode(vae.encode(x).sample()).mean - x).square().mean().sqrt().item()
    assert vae.likelihood.scale.item() == pytest.approx(error, rel=0.15)
    before = {name: value.clone() for name, value in vae.state_dict().items()}
    bounds = compare_bounds(vae.model, vae.guide, x[:20], num_samples=20)
    assert torch.isfinite(bounds.log_px).all()
    assert vae.training
    assert all(torch.equal(value, before[name]) for name, value in vae.state_dict().items())


@pytest.mark.parametrize(
    ("name", "options", "inside", "outside", "message"),
    [
        ("ContinuousBernoulli", {}, 0.5, 1.5, r"outside its support .*lower_bound=0\.0, upper_bound=1\.0.*scale the"),
        ("LogNormal", {}, 1.0, 0.0, "LogNormal at site 'x' .* value 0, outside its support GreaterThan"),
        ("Beta", {}, 0.5, 1.0, "Beta at site 'x' .* value 1, outside its support OpenInterval.*move 0 and 1 inside"),
        ("Poisson", {}, 3.0, 1.5, "Poisson at site 'x' .* value 1.5, outside .*undo a scaling"),
        ("NegativeBinomial", {}, 3.0, -1.0, "NegativeBinomial at site 'x' .* value -1, outside"),
        ("ZeroInflatedPoisson", {}, 3.0, 0.5, "ZeroInflatedPoisson at site 'x' .* value 0.5, outside"),
        ("ZeroInflatedNegativeBinomial", {}, 3.0, 0.5, "ZeroInflatedNegativeBinomial at site 'x' .* value 0.5"),
        (
            "Binomial",
            {"total_count": 4},
            3.0,
            5.0,
            r"Binomial at site 'x' .* value 5, outside its support .*upper_bound=4.*give the total_count of the data",
        ),
        ("Categorical", {"num_levels": 4}, 3.0, 4.0, "CategoricalLevels at site 'x' .* value 4, .*num_levels"),
        ("DiscretizedLogistic", {}, 1.0, 0.5, r"value 0.5, outside its support EquallySpaced\(low=0, high=1.*give num"),
        ("DiscretizedLogisticMixture", {}, 1.0, 255.0, "DiscretizedLogistic at site 'x' .* value 255, outside"),
        ("Normal", {}, 1.0, float("inf"), "infinite|finite"),
    ],
)
def test_values_outside_the_support_are_refused_before_the_first_step(name, options, inside, outside, message):
    x = torch.full((20, 3), inside)
    vae = small_vae(with_bias(name, (3,), options))
    fit_svi(vae.model, vae.guide, x, epochs=1, batch_size=10, progress=False)
    assert torch.isfinite(compare_bounds(vae.model, vae.guide, x, num_samples=5).log_px).all()
    x[13, 1] = outside
    before = {name: value.clone() for name, value in vae.state_dict().items()}
    with pytest.raises(ValueError, match=message):
        fit_svi(vae.model, vae.guide, x, epochs=1, batch_size=10, progress=False)
    with pytest.raises(ValueError, match=message):
        compare_bounds(vae.model, vae.guide, x, num_samples=5)
    assert all(torch.equal(value, before[name]) for name, value in vae.state_dict().items())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda d: likelihoods.Laplace(d, scale=-1.0), "scale is -1.0; a standard deviation has to be positive"),
        (lambda d: likelihoods.StudentT(d, df=0.0), "df is 0.0; a number of degrees of freedom has to be positive"),
        (lambda d: likelihoods.StudentT(d, initial_df=1.5), "df_floor is 2.0 and initial_df 1.5"),
        (lambda d: likelihoods.Beta(d, concentration=float("inf")), "concentration is inf; a concentration has to be"),
        (lambda d: likelihoods.Beta(d, concentration="optimal"), "concentration is 'optimal'; expected a positive"),
        (
            lambda d: likelihoods.NegativeBinomial(d, total_count=0),
            "total_count is 0; a total count has to be positive",
        ),
        (
            lambda d: likelihoods.NegativeBinomial(d, "per_dimension"),
            "total_count is 'per_dimension' without data_shape",
        ),
        (lambda d: likelihoods.ZeroInflatedPoisson(d, gate=1.0), "gate is 1.0; expected a probability"),
        (lambda d: likelihoods.ZeroInflatedPoisson(d, initial_gate=0.0), "initial_gate is 0.0; expected a probability"),
        (
            lambda d: likelihoods.ZeroInflatedPoisson(d, gate="each"),
            r"gate is 'each'; expected a probability in \(0, 1\)",
        ),
        (lambda d: likelihoods.ZeroInflatedNegativeBinomial(d, total_count=-2.0), "total_count is -2.0"),
        (lambda d: likelihoods.Binomial(d, 0), "total_count is 0; the number of trials has to be a positive whole"),
        (lambda d: likelihoods.Binomial(d, 2.5), "total_count is 2.5"),
        (lambda d: likelihoods.Categorical(d, num_levels=1), "num_levels is 1; expected a whole number, at least 2"),
        (lambda d: likelihoods.DiscretizedLogistic(d, num_levels=True), "num_levels is True"),
        (lambda d: likelihoods.DiscretizedLogistic(d, low=1.0), "low is 1.0 and high 1.0; expected finite numbers"),
        (lambda d: likelihoods.DiscretizedLogistic(d, high=float("inf")), "low is 0.0 and high inf"),
        (
            lambda d: likelihoods.DiscretizedLogisticMixture(d, 0),
            "num_components is 0; expected a positive whole number",
        ),
        (lambda d: likelihoods.DiscretizedLogisticMixture(d, initial_scale=-1.0), "initial_scale -1.0; expected 0 <"),
        (lambda d: likelihoods.LowRankNormal(d, (3,), rank=0), "rank is 0; expected a positive whole number"),
        (lambda d: likelihoods.LowRankNormal(d, (3,), covariance="full"), "covariance is 'full'; expected 'shared' or"),
        (
            lambda d: likelihoods.FullCovarianceNormal(d, (3,), scale_floor=2.0),
            "scale_floor is 2.0 and initial_scale 1.0",
        ),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make(nn.Linear(2, 3))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda d: likelihoods.Normal(d, scale="predicted"), r"Normal needs \(\*batch, 2, \*data_shape\)"),
        (
            lambda d: likelihoods.Normal(d, scale="per_dimension", data_shape=(4,)),
            r"Normal: the decoder gave shape \(5, 3\) .* data_shape is \(4,\); expected \(5, 4\)",
        ),
        (lambda d: likelihoods.StudentT(d, df="predicted", scale="predicted"), r"StudentT needs \(\*batch, 3,"),
        (
            lambda d: likelihoods.Categorical(d, num_levels=4),
            r"Categorical needs \(\*batch, 4, .*Categorical.decoder_sh",
        ),
        (lambda d: likelihoods.DiscretizedLogisticMixture(d, 4), r"DiscretizedLogisticMixture needs \(\*batch, 12,"),
        (lambda d: likelihoods.FullCovarianceNormal(d, (2, 3)), r"FullCovarianceNormal: .* data_shape is \(2, 3\)"),
        (lambda d: likelihoods.LowRankNormal(d, (3,), 2, "predicted"), r"LowRankNormal needs \(\*batch, 4,"),
    ],
)
def test_a_decoder_with_an_output_of_another_size(make, message):
    with pytest.raises(ValueError, match=message):
        make(nn.Linear(2, 3))(torch.zeros(5, 2))


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
