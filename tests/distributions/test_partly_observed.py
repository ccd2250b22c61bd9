"""Missing entries count for nothing: against the same distributions over the entries that are there."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from scipy import stats

from pyrovae.distributions import (
    EntryOrMissing,
    LowRankMultivariateNormal,
    MultivariateNormal,
    PartlyObserved,
    Reshaped,
)

NAN = math.nan
REAL = torch.tensor([[0.3, NAN, -2.0], [NAN, NAN, 1.5], [0.1, 0.2, 0.3]], dtype=torch.float64)
COUNTS = torch.tensor([[0.0, NAN, 4.0], [NAN, NAN, 1.0], [3.0, 2.0, 0.0]], dtype=torch.float64)
SHARES = torch.tensor([[0.3, NAN, 0.9], [NAN, NAN, 0.5], [0.1, 0.2, 0.3]], dtype=torch.float64)
BITS = torch.tensor([[0.0, NAN, 1.0], [NAN, NAN, 1.0], [1.0, 1.0, 0.0]], dtype=torch.float64)
A = torch.tensor([0.7, 1.3, 2.1], dtype=torch.float64)

ENTRIES = {
    "Normal": (lambda a: dist.Normal(a, 2 * a), REAL, lambda x, a: stats.norm(a, 2 * a).logpdf(x)),
    "Laplace": (lambda a: dist.Laplace(a, 2 * a), REAL, lambda x, a: stats.laplace(a, 2 * a).logpdf(x)),
    "StudentT": (lambda a: dist.StudentT(3.0, a, 2 * a), REAL, lambda x, a: stats.t(3, a, 2 * a).logpdf(x)),
    "LogNormal": (
        lambda a: dist.LogNormal(a, 2 * a),
        REAL.abs(),
        lambda x, a: stats.lognorm(2 * a, scale=math.exp(a)).logpdf(x),
    ),
    "Beta": (lambda a: dist.Beta(a, 2 * a), SHARES, lambda x, a: stats.beta(a, 2 * a).logpdf(x)),
    "Poisson": (lambda a: dist.Poisson(a), COUNTS, lambda x, a: stats.poisson(a).logpmf(x)),
    "Bernoulli": (lambda a: dist.Bernoulli(a / 3), BITS, lambda x, a: stats.bernoulli(a / 3).logpmf(x)),
    "Categorical": (
        lambda a: dist.Categorical(torch.stack([a, a, a + 1, a, a], -1)),
        COUNTS,
        lambda x, a: math.log((a + (x == 2)) / (5 * a + 1)),
    ),
    "zero-inflated": (
        lambda a: dist.ZeroInflatedPoisson(a, gate=a / 3),
        COUNTS,
        lambda x, a: math.log((x == 0) * a / 3 + (1 - a / 3) * stats.poisson(a).pmf(x)),
    ),
    "mixture": (
        lambda a: dist.MixtureSameFamily(
            dist.Categorical(torch.ones(3, 2).double()), dist.Normal(torch.stack([a, -a], -1), 1.0)
        ),
        REAL,
        lambda x, a: math.log((stats.norm(a).pdf(x) + stats.norm(-a).pdf(x)) / 2),
    ),
}


@pytest.mark.parametrize("name", ENTRIES)
def test_log_prob_is_that_of_the_observed_entries(name):
    make, x, log_density = ENTRIES[name]
    a = A.clone().requires_grad_()
    log_prob = PartlyObserved(make(a).to_event(1)).log_prob(x)
    expected = [
        sum(
            float(log_density(value, scale))
            for value, scale in zip(row.tolist(), A.tolist(), strict=True)
            if value == value
        )
        for row in x
    ]
    torch.testing.assert_close(log_prob, torch.tensor(expected, dtype=torch.float64), rtol=1e-9, atol=1e-9)
    # No NaN comes through from entries that are missing, and the second column of the second row has no part.
    (gradient,) = torch.autograd.grad(log_prob[:2].sum(), a)
    assert gradient.isfinite().all()
    assert gradient[1] == 0
    assert gradient[0] != 0


@pytest.mark.parametrize("name", ENTRIES)
def test_whole_rows_are_as_the_base_has_them(name):
    base = ENTRIES[name][0](A).to_event(1)
    partly = PartlyObserved(base)
    assert (partly.batch_shape, partly.event_shape) == (base.batch_shape, base.event_shape)
    torch.manual_seed(3)
    x = base.sample((4,))
    torch.manual_seed(3)
    assert torch.equal(partly.sample((4,)), x)
    torch.testing.assert_close(partly.log_prob(x), base.log_prob(x))
    assert partly.log_prob(torch.full((3,), NAN)) == 0
    assert partly.has_rsample == base.has_rsample


def test_moments_and_reparameterised_draws_are_the_bases():
    base = dist.Normal(A, 2 * A).to_event(1)
    partly = PartlyObserved(base)
    assert torch.equal(partly.mean, A)
    assert torch.equal(partly.variance, 4 * A**2)
    assert partly.rsample((2,)).shape == (2, 3)


def test_the_support_takes_nan_and_nothing_else_new():
    support = PartlyObserved(dist.Poisson(torch.ones(5, 2)).to_event(1)).support
    assert support.is_discrete
    assert support.event_dim == 1
    x = torch.tensor([[NAN, 1.0], [NAN, NAN], [2.0, 0.0], [0.5, NAN], [-1.0, 1.0]])
    assert support.check(x).tolist() == [True, True, True, False, False]
    assert repr(EntryOrMissing(dist.Poisson(1.0).support)) == "IntegerGreaterThan(lower_bound=0) or NaN"


def test_values_outside_the_support_are_refused_beside_missing_ones():
    partly = PartlyObserved(dist.Poisson(torch.ones(2)).to_event(1))
    with pytest.raises(ValueError, match="to be within the support"):
        partly.log_prob(torch.tensor([NAN, 0.5]))


def test_a_validated_pyro_run_with_plates_and_draws():
    x = torch.tensor([[1.0, NAN], [0.5, 2.0], [NAN, 3.0]])

    def model(x):
        with pyro.plate("draws", 4, dim=-2), pyro.plate("data", len(x), dim=-1):
            pyro.sample("x", PartlyObserved(dist.Normal(torch.zeros(2), 1.0).to_event(1)), obs=x)

    trace = pyro.poutine.trace(model).get_trace(x)
    trace.compute_log_prob()
    expected = (-0.5 * x.square() - 0.5 * math.log(2 * math.pi)).nansum(-1)
    torch.testing.assert_close(trace.nodes["x"]["log_prob"], expected.expand(4, 3))


def test_dimensions_of_images_and_of_a_plain_scalar():
    x = torch.randn(2, 1, 3, 3)
    x[0, 0, 1, 1] = NAN
    partly = PartlyObserved(dist.Normal(torch.zeros(2, 1, 3, 3), 1.0).to_event(3))
    expected = dist.Normal(0.0, 1.0, validate_args=False).log_prob(x).nansum((1, 2, 3))
    torch.testing.assert_close(partly.log_prob(x), expected)
    scalar = PartlyObserved(dist.Normal(torch.zeros(3), 1.0))
    assert scalar.log_prob(torch.tensor([NAN, 0.0, NAN])).tolist() == pytest.approx([0, -0.9189385, 0])


COVARIANCE = torch.tensor([[2.0, 0.9, -0.4], [0.9, 1.0, 0.3], [-0.4, 0.3, 0.8]], dtype=torch.float64)


FACTOR = torch.tensor([[1.2, 0.3], [0.7, -0.2], [-0.5, 0.9]], dtype=torch.float64)
GAUSSIANS = {
    "full": (lambda: MultivariateNormal(A, COVARIANCE), COVARIANCE),
    "low rank": (lambda: LowRankMultivariateNormal(A, FACTOR, A), FACTOR @ FACTOR.T + A.diag()),
}


@pytest.mark.parametrize("name", GAUSSIANS)
def test_gaussian_images_are_as_their_vectors(name):
    base = GAUSSIANS[name][0]().expand((4,))
    image, vector = PartlyObserved(Reshaped(base, (1, 3, 1))), PartlyObserved(base)
    x = REAL[[0, 1, 2, 0]]
    torch.testing.assert_close(image.log_prob(x.reshape(4, 1, 3, 1)), vector.log_prob(x))
    torch.testing.assert_close(image.mean_missing(x.reshape(4, 1, 3, 1)), vector.mean_missing(x).reshape(4, 1, 3, 1))
    assert image.sample_missing(x.reshape(4, 1, 3, 1)).shape == (4, 1, 3, 1)


@pytest.mark.parametrize("name", GAUSSIANS)
def test_entries_that_depend_on_each_other(name):
    make, covariance = GAUSSIANS[name]
    partly = PartlyObserved(make())
    expected = []
    for row in REAL:
        there = ~row.isnan()
        marginal = stats.multivariate_normal(A[there].numpy(), covariance[there][:, there].numpy())
        expected.append(float(marginal.logpdf(row[there].numpy())))
    torch.testing.assert_close(partly.log_prob(REAL), torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("name", GAUSSIANS)
def test_gaussian_entries_are_drawn_given_the_others(name):
    make, whole = GAUSSIANS[name]
    partly = PartlyObserved(make().expand((20_000,)))
    x = torch.tensor([NAN, 2.0, NAN], dtype=torch.float64)
    draws = partly.sample_missing(x)
    assert (draws[:, 1] == 2).all()
    away, there = [0, 2], [1]
    gain = whole[away][:, there] @ torch.linalg.inv(whole[there][:, there])
    mean = A[away] + gain @ (x[there] - A[there])
    covariance = whole[away][:, away] - gain @ whole[there][:, away]
    torch.testing.assert_close(partly.mean_missing(x)[0, away], mean)
    # Five numbers within 4.5 standard errors: a false alarm in 30,000 seeds.
    found = draws[:, away]
    assert ((found.mean(0) - mean).abs() < 4.5 * (covariance.diagonal() / 20_000).sqrt()).all()
    spread = torch.sqrt((covariance.diagonal().outer(covariance.diagonal()) + covariance**2) / 20_000)
    assert ((found.T.cov() - covariance).abs() < 4.5 * spread).all()


def test_independent_entries_are_drawn_and_others_kept():
    partly = PartlyObserved(dist.Poisson(torch.full((2, 3), 9.0)).to_event(1))
    x = torch.tensor([NAN, 2.0, NAN])
    assert (partly.sample_missing(x)[:, 1] == 2).all()
    assert partly.mean_missing(x).tolist() == [[9, 2, 9]] * 2


class Marginal(dist.Dirichlet):
    def marginal_log_prob(self, value, observed):
        raise AssertionError


class Unnamed(dist.Normal):
    support = torch.distributions.constraints.Constraint()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PartlyObserved(dist.MultivariateNormal(A, COVARIANCE)), "MultivariateNormal is one distribution over"),
        (lambda: PartlyObserved(dist.Dirichlet(A)), "give it a method marginal_log_prob"),
        (
            lambda: PartlyObserved(Marginal(A)).sample_missing(SHARES),
            "Marginal does not say how its entries depend on each other",
        ),
        (
            lambda: PartlyObserved(Unnamed(A, A, validate_args=False), validate_args=False).log_prob(REAL),
            "not one that values are known of",
        ),
    ],
)
def test_what_cannot_be_partly_observed(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(("size", "noise"), [(20, 3e-3), (20, 1e-3), (200, 1e-3)])
def test_strongly_correlated_entries_keep_their_digits(size, noise):
    """A covariance in float32 has no digit of noise of a thousandth: whole rows were 1.3 nats off, means 4 noises."""
    torch.manual_seed(0)
    factor = torch.eye(size) * noise
    factor[:, 0] = 1
    law = MultivariateNormal(torch.zeros(50, size), scale_tril=factor)
    exact = MultivariateNormal(torch.zeros(50, size).double(), scale_tril=factor.double())
    x = law.sample()
    torch.testing.assert_close(PartlyObserved(law).log_prob(x).double(), exact.log_prob(x.double()), rtol=0, atol=2e-3)
    x[:, 1::3] = NAN
    torch.testing.assert_close(
        PartlyObserved(law).log_prob(x).double(), PartlyObserved(exact).log_prob(x.double()), rtol=0, atol=1e-3
    )
    # The others tell the common part to within the noise of their mean.
    given, observed = PartlyObserved(law).mean_missing(x).double(), ~x.isnan()[0]
    whole = factor.double() @ factor.double().T
    pull = torch.linalg.solve(whole[observed][:, observed], x[:, observed].double().T)
    torch.testing.assert_close(
        given[:, ~observed], (whole[~observed][:, observed] @ pull).T, rtol=0, atol=1e-3 * noise + 2e-7
    )


def test_one_gaussian_for_all_rows_draws_each_row_anew():
    torch.manual_seed(0)
    law = PartlyObserved(MultivariateNormal(torch.zeros(2), torch.tensor([[1.0, 0.5], [0.5, 1.0]])))
    x = torch.tensor([[1.0, NAN]]).expand(20_000, 2)
    assert law.mean_missing(x)[:, 1].unique().tolist() == pytest.approx([0.5])
    draws = law.sample_missing(x)[:, 1]
    # Four standard errors each: a false alarm in 1 of 8,000 seeds.
    assert abs(draws.mean().item() - 0.5) < 4 * math.sqrt(0.75 / len(x))
    assert abs(draws.var().item() - 0.75) < 4 * 0.75 * math.sqrt(2 / len(x))
