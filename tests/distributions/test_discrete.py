"""Distributions over levels, against SciPy and by summing all levels.

Chi-square tests with fixed seeds use the 1e-4 quantile: a false alarm in 1 of 10,000 seeds.
"""

import numpy as np
import pyro.distributions as dist
import pytest
import torch
from pyro.distributions import Categorical, MixtureSameFamily
from scipy.stats import chi2, logistic, nbinom, poisson

from pyrovae.distributions import CategoricalLevels, DiscretizedLogistic, EquallySpaced, NegativeBinomial, ZeroInflated


def levels(num_levels=256, low=0.0, high=1.0, dtype=torch.float64):
    return EquallySpaced(low, high, num_levels).values().to(dtype)


def assert_draws_have(draws, values, probs):
    """Chi-square test over values that are expected five times or more, the others together."""
    index = (draws[:, None] - values).abs().argmin(1)
    assert (draws - values[index]).abs().max() < 1e-6
    expected, found = len(draws) * probs, torch.bincount(index, minlength=len(values)).double()
    common = expected >= 5
    expected = torch.cat([expected[common], expected[~common].sum()[None]])
    found = torch.cat([found[common], found[~common].sum()[None]])
    used = expected > 1e-9
    statistic = ((found - expected).square() / expected)[used].sum().item()
    assert statistic < chi2.isf(1e-4, int(used.sum()) - 1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("loc", [-1000.0, -3.0, -0.01, 0.0, 0.31, 0.5, 1.0, 1.2, 500.0])
@pytest.mark.parametrize("scale", [1e-4, 1e-3, 0.02, 0.5, 10.0, 1e4])
def test_levels_sum_to_one(dtype, loc, scale):
    pixel = DiscretizedLogistic(torch.tensor(loc, dtype=dtype), torch.tensor(scale, dtype=dtype))
    log_prob = pixel.log_prob(levels(dtype=dtype))
    assert torch.isfinite(log_prob).all()
    assert log_prob.double().exp().sum().item() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    ("low", "high", "num_levels"), [(0.0, 1.0, 256), (-1.0, 1.0, 256), (0.0, 16.0, 17), (2.0, 3.0, 2)]
)
def test_discretized_logistic_is_the_difference_of_distribution_functions(low, high, num_levels):
    values = levels(num_levels, low, high)
    width = (high - low) / (num_levels - 1)
    for loc, scale in ((low - 1.0, 0.1), (low + 0.3, 0.05), (high, 0.2), (high + 5.0, 1.0)):
        law = logistic(loc, scale)
        edges = values.numpy()[:-1] + width / 2
        # Where the upper tail is the smaller one its differences keep their digits.
        lower, upper = np.append(law.cdf(edges), 1), np.append(law.sf(edges), 0)
        probs = np.where(values.numpy() < loc, np.diff(lower, prepend=0), -np.diff(upper, prepend=1))
        for dtype, tolerance in ((torch.float64, 1e-8), (torch.float32, 2e-4)):
            pixel = DiscretizedLogistic(
                torch.tensor(loc, dtype=dtype), torch.tensor(scale, dtype=dtype), low, high, num_levels
            )
            found = pixel.log_prob(values.to(dtype)).double()
            torch.testing.assert_close(found, torch.from_numpy(np.log(probs)), rtol=tolerance, atol=tolerance)


def test_discretized_logistic_far_in_the_tail():
    """100 scales above the location the upper bins fall by exp(-w / s) each, and the end bin takes all that is left."""
    pixel = DiscretizedLogistic(torch.tensor(-1.0), torch.tensor(0.01))
    log_prob = pixel.log_prob(levels(dtype=torch.float32)).double()
    width = 1 / 255
    torch.testing.assert_close(log_prob[1:-1].diff(), torch.full((253,), -width / 0.01).double(), rtol=2e-3, atol=0)
    end = logistic(-1, 0.01).logsf(1 - width / 2)
    assert log_prob[-1].item() == pytest.approx(end, rel=1e-6)


@pytest.mark.parametrize("loc", [-1e6, -5.0, 0.0, 0.4, 1.0, 1e6])
@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1.0, 1e6])
def test_gradients_of_levels_are_finite(loc, scale):
    loc, scale = torch.tensor(loc, requires_grad=True), torch.tensor(scale, requires_grad=True)
    DiscretizedLogistic(loc, scale).log_prob(levels(dtype=torch.float32)).sum().backward()
    assert torch.isfinite(loc.grad)
    assert torch.isfinite(scale.grad)


@pytest.mark.parametrize(("loc", "scale"), [(0.4, 0.1), (-0.2, 0.3), (1.0, 0.02)])
def test_discretized_logistic_draws_and_moments(loc, scale):
    values = levels(17)
    pixel = DiscretizedLogistic(torch.tensor(loc).double(), torch.tensor(scale).double(), num_levels=17)
    probs = pixel.log_prob(values).exp()
    mean = (probs * values).sum()
    torch.testing.assert_close(pixel.mean, mean)
    torch.testing.assert_close(pixel.variance, (probs * (values - mean).square()).sum())
    assert_draws_have(pixel.sample((20_000,)), values, probs)


def mixture():
    loc, scale = torch.tensor([[0.1, 0.8], [0.5, 0.5]]).double(), torch.tensor([[0.02, 0.1], [0.01, 2.0]]).double()
    weights = Categorical(torch.tensor([[0.3, 0.7], [0.6, 0.4]]).double())
    return MixtureSameFamily(weights, DiscretizedLogistic(loc, scale, num_levels=17))


def test_a_mixture_of_discretized_logistics():
    values = levels(17)
    both = mixture()
    probs = both.log_prob(values[:, None].expand(17, 2)).exp()
    torch.testing.assert_close(probs.sum(0), torch.ones(2).double())
    torch.testing.assert_close(both.mean, (probs * values[:, None]).sum(0))
    draws = both.sample((20_000,))
    for entry in range(2):
        assert_draws_have(draws[:, entry], values, probs[:, entry])
    with pytest.raises(ValueError, match="value argument"):
        both.log_prob(torch.tensor([0.03, 0.5]).double())


def test_expanded_distributions_are_the_same():
    pixel = DiscretizedLogistic(torch.tensor([0.2, 0.5]), torch.tensor([0.1, 0.1]))
    wide = pixel.expand((3, 2))
    assert wide.batch_shape == (3, 2)
    assert wide.sample().shape == (3, 2)
    x = levels(dtype=torch.float32)[torch.tensor([7, 200])]
    torch.testing.assert_close(wide.log_prob(x), pixel.log_prob(x).expand(3, 2))
    wide = CategoricalLevels(torch.tensor([[0.5, 0.5], [0.1, 0.9]])).expand((4, 2))
    assert isinstance(wide, CategoricalLevels)
    torch.testing.assert_close(wide.mean, torch.tensor([0.5, 0.9]).expand(4, 2))


def test_categorical_levels_are_numbers():
    probs = torch.tensor([0.1, 0.2, 0.7]).double()
    level = CategoricalLevels(probs)
    values = torch.arange(3).double()
    torch.testing.assert_close(level.log_prob(values), probs.log())
    torch.testing.assert_close(level.mean, torch.tensor(1.6).double())
    torch.testing.assert_close(level.variance, torch.tensor(0.2 + 4 * 0.7 - 1.6**2).double())
    draws = level.sample((20_000,))
    assert draws.dtype == torch.float64
    assert_draws_have(draws, values, probs)
    with pytest.raises(ValueError, match="support"):
        level.log_prob(torch.tensor(3.0).double())


def test_equally_spaced_numbers():
    support = EquallySpaced(-1.0, 1.0, 5)
    inside = torch.tensor([-1.0, -0.5, 0.0, 0.5, 1.0, 0.5 + 1e-6])
    assert support.check(inside).all()
    assert not support.check(torch.tensor([-1.5, 0.25, 1.5, 0.51, float("nan"), float("inf")])).any()
    assert support.values().tolist() == [-1.0, -0.5, 0.0, 0.5, 1.0]
    assert EquallySpaced(0.0, 1.0, 256).check(torch.arange(256) / 255).all()
    assert "num_levels=5" in repr(support)


@pytest.mark.parametrize("total_count", [0.5, 10.0, 29.0, 30.0, 31.0, 1e3, 1e5])
@pytest.mark.parametrize("mean", [0.01, 3.0, 50.0])
def test_negative_binomial_keeps_its_digits(total_count, mean):
    """In float32 PyTorch is off by 0.008 nats at a total count of 10,000."""
    counts = np.concatenate([np.arange(100), [300]])
    exact = torch.tensor(nbinom(total_count, total_count / (total_count + mean)).logpmf(counts))
    for dtype, tolerance in ((torch.float32, 2e-5), (torch.float64, 1e-9)):
        r = torch.tensor(total_count, dtype=dtype, requires_grad=True)
        logits = torch.tensor(np.log(mean) - np.log(total_count), dtype=dtype, requires_grad=True)
        law = NegativeBinomial(r, logits=logits).expand((len(counts),))
        log_prob = law.log_prob(torch.tensor(counts, dtype=dtype))
        torch.testing.assert_close(log_prob.double(), exact, rtol=tolerance, atol=tolerance)
        ours = torch.autograd.grad(log_prob.sum(), (r, logits))
        plain = [value.detach().double().requires_grad_() for value in (r, logits)]
        theirs = torch.distributions.NegativeBinomial(plain[0], logits=plain[1]).log_prob(torch.tensor(counts))
        for found, expected in zip(ours, torch.autograd.grad(theirs.sum(), plain), strict=True):
            torch.testing.assert_close(found.double(), expected, rtol=5e-3, atol=5e-3)


def test_zero_inflated_counts_keep_their_digits_after_draws_and_means():
    """At log-odds of 40 a float32 gate is 1, and its complement, exp(-40), is lost."""
    law = ZeroInflated(dist.Poisson(torch.tensor([2.0, 2.0])), gate_logits=torch.tensor([40.0, -40.0]))
    expected = torch.tensor(poisson(2.0).logpmf(3) + np.array([-40.0, 0.0])).float()
    for p in (law, law.expand((4, 2))):
        p.sample((3,))
        torch.testing.assert_close(p.mean, torch.tensor([0.0, 2.0]).expand(p.batch_shape))
        for same in (p, p.expand((5, *p.batch_shape))):
            torch.testing.assert_close(same.log_prob(torch.tensor(3.0)), expected.expand(same.batch_shape))
            torch.testing.assert_close(
                same.log_prob(torch.tensor(0.0)), torch.tensor([0.0, -2.0]).expand(same.batch_shape)
            )


@pytest.mark.parametrize("value", [-1.0, 3.0, 1.5])
def test_levels_out_of_range_are_refused_as_values_not_as_indices(value):
    with pytest.raises(ValueError, match="within the support"):
        CategoricalLevels(logits=torch.zeros(2, 3)).log_prob(torch.tensor([0.0, value]))
    unchecked = CategoricalLevels(logits=torch.zeros(2, 3), validate_args=False)
    assert unchecked.log_prob(torch.tensor([0.0, value])).isinf().tolist() == [False, True]
