"""Densities in float32 keep their digits where their terms are large."""

from decimal import Decimal, localcontext

import numpy as np
import pyro.distributions as dist
import pytest
import scipy.special
import scipy.stats
import torch

from pyrovae import likelihoods, networks, priors
from pyrovae.distributions import (
    Beta,
    ContinuousBernoulli,
    DiscretizedLogistic,
    LowRankMultivariateNormal,
    NegativeBinomial,
    Poisson,
)
from pyrovae.distributions.constraints import EquallySpaced
from pyrovae.distributions.mixture import SharedMixture


@pytest.mark.parametrize("count", [0.0, 3.0, 1e3, 1e5, 1.1e5, 1e6])
def test_counts_against_scipy(count):
    x, mean = torch.tensor(count), torch.tensor(1e5)
    assert Poisson(mean).log_prob(x).item() == pytest.approx(scipy.stats.poisson(1e5).logpmf(count), rel=1e-6, abs=1e-5)
    for total_count in (0.5, 5.0, 1000.0):
        law = NegativeBinomial(torch.tensor(total_count), logits=mean.log() - np.log(total_count))
        p = torch.sigmoid(-law.logits.double()).item()
        expected = scipy.stats.nbinom(total_count, p).logpmf(count)
        assert law.log_prob(x).item() == pytest.approx(expected, rel=1e-5, abs=1e-4)


def test_columns_of_millions_against_scipy():
    x = torch.from_numpy(np.random.default_rng(0).poisson(1e6, size=(200, 1)).astype(np.float32))
    shape = likelihoods.Columns.decoder_shape((1,), ["count"])
    likelihood = likelihoods.Columns(networks.MLP(2, shape), ["count"])
    likelihood.initialize(x)
    p_x = likelihood(torch.zeros(200, 2))
    law = p_x.groups["count"]
    p = torch.sigmoid(-law.logits.double()).detach().numpy()
    expected = scipy.stats.nbinom(law.total_count.detach().double().numpy(), p).logpmf(x.double().numpy()).sum(-1)
    np.testing.assert_allclose(p_x.log_prob(x).detach().numpy(), expected, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("mean", [3.0, 1e3, 1e6])
def test_columns_without_dispersion_are_poisson(mean):
    """Draws by mean and variance of 20,000: two numbers at 5 standard errors, a false alarm in 800,000 seeds."""
    torch.manual_seed(0)
    x = torch.from_numpy(np.random.default_rng(0).poisson(mean, size=(200, 1)).astype(np.float32))
    likelihood = likelihoods.Columns(networks.MLP(2, 1, ()), ["count"])
    likelihood.initialize(x)
    with torch.no_grad():
        likelihood.scaled_log_dispersion.fill_(-30.0)
    z = torch.zeros(200, 2)
    law = likelihood(z).groups["count"]
    # The mean that the law has in float64: in float32 it is rounded again, and counts miss it by thousands.
    rate = (law.logits.double() + law.total_count.double().log()).exp()[:, 0].detach()
    expected = scipy.stats.poisson(rate.numpy()).logpmf(x[:, 0].numpy())
    # What a variance of m + 1e-9 m^2 changes, beside rounding.
    allowed = 1e-3 + 1e-9 * (x[:, 0].double() - rate).square().numpy()
    assert (np.abs(likelihood(z).log_prob(x).detach().numpy() - expected) < allowed).all()
    draws = likelihood(z[:1]).sample((20_000,)).double().flatten()
    assert abs(draws.mean() - rate[0]) < 5 * (rate[0] / 20_000) ** 0.5
    assert abs(draws.var() / rate[0] - 1) < 5 * ((2 + 1 / rate[0]) / 20_000) ** 0.5


@pytest.mark.parametrize("mean", [3.0, 1e3, 1e6])
@pytest.mark.parametrize("log_dispersion", [-4.0, -9.0, -14.0])
def test_gradients_of_small_dispersions_are_those_of_float64(mean, log_dispersion):
    x = torch.from_numpy(np.random.default_rng(0).poisson(mean, size=(200, 1)).astype(np.float32))
    likelihood = likelihoods.Columns(networks.MLP(2, 1, ()), ["count"])
    likelihood.initialize(x)
    with torch.no_grad():
        likelihood.scaled_log_dispersion.fill_(log_dispersion / 10)
    p_x = likelihood(torch.zeros(200, 2))
    law, step = p_x.groups["count"], 1e-3
    alpha = 1 / law.total_count.double()[0].item()
    rate = (law.logits.double() + law.total_count.double().log()).exp()[0].item()

    def exact(alpha):
        return scipy.stats.nbinom(1 / alpha, 1 / (1 + alpha * rate)).logpmf(x.numpy()).sum()

    assert p_x.log_prob(x).sum().item() == pytest.approx(exact(alpha), rel=1e-5, abs=0.01)
    (gradient,) = torch.autograd.grad(p_x.log_prob(x).sum(), likelihood.scaled_log_dispersion)
    slope = (exact(alpha * (1 + step)) - exact(alpha * (1 - step))) / (2 * step * alpha)
    assert gradient.item() == pytest.approx(10 * slope * np.exp(log_dispersion), rel=1e-2, abs=1e-2)


@pytest.mark.parametrize("scale", [0.1, 0.01, 0.003])
def test_a_low_rank_covariance_with_a_small_diagonal(scale):
    torch.manual_seed(0)
    factor, diagonal = torch.randn(784, 10), torch.full((784,), scale**2)
    law = LowRankMultivariateNormal(torch.zeros(784), factor, diagonal)
    exact = dist.LowRankMultivariateNormal(torch.zeros(784).double(), factor.double(), diagonal.double())
    z = law.sample((50,))
    torch.testing.assert_close(law.log_prob(z).double(), exact.log_prob(z.double()), rtol=1e-6, atol=1e-3)
    observed = torch.rand(50, 784) < 0.7
    marginal = [
        torch.distributions.LowRankMultivariateNormal(
            torch.zeros(int(seen.sum())).double(), factor[seen].double(), diagonal[seen].double()
        ).log_prob(row[seen].double())
        for seen, row in zip(observed, z, strict=True)
    ]
    torch.testing.assert_close(law.marginal_log_prob(z, observed).double(), torch.stack(marginal), rtol=1e-6, atol=1e-3)


@pytest.mark.parametrize(("dimensions", "rank", "size"), [(1, 2, 1.0), (2, 3, 1.0), (3, 5, 1.0), (3, 5, 30.0)])
def test_a_low_rank_covariance_of_more_directions_than_dimensions(dimensions, rank, size):
    """Beside the dense covariance in float64; in float32 PyTorch is off by 0.2 nats, or finds no Cholesky root."""
    torch.manual_seed(0)
    factor, diagonal = size * torch.randn(200, dimensions, rank), torch.full((200, dimensions), 0.001**2)
    laws = [LowRankMultivariateNormal(torch.zeros(dimensions), factor.requires_grad_(), diagonal)]
    laws.append(laws[0].expand((3, 200)))
    covariance = factor.detach().double() @ factor.detach().double().mT + torch.diag_embed(diagonal.double())
    exact = torch.distributions.MultivariateNormal(torch.zeros(dimensions).double(), covariance)
    p = dist.Normal(torch.zeros(dimensions), 1.0).to_event(1)
    dense = covariance.requires_grad_()
    entropy = 0.5 * (dimensions * (1 + np.log(2 * np.pi)) + dense.logdet())
    through = 2 * torch.autograd.grad(entropy.sum(), dense)[0] @ factor.detach().double()
    for law in laws:
        torch.testing.assert_close(law.entropy().double(), entropy.detach().expand(law.batch_shape), rtol=0, atol=1e-4)
        z = law.sample()
        assert z.dtype == torch.float32
        torch.testing.assert_close(law.log_prob(z).double(), exact.log_prob(z.double()), rtol=0, atol=1e-3)
        kl = torch.distributions.kl_divergence(law, p.expand(law.batch_shape)).double()
        wanted = -entropy + 0.5 * (dimensions * np.log(2 * np.pi) + covariance.diagonal(dim1=-2, dim2=-1).sum(-1))
        torch.testing.assert_close(kl, wanted.detach().expand(law.batch_shape), rtol=1e-6, atol=1e-4)
    (gradient,) = torch.autograd.grad(laws[0].entropy().sum(), factor)
    torch.testing.assert_close(gradient.double(), through, rtol=1e-3, atol=1e-3 * through.abs().max().item())


@pytest.mark.parametrize("concentration", [3.0, 1e3, 1e4, 1e5])
def test_narrow_beta_densities(concentration):
    torch.manual_seed(0)
    mean = torch.rand(50, 784) * 0.8 + 0.1
    law = Beta(concentration * mean, concentration * (1 - mean))
    exact = dist.Beta(law.concentration1.double(), law.concentration0.double())
    x = law.sample()
    torch.testing.assert_close(law.log_prob(x).double(), exact.log_prob(x.double()), rtol=1e-6, atol=1e-6)
    assert law.log_prob(x).dtype == torch.float32


@pytest.mark.parametrize("logits", [-1e6, -1e4, -30.0, -0.1, 0.1, 30.0, 1e4, 1e6])
def test_steep_continuous_bernoulli_densities(logits):
    """By differences of large numbers 0.002 nats were lost at log-odds of a million."""
    steep = torch.tensor(logits)
    near_the_end = torch.tensor([0.0, 1e-6, 1e-4, 0.01, 0.3])
    x = near_the_end if logits < 0 else 1 - near_the_end
    distance = (x.double() if logits < 0 else 1 - x.double()) * abs(steep.double())
    exact = steep.double().abs().log() - distance - torch.log(-torch.expm1(-steep.double().abs()))
    torch.testing.assert_close(ContinuousBernoulli(steep).log_prob(x).double(), exact, rtol=3e-7, atol=3e-6)


@pytest.mark.parametrize(
    ("low", "high", "num_levels"),
    [(0.0, 1.0, 65536), (0.0, 1.0, 20_000), (0.0, 255.0, 32_768), (100.0, 101.0, 256), (100.0, 101.0, 10_000)],
)
def test_levels_are_known_in_float32_and_in_float64(low, high, num_levels):
    support = EquallySpaced(low, high, num_levels)
    levels = support.values().float()
    assert support.check(levels).all()
    assert support.check(levels.double()).all()
    assert not support.check((support.values() + 0.4 * support.width)[:-1]).any()


def test_what_lies_between_levels_is_none_where_float32_has_few_numbers_to_a_level():
    support = EquallySpaced(1e7, 1e7 + 10, 11)
    assert support.check(support.values()).all()
    assert not support.check((support.values() + 0.4)[:-1]).any()


@pytest.mark.parametrize("degrees_of_freedom", [5.0, 1e4, 1e7])
def test_a_prior_of_heavy_tails_near_its_gaussian_limit(degrees_of_freedom):
    z = torch.linspace(-3, 3, 10)
    expected = scipy.stats.t(degrees_of_freedom).logpdf(z.double().numpy()).sum()
    assert priors.StudentT(10, degrees_of_freedom)().log_prob(z).item() == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("factor", [1.0, 10.0])
def test_a_mixture_of_vectors_with_a_strong_common_factor(factor):
    torch.manual_seed(0)
    loc, factors, diagonal = torch.randn(3, 4), factor * torch.randn(3, 4, 1), torch.full((3, 4), 1e-6)
    mixture = SharedMixture(torch.zeros(3), dist.LowRankMultivariateNormal(loc, factors, diagonal))
    z = mixture.sample((20,))
    covariances = (factors.double() @ factors.double().mT + torch.diag_embed(diagonal.double())).numpy()
    laws = [scipy.stats.multivariate_normal(m.double().numpy(), c) for m, c in zip(loc, covariances, strict=True)]
    expected = scipy.special.logsumexp([law.logpdf(z.double().numpy()) for law in laws], axis=0) - np.log(3)
    np.testing.assert_allclose(mixture.log_prob(z).numpy(), expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("scale", [1e-4, 1e-3, 0.1])
def test_moments_of_rounded_logistics(scale):
    """Sums over all levels in float64."""
    loc = torch.linspace(0, 1, 37)
    law = DiscretizedLogistic(loc, torch.tensor(scale))
    levels = torch.linspace(0, 1, 256, dtype=torch.float64)
    exact = DiscretizedLogistic(loc.double(), torch.tensor(scale, dtype=torch.float64))
    p = exact.log_prob(levels[:, None].expand(-1, 37)).exp()
    mean = (p * levels[:, None]).sum(0)
    variance = (p * (levels[:, None] - mean).square()).sum(0)
    torch.testing.assert_close(law.mean.double(), mean, rtol=1e-5, atol=1e-6)
    # Where a draw is all but sure the variance is that of rounding the location to float32.
    torch.testing.assert_close(law.variance.double(), variance, rtol=2e-2, atol=1e-9)
    assert bool((law.variance >= 0).all())


def test_the_variance_of_a_narrow_logistic_among_many_levels_keeps_its_digits():
    """Of two neighbours far away, where the squares of the levels' numbers go to 16 million."""
    num_levels, scale = 4096, torch.tensor(0.02 / 4095, dtype=torch.float64)
    law = DiscretizedLogistic(torch.tensor([1000.1, 3000.9]).double() / 4095, scale, num_levels=num_levels)
    edges = (np.arange(num_levels - 1) + 0.5) / 4095
    expected = []
    for loc in law.loc.tolist():
        # Two levels away there is e^-70: the draw is the nearest level, or one of its two neighbours.
        nearest = round(4095 * loc)
        below = scipy.stats.logistic(loc, scale.item()).cdf(edges[nearest - 1])
        above = scipy.stats.logistic(loc, scale.item()).sf(edges[nearest])
        expected.append((below + above - (above - below) ** 2) / 4095**2)
    torch.testing.assert_close(law.variance, torch.tensor(expected, dtype=torch.float64), rtol=1e-9, atol=0)


@pytest.mark.parametrize("total_count", [29.99, 30.01])
def test_stirlings_series_is_exact_where_it_begins(total_count):
    """The logarithm of the product of factors, by numbers of 40 digits."""
    logits = torch.tensor(-1.1, dtype=torch.float64)
    law = NegativeBinomial(torch.tensor(total_count, dtype=torch.float64), logits=logits)
    with localcontext(prec=40):
        r, odds = Decimal(total_count), Decimal(logits.item()).exp()
        expected = 20 * (odds / (1 + odds)).ln() - r * (1 + odds).ln()
        expected += sum(((r + k) / (k + 1)).ln() for k in range(20))
    assert law.log_prob(torch.tensor(20.0)).item() == pytest.approx(float(expected), rel=0, abs=1e-12)


def test_one_parameter_in_float64_makes_a_low_rank_gaussian_exact():
    loc, factor, diagonal = torch.zeros(3), torch.randn(3, 2), torch.rand(3) + 0.1
    z = torch.randn(3, dtype=torch.float64)
    exact = dist.LowRankMultivariateNormal(loc.double(), factor.double(), diagonal.double()).log_prob(z)
    for double in range(3):
        parameters = [value.double() if k == double else value for k, value in enumerate((loc, factor, diagonal))]
        log_prob = LowRankMultivariateNormal(*parameters).log_prob(z)
        torch.testing.assert_close(log_prob, exact, rtol=1e-12, atol=0)
