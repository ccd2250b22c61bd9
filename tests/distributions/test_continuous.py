"""Continuous distributions against SciPy, PyTorch and quadrature.

Moments of draws with fixed seeds have to lie within 4 standard errors: a false alarm in 1 of 16,000 seeds each.
"""

import itertools
from decimal import Decimal, localcontext

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import kstest, multivariate_normal, t
from torch.distributions import ContinuousBernoulli as TorchContinuousBernoulli

from pyrovae.distributions import (
    Beta,
    ContinuousBernoulli,
    LowRankMultivariateNormal,
    MultivariateNormal,
    OpenInterval,
    OptimalNormal,
    Reshaped,
    StudentT,
)
from pyrovae.distributions.continuous_bernoulli import logits_of_mean

LOGITS = (-200.0, -30.0, -5.0, -0.21, -0.19, -1e-4, 0.0, 0.05, 0.3, 1.0, 16.0, 50.0, 1000.0)


@pytest.mark.parametrize("logit", LOGITS)
def test_continuous_bernoulli_integrates_to_one(logit):
    law = ContinuousBernoulli(torch.tensor(logit).double())

    def integral(power):
        # The density falls like exp(-|logit| x) from one of the ends.
        near = [1 / (1 + abs(logit)), 30 / (1 + abs(logit))]
        points = sorted({0.0, 1.0, *(p if logit < 0 else 1 - p for p in near if p < 1)})
        return sum(
            quad(lambda x: x**power * law.log_prob(torch.tensor(x, dtype=torch.float64)).exp().item(), a, b)[0]
            for a, b in itertools.pairwise(points)
        )

    assert integral(0) == pytest.approx(1, abs=1e-9)
    assert law.mean.item() == pytest.approx(integral(1), abs=1e-9)
    assert law.variance.item() == pytest.approx(integral(2) - integral(1) ** 2, rel=1e-5, abs=1e-9)
    single = ContinuousBernoulli(torch.tensor(logit))
    x = torch.linspace(0, 1, 11)
    torch.testing.assert_close(single.log_prob(x).double(), law.log_prob(x.double()), rtol=1e-5, atol=1e-6)
    assert single.mean.item() == pytest.approx(law.mean.item(), abs=1e-6)
    assert single.variance.item() == pytest.approx(law.variance.item(), rel=1e-3)


@pytest.mark.parametrize("logit", [-0.1999, 0.1999])
def test_continuous_bernoulli_keeps_all_digits_where_its_series_ends(logit):
    """By numbers of 40 digits; at this size the next term of each series is half of what is allowed, or less."""
    law, x = ContinuousBernoulli(torch.tensor(logit, dtype=torch.float64)), 0.3125
    with localcontext(prec=40):
        slope = Decimal(logit)
        end = slope.exp()
        log_prob = slope * Decimal(x) + (slope / (end - 1)).ln()
        mean = end / (end - 1) - 1 / slope
        variance = 1 / slope**2 - end / (end - 1) ** 2
    assert law.log_prob(torch.tensor(x).double()).item() == pytest.approx(float(log_prob), rel=0, abs=1e-14)
    assert law.mean.item() == pytest.approx(float(mean), rel=0, abs=3e-14)
    assert law.variance.item() == pytest.approx(float(variance), rel=0, abs=1e-12)


def test_continuous_bernoulli_is_pytorchs_where_that_is_exact():
    logits = torch.tensor([-9.0, -2.0, 0.5, 3.0]).double()
    x = torch.linspace(0, 1, 9).double()[:, None]
    theirs = TorchContinuousBernoulli(logits=logits)
    ours = ContinuousBernoulli(logits)
    torch.testing.assert_close(ours.log_prob(x), theirs.log_prob(x))
    torch.testing.assert_close(ours.mean, theirs.mean)
    torch.testing.assert_close(ours.variance, theirs.variance)


def test_continuous_bernoulli_gradients():
    for dtype in (torch.float32, torch.float64):
        logits = torch.tensor([-1e10, -1e4, -0.2, 0.0, 0.2, 100.0, 1e10], dtype=dtype, requires_grad=True)
        law = ContinuousBernoulli(logits)
        x = torch.tensor(0.3, dtype=dtype)
        law.log_prob(x).sum().backward()
        # The score of an exponential family: x minus the mean.
        torch.testing.assert_close(logits.grad, x - law.mean.detach(), rtol=1e-4, atol=1e-5)
        logits.grad = None
        law.rsample().sum().backward()
        assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("logit", [-0.011, -0.0099, -1e-4, -1e-7, 0.0, 1e-7, 1e-4, 0.0099, 0.011])
def test_continuous_bernoulli_moves_its_draws_and_mean_near_zero(logit):
    """The derivative of a draw x is that of F(x) = u, up to second order; that of the mean is the variance."""
    for dtype, rounding in ((torch.float32, 3e-5), (torch.float64, 1e-6)):
        logits = torch.full((1000,), logit, dtype=dtype, requires_grad=True)
        law = ContinuousBernoulli(logits)
        x = law.rsample()
        x.sum().backward()
        x = x.detach()
        expected = x * (1 - x) * (0.5 + logit * (1 - 2 * x) / 12)
        torch.testing.assert_close(logits.grad, expected, rtol=0, atol=rounding)
        (of_mean,) = torch.autograd.grad(law.mean.sum(), logits)
        torch.testing.assert_close(of_mean, law.variance.detach())


@pytest.mark.parametrize("logit", [-40.0, -1.0, 0.0, 1e-3, 0.5, 8.0])
def test_continuous_bernoulli_draws(logit):
    """By Kolmogorov and Smirnov at 1e-4, against the distribution function by expm1."""
    draws = ContinuousBernoulli(torch.tensor(logit)).sample((4000,)).double().numpy()
    assert ((draws >= 0) & (draws <= 1)).all()
    cdf = (lambda x: np.expm1(logit * x) / np.expm1(logit)) if logit else (lambda x: x)
    assert kstest(draws, cdf).pvalue > 1e-4


def test_log_odds_of_a_mean():
    means = torch.tensor([0.01, 0.2, 0.5, 0.51, 0.99]).double()
    torch.testing.assert_close(ContinuousBernoulli(logits_of_mean(means)).mean, means)


def test_beta_leaves_out_the_ends():
    law = Beta(torch.tensor([0.01, 50.0, 1e-6]), torch.tensor([50.0, 0.01, 1e-6]))
    draws = law.sample((1000,))
    assert ((draws > 0) & (draws < 1)).all()
    assert torch.isfinite(law.log_prob(draws)).all()
    assert isinstance(law.expand((2, 3)), Beta)
    with pytest.raises(ValueError, match="support"):
        law.log_prob(torch.tensor([0.5, 1.0, 0.5]))
    support = OpenInterval(0.0, 1.0)
    assert support.check(torch.tensor([0.0, 0.5, 1.0, float("nan")])).tolist() == [False, True, False, False]
    assert repr(support) == "OpenInterval(lower_bound=0.0, upper_bound=1.0)"


def gaussian(kind, batch_shape=(), dtype=torch.float64):
    """A Gaussian over rows of shape (2, 3), with its mean and covariance."""
    loc = torch.randn(*batch_shape, 6, dtype=dtype)
    factor = torch.randn(*batch_shape, 6, 2, dtype=dtype)
    diagonal = 0.2 + torch.rand(*batch_shape, 6, dtype=dtype)
    covariance = factor @ factor.mT + torch.diag_embed(diagonal)
    base = (
        LowRankMultivariateNormal(loc, factor, diagonal)
        if kind == "low rank"
        else MultivariateNormal(loc, covariance_matrix=covariance)
    )
    return Reshaped(base, (2, 3)), loc, covariance


@pytest.mark.parametrize("kind", ["full", "low rank"])
@pytest.mark.parametrize("batch_shape", [(), (4,), (3, 4)])
def test_gaussian_rows_and_all_their_marginals(kind, batch_shape):
    rows, loc, covariance = gaussian(kind, batch_shape)
    assert rows.batch_shape == batch_shape
    assert rows.event_shape == (2, 3)
    x = rows.sample()
    assert x.shape == (*batch_shape, 2, 3)
    flat = [t.reshape(-1, *t.shape[len(batch_shape) :]) for t in (x.flatten(-2), loc, covariance)]
    exact = [multivariate_normal(m.numpy(), c.numpy()).logpdf(v.numpy()) for v, m, c in zip(*flat, strict=True)]
    torch.testing.assert_close(rows.log_prob(x).flatten(), torch.tensor(exact))
    torch.testing.assert_close(rows.variance.flatten(-2), covariance.diagonal(dim1=-2, dim2=-1))
    for mask in itertools.product((False, True), repeat=6):
        observed = torch.tensor(mask)
        if not observed.any():
            continue
        shown = torch.where(observed.reshape(2, 3), x, torch.nan)
        found = rows.marginal_log_prob(shown, observed.reshape(2, 3).expand(x.shape))
        exact = [
            multivariate_normal(m[observed].numpy(), c[observed][:, observed].numpy()).logpdf(v[observed].numpy())
            for v, m, c in zip(*flat, strict=True)
        ]
        torch.testing.assert_close(found.flatten(), torch.tensor(exact))


@pytest.mark.parametrize("kind", ["full", "low rank"])
def test_marginals_of_rows_with_masks_of_their_own(kind):
    rows, _, _ = gaussian(kind)
    x = rows.sample((5,))
    observed = torch.rand(5, 2, 3) < 0.6
    found = rows.expand((5,)).marginal_log_prob(x, observed)
    one_by_one = torch.stack([rows.marginal_log_prob(v, o) for v, o in zip(x, observed, strict=True)])
    torch.testing.assert_close(found, one_by_one)
    assert (rows.marginal_log_prob(x, torch.zeros(5, 2, 3, dtype=torch.bool)).abs() < 1e-12).all()


@pytest.mark.parametrize("kind", ["full", "low rank"])
def test_draws_of_gaussian_rows(kind):
    rows, loc, covariance = gaussian(kind)
    count = 20_000
    draws = rows.rsample((count,)).flatten(-2)
    assert rows.has_rsample
    assert ((draws.mean(0) - loc).abs() < 4 * (covariance.diag() / count).sqrt()).all()
    centered = draws - loc
    products = centered[:, :, None] * centered[:, None, :]
    assert ((products.mean(0) - covariance).abs() < 4 * products.std(0) / count**0.5).all()


def test_optimal_normal_is_normal_at_the_root_mean_square():
    loc = torch.randn(3, 4, 2, 5, dtype=torch.float64, requires_grad=True)
    x = 1 + 2 * torch.randn(4, 2, 5, dtype=torch.float64)
    seen = []
    law = OptimalNormal(loc, torch.tensor(1.0), 2, 1e-3, seen.append)
    log_prob = law.log_prob(x)
    assert log_prob.shape == (3, 4)
    mean_square = (x - loc).square().mean()
    expected = torch.distributions.Normal(loc, mean_square.sqrt()).log_prob(x).sum((-1, -2))
    torch.testing.assert_close(log_prob, expected)
    torch.testing.assert_close(seen, [mean_square.detach()])
    # The gradient with the scale held constant is that of the score at the optimum.
    held = torch.autograd.grad(log_prob.sum(), loc, retain_graph=True)[0]
    profiled = torch.autograd.grad(-0.5 * loc.numel() * mean_square.log(), loc)[0]
    torch.testing.assert_close(held, profiled)


def test_optimal_normal_counts_observed_entries_only():
    loc, x = torch.randn(4, 3), torch.randn(4, 3)
    observed = torch.rand(4, 3) < 0.6
    seen = []
    law = OptimalNormal(loc, torch.tensor(1.0), 1, 1e-3, seen.append).expand((4,))
    found = law.marginal_log_prob(torch.where(observed, x, torch.nan), observed)
    mean_square = (x - loc)[observed].square().mean()
    entries = torch.distributions.Normal(loc, mean_square.sqrt()).log_prob(x)
    torch.testing.assert_close(found, torch.where(observed, entries, 0).sum(-1))
    torch.testing.assert_close(seen[0], mean_square)
    exact = OptimalNormal(loc, torch.tensor(1.0), 1, 0.5, seen.append)
    torch.testing.assert_close(exact.log_prob(loc), torch.distributions.Normal(loc, 0.5).log_prob(loc).sum(-1))


@pytest.mark.parametrize("df", [0.5, 5.0, 29.0, 30.0, 31.0, 1e3, 1e5, 1e7])
def test_student_t_keeps_its_digits(df):
    """In float32 within a few roundings of log densities of up to 100; PyTorch is off by 0.005 at 10,000."""
    x = np.array([-8.0, -1.0, 0.3, 4.0])
    exact = torch.tensor(t(df, 0.5, 2.0).logpdf(x))
    for dtype, tolerance in ((torch.float32, 3e-6), (torch.float64, 1e-12)):
        given = [torch.tensor(number, dtype=dtype, requires_grad=True) for number in (df, 0.5, 2.0)]
        law = StudentT(*given).expand((4,))
        log_prob = law.log_prob(torch.tensor(x, dtype=dtype))
        torch.testing.assert_close(log_prob.double(), exact, rtol=tolerance, atol=tolerance)
        gradients = torch.autograd.grad(log_prob.sum(), given)
        plain = [torch.tensor(number, dtype=torch.float64, requires_grad=True) for number in (df, 0.5, 2.0)]
        theirs = torch.distributions.StudentT(*plain).log_prob(torch.tensor(x)).sum()
        for ours, expected in zip(gradients, torch.autograd.grad(theirs, plain), strict=True):
            torch.testing.assert_close(
                ours.double(), expected, rtol=2e-3, atol=1e-5 if dtype == torch.float32 else 1e-9
            )


@pytest.mark.parametrize("df", [0.5, 3.0, 1e3])
@pytest.mark.parametrize("value", [1e10, 1e15, 3e15, 1e20, -1e36])
def test_student_t_is_finite_wherever_its_density_is(df, value):
    """Fill values of outliers, 1e20 or 1e36, have squares that float32 does not hold."""
    x = torch.tensor(value, requires_grad=True)
    log_prob = StudentT(torch.tensor(df), torch.tensor(0.5), torch.tensor(2.0)).log_prob(x)
    exact = torch.tensor(t(df, 0.5, 2.0).logpdf(x.item()))
    torch.testing.assert_close(log_prob.double(), exact, rtol=1e-6, atol=0)
    (slope,) = torch.autograd.grad(log_prob, x)
    torch.testing.assert_close(slope.item(), -(df + 1) / x.item(), rtol=1e-5, atol=0)
