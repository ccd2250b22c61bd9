"""bits_per_dim by hand and by quadrature, and what it refuses.

Statistical checks allow 4 standard errors: for one Gaussian estimate a false alarm in 1 of 16,000 seeds, and the
seeds are fixed.
"""

import math
import random

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from problems import ExactPosterior, LinearGaussian, bits, small_vae
from torch.distributions import constraints

from pyrovae import VAE, bits_per_dim, compare_bounds, likelihoods, networks, posteriors, priors
from pyrovae.distributions import DiscretizedLogistic


def independent_pair(likelihood):
    """A model whose x does not depend on z: log p(x) is known, without any Monte Carlo error."""

    def model(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", likelihood(z, x), obs=x)

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(torch.zeros(len(x)), 1.0))

    return model, guide


def score(pair, x, **options):
    bounds = compare_bounds(*pair, x, num_samples=50)
    return bits_per_dim(*pair, x, bounds, **options), bounds


def levels_of(count, shape, seed=0):
    return torch.randint(0, count, shape, generator=torch.Generator().manual_seed(seed))


def noise_of(shape, seed=1):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def test_bernoulli_by_hand():
    x = torch.tensor([[[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]], [[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]]])
    found, bounds = score(independent_pair(lambda z, x: dist.Bernoulli(torch.full((2, 3), 0.25)).to_event(2)), x)
    # 2 bits for a one, log2(4/3) for a zero.
    zero = math.log2(4 / 3)
    torch.testing.assert_close(
        found.bits, torch.tensor([(4 + 4 * zero) / 6, 2.0], dtype=torch.float64), rtol=1e-6, atol=0
    )
    torch.testing.assert_close(found.elbo_bits, found.bits, rtol=1e-6, atol=0)
    assert found.data_dim == 6
    assert found.bin_width is found.levels is None
    assert torch.equal(found.reliable, bounds.reliable)


def test_categorical_by_hand():
    """Uniform over 256 levels: 8 bits, for whatever pixels."""
    x = torch.randint(0, 256, (5, 1, 4, 4), generator=torch.Generator().manual_seed(0))
    found, _ = score(independent_pair(lambda z, x: dist.Categorical(torch.ones(1, 4, 4, 256)).to_event(3)), x)
    torch.testing.assert_close(found.bits, torch.full((5,), 8.0, dtype=torch.float64), rtol=1e-6, atol=0)
    assert found.data_dim == 16


def test_a_one_hot_vector_is_one_dimension():
    x = torch.eye(4)[torch.tensor([[0, 3, 2], [1, 1, 1]])]
    found, _ = score(independent_pair(lambda z, x: dist.OneHotCategorical(torch.ones(3, 4)).to_event(1)), x)
    torch.testing.assert_close(found.bits, torch.tensor([2.0, 2.0], dtype=torch.float64), rtol=1e-6, atol=0)
    assert found.data_dim == 3


@pytest.mark.parametrize(
    "likelihood",
    [
        lambda z, x: dist.Poisson(torch.tensor([1.0, 3.0])).to_event(1),
        lambda z, x: dist.Binomial(7, torch.tensor([0.2, 0.5])).to_event(1),
        lambda z, x: dist.NegativeBinomial(3.0, torch.tensor([0.2, 0.5])).to_event(1),
        lambda z, x: dist.ZeroInflatedPoisson(torch.tensor([1.0, 3.0]), gate=torch.tensor(0.3)).to_event(1),
        lambda z, x: dist.MixtureSameFamily(
            dist.Categorical(torch.ones(2, 2)), dist.Poisson(torch.tensor([1.0, 3.0]).expand(2, 2))
        ).to_event(1),
    ],
)
def test_counts_are_discrete(likelihood):
    x = torch.tensor([[0.0, 2.0], [3.0, 1.0]])
    found, bounds = score(independent_pair(likelihood), x)
    torch.testing.assert_close(found.bits, -bounds.log_px / (2 * math.log(2)))


def test_error_bars_are_those_of_log_px_in_bits():
    vae, x = small_vae(), bits(5)
    found, bounds = score((vae.model, vae.guide), x)
    unit = 64 * math.log(2)
    torch.testing.assert_close(found.standard_error, bounds.standard_error / unit)
    torch.testing.assert_close(found.elbo_standard_error, bounds.elbo_standard_error / unit)
    assert (found.standard_error > 0).all()
    assert (found.bits <= found.elbo_bits).all()
    text = found.summary()
    assert f"{found.bits.mean().item():.4f}" in text
    assert f"{found.bits.std().item() / math.sqrt(5):.4f}" in text
    assert "5 rows of 64 discrete values." in text
    few = bits_per_dim(vae.model, vae.guide, x, compare_bounds(vae.model, vae.guide, x, num_samples=9))
    assert few.summary().endswith("in 5 of 5 rows, where k-hat is too large or unknown.")


def exact_pair(data_dim, latent_dim=1):
    problem = LinearGaussian.random(data_dim, latent_dim, 3)
    vae = problem.vae(ExactPosterior(problem))
    return problem, (vae.model, vae.guide)


def test_a_dequantised_normal_is_a_proper_distribution_over_levels():
    """Twenty points in each of all bins, near the midpoints: the densities times the bin width sum to 1."""
    _, pair = exact_pair(1)
    width, points = 0.5, 20
    levels = torch.arange(-60, 60, dtype=torch.float64)
    fractions = (torch.arange(points, dtype=torch.float64) + 0.5) / points
    noise = 1e-4 * (noise_of((len(levels), points)) - 0.5).double()
    x = ((levels[:, None] + fractions + noise) * width).reshape(-1, 1)
    found, _ = score(pair, x, bin_width=width)
    probabilities = torch.exp2(-found.bits).reshape(len(levels), points).mean(1)
    assert probabilities.sum().item() == pytest.approx(1.0, abs=1e-5)
    assert found.levels == 120
    assert found.bin_width == width
    assert "in bins of 0.5" in found.summary()
    assert "span 120 bins" in found.summary()


def test_dequantised_bits_bound_those_of_the_levels():
    """Against the probability of each level by SciPy, with the gap that the noise costs, w^2 / 24 var."""
    from scipy.stats import norm

    problem, pair = exact_pair(1)
    width, count = 0.5, 4000
    generator = torch.Generator().manual_seed(1)
    levels = (problem.rows(count, 2) / width).floor()
    x = (levels + torch.rand(count, 1, generator=generator, dtype=torch.float64)) * width
    found, _ = score(pair, x, bin_width=width)
    sd = math.sqrt(problem.weight.square().sum().item() + problem.scale**2)
    law = norm(problem.bias.item(), sd)
    edges = (levels * width)[:, 0].numpy()
    exact = -np.log2(law.cdf(edges + width) - law.cdf(edges))
    excess = found.bits.numpy() - exact
    expected = width**2 / (24 * sd**2) / math.log(2)
    assert abs(excess.mean() - expected) <= 4 * excess.std() / math.sqrt(count)
    assert expected > 0.002
    # Of an exact guide the ELBO is log p(x).
    torch.testing.assert_close(found.elbo_bits, found.bits)


def test_the_unit_of_x_does_not_matter():
    """The same levels on three scales, with the density of each: the same bits."""
    x = torch.rand(50, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 8
    found = []
    for unit in (1.0, 1 / 8, 2 / 8):
        pair = independent_pair(
            lambda z, x, unit=unit: dist.Normal(3 * unit * torch.ones(4).double(), 2 * unit).to_event(1)
        )
        found.append(score(pair, x * unit, bin_width=unit)[0])
    torch.testing.assert_close(found[0].bits, found[1].bits)
    torch.testing.assert_close(found[0].bits, found[2].bits)
    assert {f.levels for f in found} == {8}


def test_a_continuous_likelihood_is_refused():
    vae, x = small_vae(likelihood="Normal"), bits(5)
    with pytest.raises(ValueError, match=r"Normal at site 'x' is a density.*nats.*Categorical.*bin_width"):
        score((vae.model, vae.guide), x)
    unit = independent_pair(lambda z, x: dist.ContinuousBernoulli(torch.full((3,), 0.3)).to_event(1))
    with pytest.raises(ValueError, match="ContinuousBernoulli at site 'x' is a density"):
        score(unit, torch.rand(4, 3))


@pytest.mark.parametrize(
    ("x", "width"),
    [
        (levels_of(256, (100, 10)) / 255, 1 / 256),  # no noise, fractions that look even
        (levels_of(256, (10, 10)) / 255, 1 / 256),
        (levels_of(256, (100, 10)) / 256, 1 / 256),
        (levels_of(256, (100, 10)) + 0.5, 1.0),
        ((levels_of(8, (100, 10)) + 0.5 * noise_of((100, 10))) / 8, 1 / 8),  # noise of half a bin
        ((levels_of(8, (100, 10)) + noise_of((100, 10))) / 8, 1 / 1.5),  # bins of five levels and a third
    ],
)
def test_values_that_are_not_dequantised_are_refused(x, width):
    pair = independent_pair(lambda z, x: dist.Normal(torch.zeros(10), 1.0).to_event(1))
    with pytest.raises(ValueError, match=r"do not fill bins of width .* evenly"):
        score(pair, x, bin_width=width)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("count", "shape"), [(256, (1000, 300)), (256, (2, 3)), (2, (1000, 10))])
def test_dequantised_values_are_taken(count, shape, dtype):
    """Also so many that float32 repeats its fractions. By the limits a false alarm in 1 of 100,000 seeds."""
    x = ((levels_of(count, shape) + noise_of(shape)) / count).to(dtype)
    pair = independent_pair(lambda z, x: dist.Normal(torch.zeros(shape[1], dtype=dtype), 1.0).to_event(1))
    found, _ = score(pair, x, bin_width=np.float32(1 / count))
    assert 1 <= found.levels <= count + 1
    assert math.isfinite(found.bits.mean())


def test_precision_that_cannot_hold_the_bins_is_refused():
    pair = independent_pair(lambda z, x: dist.Normal(torch.zeros(10), 1.0).to_event(1))
    with pytest.raises(ValueError, match="float32 cannot hold values as large as"):
        score(pair, torch.rand(100, 10), bin_width=2.0**-20)


class WrongSum(dist.TorchDistribution):
    """Claims to be over 0 to 3, with probabilities that sum to 2."""

    support = constraints.integer_interval(0, 3)
    arg_constraints = {}  # noqa: RUF012

    def __init__(self, shape, probability=0.5):
        self.probability = probability
        super().__init__(torch.Size(shape), torch.Size(), validate_args=False)

    def expand(self, batch_shape, _instance=None):
        return type(self)(batch_shape, self.probability)

    def log_prob(self, value):
        return torch.full(torch.broadcast_shapes(value.shape, self.batch_shape), math.log(self.probability))


def test_levels_have_to_sum_to_one():
    x = torch.tensor([[0.0, 2.0], [3.0, 1.0]])
    with pytest.raises(ValueError, match=r"levels 0 to 3 of WrongSum at site 'x' have probabilities that sum to 2"):
        score(independent_pair(lambda z, x: WrongSum((2,)).to_event(1)), x)
    with pytest.raises(ValueError, match=r"sum to 0\.8"):
        score(independent_pair(lambda z, x: WrongSum((2,), 0.2).to_event(1)), x)
    assert score(independent_pair(lambda z, x: WrongSum((2,), 0.25).to_event(1)), x)[0].bits.tolist() == pytest.approx(
        [2.0, 2.0]
    )


class Unbounded(WrongSum):
    """Claims to be over all counts, each with the same probability."""

    support = constraints.nonnegative_integer


def test_counts_may_not_sum_to_more_than_one():
    with pytest.raises(ValueError, match=r"levels 0 to 255 of Unbounded at site 'x' .* sum to 128"):
        score(independent_pair(lambda z, x: Unbounded((2,)).to_event(1)), torch.tensor([[0.0, 2.0]]))


def test_other_refusals():
    vae, x = small_vae(), bits(5)
    pair = vae.model, vae.guide
    bounds = compare_bounds(*pair, x, num_samples=5)
    with pytest.raises(ValueError, match="bin_width is for densities, and Bernoulli at site 'x' gives probabilities"):
        bits_per_dim(*pair, x, bounds, bin_width=0.5)
    with pytest.raises(ValueError, match="bounds are of 5 rows and x has 4"):
        bits_per_dim(*pair, x[:4], bounds)
    with pytest.raises(ValueError, match=r"Bernoulli at site 'x' is no density for these data"):
        bits_per_dim(*pair, x / 2, bounds)
    for width in (0, -1.0, math.nan, math.inf, "1/256", True):
        with pytest.raises(ValueError, match="bin_width is"):
            bits_per_dim(*pair, x, bounds, bin_width=width)


def test_factors_masks_and_transformed_rows_are_refused():
    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(torch.zeros(len(x)), 1.0))

    def factor(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Bernoulli(torch.full((4,), 0.3)).to_event(1), obs=x)
            pyro.factor("bonus", torch.ones(len(x)))

    def masked(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Bernoulli(torch.full((4,), 0.3)).mask(x > -1).to_event(1), obs=x)

    def transformed(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal(torch.zeros(4), 1.0).to_event(1), obs=x.log())

    def recorded(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.deterministic("twice", 2 * z, event_dim=0)
            pyro.sample("x", dist.Bernoulli(torch.full((4,), 0.25)).to_event(1), obs=x)

    x = torch.ones(5, 4)
    with pytest.raises(ValueError, match=r"site 'bonus' is a pyro.factor"):
        score((factor, guide), x)
    with pytest.raises(ValueError, match=r"site 'x' has a mask"):
        score((masked, guide), x)
    with pytest.raises(ValueError, match=r"does not observe the rows as they are.*Jacobian"):
        score((transformed, guide), 0.5 + torch.rand(5, 4), bin_width=0.5)
    found, _ = score((recorded, guide), x)
    assert found.data_dim == 4
    assert found.bits.tolist() == pytest.approx([2.0] * 5)


def test_nothing_is_moved():
    vae, x = small_vae(), bits(5)
    vae.train()
    bounds = compare_bounds(vae.model, vae.guide, x, num_samples=5)
    pyro.param("theirs", torch.tensor(3.0))
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    bits_per_dim(vae.model, vae.guide, x, bounds)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (np.random.get_state()[1] == states[1]).all()
    assert random.getstate() == states[2]
    assert all(module.training for module in vae.modules())
    assert dict(pyro.get_param_store().items()).keys() == {"theirs"}


def level_vae(likelihood, decoder_params, data_dim=3):
    decoder = networks.MLP(2, (*decoder_params, data_dim), (8,))
    return VAE(
        priors.StandardNormal(2),
        likelihood(decoder),
        posteriors.DiagonalNormal(networks.MLP(data_dim, 4, (8,))),
    )


@pytest.mark.parametrize(
    ("likelihood", "decoder_params", "unit"),
    [
        (lambda d: likelihoods.Categorical(d, num_levels=16), (16,), 1.0),
        (lambda d: likelihoods.DiscretizedLogistic(d, num_levels=16), (), 1 / 15),
        (lambda d: likelihoods.DiscretizedLogistic(d, num_levels=16, low=-1.0, high=14.0), (), 1.0),
        (lambda d: likelihoods.DiscretizedLogisticMixture(d, 3, num_levels=16), (9,), 1 / 15),
        (lambda d: likelihoods.Binomial(d, 15), (), 1.0),
        (likelihoods.Poisson, (), 1.0),
        (likelihoods.NegativeBinomial, (), 1.0),
        (likelihoods.ZeroInflatedNegativeBinomial, (), 1.0),
    ],
)
def test_likelihoods_over_levels_have_bits(likelihood, decoder_params, unit):
    vae = level_vae(likelihood, decoder_params)
    x = levels_of(15, (6, 3)) * unit
    found, bounds = score((vae.model, vae.guide), x)
    torch.testing.assert_close(found.bits, -bounds.log_px / (3 * math.log(2)))
    assert found.bin_width is None
    with pytest.raises(ValueError, match="bin_width is for densities"):
        bits_per_dim(vae.model, vae.guide, x, bounds, bin_width=unit)


@pytest.mark.parametrize(
    "likelihood",
    [
        lambda d: likelihoods.Normal(d, scale="optimal"),
        likelihoods.Laplace,
        likelihoods.LogNormal,
        likelihoods.Beta,
        likelihoods.ContinuousBernoulli,
        lambda d: likelihoods.FullCovarianceNormal(d, (3,)),
        lambda d: likelihoods.LowRankNormal(d, (3,)),
    ],
)
def test_likelihoods_over_real_values_have_none(likelihood):
    vae = level_vae(likelihood, ())
    with pytest.raises(ValueError, match="is a density, which has no bits per dimension"):
        score((vae.model, vae.guide), 0.1 + 0.8 * noise_of((5, 3)))


class Doubled(dist.Binomial):
    def log_prob(self, value):
        return super().log_prob(value) + math.log(2)


class DoubledLogistic(DiscretizedLogistic):
    def log_prob(self, value):
        return super().log_prob(value) + math.log(2)


def test_levels_of_all_kinds_have_to_sum_to_one():
    pair = independent_pair(lambda z, x: Doubled(15, torch.full((3,), 0.5)).to_event(1))
    with pytest.raises(ValueError, match=r"levels 0 to 15 of Doubled at site 'x' have probabilities that sum to 2"):
        score(pair, levels_of(15, (4, 3)).float())
    pair = independent_pair(lambda z, x: DoubledLogistic(torch.full((3,), 0.5), torch.tensor(0.1)).to_event(1))
    with pytest.raises(ValueError, match=r"levels 0 to 1 of DoubledLogistic at site 'x' have .* sum to 2"):
        score(pair, levels_of(256, (4, 3)) / 255)
